"""Where writing has appeared: thin strokes, close to each other, in a small part of a picture that otherwise stays as it is.

A stroke shows in a line of pixels as a step up next to a step down. Letters make many of them in a cell of 8x3 pixels of the
thumbnail, edges of things one or two. (Edge density as a sign of captions: R. Lienhart, W. Effelsberg, "Automatic text
segmentation and text recognition for video indexing", Multimedia Systems 8 (2000), section 4; here on the thumbnail.)
"""

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails
from pipeline.sample.looks import Look

Strokes = NDArray[np.float32]
"""How many pixels of each cell are strokes, shape (12, 8)."""

ROWS, COLUMNS = 12, 8
_STEEP = 12 * 12
"""Product of the steps, in levels, on the two sides of a stroke."""
_RISEN = 9
"""Strokes more than before in two neighbouring cells: writing had 9 to 32, little else more than 8."""
_STILL = 6.0
_CHANGED = 0.25
"""Writing stays where it is: less change than that many levels in its cells now, and as much in few cells since before."""


def strokes(luma: Thumbnails) -> Strokes:
    """Count the strokes of a `uint8` thumbnail of shape (36, 64)."""
    levels = luma.astype(np.int32)
    steps = levels[:, 1:] - levels[:, :-1]
    found = np.zeros(luma.shape, np.float32)
    np.less(steps[:, :-1] * steps[:, 1:], -_STEEP, out=found[:, 1:-1], casting="unsafe")
    return _cells(found)


def appeared(now: Strokes, lately: Strokes, before: Strokes, *, moved: NDArray[np.float32], changed: NDArray[np.float32]) -> bool:
    """Whether there is writing now and lately that was not there before.

    `moved` and `changed` are mean absolute luma differences of each cell, in levels: between lately and now, and between
    before and now.
    """
    if np.count_nonzero(changed > _STILL) > _CHANGED * changed.size:
        return False
    rise = np.where(moved < _STILL, np.minimum(now, lately) - before, 0).clip(min=0)
    return int((rise[:, :-1] + rise[:, 1:]).max()) >= _RISEN


def cell_differences(before: Look, after: Look) -> NDArray[np.float32]:
    """Mean absolute luma difference of each cell, in levels, shape (12, 8)."""
    return _cells(np.abs(after.luma - before.luma).reshape(36, 64)) / np.float32(24)


def _cells(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums over the cells."""
    sums: NDArray[np.float32] = np.add.reduce(picture.reshape(ROWS, 3, 64), axis=1) @ _SUMS
    return sums


_SUMS = np.kron(np.eye(COLUMNS), np.ones((8, 1))).astype(np.float32)
