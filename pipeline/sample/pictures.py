"""Small pictures of decoded frames: luma for comparing, JPEG for looking at."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

LUMA_WIDTH = 64
LUMA_HEIGHT = 36


@dataclass(frozen=True)
class Small:
    """A frame as the rules see it: the whole frame, whatever its shape."""

    luma: Thumbnails
    """`uint8`, shape (36, 64), 0 black to 255 white."""
    chroma: NDArray[np.uint8]
    """Cb and Cr, shape (2, 18, 32); 128 is no colour."""


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
        from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

        self._fast, self._fine = Interpolation.FAST_BILINEAR, Interpolation.AREA
        self._full_range = ColorRange.JPEG
        self._longest_side = longest_side
        self._jpeg_quality = jpeg_quality
        self._to_small = VideoReformatter()
        self._to_picture = VideoReformatter()

    def small(self, frame: "VideoFrame") -> Small:
        """The frame's brightness and colour, scaled in one go (16 microseconds a 720p frame; brightness alone would take 9)."""
        small = self._to_small.reformat(
            frame,
            width=LUMA_WIDTH,
            height=LUMA_HEIGHT,
            format="yuv420p",
            dst_color_range=self._full_range,
            interpolation=self._fast,
            threads=1,
        )
        planes: NDArray[np.uint8] = np.array(small.to_ndarray(), np.uint8)
        return Small(planes[:LUMA_HEIGHT], planes[LUMA_HEIGHT:].reshape(2, LUMA_HEIGHT // 2, LUMA_WIDTH // 2))

    def luma(self, frame: "VideoFrame") -> Thumbnails:
        """The brightness alone: `uint8`, shape (36, 64), 0 black to 255 white."""
        return self.small(frame).luma

    def picture(self, frame: "VideoFrame", pixel_aspect: Fraction = Fraction(1)) -> Picture:
        """The frame as it is meant to be seen, made smaller where it is too large, never larger.

        `pixel_aspect` is the width of one pixel over its height. The frame is scaled before it is converted to RGB.
        """
        from PIL import Image

        width, height = picture_size(frame.width, frame.height, pixel_aspect, self._longest_side)
        small = self._to_picture.reformat(frame, width=width, height=height, format="rgb24", interpolation=self._fine, threads=1)
        image = Image.fromarray(small.to_ndarray())
        if frame.rotation % 360:
            image = image.rotate(frame.rotation, expand=True)
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self._jpeg_quality)
        return Picture(file.getvalue(), image.width, image.height)


def picture_size(width: int, height: int, pixel_aspect: Fraction, longest_side: int) -> tuple[int, int]:
    """Width and height of the picture of a frame: even, square pixels, no side longer than `longest_side` or the frame's own."""
    aspect = pixel_aspect if pixel_aspect > 0 else Fraction(1)
    shown = (width * min(aspect, Fraction(1)), height / max(aspect, Fraction(1)))
    scale = min(Fraction(1), longest_side / max(shown))
    even = [max(2, round(side * scale / 2) * 2) for side in shown]
    return min(even[0], max(2, width // 2 * 2)), min(even[1], max(2, height // 2 * 2))
