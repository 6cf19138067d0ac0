"""Keyframe pictures: from JPEG to pixels, and whether two show the same."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import MediaUndecodable

MAX_PIXELS = 4096 * 4096
"""A keyframe is 448 pixels long; anything beyond this size is not one, and is not unpacked."""
MAX_SIDE = 736
"""Longer pictures are made smaller, so that a scene costs no more than it should."""
SAME_WITHIN = 0.05
"""Luma difference of the thumbnails, 0 to 1, that JPEG alone may cause."""


def decode(jpeg: bytes, *, what: str) -> Image.Image:
    """The picture in RGB, at most `MAX_SIDE` pixels on the long side.

    Raises `MediaUndecodable`, which names `what` the picture is.
    """
    try:
        opened = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
        if opened.width * opened.height > MAX_PIXELS:
            raise MediaUndecodable(f"{what}: the picture has {opened.width}x{opened.height} pixels; that is no keyframe")
        opened.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise MediaUndecodable(f"{what}: the picture cannot be decoded as JPEG ({len(jpeg)} bytes): {error}") from error
    picture = opened.convert("RGB")
    picture.thumbnail((MAX_SIDE, MAX_SIDE))
    return picture


def thumbnail(picture: Image.Image, size: tuple[int, int] = (64, 36)) -> NDArray[np.uint8]:
    """The picture as RGB at `size` (width, height) whatever its shape: [height, width, 3]."""
    return np.asarray(picture.resize(size, Image.Resampling.BOX), dtype=np.uint8)


def show_same(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails of one size differ nowhere by more than JPEG explains; one changed word makes a difference."""
    difference = np.abs(one.astype(np.int16) - other.astype(np.int16))
    return bool(difference.max() <= SAME_WITHIN * 255)
