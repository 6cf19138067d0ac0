"""Frames to patches on a CPU: a few outputs at a time, so that a resize is small dense matrix products on what it needs.

A filter that makes 14 rows of 51 is a dense matrix of 14 x 51; all the rest of the whole matrix is zeros that need no
multiplying. The bands stay in the processor's cache, and a frame's planes are never held as floats as a whole.
Of one frame there are at most the planes resized downwards, and the picture before it is cut into patches.
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.frame_to_patches.plan import Axis, Patches, Plan

_SAMPLES, _LEAST_ROWS, _ROWS = 36, 6, 14
"""Samples that one product downwards takes, about, and the outputs it makes, at least and at most. Fewer multiply fewer zeros, more
call the library less often; of 360, 720 and 1080 lines to 252 these were the fastest."""

Floats = NDArray[np.float32]


@functools.lru_cache(maxsize=128)
def _bands(axis: Axis, outputs: int, *, upright: bool) -> list[tuple[int, int, int, Floats]]:
    """An axis as dense blocks of `outputs` each, (begin, low, high, block): those from `begin` on are `block @ samples[low:high]`."""
    bands, taps = [], axis.weights.shape[1]
    for begin in range(0, axis.out, outputs):
        first, weights = axis.first[begin : begin + outputs], axis.weights[begin : begin + outputs]
        low, high = int(first.min()), int(first.max()) + taps
        block = np.zeros((len(first), high - low), np.float32)
        np.put_along_axis(block, (first - low)[:, None] + np.arange(taps), weights, axis=1)
        bands.append((begin, low, high, np.ascontiguousarray(block if upright else block.T)))
    return bands


def frame_to_patches(luma: NDArray[np.uint8], blue: NDArray[np.uint8], red: NDArray[np.uint8], plan: Plan, out: NDArray[Any]) -> Patches:
    """As the reference, into `out`, which may be of any floating dtype."""
    times, rows, columns = plan.grid
    patch, merge, temporal = plan.patch, plan.merge, plan.temporal
    # time, token row, token column, patch row, patch column, channel, frame, y, x
    places = out.reshape(times, rows // merge, columns // merge, merge, merge, 3, temporal, patch, patch)
    if plan.transposed:
        places = places.swapaxes(1, 2).swapaxes(3, 4).swapaxes(7, 8)
    height, across = plan.luma[0].out, plan.luma[1].out // patch
    resize_luma, resize_chroma = _Resize(plan.luma, 1, luma.shape[2], patch), _Resize(plan.chroma, 2, blue.shape[2], patch)
    # Y, U, V and 1, in columns as wide as a patch: so the pixels of a patch follow each other already, and are moved as one piece.
    planes = np.ones((4, across, height, patch), np.float32)
    picture = np.empty((3, merge * height * patch), np.float32)
    cut = picture.reshape(3, merge, height // (merge * patch), merge, patch, patch).transpose(2, 3, 1, 0, 4, 5)
    low, high = plan.low[:, None], plan.high[:, None]
    for frame in range(len(luma)):
        resize_luma((luma[frame],), planes[:1])
        resize_chroma((blue[frame], red[frame]), planes[1:3])
        time, slot = divmod(frame, temporal)
        last = temporal if frame == len(luma) - 1 else slot + 1
        for token in range(across // merge):
            np.matmul(plan.mix, planes[:, token * merge : (token + 1) * merge].reshape(4, -1), out=picture)
            np.clip(picture, low, high, out=picture)
            for each in range(slot, last):
                places[time, :, token, :, :, :, each] = cut
    return Patches(out, plan.grid)


class _Resize:
    """Resizes `count` planes of one size side by side, with room to work in."""

    def __init__(self, axes: tuple[Axis, Axis], count: int, width: int, patch: int) -> None:
        down, taps = axes[0], axes[0].weights.shape[1]
        outputs = (_SAMPLES - taps) * down.out // down.length
        self._down = _bands(down, min(max(outputs, _LEAST_ROWS), _ROWS), upright=True)
        self._across = _bands(axes[1], patch, upright=False)
        self._band = np.empty((max(high - low for _, low, high, _ in self._down), count, width), np.float32)
        self._middle = np.empty((down.out, count, width), np.float32)

    def __call__(self, planes: tuple[NDArray[np.uint8], ...], out: Floats) -> None:
        """`out` has a shape (count, columns, height, patch)."""
        flat = self._middle.reshape(len(self._middle), -1)
        for begin, low, high, block in self._down:
            band = self._band[: high - low]
            for number, plane in enumerate(planes):
                band[:, number] = plane[low:high]
            np.matmul(block, band.reshape(high - low, -1), out=flat[begin : begin + len(block)])
        for column, (_, low, high, block) in enumerate(self._across):
            for number in range(len(planes)):
                np.matmul(self._middle[:, number, low:high], block, out=out[number, column])
