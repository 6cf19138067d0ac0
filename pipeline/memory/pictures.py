"""A keyframe's picture made small enough to keep by the thousand."""

import io

from pipeline.jpeg import decoded

LONG_SIDE = 320
"""Pixels of a thumbnail's longer side, at most."""
MAX_BYTES = 24_000
QUALITIES = (80, 65, 50, 35)
"""JPEG qualities that are tried in turn until the size fits."""


def thumbnail(jpeg: bytes) -> tuple[bytes, int, int]:
    """The picture as a JPEG of at most 320 pixels and 24 kB, with its width and height; the same picture gives the same bytes.

    Raises `MediaUndecodable` for what is no JPEG.
    """
    from PIL import Image

    picture = decoded(jpeg)
    side = LONG_SIDE
    while True:
        picture.thumbnail((side, side), Image.Resampling.LANCZOS)
        for quality in QUALITIES:
            out = io.BytesIO()
            picture.save(out, "JPEG", quality=quality)
            if out.tell() <= MAX_BYTES:
                return out.getvalue(), picture.width, picture.height
        side = side * 3 // 4
