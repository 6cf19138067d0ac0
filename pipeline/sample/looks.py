"""What is known of one frame, and how two frames differ: in brightness, in shape, in colour, and in how much of the picture.

Shape is what remains of the luma thumbnail when its mean is taken away and its contrast made one, so that a flash, a lamp that
flickers or an exposure that adapts changes it little, and a cut between two dark pictures as much as one between bright ones.
Black bars beside or above a picture, as films and old videos have, are no part of it: they would make all pictures alike.
The distance of two shapes is `sqrt(2 (1 - correlation))`: 0 for the same, 1.41 for pictures that have nothing in common,
2 for negatives (zero-mean normalised correlation: J. P. Lewis, "Fast normalized cross-correlation", Vision Interface 1995).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails
from pipeline.timeline import MediaTime

Vector = NDArray[np.float32]

PERIOD = MediaTime.of(0.1)
"""How often a picture is looked at: the first after each tenth of a second, however many there are."""

_NOISE = 0.01
"""Contrast, as a share of white, that is added to every picture's own, so that the noise of an even picture is no shape."""
_BLACK = 8
"""Bars are no lighter, of 255: they were seen at up to 4, and at 9 where a column is half picture."""
_LEAST_SEEN = 0.25
"""What leaves less than this part of the picture is no bars: the picture is dark."""
_BITS = 3
"""A colour histogram has 8 x 8 bins of Cb and Cr."""


@dataclass(frozen=True, slots=True)
class Look:
    """One frame's thumbnails, prepared for comparing."""

    luma: Vector
    """Flat, 0 to 255."""
    shape: Vector
    """Flat, mean 0, length 1 or a little less; 0 in bars."""
    contrast: float
    """Standard deviation of the luma as a share of white, 0 to 0.5."""
    chroma: NDArray[np.uint8] | None
    """Cb and Cr, shape (2, ...); `None` where only brightness is known."""
    bars: tuple[int, int] = (0, 0)
    """Rows above and below, and columns left and right, that are black bars."""
    seen: float = 1.0
    """Part of the picture that is between them."""


def look(luma: Thumbnails, chroma: NDArray[np.uint8] | None = None) -> Look:
    """Prepare `uint8` thumbnails; all of a stream must be of one size."""
    flat = luma.astype(np.float32).ravel()
    bars = _bars(luma)
    if bars == (0, 0):
        pixels = flat.size
        rest = flat - np.float32(float(np.add.reduce(flat)) / pixels)
    else:
        rest, pixels = _between(flat.reshape(luma.shape), *bars)
    energy = float(rest @ rest)
    rest *= np.float32(1 / math.sqrt(energy + pixels * (255 * _NOISE) ** 2))
    return Look(flat, rest, math.sqrt(energy / pixels) / 255, chroma, bars, pixels / flat.size)


def _bars(luma: Thumbnails) -> tuple[int, int]:
    """Rows and columns of black bars: as many on either side, which a picture that is dark somewhere seldom has."""
    if max(luma[0, 0], luma[0, -1], luma[-1, 0], luma[-1, -1]) > _BLACK:
        return 0, 0
    rows, columns = _dark_ends(luma.max(axis=1)), _dark_ends(luma.max(axis=0))
    height, width = luma.shape
    return (rows, columns) if (height - 2 * rows) * (width - 2 * columns) >= _LEAST_SEEN * luma.size else (0, 0)


def _dark_ends(brightest: NDArray[np.uint8]) -> int:
    light = (brightest > _BLACK).nonzero()[0]
    return min(int(light[0]), brightest.size - 1 - int(light[-1])) if light.size else 0


def _between(luma: Vector, rows: int, columns: int) -> tuple[Vector, int]:
    """What is between the bars, less its mean, and 0 in the bars; and how many pixels that are."""
    height, width = luma.shape
    rest = np.zeros_like(luma)
    inner = luma[rows : height - rows, columns : width - columns]
    rest[rows : height - rows, columns : width - columns] = inner - np.float32(inner.mean())
    return rest.ravel(), inner.size


def step(before: Look, after: Look) -> float:
    """Mean absolute luma difference between the bars, 0 to 1."""
    difference = after.luma - before.luma
    np.abs(difference, out=difference)
    return float(np.add.reduce(difference)) / (255 * difference.size * max(before.seen, after.seen))


def shape_distance(before: Look, after: Look) -> float:
    """How unlike the shapes are, 0 to 2; 1 where one of the pictures is even."""
    difference = after.shape - before.shape
    return math.sqrt(float(difference @ difference))


def colour_step(before: Look, after: Look) -> float:
    """Mean absolute difference of Cb and Cr, 0 to 1; 0 where no colour is known."""
    if before.chroma is None or after.chroma is None:
        return 0.0
    higher, lower = np.maximum(before.chroma, after.chroma), np.minimum(before.chroma, after.chroma)
    return float(np.add.reduce((higher - lower).ravel(), dtype=np.uint32)) / (255 * higher.size * max(before.seen, after.seen))


def colour_distance(before: Look, after: Look) -> float:
    """Share of the picture that would have to change its colour: half the L1 distance of 8 x 8 histograms of Cb and Cr.

    Blind to where things are, and so to motion (M. J. Swain, D. H. Ballard, "Color indexing", IJCV 7 (1991), section 3).
    """
    if before.chroma is None or after.chroma is None:
        return 0.0
    difference = _histogram(after.chroma) - _histogram(before.chroma)
    return float(np.abs(difference).sum() / (2 * before.chroma[0].size * max(before.seen, after.seen)))


def spread(before: Look, after: Look) -> float:
    """How evenly the change is spread over the picture, 0 to 1: mean absolute difference squared over mean squared difference.

    A cut has about 0.6, like noise; writing that appears has 0.1, being a small part of the picture that changes much.
    """
    difference = after.luma - before.luma
    square = float(difference @ difference)
    whole = float(np.abs(difference).sum())
    return min(1.0, whole * whole / (difference.size * max(before.seen, after.seen) * square)) if square else 0.0


def _histogram(chroma: NDArray[np.uint8]) -> NDArray[np.int64]:
    down = 8 - _BITS
    return np.bincount((((chroma[0] >> down) << _BITS) | (chroma[1] >> down)).ravel(), minlength=1 << 2 * _BITS)
