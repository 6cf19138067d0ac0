"""What the shapes of synthetic clips look like: how much of each pixel one covers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.scenes import SIDE

Field = NDArray[np.floating[Any]]
"""[SIDE, SIDE]: a number for each pixel."""

_DOWN, _ACROSS = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32) + np.float32(0.5)


def cover(shape: str, x: float, y: float, radius: float) -> Field:
    """How much of each pixel a shape covers, 0 to 1. `x` and `y` are its centre; raises `ValueError` for a name that is none."""
    if shape not in _INSIDE:
        raise ValueError(f"no shape is called {shape!r}")
    inside = _INSIDE[shape](_ACROSS - np.float32(x), _DOWN - np.float32(y), radius)
    covered: Field = np.clip(inside + np.float32(0.5), 0, 1)
    return covered


def _both(one: Field, other: Field) -> Field:
    """Inside of one and of the other."""
    inside: Field = np.minimum(one, other)
    return inside


def _either(one: Field, other: Field) -> Field:
    """Inside of one or of the other."""
    inside: Field = np.maximum(one, other)
    return inside


def _circle(right: Field, down: Field, radius: float) -> Field:
    inside: Field = radius - np.hypot(right, down)
    return inside


def _square(right: Field, down: Field, radius: float) -> Field:
    inside: Field = 0.88 * radius - np.maximum(np.abs(right), np.abs(down))
    return inside


def _triangle(right: Field, down: Field, radius: float) -> Field:
    return _both(0.8 * radius - down, ((down + radius) * 0.6 - np.abs(right)) / 1.17)


def _cross(right: Field, down: Field, radius: float) -> Field:
    across, along = np.abs(right), np.abs(down)
    upright = _both(0.34 * radius - across, radius - along)
    lying = _both(radius - across, 0.34 * radius - along)
    return _either(upright, lying)


def _diamond(right: Field, down: Field, radius: float) -> Field:
    return (1.1 * radius - np.abs(right) - np.abs(down)) * np.float32(0.71)


def _ring(right: Field, down: Field, radius: float) -> Field:
    away = np.hypot(right, down)
    return _both(radius - away, away - 0.55 * radius)


def _star(right: Field, down: Field, radius: float) -> Field:
    """Five points: inside is what lies behind at least four of the five lines that draw a pentagram."""
    angles = np.radians(np.arange(5) * 72 + 90).astype(np.float32)
    behind = [0.35 * radius + np.cos(each) * right + np.sin(each) * down for each in angles]
    inside: Field = np.partition(np.stack(behind), 1, axis=0)[1]
    return inside


def _moon(right: Field, down: Field, radius: float) -> Field:
    return _both(radius - np.hypot(right, down), np.hypot(right - np.float32(0.6 * radius), down) - 0.85 * radius)


def _heart(right: Field, down: Field, radius: float) -> Field:
    """Two circles and what lies above the sides that touch them below."""
    across = np.abs(right)
    lobes = 0.55 * radius - np.hypot(across - 0.45 * radius, down + 0.35 * radius)
    point = _both(down + 0.03 * radius, 0.653 * radius - 0.746 * across - 0.666 * down)
    return _either(lobes, point)


def _frame(right: Field, down: Field, radius: float) -> Field:
    away = np.maximum(np.abs(right), np.abs(down))
    return _both(0.9 * radius - away, away - 0.48 * radius)


def _bow(right: Field, down: Field, radius: float) -> Field:
    across = np.abs(right)
    return _both(radius - across, (across + 0.12 * radius - np.abs(down) * 1.2) / np.float32(1.56))


def _dome(right: Field, down: Field, radius: float) -> Field:
    lower = down - np.float32(0.5 * radius)
    return _both(radius - np.hypot(right, lower), -lower)


def _arrow(right: Field, down: Field, radius: float) -> Field:
    """Upwards: a head and a shaft."""
    across = np.abs(right)
    head = _both(0.05 * radius - down, (down + radius) * 0.7 - across * 0.75)
    return _either(head, _both(0.3 * radius - across, _both(down + 0.1 * radius, radius - down)))


_INSIDE: dict[str, Callable[[Field, Field, float], Field]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "cross": _cross,
    "diamond": _diamond,
    "ring": _ring,
    "star": _star,
    "moon": _moon,
    "heart": _heart,
    "frame": _frame,
    "bow": _bow,
    "dome": _dome,
    # Not among `SHAPES`: training never shows it, so that adapters have something to learn (train/novel.py).
    "arrow": _arrow,
}
"""How far within its edge a point is, in pixels, by its place to the right of and below the shape's centre; negative outside."""
