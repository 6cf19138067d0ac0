"""What is known before a pixel is looked at: the size of the result, the weights of each axis, and the colours' matrix.

Resizing is Pillow's antialiased bicubic filter (`src/libImaging/Resample.c`; Keys 1981, a = -0.5): when a picture is made
smaller the kernel is widened by the same factor. It is linear and works on each axis by itself, so that luma and chroma can be
resized as they come, each from its own grid, and be turned into RGB at the small size. Where no colour is clipped on the way this is the
picture that converting first would give.

The conversion is that of ITU-R BT.601-7, BT.709-6 and BT.2020-2 (non-constant luminance), section "digital representation".
"""

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = Literal["bt601", "bt709", "bt2020"]
Siting = Literal["left", "center", "topleft"]
DType = Literal["float32", "float16", "bfloat16"]

_RED_BLUE: dict[str, tuple[float, float]] = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""The luma coefficients of red and blue."""
_SITINGS: dict[str, tuple[float, float]] = {"left": (0.25, 0.5), "center": (0.5, 0.5), "topleft": (0.25, 0.25)}
"""Where a chroma sample lies within its 2x2 luma pixels, across and down, in chroma pixels."""
_RADIUS = 2.0
"""Of the bicubic kernel."""
LARGEST_ASPECT = 200


class Patches(NamedTuple):
    """Rows of a vision tower's input, and how they are arranged."""

    rows: Any
    """Shape (frames * height * width, 3 * temporal * patch * patch), the grid's product times the values of a patch."""
    grid: tuple[int, int, int]
    """Temporal patches, rows of patches, columns of patches."""


