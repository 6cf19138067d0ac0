"""Which colours a picture has, in the words people use."""

import numpy as np
from numpy.typing import NDArray

NAMES = ("black", "grey", "white", "red", "orange", "brown", "yellow", "green", "turquoise", "teal", "blue", "purple", "pink")
_BLACK_VALUE, _WHITE_VALUE, _GREY_SATURATION = 0.16, 0.82, 0.16
_HUES = (
    (15, "red"),
    (42, "orange"),
    (70, "yellow"),
    (160, "green"),
    (195, "turquoise"),
    (255, "blue"),
    (290, "purple"),
    (335, "pink"),
    (360, "red"),
)
"""Upper end of each named hue in degrees."""
_BROWN_VALUE = 0.65
"""Brown is dark or pale orange."""

DOMINANT = 0.2
"""Share of the picture from which a colour is worth naming."""
DARK, BRIGHT = 0.2, 0.75
"""Mean luma, 0 to 1, below and above which a picture is called dark or bright."""


def shares(pixels: NDArray[np.uint8]) -> dict[str, float]:
    """The share of each named colour, 0 to 1, of RGB pixels [..., 3]; sums to 1."""
    rgb = pixels.reshape(-1, 3).astype(np.float32) / np.float32(255)
    value: NDArray[np.float32] = rgb.max(axis=1)
    spread: NDArray[np.float32] = value - rgb.min(axis=1)
    saturation = np.divide(spread, value, out=np.zeros_like(value), where=value > 0)
    hue = _hue_degrees(rgb, value, spread)
    names = np.empty(len(rgb), dtype=object)
    below = np.zeros(len(rgb), dtype=bool)
    for upper, name in _HUES:
        names[(hue < upper) & ~below] = name
        below |= hue < upper
    names[(names == "orange") & ((value < _BROWN_VALUE) | (saturation < 0.4))] = "brown"
    names[(names == "turquoise") & (value < 0.5)] = "teal"
    names[(names == "red") & (value < 0.4) & (saturation < 0.6)] = "brown"
    names[(names == "red") & (value > 0.7) & (saturation < 0.45)] = "pink"
    names[saturation < _GREY_SATURATION] = "grey"
    names[(saturation < _GREY_SATURATION) & (value > _WHITE_VALUE)] = "white"
    names[value < _BLACK_VALUE] = "black"
    return {name: float(np.mean(names == name)) for name in NAMES}


def luma(pixels: NDArray[np.uint8]) -> float:
    """Mean luma (ITU-R BT.601 weights) of RGB pixels [..., 3], 0 to 1."""
    return float((pixels.reshape(-1, 3).astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)).mean() / 255)


def dominant(share: dict[str, float], most: int = 3) -> tuple[str, ...]:
    """The names of the colours with at least `DOMINANT` of the picture, largest first."""
    ranked = sorted(share.items(), key=lambda item: (-item[1], item[0]))
    return tuple(name for name, part in ranked[:most] if part >= DOMINANT)


def _hue_degrees(rgb: NDArray[np.float32], value: NDArray[np.float32], spread: NDArray[np.float32]) -> NDArray[np.float32]:
    red, green, blue = rgb.T
    safe = np.where(spread > 0, spread, 1)
    hue = np.where(value == red, ((green - blue) / safe) % 6, np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4))
    return np.asarray(np.where(spread > 0, hue * 60, 0), dtype=np.float32)
