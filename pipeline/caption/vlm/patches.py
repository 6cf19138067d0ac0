"""Keyframes as a vision tower wants them, without torchvision: whole tokens, normalised, cut into patches.

The patches equal those of transformers' own image processor for Qwen2-VL, without the repetition that fills its temporal patch. Their order
is that of `kernels.frame_to_patches.patch_rows`, which wants normalised pictures. Here each channel goes from bytes to its place in one
pass: no whole picture in floats is made first.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD

MAX_FRAME_PIXELS = 448 * 448
LEAST_TOKENS = 4
"""A picture of fewer tokens shows nothing."""


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become patches."""

    patch: int
    """Side of a patch in pixels."""
    merge: int
    """How many patches in each direction become one token."""
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    """As the published checkpoints; `preprocessor_config.json` overrides them."""
    max_pixels: int = MAX_FRAME_PIXELS
    """The most pixels of a picture; a checkpoint that was trained on smaller ones says so."""

    @property
    def token(self) -> int:
        """Side of a token in pixels."""
        return self.patch * self.merge

    def affine(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """By what a level of each channel is multiplied, and what is added, to normalise it: twice [3]."""
        mean, std = (np.array(each, np.float64) for each in (self.mean, self.std))
        return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def patchify(
    picture: Image.Image, how: Preprocessing, *, max_pixels: int = MAX_FRAME_PIXELS
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Patches [rows * columns, 3 * patch * patch] of a picture and the grid (rows, columns).

    The picture takes sides of whole tokens next to its own and at most `max_pixels`.
    """
    width, height = whole_tokens(picture.size, how.token, max_pixels=max_pixels)
    rows, columns, merge, patch = height // how.token, width // how.token, how.merge, how.patch
    scale, offset = how.affine()
    # Token row, token column, patch row, patch column, channel, y, x.
    out = np.empty((rows, columns, merge, merge, 3, patch, patch), np.float32)
    for channel, band in enumerate(picture.resize((width, height), Image.Resampling.BICUBIC).split()):
        levels = np.asarray(band).reshape(rows, merge, patch, columns, merge, patch).transpose(0, 3, 1, 4, 2, 5)
        into = out[:, :, :, :, channel]
        np.multiply(levels, scale[channel], out=into, dtype=np.float32)
        into += offset[channel]
    return out.reshape(-1, 3 * patch * patch), (rows * merge, columns * merge)


def square(picture: Image.Image, side: int, how: Preprocessing) -> NDArray[np.float32]:
    """The picture as normalised pixels [3, side, side], whatever its shape, as SmolVLM2 looks at the frames of a video."""
    scale, offset = how.affine()
    levels = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS), np.float32)
    return np.ascontiguousarray((levels * scale + offset).transpose(2, 0, 1))


def whole_tokens(size: tuple[int, int], token: int, *, max_pixels: int = MAX_FRAME_PIXELS) -> tuple[int, int]:
    """Width and height in whole tokens of `token` pixels that are next to `size` (width, height) within `max_pixels`.

    One token each way is the least. Longer than 200 to 1 is nothing that a vision tower has seen; the longer side is cut down to that.
    """
    width, height = size
    scale = min(1.0, math.sqrt(max_pixels / (width * height)))
    columns, rows = (max(1, round(side * scale / token)) for side in (width, height))
    while columns * rows * token * token > max_pixels and columns * rows > 1:
        columns, rows = (columns - 1, rows) if columns >= rows else (columns, rows - 1)
    return columns * token, rows * token


def affordable(count: int, tokens_each: int, budget: int) -> tuple[int, int]:
    """How many of `count` pictures, and how many tokens for each, fit into a budget of tokens: first smaller, then fewer.

    Pictures get smaller down to a quarter of `tokens_each`, or `LEAST_TOKENS`, before any is left out; at least one stays.
    """
    least = max(LEAST_TOKENS, tokens_each // 4)
    kept = max(1, min(count, budget // min(least, tokens_each)))
    return kept, max(min(LEAST_TOKENS, tokens_each), min(tokens_each, budget // kept))
