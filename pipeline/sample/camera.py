"""How the camera moved between two pictures, by shift and zoom, so that what it explains is not taken for new.

The movement is found in pictures of half the thumbnail's size by Gauss-Newton steps on brightness, with weights that leave out
what moves by itself (B. D. Lucas, T. Kanade, "An iterative image registration technique", IJCAI 1981; S. Baker, I. Matthews,
"Lucas-Kanade 20 years on", IJCV 56 (2004), the inverse compositional form). Steps are small, so a search begins where the camera
was a tenth of a second before: a pan can be followed until most of what was seen is out of the picture. Shift and zoom move rows
and columns apart from each other, so a picture is moved by two small matrices.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
"""A picture, 0 to 255, shape (height, width)."""

_STEPS = 3
_DOUBT = 10.0
"""Levels of difference at which a pixel counts half."""
_FARTHEST, _ZOOMS = 2.0, 0.05
"""The most that one step shifts, in pixels, and zooms."""
_DONE = 0.02
_CLEARLY = 0.9
"""Share of what was unexplained that a movement may leave at most."""
_STIFF = np.array([0.25, 0.25, 6.0, 1e-3])
"""Added to the equations, so that an even picture moves nowhere."""
_EXPLAINED = 0.25
"""Share of the slope over two pixels that counts as the camera's: what half a pixel of it would explain."""
_BLOCK, _BLOCK_KNOWN = 48, 12
"""Pixels of a block; fewer of them that both pictures show tell nothing."""


@dataclass(frozen=True, slots=True)
class Camera:
    """The later picture shows at x, from its centre, what the earlier one shows at `zoom * x + (right, down)`; pixels."""

    right: float = 0.0
    down: float = 0.0
    zoom: float = 1.0

    def then(self, later: "Camera") -> "Camera":
        """Both movements, this one first."""
        return Camera(self.zoom * later.right + self.right, self.zoom * later.down + self.down, self.zoom * later.zoom)

    def since(self, before: "Camera") -> "Camera":
        """What is left of this movement after the one `before`, of the same picture."""
        return Camera((self.right - before.right) / before.zoom, (self.down - before.down) / before.zoom, self.zoom / before.zoom)

    def at(self, scale: float) -> "Camera":
        """The same movement of pictures of another size."""
        return Camera(self.right * scale, self.down * scale, self.zoom)


RESTS = Camera()


def follow(before: Pixels, after: Pixels, start: Camera = RESTS) -> Camera:
    """The camera's movement from one picture to the other, near `start`; that itself where no other explains clearly more.

    Rest is preferred to what explains no more.
    """
    source, target = _halved(before), _halved(after)
    slopes = _slopes(target)
    camera, first = start.at(0.5), None
    for _ in range(_STEPS):
        weights, error, left = _compared(source, target, camera)
        first = left if first is None else first
        weighted = slopes * weights
        equations = (weighted @ slopes.T).astype(np.float64)
        equations.flat[::5] += _STIFF
        right, down, zoom, _ = np.linalg.solve(equations, (weighted @ error).astype(np.float64)).tolist()
        step = Camera(-_within(right, _FARTHEST), -_within(down, _FARTHEST), 1 - _within(zoom, _ZOOMS))
        camera = camera.then(step)
        if max(abs(step.right), abs(step.down), abs(step.zoom - 1) * target.shape[1] / 2) < _DONE:
            break
    left = _compared(source, target, camera)[2]
    assert first is not None
    at_rest = first if start == RESTS else _compared(source, target, RESTS)[2]
    if at_rest <= min(left, first):
        return RESTS
    return camera.at(2) if left < _CLEARLY * first else start


def _compared(source: Pixels, target: Pixels, camera: Camera) -> tuple[Pixels, Pixels, float]:
    """The weights of the pixels, their differences, and how much the camera leaves unexplained."""
    seen, known = (source, None) if camera == RESTS else moved(source, camera)
    error = (seen - target).ravel()
    doubt = error / _DOUBT
    doubt *= doubt
    doubt += 1
    weights = np.divide(1 if known is None else known.ravel(), doubt, out=doubt)
    pixels = error.size if known is None else max(float(known.sum()), 1.0)
    return weights, error, float((weights * error) @ error) / pixels


def moved(picture: Pixels, camera: Camera) -> tuple[Pixels, Pixels]:
    """What the later picture would show, and where that is known: 1 or 0."""
    height, width = picture.shape
    matrices, within = _resampling(height, width, camera)
    seen = np.asarray(matrices[:height, :height] @ picture @ matrices[height:].T, np.float32)
    known: Pixels = within[:height, None] * within[height:]
    return seen, known


