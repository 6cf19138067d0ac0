"""How a picture is meant to be shown: with square pixels, upright, and no larger than is asked for."""

from fractions import Fraction

import numpy as np

from pipeline.media.decoders.port import Pixels


def picture_size(width: int, height: int, pixel_aspect: Fraction, longest_side: int) -> tuple[int, int]:
    """Width and height of the picture of a frame: even, square pixels, no side longer than `longest_side` or the frame's own."""
    aspect = pixel_aspect if pixel_aspect > 0 else Fraction(1)
    shown = (width * min(aspect, Fraction(1)), height / max(aspect, Fraction(1)))
    scale = min(Fraction(1), longest_side / max(shown))
    even = [max(2, round(side * scale / 2) * 2) for side in shown]
    return min(even[0], max(2, width // 2 * 2)), min(even[1], max(2, height // 2 * 2))


def turned(rgb: Pixels, rotation: int) -> Pixels:
    """The picture, shape (height, width, 3), turned counter-clockwise by `rotation` degrees, in quarters of a turn."""
    return np.ascontiguousarray(np.rot90(rgb, round(rotation / 90) % 4))
