"""The differences of eight-bit thumbnails, in whole numbers as long as that goes, a few pictures at a time.

The largest of two bytes less the smallest is a byte, which the processor does 64 at a time, and sums of blocks are two small
matrix products. The results are those of the reference but for the last bit.
"""

import functools

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference.reference import BINS, COLUMNS, ROWS, Differences, FrameDifference, blocks, check

_PICTURES = 64
"""At a time: their numbers stay in the processor's cache."""

Bytes = NDArray[np.uint8]


def luma_difference(before: Bytes, after: Bytes) -> Differences:
    """As the reference."""
    check(before, after)
    apart = _apart(before, after)
    return _share(np.add.reduce(apart, axis=(-2, -1)), apart.shape)


def block_difference(before: Bytes, after: Bytes) -> Differences:
    """As the reference."""
    check(before, after)
    return _largest(_sums(_apart(before, after)), before.shape)


def histogram_distance(before: Bytes, after: Bytes) -> Differences:
    """As the reference."""
    check(before, after)
    return _distance(counts(before), counts(after), before.shape)


def frame_difference(before: Bytes, after: Bytes) -> FrameDifference:
    """As the reference."""
    check(before, after)
    sums = _sums(_apart(before, after))
    distance = _distance(counts(before), counts(after), before.shape)
    return FrameDifference(_share(sums.sum(axis=(-2, -1)), before.shape), _largest(sums, before.shape), distance)


def successive_differences(frames: Bytes) -> FrameDifference:
    """As the reference, but each histogram is made once."""
    check(frames, frames)
    found = FrameDifference(*(np.empty(len(frames) - 1, np.float32) for _ in range(3)))
    for begin in range(0, len(frames) - 1, _PICTURES):
        some = frames[begin : begin + _PICTURES + 1]
        sums, end = _sums(_apart(some[:-1], some[1:])), begin + len(some) - 1
        found.luma[begin:end] = _share(sums.sum(axis=(-2, -1)), some.shape)
        found.block[begin:end] = _largest(sums, some.shape)
        bins = counts(some)
        found.histogram[begin:end] = _distance(bins[:-1], bins[1:], some.shape)
    return found


def counts(frames: Bytes) -> NDArray[np.int64]:
    """How many pixels are in each bin of brightness, shape (..., 32)."""
    if frames.ndim == 2:
        return np.bincount((frames >> 3).ravel(), minlength=BINS)
    flat = frames.reshape(-1, frames.shape[-2] * frames.shape[-1])
    bins = (flat >> 3).astype(np.int64)
    bins += np.arange(0, len(flat) * BINS, BINS)[:, None]
    return np.bincount(bins.ravel(), minlength=len(flat) * BINS).reshape(*frames.shape[:-2], BINS)


def _apart(before: Bytes, after: Bytes) -> NDArray[np.float32]:
    """Absolute difference in grey levels."""
    larger = np.maximum(before, after)
    larger -= np.minimum(before, after)
    return larger.astype(np.float32)


def _share(sums: NDArray[np.float32], shape: tuple[int, ...]) -> Differences:
    return np.asarray(sums / np.float32(255 * shape[-2] * shape[-1]), dtype=np.float32)


def _sums(apart: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of each block, shape (..., 6, 8)."""
    height, width = apart.shape[-2:]
    down, across, _ = _members(height, width)
    return np.asarray(down @ apart @ across)


def _largest(sums: NDArray[np.float32], shape: tuple[int, ...]) -> Differences:
    _, _, whites = _members(shape[-2], shape[-1])
    return np.asarray((sums / whites).max(axis=(-2, -1)), dtype=np.float32)


def _distance(before: NDArray[np.int64], after: NDArray[np.int64], shape: tuple[int, ...]) -> Differences:
    return np.asarray(np.abs(before - after).sum(axis=-1) / (2 * shape[-2] * shape[-1]), dtype=np.float32)


@functools.lru_cache(maxsize=16)
def _members(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Which rows and columns belong to which blocks, as matrices of ones and zeros, and a white block's sum."""
    tops, lefts, areas = blocks(height, width)
    down = np.searchsorted(tops, np.arange(height), side="right") - 1 == np.arange(ROWS)[:, None]
    across = np.searchsorted(lefts, np.arange(width), side="right") - 1 == np.arange(COLUMNS)[:, None]
    return down.astype(np.float32), np.ascontiguousarray(across.T, np.float32), areas * np.float32(255)
