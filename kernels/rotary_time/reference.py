"""Multimodal rotary embeddings as written down: angles of every axis, the section's axis chosen, each pair of values turned."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Layout = Literal["sectioned", "interleaved"]


def axes_of(sections: Sequence[int], layout: Layout) -> NDArray[np.int32]:
    """Which of time (0), height (1) and width (2) turns each frequency, shape (sum of `sections`,), highest frequency first.

    "sectioned" gives time the highest frequencies, then height, then width (Qwen2-VL and Qwen2.5-VL). "interleaved" deals them out in
    turn: of the first 3 * `sections[1]` frequencies every third, beginning with the second, is height's, of the first
    3 * `sections[2]` every third from the third is width's, all others are time's (Qwen3-VL).
    """
    time, height, width = sections
    if layout == "sectioned":
        return np.repeat(np.arange(3, dtype=np.int32), [time, height, width])
    axes = np.zeros(time + height + width, np.int32)
    axes[1 : 3 * height : 3] = 1
    axes[2 : 3 * width : 3] = 2
    return axes


def frequencies_of(count: int, theta: float) -> "Tensor":
    """theta ** (-i / count) in radians per step, float32 of shape (count,), reckoned as transformers does.

    The last bit matters: at position 30,000 it turns by 0.002 more.
    """
    import torch

    return 1.0 / (theta ** (torch.arange(0, 2 * count, 2, dtype=torch.float32) / (2 * count)))


def rotary_time(queries: "Tensor", keys: "Tensor", positions: "Tensor", axes: "Tensor", frequencies: "Tensor", scaling: float) -> None:
    """In place, in float32 inside; the public function says what the shapes are."""
    import torch

    # (batch, 1, length, frequency): the position on the axis that turns this frequency, times the frequency.
    angles = (positions.float()[axes.long()].permute(1, 2, 0) * frequencies)[:, None]
    cosine, sine = angles.cos() * scaling, angles.sin() * scaling
    for values in (queries, keys):
        first, second = values.float().chunk(2, dim=-1)
        turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
        values.copy_(turned.to(values.dtype))
