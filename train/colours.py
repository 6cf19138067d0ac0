"""What a colour's name covers: a range of tints, none of which another name covers."""

import colorsys

import numpy as np

RGB = tuple[int, int, int]

TINTS: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-6, 6), (0.85, 1.0), (0.75, 1.0)),
    "brown": ((18, 30), (0.6, 0.8), (0.38, 0.52)),
    "gold": ((34, 42), (0.8, 1.0), (0.8, 0.95)),
    "yellow": ((54, 62), (0.75, 1.0), (0.85, 1.0)),
    "lime": ((76, 90), (0.7, 1.0), (0.75, 0.95)),
    "green": ((110, 140), (0.7, 1.0), (0.5, 0.85)),
    "teal": ((172, 184), (0.75, 1.0), (0.42, 0.55)),
    "cyan": ((174, 188), (0.6, 1.0), (0.85, 1.0)),
    "blue": ((215, 238), (0.75, 1.0), (0.75, 1.0)),
    "purple": ((268, 284), (0.65, 0.95), (0.65, 0.9)),
    "magenta": ((298, 310), (0.75, 1.0), (0.75, 1.0)),
    "pink": ((330, 345), (0.3, 0.5), (0.9, 1.0)),
    "white": ((0, 360), (0.0, 0.05), (0.92, 1.0)),
    "grey": ((0, 360), (0.0, 0.06), (0.42, 0.58)),
}
"""Hue in degrees, saturation, and value, from and to."""


def draw_tint(rng: np.random.Generator, colour: str) -> RGB:
    """A tint that goes by this name."""
    return _rgb(*(rng.uniform(*each) for each in TINTS[colour]))


def middle(colour: str) -> RGB:
    """The tint in the middle of what the name covers."""
    return _rgb(*((low + high) / 2 for low, high in TINTS[colour]))


def _rgb(hue: float, saturation: float, value: float) -> RGB:
    red, green, blue = (round(255 * each) for each in colorsys.hsv_to_rgb(hue / 360 % 1, saturation, value))
    return red, green, blue
