"""Keyframes as a vision tower wants them, without torchvision: whole tokens, normalised, cut into patches.

The patches equal those of transformers' own image processor for Qwen2-VL. They are made from bytes by a table, because a
pixel has 256 values: cutting first and looking up last moves a quarter of the memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD, patch_rows

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
    temporal: int
    """How many frames a patch spans."""
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    """As the published checkpoints; `preprocessor_config.json` overrides them."""

    @property
    def token(self) -> int:
        """Side of a token in pixels."""
        return self.patch * self.merge

    def table(self) -> NDArray[np.float32]:
        """What each level of each channel is normalised to: [3, 256]."""
        levels = np.arange(256, dtype=np.float32) / 255
        mean, std = (np.array(each, np.float32)[:, None] for each in (self.mean, self.std))
        return ((levels - mean) / std).astype(np.float32)


def patchify(
    pictures: Sequence[Image.Image], how: Preprocessing, *, max_pixels: int = MAX_FRAME_PIXELS
) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Patches [frames * rows * columns, 3 * temporal * patch * patch] and the grid (frames, rows, columns) of equal frames.

    All pictures take the first one's shape, with sides of whole tokens and at most `max_pixels`. The patches of a
    token follow each other, as the vision tower expects. Each picture is repeated to fill the temporal patch.
    """
    width, height = whole_tokens(pictures[0].size, how.token, max_pixels=max_pixels)
    frames = np.stack([np.asarray(each.resize((width, height), Image.Resampling.BICUBIC)) for each in pictures])
    table = how.table()
    single = patch_rows(frames.transpose(0, 3, 1, 2), patch=how.patch, merge=how.merge, temporal=1)
    levels = single.reshape(len(single), 3, 1, -1)
    rows = np.empty((len(single), 3, how.temporal, how.patch**2), np.float32)
    for channel in range(3):
        rows[:, channel] = table[channel][levels[:, channel]]
    return rows.reshape(len(rows), -1), (len(pictures), height // how.patch, width // how.patch)


def square(picture: Image.Image, side: int, how: Preprocessing) -> NDArray[np.float32]:
    """The picture as normalised pixels [3, side, side], whatever its shape, as SmolVLM2 looks at the frames of a video."""
    levels = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))
    table = how.table()
    return np.stack([table[channel][levels[..., channel]] for channel in range(3)])


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
