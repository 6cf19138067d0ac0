"""How far the camera has turned between two frames, so that a pan can be told from what changes in the scene.

Phase correlation: C. D. Kuglin, D. C. Hines, "The phase correlation image alignment method", IEEE Conf. Cybernetics and
Society (1975). About 0.1 ms, so it is asked only when it matters.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SURE = 0.08
"""Least height of the peak; 1 is a mere shift of a picture that goes on beyond its edges, noise has 0.03."""


@dataclass(frozen=True)
class Pan:
    """The later picture shows at (x, y) what the earlier one shows at (x + right, y + down); pixels of the thumbnail."""

    right: int
    down: int
    left_in: float
    """Share of the picture that both show."""
    residual: NDArray[np.float32]
    """Absolute luma difference where both show the same, 0 to 255, shape (height - |down|, width - |right|)."""


def pan(before: NDArray[np.float32], after: NDArray[np.float32]) -> Pan | None:
    """The shift that explains the change best, of pictures [height, width] from 0 to 255; `None` where none stands out."""
    height, width = before.shape
    window = _window(height, width)
    spectrum = np.fft.rfft2((before - before.mean()) * window) * np.conj(np.fft.rfft2((after - after.mean()) * window))
    spectrum /= np.abs(spectrum) + np.float32(1e-3)
    surface = np.fft.irfft2(spectrum, s=(height, width))
    peak = int(np.argmax(surface))
    if float(surface.ravel()[peak]) < _SURE:
        return None
    down, right = divmod(peak, width)
    down, right = down - height * (down > height // 2), right - width * (right > width // 2)
    if (down, right) == (0, 0):
        return None
    earlier = before[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)]
    later = after[max(-down, 0) : height - max(down, 0), max(-right, 0) : width - max(right, 0)]
    residual = np.abs(earlier - later)
    return Pan(right, down, residual.size / (height * width), residual)


@functools.cache
def _window(height: int, width: int) -> NDArray[np.float32]:
    """Fades the edges out, where a shifted picture differs."""
    return np.outer(np.hanning(height + 2)[1:-1], np.hanning(width + 2)[1:-1]).astype(np.float32)
