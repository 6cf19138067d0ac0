"""Differences of luma thumbnails in numpy: of the whole picture, of its most changed part, and of its brightness alone.

The thumbnails are meant to be 64x36 (a 16:9 picture); any size from 8x6 up works. Pixels are `uint8` or `uint16`, where the
type's largest value is white, or of a floating type from 0 (black) to 1 (white).

Every function takes `before` and `after`, shapes (..., height, width) that broadcast against each other, of one dtype, and
returns `float32` of the shape that is left without the last two axes: from 0, the same, to 1, black against white. The
order of the two does not matter. All raise `TypeError` for two dtypes or one that is no luma, and `ValueError` for pictures
of different sizes or of none, or, where they are divided into blocks, smaller than 8x6.

The measures are the pixel-wise, block-wise and histogram comparisons of J. S. Boreczky and L. A. Rowe, "Comparison of
video shot boundary detection techniques", SPIE 2670 (1996), section 2.
"""

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

ROWS = 6
COLUMNS = 8
"""A picture is divided into 6 rows of 8 blocks; of a 64x36 thumbnail a block is 8 pixels wide and 6 high."""
BINS = 32
"""Equal steps of brightness in a histogram."""
_WHITE = {np.dtype(np.uint8): 255, np.dtype(np.uint16): 65_535}

Thumbnails = NDArray[Any]
"""Luma of one picture, shape (height, width), or of several, shape (..., height, width)."""
Differences = NDArray[np.float32]
"""One number for each pair of pictures, shape (...)."""


THUMBNAIL = (36, 64)
"""Height and width of a thumbnail."""


class FrameDifference(NamedTuple):
    """The three differences of each pair, `float32`, shape (...), of the kind of array that came in."""

    luma: Any
    block: Any
    histogram: Any


def luma_difference(before: Thumbnails, after: Thumbnails) -> Differences:
    """Mean absolute difference of the pixels."""
    return _mean(_absolute_difference(before, after))


def block_difference(before: Thumbnails, after: Thumbnails) -> Differences:
    """Largest mean absolute difference of any of the 48 blocks: finds what is small but changes much.

    Blocks of a picture whose sides are no multiples of 8 and 6 differ in size by at most one pixel each way.
    """
    return _largest_block(_absolute_difference(before, after))


def histogram_distance(before: Thumbnails, after: Thumbnails) -> Differences:
    """Share of the pixels that would have to change their bin of brightness: half the L1 distance of the histograms.

    Blind to where things are, and so to motion.
    """
    check(before, after)
    distance = np.abs(histogram(before) - histogram(after)).sum(axis=-1) / 2
    return np.asarray(distance, dtype=np.float32)


def frame_difference(before: Thumbnails, after: Thumbnails) -> FrameDifference:
    """All three."""
    difference = _absolute_difference(before, after)
    return FrameDifference(_mean(difference), _largest_block(difference), histogram_distance(before, after))


def successive_differences(frames: Thumbnails) -> FrameDifference:
    """Compare each of N pictures, shape (N, height, width) in order of time, with the one before it: shapes (N - 1,)."""
    if frames.ndim != 3 or not len(frames):
        raise ValueError(f"pictures in a shape (N, height, width) with N of at least 1 are needed, not {frames.shape}")
    return frame_difference(frames[:-1], frames[1:])


def thumbnails(luma: NDArray[np.uint8], size: tuple[int, int] = THUMBNAIL) -> NDArray[np.uint8]:
    """The mean of the pixels under each pixel of a smaller picture, halves rounded up: (N, height, width) to (N, *size).

    Pixel i of n covers from i * height // n to (i + 1) * height // n. Sums of a picture of 8K fit into float32.
    """
    rows, columns = size
    height, width = luma.shape[1:]
    tops, lefts = np.arange(rows + 1) * height // rows, np.arange(columns + 1) * width // columns
    areas = np.outer(np.diff(tops), np.diff(lefts))
    band = np.empty((rows, width), np.float32)
    small = np.empty((len(luma), rows, columns), np.uint8)
    for number, picture in enumerate(luma):
        for row in range(rows):
            np.add.reduce(picture[tops[row] : tops[row + 1]], axis=0, dtype=np.float32, out=band[row])
        sums = np.add.reduceat(band, lefts[:-1], axis=1).astype(np.int64)
        small[number] = (2 * sums + areas) // (2 * areas)
    return small


def check(before: Thumbnails, after: Thumbnails) -> None:
    """Raise what the module says if the two cannot be compared."""
    if before.dtype != after.dtype:
        raise TypeError(f"one dtype is needed, not {before.dtype} and {after.dtype}")
    if before.dtype.kind != "f" and before.dtype not in _WHITE:
        raise TypeError(f"luma is uint8, uint16 or floating, not {before.dtype}")
    if min(before.ndim, after.ndim) < 2 or before.shape[-2:] != after.shape[-2:] or 0 in before.shape[-2:]:
        raise ValueError(f"two pictures of one size are needed, not {before.shape} and {after.shape}")


def _absolute_difference(before: Thumbnails, after: Thumbnails) -> NDArray[np.float32]:
    """Of each pixel, 0 to 1."""
    check(before, after)
    difference = before.astype(np.float32) - after.astype(np.float32)
    np.abs(difference, out=difference)
    if before.dtype in _WHITE:
        difference *= np.float32(1 / _WHITE[before.dtype])
    return difference


def _mean(difference: NDArray[np.float32]) -> Differences:
    return np.asarray(np.add.reduce(difference, axis=(-2, -1)) / np.float32(difference.shape[-1] * difference.shape[-2]), dtype=np.float32)


def _largest_block(difference: NDArray[np.float32]) -> Differences:
    height, width = difference.shape[-2:]
    tops, lefts, areas = blocks(height, width)
    sums = np.add.reduceat(np.add.reduceat(difference, tops, axis=-2), lefts, axis=-1)
    return np.asarray((sums / areas).max(axis=(-2, -1)), dtype=np.float32)


@functools.lru_cache(maxsize=16)
def blocks(height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """First row of each row of blocks, first column of each column of blocks, and the number of pixels of each block."""
    if height < ROWS or width < COLUMNS:
        raise ValueError(f"a picture must be at least {COLUMNS}x{ROWS} to be divided into blocks, not {width}x{height}")
    tops = np.arange(ROWS) * height // ROWS
    lefts = np.arange(COLUMNS) * width // COLUMNS
    return tops, lefts, np.outer(np.diff(tops, append=height), np.diff(lefts, append=width)).astype(np.float32)


def histogram(frames: Thumbnails) -> NDArray[np.float32]:
    """The share of pixels in each bin of brightness, shape (..., 32)."""
    if frames.dtype.kind == "f":
        bins = np.clip(np.floor(frames.astype(np.float32) * BINS), 0, BINS - 1).astype(np.int64)
    else:
        bins = frames.astype(np.int64) * BINS // (_WHITE[frames.dtype] + 1)
    flat = bins.reshape(-1, bins.shape[-2] * bins.shape[-1])
    pictures = np.arange(len(flat))[:, None]
    counts = np.bincount((flat + pictures * BINS).ravel(), minlength=len(flat) * BINS)
    return (counts.reshape(*bins.shape[:-2], BINS) / flat.shape[1]).astype(np.float32)
