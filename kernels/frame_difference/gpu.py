"""Thumbnails and differences of eight-bit luma in Triton: the large pictures are read once, the rest is of thumbnails."""

import torch
import triton
import triton.language as tl

from kernels.frame_difference.reference import BINS, COLUMNS, ROWS, FrameDifference


@triton.jit
def _thumbnail_kernel(
    luma, out, height, width, rows, columns, frame_stride, row_stride, column_stride, COLUMN: tl.constexpr, REACH: tl.constexpr
):
    """One row of one thumbnail: the boxes of all its pixels, a line of the picture at a time."""
    frame, row = (tl.program_id(0) // rows).to(tl.int64), tl.program_id(0) % rows
    column = tl.arange(0, COLUMN)
    left, right = column * width // columns, (column + 1) * width // columns
    place = left[:, None] + tl.arange(0, REACH)[None, :]
    inside = (place < right[:, None]) & (column < columns)[:, None]
    top, bottom = row * height // rows, (row + 1) * height // rows
    sums = tl.zeros((COLUMN,), tl.int32)
    start = luma + frame * frame_stride + top.to(tl.int64) * row_stride
    for _ in range(top, bottom):
        sums += tl.sum(tl.load(start + place.to(tl.int64) * column_stride, mask=inside, other=0).to(tl.int32), axis=1)
        start += row_stride
    area = tl.maximum((bottom - top) * (right - left), 1)
    mean = (2 * sums + area) // (2 * area)
    tl.store(out + (frame * rows + row) * columns + column, mean.to(tl.uint8), mask=column < columns)


@triton.jit
def _difference_kernel(
    before, after, luma, block, distance, height, width,
    ROW: tl.constexpr, COLUMN: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, BINS: tl.constexpr,
):  # fmt: skip
    """One pair of thumbnails, block by block; each pixel is read once."""
    pair = tl.program_id(0).to(tl.int64)
    bins = tl.arange(0, BINS)
    counts = tl.zeros((BINS,), tl.int32)
    total = tl.full((), 0, tl.int32)
    largest = 0.0
    for number in range(ROWS * COLUMNS):
        top, bottom = number // COLUMNS * height // ROWS, (number // COLUMNS + 1) * height // ROWS
        left, right = number % COLUMNS * width // COLUMNS, (number % COLUMNS + 1) * width // COLUMNS
        # As one axis, so that pixels and bins make a table.
        pixel = tl.arange(0, ROW * COLUMN)
        row, column = top + pixel // COLUMN, left + pixel % COLUMN
        inside = (row < bottom) & (column < right)
        place = pair * height * width + row * width + column
        first = tl.load(before + place, mask=inside, other=0).to(tl.int32)
        second = tl.load(after + place, mask=inside, other=0).to(tl.int32)
        apart = tl.sum(tl.abs(first - second))
        total += apart
        largest = tl.maximum(largest, apart.to(tl.float32) / ((bottom - top) * (right - left) * 255).to(tl.float32))
        of_first = (first // (256 // BINS))[:, None] == bins[None, :]
        of_second = (second // (256 // BINS))[:, None] == bins[None, :]
        moved = of_first.to(tl.int32) - of_second.to(tl.int32)
        counts += tl.sum(tl.where(inside[:, None], moved, 0), axis=0)
    pixels = (height * width).to(tl.float32)
    tl.store(luma + pair, total.to(tl.float32) / (pixels * 255))
    tl.store(block + pair, largest)
    tl.store(distance + pair, tl.sum(tl.abs(counts)).to(tl.float32) / (2 * pixels))


def thumbnails(luma: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """As the reference, to the bit."""
    rows, columns = size
    out = torch.empty((len(luma), rows, columns), dtype=torch.uint8, device=luma.device)
    if len(luma):
        _thumbnail_kernel[(len(luma) * rows,)](
            luma, out, *luma.shape[1:], rows, columns, *luma.stride(),
            COLUMN=triton.next_power_of_2(columns), REACH=triton.next_power_of_2(-(-luma.shape[2] // columns)),
        )  # fmt: skip
    return out


def frame_difference(before: torch.Tensor, after: torch.Tensor) -> FrameDifference:
    """As the reference, of thumbnails in bytes whose leading axes broadcast."""
    before, after = (each.contiguous() for each in torch.broadcast_tensors(before, after))
    *leading, height, width = before.shape
    found = torch.empty((3, *leading), device=before.device)
    if found.numel():
        # A block is at most one pixel larger than its share.
        row, column = (triton.next_power_of_2(-(-side // count)) for side, count in ((height, ROWS), (width, COLUMNS)))
        _difference_kernel[(found[0].numel(),)](
            before, after, found[0], found[1], found[2], height, width,
            ROW=row, COLUMN=column, ROWS=ROWS, COLUMNS=COLUMNS, BINS=BINS,
        )  # fmt: skip
    return FrameDifference(found[0], found[1], found[2])