@dataclass(frozen=True, eq=False)
class Axis:
    """How each output sample of one axis is made: `weights[i] @ samples[first[i] : first[i] + taps]`."""

    length: int
    """Samples that come in."""
    first: NDArray[np.int32]
    """Shape (out,)."""
    weights: NDArray[np.float32]
    """Shape (out, taps); rows sum to 1, and a row that needs fewer taps ends in zeros."""

    @property
    def out(self) -> int:
        """Samples that go out."""
        return len(self.first)

    def dense(self) -> NDArray[np.float32]:
        """The same as a matrix, shape (out, length)."""
        matrix = np.zeros((self.out, self.length), np.float32)
        for row, (first, weights) in enumerate(zip(self.first, self.weights, strict=True)):
            matrix[row, first : first + len(weights)] = weights
        return matrix

    def flipped(self) -> "Axis":
        """The outputs in opposite order."""
        return Axis(self.length, np.ascontiguousarray(self.first[::-1]), np.ascontiguousarray(self.weights[::-1]))


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a call but its pixels."""

    grid: tuple[int, int, int]
    patch: int
    merge: int
    temporal: int
    transposed: bool
    """Whether the upright picture is the resized one with rows and columns exchanged."""
    luma: tuple[Axis, Axis]
    """Down and across the planes as they come, turned around where the rotation wants it."""
    chroma: tuple[Axis, Axis]
    mix: NDArray[np.float32]
    """Shape (3, 4): normalised red, green and blue of (Y, U, V, 1) in levels."""
    low: NDArray[np.float32]
    """Shape (3,): what black is after normalising."""
    high: NDArray[np.float32]


def smart_resize(
    height: int, width: int, *, factor: int = 28, min_pixels: int = 56 * 56, max_pixels: int = 28 * 28 * 1280
) -> tuple[int, int]:
    """Height and width of the picture that Qwen2-VL and Qwen2.5-VL look at instead of one of `height` by `width`.

    Both are multiples of `factor` (patch times merge), their product lies from `min_pixels` to `max_pixels` where the shape allows
    it, and the shape is kept as well as those allow. The rule is that of `smart_resize` in Qwen's `qwen-vl-utils` and in
    transformers. Raises `ValueError` for sides below 1 or one more than 200 times the other.
    """
    if min(height, width) < 1:
        raise ValueError(f"a picture has sides of at least 1, not {width}x{height}")
    if max(height, width) > LARGEST_ASPECT * min(height, width):
        raise ValueError(f"one side may be at most {LARGEST_ASPECT} times the other, not {width}x{height}")
    rows, columns = round(height / factor), round(width / factor)
    if rows * columns * factor**2 > max_pixels:
        shrink = math.sqrt(height * width / max_pixels)
        rows, columns = (max(1, math.floor(side / shrink / factor)) for side in (height, width))
    elif rows * columns * factor**2 < min_pixels:
        grow = math.sqrt(min_pixels / (height * width))
        rows, columns = (math.ceil(side * grow / factor) for side in (height, width))
    return rows * factor, columns * factor


def _bicubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    x = np.abs(x)
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < _RADIUS, far, 0.0))


def resampling(length: int, out: int, *, extent: float | None = None, site: float = 0.5) -> Axis:
    """Weights that resize `length` samples to `out`.

    Sample i lies at i + `site`, in its own steps, and the picture reaches from 0 to `extent` (`length` if `None`): a chroma plane of an odd
    picture reaches half a sample less far than it has samples. What lies outside of the plane gets no weight.
    """
    scale = (length if extent is None else extent) / out
    widened = max(scale, 1.0)
    centres = (np.arange(out) + 0.5) * scale
    reach = _RADIUS * widened
    taps = min(length, math.ceil(2 * reach) + 1)
    first = np.clip(np.ceil(centres - reach - site).astype(np.int64), 0, length - taps)
    samples = first[:, None] + np.arange(taps)
    weights = _bicubic((samples + site - centres[:, None]) / widened)
    weights /= weights.sum(axis=1, keepdims=True)
    return Axis(length, first.astype(np.int32), weights.astype(np.float32))


def to_rgb(matrix: Matrix, *, full_range: bool) -> NDArray[np.float64]:
    """Red, green and blue, 0 to 1, of (Y, U, V, 1) in levels of 0 to 255: shape (3, 4)."""
    red, blue = _RED_BLUE[matrix]
    green = 1 - red - blue
    of_chroma = np.array(
        [
            [1, 0, 2 * (1 - red)],
            [1, -2 * (1 - blue) * blue / green, -2 * (1 - red) * red / green],
            [1, 2 * (1 - blue), 0],
        ]
    )
    luma, chroma, black = (255, 255, 0) if full_range else (219, 224, 16)
    scaled = of_chroma / [luma, chroma, chroma]
    return np.concatenate([scaled, -scaled @ np.array([[black], [128], [128]])], axis=1)


@functools.lru_cache(maxsize=64)
def make_plan(
    frames: int,
    height: int,
    width: int,
    *,
    size: tuple[int, int] | None,
    min_pixels: int,
    max_pixels: int,
    rotation: int,
    matrix: Matrix,
    full_range: bool,
    siting: Siting,
    patch: int,
    merge: int,
    temporal: int,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Plan:
    """The plan of `frames` frames of `height` by `width`; raises `ValueError` for what makes no sense, and says what."""
    if rotation % 90:
        raise ValueError(f"a rotation is a multiple of 90 degrees, not {rotation}")
    if matrix not in _RED_BLUE:
        raise ValueError(f"the matrix is one of {', '.join(_RED_BLUE)}, not {matrix!r}")
    if siting not in _SITINGS:
        raise ValueError(f"chroma is sited {', '.join(_SITINGS)}, not {siting!r}")
    if min(patch, merge, temporal) < 1:
        raise ValueError(f"patch, merge and temporal are at least 1, not {patch}, {merge} and {temporal}")
    if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
        raise ValueError(f"mean and std are three numbers each, the latter above 0, not {mean} and {std}")
    token = patch * merge
    quarter = rotation // 90 % 4
    transposed = quarter % 2 == 1
    upright = (width, height) if transposed else (height, width)
    rows, columns = size or smart_resize(*upright, factor=token, min_pixels=min_pixels, max_pixels=max_pixels)
    if rows % token or columns % token or min(rows, columns) < 1:
        raise ValueError(f"the size (height, width) must be of whole tokens of {token} pixels, not {(rows, columns)}")
    down, across = (columns, rows) if transposed else (rows, columns)
    site_across, site_down = _SITINGS[siting]
    luma = resampling(height, down), resampling(width, across)
    chroma = (
        resampling((height + 1) // 2, down, extent=height / 2, site=site_down),
        resampling((width + 1) // 2, across, extent=width / 2, site=site_across),
    )
    # Turned by 90 degrees, what was the right column is the top row; by 270, the bottom row is the left column.
    flip = quarter in (2, 3), quarter in (1, 2)
    turned = [tuple(axis.flipped() if f else axis for axis, f in zip(axes, flip, strict=True)) for axes in (luma, chroma)]
    centre, spread = np.array(mean, np.float64), np.array(std, np.float64)
    mix = to_rgb(matrix, full_range=full_range)
    mix[:, 3] -= centre
    mix /= spread[:, None]
    return Plan(
        grid=(-(-frames // temporal), rows // patch, columns // patch),
        patch=patch,
        merge=merge,
        temporal=temporal,
        transposed=transposed,
        luma=(turned[0][0], turned[0][1]),
        chroma=(turned[1][0], turned[1][1]),
        mix=mix.astype(np.float32),
        low=(-centre / spread).astype(np.float32),
        high=((1 - centre) / spread).astype(np.float32),
    )
