"""A vision tower that attends in one call a layer sees what transformers' own sees, in windows and pictures of any size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.caption.vlm import load_vlm
from pipeline.caption.vlm.windows import join_windows
from tests import tiny_vlm

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3"])
@pytest.mark.parametrize(
    "sizes", [[(448, 252)], [(448, 252), (448, 252)], [(448, 252), (252, 448), (100, 60)]], ids=["one", "equal", "mixed"]
)
def test_joined_windows_give_the_same_features(family: str, sizes: list[tuple[int, int]], tmp_path: Path) -> None:
    checkpoint = tiny_vlm.save(tmp_path / "tiny", family)
    plain, joined = (load_vlm(checkpoint, precision="float32").worker._family for _ in range(2))
    join_windows(joined.network.model.visual)
    rng = np.random.default_rng(1)
    pictures = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for width, height in sizes]
    import torch

    with torch.inference_mode():
        for expected, found in zip(plain.encode(pictures, 448 * 448), joined.encode(pictures, 448 * 448), strict=True):
            torch.testing.assert_close(found.tokens, expected.tokens, atol=1e-5, rtol=1e-5)
            for one, other in zip(found.levels, expected.levels, strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
