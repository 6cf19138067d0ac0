"""How the camera moved between two pictures, by shift and zoom, so that what it explains is not taken for new.

The shift and the zoom that turn one thumbnail into another are found by Gauss-Newton steps on brightness, with weights that
leave out what moves by itself (B. D. Lucas, T. Kanade, "An iterative image registration technique", IJCAI 1981; S. Baker,
I. Matthews, "Lucas-Kanade 20 years on", IJCV 56 (2004), the inverse compositional form). A shift and a zoom move rows and
columns apart from each other, so a picture is moved by two small matrices.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]

_STEPS = 3
_DOUBT = 10.0
"""Levels of difference at which a pixel counts half."""
_DONE = 0.02
_EXPLAINED = 0.25
"""Share of the slope over two pixels: so much of a difference half a pixel explains."""


@dataclass(frozen=True, slots=True)
class Camera:
    """The later picture shows at x, measured from its centre, what the earlier shows at `zoom * x + (right, down)`; pixels."""

    right: float = 0.0
    down: float = 0.0
    zoom: float = 1.0

    def then(self, later: "Camera") -> "Camera":
        """Both movements, this one first."""
        return Camera(self.zoom * later.right + self.right, self.zoom * later.down + self.down, self.zoom * later.zoom)


RESTS = Camera()


def moved(picture: Pixels, camera: Camera) -> tuple[Pixels, Pixels]:
    """What the later picture would show [height, width], and where that is known: products of 0 to 1."""
    height, width = picture.shape
    rows, seen_rows = _resampling(height, camera.zoom, camera.down)
    columns, seen_columns = _resampling(width, camera.zoom, camera.right)
    return rows @ picture @ columns.T, seen_rows[:, None] * seen_columns[None, :]


def follow(before: Pixels, after: Pixels, start: Camera = RESTS, steps: int = _STEPS) -> Camera:
    """The camera's movement from one picture to another, near `start`."""
    height, width = after.shape
    across, along = _grid(height, width)
    smooth = _smooth(after)
    source = _smooth(before)
    slopes = np.empty((4, height, width), np.float32)
    slopes[0, :, 1:-1] = (smooth[:, 2:] - smooth[:, :-2]) / 2
    slopes[0, :, 0], slopes[0, :, -1] = smooth[:, 1] - smooth[:, 0], smooth[:, -1] - smooth[:, -2]
    slopes[1, 1:-1] = (smooth[2:] - smooth[:-2]) / 2
    slopes[1, 0], slopes[1, -1] = smooth[1] - smooth[0], smooth[-1] - smooth[-2]
    slopes[2] = slopes[0] * across + slopes[1] * along
    slopes[3] = 1.0
    jacobian = slopes.reshape(4, -1)
    camera = start
    for _ in range(steps):
        seen, known = moved(source, camera)
        error = (seen - smooth).ravel()
        weights = known.ravel() / (1 + (error / _DOUBT) ** 2)
        weighted = jacobian * weights
        normal = (weighted @ jacobian.T).astype(np.float64)
        normal[[0, 1, 2, 3], [0, 1, 2, 3]] += (1.0, 1.0, 100.0, 1e-3)
        right, down, zoom, _ = np.linalg.solve(normal, (weighted @ error).astype(np.float64)).tolist()
        step = Camera(-max(min(right, 2.0), -2.0), -max(min(down, 2.0), -2.0), 1 - max(min(zoom, 0.05), -0.05))
        camera = camera.then(step)
        if abs(step.right) < _DONE and abs(step.down) < _DONE and abs(step.zoom - 1) * width < 2 * _DONE:
            break
    return camera


def _smooth(picture: Pixels) -> Pixels:
    rows, columns = _blur(picture.shape[0]), _blur(picture.shape[1])
    return rows @ picture @ columns


@functools.cache
def _blur(size: int) -> Pixels:
    matrix = np.zeros((size, size), np.float32)
    for at in range(size):
        for offset, weight in ((-2, 1), (-1, 4), (0, 6), (1, 4), (2, 1)):
            matrix[at, min(max(at + offset, 0), size - 1)] += weight / 16
    return matrix


@functools.cache
def _grid(height: int, width: int) -> tuple[Pixels, Pixels]:
    across = np.arange(width, dtype=np.float32) - (width - 1) / 2
    along = np.arange(height, dtype=np.float32) - (height - 1) / 2
    return across[None, :], along[:, None]


def _resampling(size: int, zoom: float, shift: float) -> tuple[Pixels, Pixels]:
    """The matrix that interpolates along one axis, and which places lie within."""
    centre = (size - 1) / 2
    places = (np.arange(size) - centre) * zoom + centre + shift
    seen = ((places >= -0.5) & (places <= size - 0.5)).astype(np.float32)
    places = np.clip(places, 0, size - 1)
    low = np.minimum(places.astype(np.intp), size - 2)
    part = (places - low).astype(np.float32)
    matrix = np.zeros((size, size), np.float32)
    at = np.arange(size)
    matrix[at, low] = 1 - part
    matrix[at, low + 1] = part
    return matrix, seen


def differences(before: Pixels, after: Pixels, camera: Camera, *, light: bool = True) -> tuple[NDArray[np.float32], float]:
    """Mean difference of each of 6x8 blocks that the camera does not explain, 0 to 1, and the share of the picture it brought into view."""
    seen, known = moved(before, camera)
    difference = seen - after
    if not light:
        difference -= float((difference * known).sum()) / max(float(known.sum()), 1.0)
    steep = np.zeros_like(after)
    np.abs(after[:, 2:] - after[:, :-2], out=steep[:, 1:-1])
    up = np.abs(after[2:] - after[:-2])
    np.maximum(steep[1:-1], up, out=steep[1:-1])
    rest = np.maximum(np.abs(difference) - _EXPLAINED * steep, 0) * known
    sums = rest.reshape(6, 6, 8, 8).sum((1, 3))
    counts = known.reshape(6, 6, 8, 8).sum((1, 3))
    blocks = np.where(counts > 12, sums / np.maximum(counts, 1), 0) / 255
    return blocks.astype(np.float32), 1 - float(known.mean())
