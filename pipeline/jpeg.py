"""JPEGs that come from elsewhere: checked before they are decoded, and nothing but their pixels goes on."""

from io import BytesIO
from typing import TYPE_CHECKING

from pipeline.errors import MediaUndecodable

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 16_000_000
"""Larger pictures are refused before they are decoded: a small JPEG can claim any size. A keyframe is 448 pixels long."""
_ORIENTATION = 0x0112
"""EXIF's tag."""


def decoded(jpeg: bytes, *, what: str = "the picture", upright: bool = False) -> "Image.Image":
    """The picture in RGB, without the comments, EXIF and profiles of the file.

    It is as it was stored, or, if it is to be `upright`, turned as EXIF says: cameras store a picture as the sensor stood.
    Raises `MediaUndecodable`, which names `what` the picture is, where it is no whole JPEG or claims too many pixels.
    """
    from PIL import Image

    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    try:
        with Image.open(BytesIO(jpeg), formats=("JPEG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise MediaUndecodable(f"{what} claims {opened.width} x {opened.height} pixels, over the limit of {MAX_PIXELS:,}")
            turn = turns.get(opened.getexif().get(_ORIENTATION, 1)) if upright else None
            picture = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise MediaUndecodable(f"{what} is not a whole JPEG ({type(error).__name__}, {len(jpeg):,} bytes)") from error
    picture.info.clear()
    return picture if turn is None else picture.transpose(turn)
