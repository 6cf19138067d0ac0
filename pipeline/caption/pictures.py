"""Keyframe pictures: from JPEG to pixels, and whether two show the same."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.jpeg import decoded

MAX_SIDE = 736
"""Longer pictures are made smaller, so that a scene costs no more than it should."""
SAME_WITHIN = 0.05
"""Luma difference of the thumbnails, 0 to 1, that JPEG alone may cause."""


def decode(jpeg: bytes, *, what: str) -> Image.Image:
    """The picture in RGB, at most `MAX_SIDE` pixels on the long side.

    Raises `MediaUndecodable`, which names `what` the picture is.
    """
    picture = decoded(jpeg, what=what)
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return picture


def thumbnail(picture: Image.Image, size: tuple[int, int] = (64, 36)) -> NDArray[np.uint8]:
    """The picture as RGB at `size` (width, height) whatever its shape: [height, width, 3]."""
    return np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.uint8)


def show_same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails of one size differ nowhere by more than JPEG explains; one changed word makes a difference."""
    difference = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return bool(difference.max() <= SAME_WITHIN * 255)
