"""Rotary position ids of a prompt with one video whose frames have any times (multimodal RoPE of Qwen2.5-VL).

"Qwen2.5-VL Technical Report" (2025), section 2.1.3: the temporal id of a frame follows absolute time, not its index.
Libraries compute it from one interval, which keyframes do not have; and transformers 5.23 starts the text after a video
inside the video's temporal ids, where Qwen's own `get_rope_index` starts it after the largest id of all.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import NANOS, MediaTime


def temporal_ids(times: Sequence[MediaTime], tokens_per_second: int) -> list[int]:
    """floor((time - first time) * tokens_per_second), exactly, for times that do not go backwards."""
    return [(time - times[0]).nanos * tokens_per_second // NANOS for time in times]


def position_ids(
    *, before: int, times: Sequence[MediaTime], rows: int, columns: int, after: int, tokens_per_second: int
) -> NDArray[np.int64]:
    """Position ids [4, 1, before + len(times) * rows * columns + after] of text, a video, and text.

    Row 0 counts the tokens; rows 1 to 3 are the temporal, height and width ids. `times` are the presentation times of
    the video's temporal patches, `rows` and `columns` the patches of each after spatial merging. In text the three ids
    are equal and go up by one; in the video they are `before` plus the temporal id, the row, and the column; the text
    behind starts at the largest id so far plus one.
    """
    temporal, height, width = np.meshgrid(temporal_ids(times, tokens_per_second), np.arange(rows), np.arange(columns), indexing="ij")
    video = np.stack([temporal.ravel(), height.ravel(), width.ravel()]) + before
    text_before = np.tile(np.arange(before), (3, 1))
    text_after = np.tile(np.arange(after), (3, 1)) + video.max(initial=before - 1) + 1
    three = np.concatenate([text_before, video, text_after], axis=1)
    return np.concatenate([np.arange(three.shape[1])[None], three])[:, None].astype(np.int64)
