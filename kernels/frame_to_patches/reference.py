"""Frames to patches in plain numpy: every step by itself, whole matrices, float64. The meaning of the operation; not fast."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.frame_to_patches.plan import Patches, Plan


def frame_to_patches(luma: NDArray[np.uint8], blue: NDArray[np.uint8], red: NDArray[np.uint8], plan: Plan) -> Patches:
    """Planes of shapes (N, height, width) and twice (N, ceil(height / 2), ceil(width / 2)); float32 rows."""
    planes = [
        np.einsum("ij,njk,lk->nil", down.dense().astype(np.float64), plane, across.dense().astype(np.float64), optimize=True)
        for plane, (down, across) in ((luma, plan.luma), (blue, plan.chroma), (red, plan.chroma))
    ]
    ones = np.ones_like(planes[0])
    pictures = np.einsum("cp,pnij->ncij", plan.mix.astype(np.float64), np.stack([*planes, ones]))
    limits = (plan.low[:, None, None], plan.high[:, None, None])
    pictures = np.clip(pictures, *limits)
    if plan.transposed:
        pictures = pictures.swapaxes(2, 3)
    return Patches(patch_rows(pictures.astype(np.float32), patch=plan.patch, merge=plan.merge, temporal=plan.temporal), plan.grid)


def patch_rows(pictures: NDArray[Any], *, patch: int = 14, merge: int = 2, temporal: int = 2) -> NDArray[Any]:
    """The patches of normalised pictures, in the order of the vision towers of Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

    `pictures` has shape (N, channels, height, width), its sides multiples of `patch * merge`; the last picture is repeated until N is a
    multiple of `temporal`. The result, of the same dtype, has shape (N / temporal * height / patch * width / patch,
    channels * temporal * patch * patch). The `merge` x `merge` patches that become one token follow each other; within a row
    come channel, frame, row and column (`Qwen2VLImageProcessor.patchify` of transformers). Raises `ValueError` for other shapes.
    """
    token = patch * merge
    if pictures.ndim != 4 or not pictures.shape[0] or 0 in pictures.shape[2:] or pictures.shape[2] % token or pictures.shape[3] % token:
        raise ValueError(f"pictures in a shape (N, channels, height, width) of whole tokens of {token} are needed, not {pictures.shape}")
    missing = -len(pictures) % temporal
    if missing:
        pictures = np.concatenate([pictures, np.repeat(pictures[-1:], missing, axis=0)])
    frames, channels, height, width = pictures.shape
    split = pictures.reshape(
        frames // temporal, temporal, channels, height // token, merge, patch, width // token, merge, patch
    )  # t, frame, channel, token row, patch row, y, token column, patch column, x
    ordered = split.transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return ordered.reshape(-1, channels * temporal * patch * patch)
