"""Frames to patches in Triton: one program makes one patch of one frame, from the planes to its place in the rows.

The program goes over the pixels that its patch needs in squares of 32. Each is resized across by one small matrix product and
added up downwards by a second, so that neither a resized plane nor an RGB picture is ever in the GPU's memory. The products are
in full float32 ("ieee"): TF32 would keep 10 bits.
"""

import functools
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.frame_to_patches.plan import Axis, Patches, Plan

_SQUARE = 32


@triton.jit
def _weights(table, first, taps, outputs, count, samples):
    """Weights of `samples` for `outputs`, (outputs, samples): zero beyond the axis and outside of a filter."""
    real = outputs < count
    tap = samples[None, :] - tl.load(first + outputs, mask=real, other=0)[:, None]
    inside = (tap >= 0) & (tap < taps) & real[:, None]
    return tl.load(table + outputs[:, None] * taps + tap, mask=inside, other=0.0)


@triton.jit
def _resized(
    plane, row_stride, column_stride, height, width,
    down, down_first, down_taps, down_count, down_outputs,
    across, across_first, across_taps, across_count, across_outputs,
    low_row, high_row, low_column, high_column,
    TILE: tl.constexpr, SQUARE: tl.constexpr,
):  # fmt: skip
    """TILE x TILE outputs of one plane of one frame, of the pixels in the box low to high."""
    total = tl.zeros((TILE, TILE), tl.float32)
    for top in range(low_row, high_row, SQUARE):
        rows = top + tl.arange(0, SQUARE)
        strip = tl.zeros((SQUARE, TILE), tl.float32)
        for left in range(low_column, high_column, SQUARE):
            columns = left + tl.arange(0, SQUARE)
            inside = (rows < height)[:, None] & (columns < width)[None, :]
            # A frame of 8K has more bytes than a batch of them may have in 32 bits.
            places = rows.to(tl.int64)[:, None] * row_stride + columns.to(tl.int64)[None, :] * column_stride
            pixels = tl.load(plane + places, mask=inside, other=0).to(tl.float32)
            weights = _weights(across, across_first, across_taps, across_outputs, across_count, columns)
            strip += tl.dot(pixels, tl.trans(weights), input_precision="ieee")
        weights = _weights(down, down_first, down_taps, down_outputs, down_count, rows)
        total += tl.dot(weights, strip, input_precision="ieee")
    return total


