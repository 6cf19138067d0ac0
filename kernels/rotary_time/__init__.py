"""Rotary position embeddings whose positions are times, rows and columns."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from kernels.arrays import is_tensor, on_gpu
from kernels.rotary_time.reference import Layout, axes_of, frequencies_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Layout", "axes_of", "frequencies_of", "rotary_time"]


def rotary_time(
    queries: "Tensor",
    keys: "Tensor",
    positions: "Tensor",
    *,
    sections: Sequence[int],
    theta: float = 1_000_000.0,
    layout: Layout = "sectioned",
    frequencies: "Tensor | None" = None,
    scaling: float = 1.0,
) -> None:
    """Turn queries and keys in place by where they are in time, height and width.

    `queries` has shape (batch, heads, length, D) and `keys` (batch, key heads, length, D), of one dtype: float32, bfloat16 or float16;
    any strides do on a CPU, on a GPU D must be contiguous. `positions` has shape (3, batch, length), or (3, 1, length) for all of a batch:
    float32, which may be fractions, or whole numbers. `sections` tells how many of the D / 2 frequencies each of time, height and width has
    (`mrope_section`), and `layout` which (`axes_of`). The frequencies in radians per step are those of `theta` (`rope_theta`), or
    `frequencies`, float32 of shape (D / 2,), of a scaled variant, whose attention scaling is `scaling`. Value i of the first half of D is
    turned together with value i of the second half.

    The definition is multimodal rotary position embedding of "Qwen2-VL" (Wang et al. 2024, section 2.1) and the interleaved one of
    "Qwen3-VL" (2025, section 2). It is equal to transformers' `Qwen2_5_VLRotaryEmbedding` and `Qwen3VLTextRotaryEmbedding` with
    `apply_rotary_pos_emb`: of values up to 1 within 2e-6 in float32, and, since they round after each step, within 2e-2 in bfloat16 and
    3e-3 in float16. For one token at a time on a CPU theirs costs as much or less: they keep the tables from layer to layer.

    Raises `TypeError` for other dtypes or arrays, and `ValueError` for shapes that do not belong together.
    """
    import torch

    if not all(is_tensor(each) for each in (queries, keys, positions)):
        raise TypeError("queries, keys and positions must be torch tensors")
    if queries.dtype != keys.dtype or queries.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise TypeError(f"queries and keys are both float32, bfloat16 or float16, not {queries.dtype} and {keys.dtype}")
    if positions.dtype == torch.bool or positions.dtype in (torch.bfloat16, torch.float16):
        raise TypeError(f"positions are float32 or whole numbers, not {positions.dtype}: half precision cannot count past 2048")
    if queries.ndim != 4 or keys.ndim != 4 or (queries.shape[0], *queries.shape[2:]) != (keys.shape[0], *keys.shape[2:]):
        shapes = f"{tuple(queries.shape)} and {tuple(keys.shape)}"
        raise ValueError(f"queries and keys have shapes (batch, heads, length, D) that agree but in heads, not {shapes}")
    batch, _, length, width = queries.shape
    if positions.ndim != 3 or tuple(positions.shape) not in ((3, batch, length), (3, 1, length)):
        raise ValueError(f"positions have the shape {(3, batch, length)} or {(3, 1, length)}, not {tuple(positions.shape)}")
    if len(sections) != 3 or min(sections) < 0 or 2 * sum(sections) != width:
        raise ValueError(f"three sections that add up to half of D = {width} are needed, not {tuple(sections)}")
    if layout not in ("sectioned", "interleaved"):
        raise ValueError(f"the layout is sectioned or interleaved, not {layout!r}")
    axes, usual = _tables(tuple(sections), layout, theta, str(queries.device))
    frequencies = usual if frequencies is None else frequencies.to(queries.device, torch.float32)
    if tuple(frequencies.shape) != (width // 2,):
        raise ValueError(f"{width // 2} frequencies are needed, not {tuple(frequencies.shape)}")
    positions = positions.expand(3, batch, length)
    if on_gpu(queries):
        from kernels.rotary_time import gpu

        gpu.rotary_time(queries, keys, positions, axes, frequencies, scaling)
    else:
        from kernels.rotary_time import cpu

        cpu.rotary_time(queries, keys, positions, axes, frequencies, scaling)


@lru_cache(maxsize=16)
def _tables(sections: tuple[int, ...], layout: Layout, theta: float, device: str) -> "tuple[Tensor, Tensor]":
    """The axis and the frequency of each pair of values."""
    import torch

    return torch.from_numpy(axes_of(sections, layout)).to(device), frequencies_of(sum(sections), theta).to(device)
