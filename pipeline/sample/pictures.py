"""Small pictures of decoded frames: thumbnails for comparing, JPEG for looking at."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from kernels.frame_difference import Thumbnails
from pipeline.media.decoders.cpu import AvSurface, Scaler
from pipeline.media.decoders.port import Small, Surface
from pipeline.media.shape import picture_size, turned

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LUMA_WIDTH = 64
LUMA_HEIGHT = 36


@dataclass(frozen=True)
class Picture:
    """A JPEG and its size in pixels."""

    jpeg: bytes
    width: int
    height: int


class Shrinker:
    """Makes the small pictures of one stream. The scaling is prepared once for each size and pixel format."""

    def __init__(self, *, longest_side: int = 448, jpeg_quality: int = 85) -> None:
        """`longest_side` is that of the JPEG at most, in pixels; `jpeg_quality` is from 1 to 95, in Pillow's scale."""
        self._longest_side = longest_side
        self._jpeg_quality = jpeg_quality
        self._scaler: Scaler | None = None

    def small(self, picture: "Surface | VideoFrame") -> Small:
        """The frame as the rules see it: luma of shape (36, 64), Cb and Cr of shape (2, 18, 32)."""
        return self._surface(picture).small(LUMA_WIDTH, LUMA_HEIGHT)

    def luma(self, picture: "Surface | VideoFrame") -> Thumbnails:
        """The brightness alone."""
        return self.small(picture).luma

    def picture(self, picture: "Surface | VideoFrame", pixel_aspect: Fraction = Fraction(1), rotation: int | None = None) -> Picture:
        """The frame as it is meant to be seen, made smaller where it is too large, never larger.

        `pixel_aspect` is the width of one pixel over its height, `rotation` the degrees counter-clockwise by which it is
        turned, by default what a frame of FFmpeg's says itself. The frame is scaled before it is converted to RGB.
        """
        from PIL import Image

        surface = self._surface(picture)
        width, height = picture_size(surface.width, surface.height, pixel_aspect, self._longest_side)
        turn = getattr(picture, "rotation", 0) if rotation is None else rotation
        image = Image.fromarray(turned(surface.rgb(width, height), turn))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self._jpeg_quality)
        return Picture(file.getvalue(), image.width, image.height)

    def _surface(self, picture: "Surface | VideoFrame") -> Surface:
        """The picture itself, or a frame of FFmpeg's as one."""
        from av.video.frame import VideoFrame

        if not isinstance(picture, VideoFrame):
            return picture
        self._scaler = self._scaler or Scaler()
        return AvSurface(picture, self._scaler)