@triton.jit
def _patch_kernel(
    luma, blue, red, out, mix, limits,
    frames, height, width, chroma_height, chroma_width,
    luma_frame, luma_row, luma_column, blue_frame, blue_row, blue_column, red_frame, red_row, red_column,
    y_down, y_down_first, y_down_taps, y_across, y_across_first, y_across_taps,
    c_down, c_down_first, c_down_taps, c_across, c_across_first, c_across_taps,
    grid_rows, grid_columns,
    PATCH: tl.constexpr, MERGE: tl.constexpr, TEMPORAL: tl.constexpr, TRANSPOSED: tl.constexpr, TILE: tl.constexpr, SQUARE: tl.constexpr,
):  # fmt: skip
    slot, place = tl.program_id(1), tl.program_id(0)
    patch_row, patch_column = place // grid_columns, place % grid_columns
    frame = tl.minimum(slot, frames - 1).to(tl.int64)
    inner = tl.arange(0, TILE)
    # Down and across are those of the planes as they come; the picture may lie on its side.
    if TRANSPOSED:
        block_down, block_across = patch_column, patch_row
        down_count, across_count = grid_columns * PATCH, grid_rows * PATCH
    else:
        block_down, block_across = patch_row, patch_column
        down_count, across_count = grid_rows * PATCH, grid_columns * PATCH
    # A tile is a patch rounded up; what is beyond the patch counts as beyond the axis.
    rows = tl.where(inner < PATCH, block_down * PATCH + inner, down_count)
    columns = tl.where(inner < PATCH, block_across * PATCH + inner, across_count)
    # Filters follow each other, forwards or, turned around, backwards, so the first or the last output reaches furthest.
    top, bottom = block_down * PATCH, block_down * PATCH + PATCH - 1
    left, right = block_across * PATCH, block_across * PATCH + PATCH - 1
    a, b = tl.load(y_down_first + top), tl.load(y_down_first + bottom)
    c, d = tl.load(y_across_first + left), tl.load(y_across_first + right)
    y = _resized(
        luma + frame * luma_frame, luma_row, luma_column, height, width,
        y_down, y_down_first, y_down_taps, down_count, rows,
        y_across, y_across_first, y_across_taps, across_count, columns,
        tl.minimum(a, b), tl.maximum(a, b) + y_down_taps, tl.minimum(c, d), tl.maximum(c, d) + y_across_taps, TILE, SQUARE,
    )  # fmt: skip
    a, b = tl.load(c_down_first + top), tl.load(c_down_first + bottom)
    c, d = tl.load(c_across_first + left), tl.load(c_across_first + right)
    low_row, high_row = tl.minimum(a, b), tl.maximum(a, b) + c_down_taps
    low_column, high_column = tl.minimum(c, d), tl.maximum(c, d) + c_across_taps
    u = _resized(
        blue + frame * blue_frame, blue_row, blue_column, chroma_height, chroma_width,
        c_down, c_down_first, c_down_taps, down_count, rows, c_across, c_across_first, c_across_taps, across_count, columns,
        low_row, high_row, low_column, high_column, TILE, SQUARE,
    )  # fmt: skip
    v = _resized(
        red + frame * red_frame, red_row, red_column, chroma_height, chroma_width,
        c_down, c_down_first, c_down_taps, down_count, rows, c_across, c_across_first, c_across_taps, across_count, columns,
        low_row, high_row, low_column, high_column, TILE, SQUARE,
    )  # fmt: skip
    # The merge x merge patches of a token follow each other.
    token = (patch_row // MERGE) * (grid_columns // MERGE) + patch_column // MERGE
    row = token * MERGE * MERGE + (patch_row % MERGE) * MERGE + patch_column % MERGE
    row = (slot // TEMPORAL).to(tl.int64) * grid_rows * grid_columns + row
    pixel = inner[None, :] * PATCH + inner[:, None] if TRANSPOSED else inner[:, None] * PATCH + inner[None, :]
    inside = (inner < PATCH)[:, None] & (inner < PATCH)[None, :]
    for channel in tl.static_range(3):
        of = mix + channel * 4
        value = tl.load(of) * y + tl.load(of + 1) * u + tl.load(of + 2) * v + tl.load(of + 3)
        value = tl.minimum(tl.maximum(value, tl.load(limits + channel)), tl.load(limits + 3 + channel))
        start = out + row * (3 * TEMPORAL * PATCH * PATCH) + (channel * TEMPORAL + slot % TEMPORAL) * (PATCH * PATCH)
        tl.store(start + pixel, value.to(out.dtype.element_ty), mask=inside)


@functools.lru_cache(maxsize=64)
def _tables(plan: Plan, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, list[Any]]:
    def of(axis: Axis) -> list[Any]:
        return [torch.from_numpy(axis.weights).to(device), torch.from_numpy(axis.first).to(device), axis.weights.shape[1]]

    axes = [each for axis in (*plan.luma, *plan.chroma) for each in of(axis)]
    return torch.from_numpy(plan.mix).to(device), torch.tensor([*plan.low, *plan.high], device=device), axes


def frame_to_patches(luma: torch.Tensor, blue: torch.Tensor, red: torch.Tensor, plan: Plan, dtype: str = "float32") -> Patches:
    """As the reference; any strides, rows of `dtype` on the planes' device."""
    times, grid_rows, grid_columns = plan.grid
    out = torch.empty(
        (times * grid_rows * grid_columns, 3 * plan.temporal * plan.patch**2), dtype=getattr(torch, dtype), device=luma.device
    )
    mix, limits, axes = _tables(plan, luma.device)
    _patch_kernel[(grid_rows * grid_columns, times * plan.temporal)](
        luma, blue, red, out, mix, limits,
        *luma.shape, *blue.shape[1:],
        *luma.stride(), *blue.stride(), *red.stride(),
        *axes, grid_rows, grid_columns,
        PATCH=plan.patch, MERGE=plan.merge, TEMPORAL=plan.temporal, TRANSPOSED=plan.transposed,
        TILE=max(16, triton.next_power_of_2(plan.patch)), SQUARE=_SQUARE,
    )  # fmt: skip
    return Patches(out, plan.grid)
