"""Unit: weights in 8 and 4 bits: torch's kernels compute what the unpacked weights do, and the words stay."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from pipeline.caption.model import load
from pipeline.caption.style import Style
from pipeline.caption.vlm import load_vlm
from pipeline.caption.vlm.quantise import Linear4, Linear8, quantise
from pipeline.caption.vlm.worker import Job
from tests import tiny_vlm
from train.evaluate import held_out, view
from train.scenes import caption

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(("kind", "most"), [(Linear8, 0.01), (Linear4, 0.09)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 48), (96, 40)])
def test_the_layer_is_near_the_one_it_stands_for(
    kind: type[Linear8 | Linear4], most: float, dtype: torch.dtype, inputs: int, outputs: int
) -> None:
    torch.manual_seed(1)
    layer, rows = nn.Linear(inputs, outputs).to(dtype), torch.randn(2, 5, inputs).to(dtype)
    fewer = kind(layer)
    with torch.no_grad():
        exact = nn.functional.linear(rows.float(), fewer.unpacked().float(), layer.bias.float())
        torch.testing.assert_close(fewer(rows).float(), exact, rtol=0.02, atol=0.02)
        many = fewer(rows.repeat(8, 1, 1))[:2]
        torch.testing.assert_close(many.float(), exact, rtol=0.02, atol=0.02)
    assert (fewer.unpacked() - layer.weight).abs().max() <= most * layer.weight.abs().max()
    rows.requires_grad_()
    fewer(rows).float().sum().backward()
    assert rows.grad is not None, "adapters can be taught on it"


def test_it_takes_less_memory() -> None:
    sizes = {bits: quantise(nn.Sequential(nn.Linear(256, 256, bias=False).to(torch.bfloat16)), bits) for bits in (8, 4)}
    assert sizes == {8: 256 * 256 + 512, 4: 256 * 256 // 2 + 256 * 8 * 4}


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_watchword_tiny_keeps_its_words(precision: str) -> None:
    captioner = load("transformers", directory=Path("watchword-tiny"), max_new_tokens=48, precision=precision)
    scenes = held_out(10)

    async def described() -> list[str]:
        return [(await captioner.describe(view(each, seed=index))).text for index, each in enumerate(scenes)]

    said = asyncio.run(described())
    assert sum(text == caption(each) for text, each in zip(said, scenes, strict=True)) >= 7
    assert asyncio.run(captioner.describe(view(scenes[0]))).revision.endswith(f"-{precision}")


@pytest.mark.parametrize("family", tiny_vlm.FAMILIES)
def test_every_family_writes_with_few_bits_and_an_adapter(family: str, tmp_path: Path) -> None:
    base = tiny_vlm.save(tmp_path / family, family)
    adapter = tiny_vlm.save_adapter(base, tmp_path / "shop")
    captioner = load_vlm(base, max_new_tokens=6, precision="int4", adapters={"shop": adapter})
    plain = tiny_vlm.scene(1, 2)
    jobs = [Job(each, 6, lambda _: None) for each in (plain, replace(plain, style=Style(adapter="shop")))]
    assert not any(captioner.worker.run(jobs))
    assert jobs[0].certainty != jobs[1].certainty
