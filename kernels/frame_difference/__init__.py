"""How much two pictures differ, measured on small luma thumbnails.

Bytes take a fast path, on a GPU in Triton; other kinds of luma are reckoned by the reference, which says what each measure is.
"""

from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import is_tensor, on_gpu
from kernels.frame_difference import cpu, reference
from kernels.frame_difference.reference import BINS, COLUMNS, ROWS, THUMBNAIL, Differences, FrameDifference, Thumbnails

__all__ = [
    "BINS",
    "COLUMNS",
    "ROWS",
    "THUMBNAIL",
    "FrameDifference",
    "Measured",
    "Thumbnails",
    "block_difference",
    "frame_difference",
    "histogram_distance",
    "luma_difference",
    "measure",
    "successive_differences",
]


class Measured(NamedTuple):
    """What a batch of frames comes down to."""

    thumbnails: Any
    """`uint8`, shape (N, height, width) of the thumbnails."""
    differences: FrameDifference
    """Of each frame to the one before it: shapes (N,), or (N - 1,) where nothing came before the first."""


def luma_difference(before: Thumbnails, after: Thumbnails) -> Differences:
    """Mean absolute difference of the pixels."""
    found: Differences = _for(before).luma_difference(before, after)
    return found


def block_difference(before: Thumbnails, after: Thumbnails) -> Differences:
    """Largest mean absolute difference of any of the 48 blocks: finds what is small but changes much.

    Blocks of a picture whose sides are no multiples of 8 and 6 differ in size by at most one pixel each way.
    """
    found: Differences = _for(before).block_difference(before, after)
    return found


def histogram_distance(before: Thumbnails, after: Thumbnails) -> Differences:
    """Share of the pixels that would have to change their bin of brightness: half the L1 distance of the histograms.

    Blind to where things are, and so to motion.
    """
    found: Differences = _for(before).histogram_distance(before, after)
    return found


def frame_difference(before: Any, after: Any) -> FrameDifference:
    """All three. Torch tensors are taken as well, of bytes, and give tensors."""
    if not is_tensor(before):
        differences: FrameDifference = _for(before).frame_difference(before, after)
        return differences
    import torch

    if before.dtype != torch.uint8 or after.dtype != torch.uint8:
        raise TypeError(f"tensors of luma are uint8, not {before.dtype} and {after.dtype}")
    if not on_gpu(before):
        found = frame_difference(before.numpy(), after.numpy())
        return FrameDifference(*(torch.from_numpy(np.asarray(each)) for each in found))
    from kernels.frame_difference import gpu

    if before.shape[-2:] != after.shape[-2:] or min(before.ndim, after.ndim) < 2 or before.shape[-2] < ROWS or before.shape[-1] < COLUMNS:
        raise ValueError(
            f"pictures of one size of at least {COLUMNS}x{ROWS} are needed, not {tuple(before.shape)} and {tuple(after.shape)}"
        )
    return gpu.frame_difference(before, after)


def successive_differences(frames: Any) -> FrameDifference:
    """Compare each of N pictures, shape (N, height, width) in order of time, with the one before it: shapes (N - 1,)."""
    if frames.ndim != 3 or not len(frames):
        raise ValueError(f"pictures in a shape (N, height, width) with N of at least 1 are needed, not {tuple(frames.shape)}")
    if is_tensor(frames):
        return frame_difference(frames[:-1], frames[1:])
    differences: FrameDifference = _for(frames).successive_differences(frames)
    return differences


def measure(luma: Any, before: Any = None, *, size: tuple[int, int] = THUMBNAIL) -> Measured:
    """Thumbnails of a batch of frames, and how much each differs from the one before: the large pictures are read once.

    `luma` is `uint8` of shape (N, height, width), in order of time, of any strides: decoded frames' first planes. `before` is the
    thumbnail of the frame before them, shape `size`, as an earlier call gave it. A thumbnail's pixel is the mean of the pixels under
    it, halves rounded up, the same on every device. Numpy arrays give numpy arrays, torch tensors give tensors on their device.

    On a CPU this is slower than scaling with libswscale while the frame is there, which is what the sampler does (see the log); it is
    for frames that a GPU has decoded. Raises `TypeError` for other dtypes, and `ValueError` for other shapes, or for pictures smaller
    than their thumbnails, or thumbnails smaller than 8x6.
    """
    if str(luma.dtype).removeprefix("torch.") != "uint8":
        raise TypeError(f"decoded luma is uint8, not {luma.dtype}")
    if luma.ndim != 3 or not len(luma):
        raise ValueError(f"luma has a shape (N, height, width) with N of at least 1, not {tuple(luma.shape)}")
    if luma.shape[1] < size[0] or luma.shape[2] < size[1] or size[0] < ROWS or size[1] < COLUMNS:
        raise ValueError(
            f"thumbnails (height, width) {size} must be at least {ROWS, COLUMNS} and no larger than the picture, {tuple(luma.shape[1:])}"
        )
    if before is not None and tuple(before.shape) != tuple(size):
        raise ValueError(f"the thumbnail before has the shape {tuple(size)}, not {tuple(before.shape)}")
    if on_gpu(luma):
        import torch

        from kernels.frame_difference import gpu

        small = gpu.thumbnails(luma, size)
        return Measured(small, successive_differences(small if before is None else torch.cat([before[None], small])))
    if is_tensor(luma):
        import torch

        thumbnails, differences = measure(luma.numpy(), None if before is None else before.numpy(), size=size)
        return Measured(torch.from_numpy(thumbnails), FrameDifference(*(torch.from_numpy(each) for each in differences)))
    thumbnails = reference.thumbnails(luma, size)
    return Measured(thumbnails, successive_differences(thumbnails if before is None else np.concatenate([before[None], thumbnails])))


def _for(frames: Thumbnails) -> Any:
    """What reckons with luma of this dtype."""
    return cpu if frames.dtype == np.uint8 else reference
