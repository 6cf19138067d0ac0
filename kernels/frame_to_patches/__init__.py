"""Decoded frames to the input of a vision tower: resize, convert, turn, normalise and cut into patches, in one pass."""

from typing import Any

import numpy as np

from kernels.arrays import is_tensor, on_gpu
from kernels.frame_to_patches.plan import DType, Matrix, Patches, Siting, make_plan, smart_resize
from kernels.frame_to_patches.reference import patch_rows

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures, which Qwen2-VL and Qwen2.5-VL use; Qwen3-VL uses 0.5 for all six."""

__all__ = ["CLIP_MEAN", "CLIP_STD", "DType", "Matrix", "Patches", "Siting", "frame_to_patches", "patch_rows", "smart_resize"]


def frame_to_patches(
    luma: Any,
    chroma: Any,
    *,
    size: tuple[int, int] | None = None,
    min_pixels: int = 56 * 56,
    max_pixels: int = 28 * 28 * 1280,
    rotation: int = 0,
    matrix: Matrix = "bt709",
    full_range: bool = False,
    siting: Siting = "left",
    patch: int = 14,
    merge: int = 2,
    temporal: int = 2,
    mean: tuple[float, float, float] = CLIP_MEAN,
    std: tuple[float, float, float] = CLIP_STD,
    dtype: DType = "float32",
) -> Patches:
    """Make the patches of frames in 4:2:0, as they come from a decoder.

    `luma` is `uint8` of shape (N, height, width), or (height, width) for one frame. `chroma` is the interleaved plane of NV12, of shape
    (N, ceil(height / 2), ceil(width / 2), 2), or YUV420P's pair of planes of the same shape without the 2. Any strides do. Numpy arrays
    and torch tensors are taken, all of one kind and on one device; on a GPU a Triton kernel does the work.

    The upright picture is resized to `size` (height, width), or to what `smart_resize` makes of it and of `min_pixels` and
    `max_pixels`, with Pillow's antialiased bicubic filter. `rotation` is by how many degrees it has to be turned against the clock to
    be upright, as PyAV's `VideoFrame.rotation` and `Image.rotate` count. `matrix`, `full_range` and `siting` (where chroma was sampled:
    "left" for MPEG-2 to HEVC, "center" for JPEG, "topleft" for BT.2020) are the stream's. Colours are clipped to what RGB can hold, and
    normalised to (value / 255 - `mean`) / `std`.

    Returns rows of `dtype` in the order that `patch_rows` describes, of the kind of array that came in, and the grid (temporal
    patches, rows, columns). `temporal` frames share a patch; the last frame is repeated where N is no multiple.

    Within 2e-5 of the reference in float32, 2e-3 in float16 and 2e-2 in bfloat16 (values reach from -1.8 to 2.2). Converting, resizing with
    Pillow and transformers' `Qwen2VLImageProcessor` round to whole levels three times: the same within 1.5 levels
    (0.023) where no colour has to be clipped.

    Raises `TypeError` for other dtypes and kinds, and `ValueError` for shapes that do not belong together or an argument
    outside of what is described.
    """
    first, second, third = _planes(luma, chroma)
    if dtype not in ("float32", "float16", "bfloat16"):
        raise ValueError(f"the dtype is float32, float16 or bfloat16, not {dtype!r}")
    plan = make_plan(
        *(int(side) for side in first.shape),
        size=None if size is None else (int(size[0]), int(size[1])),
        min_pixels=min_pixels,
        max_pixels=max_pixels,
        rotation=rotation,
        matrix=matrix,
        full_range=full_range,
        siting=siting,
        patch=patch,
        merge=merge,
        temporal=temporal,
        mean=tuple(mean),
        std=tuple(std),
    )
    if on_gpu(first):
        from kernels.frame_to_patches import gpu

        return gpu.frame_to_patches(first, second, third, plan, dtype)
    from kernels.frame_to_patches import cpu

    shape = (int(np.prod(plan.grid)), 3 * temporal * patch * patch)
    if not is_tensor(first):
        if dtype == "bfloat16":
            raise TypeError("numpy has no bfloat16: pass torch tensors, or ask for float32")
        return cpu.frame_to_patches(first, second, third, plan, np.empty(shape, dtype))
    import torch

    rows = np.empty(shape, "float32" if dtype == "bfloat16" else dtype)
    cpu.frame_to_patches(first.numpy(), second.numpy(), third.numpy(), plan, rows)
    return Patches(torch.from_numpy(rows).to(getattr(torch, dtype)), plan.grid)


def _planes(luma: Any, chroma: Any) -> tuple[Any, Any, Any]:
    """The three planes, each with its axis of frames; a view where they came interleaved."""
    if not isinstance(chroma, tuple | list) and (chroma.ndim < 3 or chroma.shape[-1] != 2):
        raise ValueError(f"interleaved chroma has a shape (..., height, width, 2), not {tuple(chroma.shape)}")
    planes = (luma, *chroma) if isinstance(chroma, tuple | list) else (luma, chroma[..., 0], chroma[..., 1])
    if len(planes) != 3:
        raise ValueError(f"chroma is one interleaved plane or a pair of planes, not {len(planes) - 1}")
    if len({(is_tensor(plane), str(getattr(plane, "device", "cpu"))) for plane in planes}) != 1:
        raise TypeError("the planes must all be numpy arrays, or torch tensors on one device")
    wrong = [str(plane.dtype) for plane in planes if str(plane.dtype).removeprefix("torch.") != "uint8"]
    if wrong:
        raise TypeError(f"planes are uint8, not {', '.join(wrong)}")
    first, second, third = (plane[None] if luma.ndim == 2 else plane for plane in planes)
    if first.ndim != 3 or 0 in first.shape:
        raise ValueError(f"luma has a shape (N, height, width) or (height, width) without zeros, not {tuple(luma.shape)}")
    expected = (first.shape[0], (first.shape[1] + 1) // 2, (first.shape[2] + 1) // 2)
    for plane in (second, third):
        if tuple(plane.shape) != expected:
            frames, height, width = first.shape
            raise ValueError(f"chroma of {frames} frames of {width}x{height} has the shape {expected}, not {tuple(plane.shape)}")
    return first, second, third
