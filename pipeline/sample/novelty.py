"""How new a picture is against another, by the mean brightness of its blocks."""

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.looks import Look

MUCH = 4.0
"""Unrelated pictures differ by about a quarter in mean luma."""
_ROWS, _COLUMNS = 6, 8
_MEANS = np.kron(np.eye(_COLUMNS), np.full((8, 1), 1 / (255 * 48))).astype(np.float32)


def novelty(before: Look | None, now: Look) -> float:
    """How new a picture is against another: all of it a little or a part of it much, 0 to 1; 1 against none."""
    return 1.0 if before is None else novelty_of(block_differences(before, now))


def novelty_of(blocks: NDArray[np.float32]) -> float:
    """The same, of the differences of the blocks."""
    return min(1.0, max(MUCH * float(np.add.reduce(blocks, axis=None)) / blocks.size, float(np.maximum.reduce(blocks, axis=None))))


def block_differences(before: Look, after: Look, *, light: bool = True) -> NDArray[np.float32]:
    """Mean absolute luma difference of each of 6x8 blocks, 0 to 1; without the difference of the means unless `light`."""
    difference = after.luma - before.luma
    if not light:
        difference -= np.float32(float(np.add.reduce(difference)) / difference.size)
    np.abs(difference, out=difference)
    means: NDArray[np.float32] = np.add.reduce(difference.reshape(_ROWS, 6, 64), axis=1) @ _MEANS
    return means
