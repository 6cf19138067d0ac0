"""The same words on a GPU whether steps are recorded or not, and whether windows are joined or not; skipped without one."""

import asyncio
from pathlib import Path

import pytest

from pipeline.caption.vlm import VlmCaptioner, load_vlm
from pipeline.caption.vlm.table import Table
from tests import tiny_vlm
from tests.tiny_vlm import scene

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

VIEWS = [scene(*range(count), colours=(colour, "white")) for count, colour in enumerate(("red", "green", "blue", "teal", "navy"), start=1)]


async def _described(captioner: VlmCaptioner) -> list[str]:
    alone = [(await captioner.describe(view)).text for view in VIEWS]
    together = await asyncio.gather(*(captioner.describe(view) for view in VIEWS * 3))
    assert [each.text for each in together] == alone * 3
    return alone


def test_recorded_steps_write_the_same_words(tmp_path: Path) -> None:
    checkpoint = tiny_vlm.save(tmp_path / "tiny", "qwen2.5")
    recorded, plain = (load_vlm(checkpoint, precision="float32", max_new_tokens=40) for _ in range(2))
    plain.worker._decoder._table = Table(plain.worker._family, recorded=False)
    assert asyncio.run(_described(recorded)) == asyncio.run(_described(plain))
    assert recorded.worker._decoder._table is not None
    assert recorded.worker._decoder._table._recordings