def differences(before: Pixels, after: Pixels, camera: Camera, *, light: bool = True) -> tuple[NDArray[np.float32], float]:
    """What the camera's movement does not explain: mean difference of each of 6x8 blocks, 0 to 1, and the share that came into view.

    Without the difference of the means unless `light`.
    """
    if camera == RESTS:
        return _blocks(_unexplained(before - after, after, None, light=light)) / np.float32(255 * _BLOCK), 0.0
    seen, known = moved(before, camera)
    rest = (seen - after) * known
    pixels = max(float(known.sum()), 1.0)
    counts = _blocks(known)
    rest = _unexplained(rest, after, known, light=light)
    blocks = np.asarray(_blocks(rest) / (255 * np.maximum(counts, 1)), np.float32)
    blocks[counts <= _BLOCK_KNOWN] = 0
    return blocks, 1 - pixels / known.size


def _unexplained(rest: Pixels, after: Pixels, known: Pixels | None, *, light: bool) -> Pixels:
    """What is left of a difference of pictures, which is used up, that half a pixel of each edge does not explain."""
    if not light:
        pixels = rest.size if known is None else max(float(known.sum()), 1.0)
        mean = np.float32(float(rest.sum()) / pixels)
        rest -= mean if known is None else known * mean
    np.abs(rest, out=rest)
    rest -= np.float32(_EXPLAINED) * _steepness(after)
    np.maximum(rest, 0, out=rest)
    if known is not None:
        rest *= known
    return rest


def _halved(picture: Pixels) -> Pixels:
    height, width = picture.shape
    return np.asarray(_halving(height) @ picture @ _halving(width).T, np.float32)


def _within(value: float, most: float) -> float:
    return max(min(value, most), -most)


def _slopes(picture: Pixels) -> Pixels:
    """By how much each pixel changes with a shift to the right, one down, a zoom, and with the light; shape (4, pixels)."""
    height, width = picture.shape
    across, along = _grid(height, width)
    slopes = np.zeros((4, height, width), np.float32)
    np.subtract(picture[:, 2:], picture[:, :-2], out=slopes[0, :, 1:-1])
    np.subtract(picture[2:], picture[:-2], out=slopes[1, 1:-1])
    slopes[:2] /= 2
    slopes[2] = slopes[0] * across + slopes[1] * along
    slopes[3] = 1
    return slopes.reshape(4, -1)


def _steepness(picture: Pixels) -> Pixels:
    """The larger of the differences over two pixels, across and along."""
    steep = np.zeros_like(picture)
    np.abs(picture[:, 2:] - picture[:, :-2], out=steep[:, 1:-1])
    np.maximum(steep[1:-1], np.abs(picture[2:] - picture[:-2]), out=steep[1:-1])
    return steep


def _blocks(picture: Pixels) -> NDArray[np.float32]:
    sums: NDArray[np.float32] = np.add.reduce(picture.reshape(6, 6, 64), axis=1) @ _SUMS
    return sums


_SUMS = np.kron(np.eye(8), np.ones((8, 1))).astype(np.float32)


@functools.cache
def _grid(height: int, width: int) -> tuple[Pixels, Pixels]:
    across = np.arange(width, dtype=np.float32) - (width - 1) / 2
    along = np.arange(height, dtype=np.float32) - (height - 1) / 2
    return across[None, :], along[:, None]


@functools.cache
def _halving(size: int) -> Pixels:
    """Means of six neighbours, those in the middle weighing more, at every second place."""
    matrix = np.zeros((size // 2, size), np.float32)
    for row in range(size // 2):
        for offset, weight in ((-2, 1), (-1, 5), (0, 10), (1, 10), (2, 5), (3, 1)):
            matrix[row, min(max(2 * row + offset, 0), size - 1)] += weight / 32
    return matrix


def _resampling(height: int, width: int, camera: Camera) -> tuple[Pixels, Pixels]:
    """The matrices that interpolate along a column, of which the first `height` columns are used, and below it along a row.

    And which places lie within the picture. Both axes at once: what counts is how many operations there are, not of what size.
    """
    axes = _axes(height, width)
    shifts = np.where(axes.is_row, np.float32((width - 1) / 2 + camera.right), np.float32((height - 1) / 2 + camera.down))
    places = axes.offsets * np.float32(camera.zoom)
    places += shifts
    known = (np.abs(places - axes.centres) <= axes.halves).astype(np.float32)
    np.minimum(np.maximum(places, 0, out=places), axes.lasts, out=places)
    matrices = np.subtract(places[:, None], axes.numbers)
    np.abs(matrices, out=matrices)
    np.subtract(1, matrices, out=matrices)
    return np.maximum(matrices, 0, out=matrices), known


class _Axes(NamedTuple):
    """Of the places in a column, and those in a row after them."""

    numbers: Pixels
    offsets: Pixels
    """From the centre of the axis."""
    centres: Pixels
    halves: Pixels
    lasts: Pixels
    is_row: NDArray[np.bool_]


@functools.cache
def _axes(height: int, width: int) -> _Axes:
    sizes = np.repeat([height, width], [height, width])
    numbers = np.concatenate([np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32)])
    centres = ((sizes - 1) / 2).astype(np.float32)
    return _Axes(
        np.arange(max(height, width), dtype=np.float32),
        numbers - centres,
        centres,
        (sizes / 2).astype(np.float32),
        (sizes - 1).astype(np.float32),
        np.arange(height + width) >= height,
    )
