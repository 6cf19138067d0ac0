"""What becomes of a picture that may pass only redacted: large blocks of its mean colours, or a plain grey."""

from collections.abc import Collection
from io import BytesIO

from pipeline.jpeg import decoded
from pipeline.safety.policy import FrameRedaction

BLOCKS = 12
"""Blocks along the longer side: of a 448-pixel keyframe blocks of 37 pixels stay, in which no face or body can be made out."""
_GREY = (96, 96, 96)
_QUALITY = 80


def redact(jpeg: bytes, ways: Collection[FrameRedaction]) -> bytes:
    """A JPEG of the same size with nothing of the picture that could be recognised; raises `MediaUndecodable`.

    Replacing wins over pixelating. Nothing of the file but its pixels is carried over: thumbnails and notes in it stay behind.
    """
    from PIL import Image

    picture = decoded(jpeg)
    width, height = picture.size
    if FrameRedaction.REPLACE in ways:
        result = Image.new("RGB", (width, height), _GREY)
    else:
        scale = BLOCKS / max(width, height)
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        result = picture.resize(small, Image.Resampling.BOX).resize((width, height), Image.Resampling.NEAREST)
    stored = BytesIO()
    result.save(stored, format="JPEG", quality=_QUALITY)
    return stored.getvalue()
