"""Where the tokens of a prompt with pictures are in time, height and width, whatever times its frames have.

Three ways in which models are told the time:

- Qwen2.5-VL ("Qwen2.5-VL Technical Report", 2025, section 2.1.3): the temporal id of a frame follows absolute time, not its
  index. Libraries compute it from one interval, which keyframes do not have; and transformers 5.23 starts the text after a
  video inside the video's temporal ids, where Qwen's own `get_rope_index` starts it after the largest id of all.
- Qwen3-VL ("Qwen3-VL Technical Report", 2025, section 2): each frame is a block of its own, and its time stands before it in text.
- Models with one-dimensional positions, such as SmolVLM2: in text only.

Times are told from the first frame on, so that a scene means the same wherever in a stream it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import NANOS, MediaTime


@dataclass(frozen=True)
class Text:
    """So many tokens of text, or of anything that is counted in one dimension."""

    tokens: int
    kept: tuple[int, ...] | None = None
    """Which of them are there, in order, where some are left out; what comes behind starts as if all were."""


@dataclass(frozen=True)
class Frame:
    """A temporal patch of a video: one frame, or several that the vision tower joins."""

    time: MediaTime
    rows: int
    """Rows of tokens, after spatial merging."""
    columns: int
    kept: tuple[int, ...] | None = None
    """Which tokens of the grid are there, counted along the rows, where some are left out."""


@dataclass(frozen=True)
class Video:
    """Frames on one clock, in order of time; a still picture is a video of one frame, whose time does not matter."""

    frames: tuple[Frame, ...]


Piece = Text | Video


@dataclass(frozen=True)
class Placed:
    """Where the tokens of some pieces are, and where the next token is."""

    ids: NDArray[np.int64]
    """[4, 1, tokens]: row 0 counts the tokens, rows 1 to 3 are the temporal, height and width ids."""
    next: int
    """The three ids of a token of text behind; a written token has these, and each further one by one more."""

    @property
    def tokens(self) -> int:
        """How many tokens there are."""
        return int(self.ids.shape[2])


def place(pieces: Sequence[Piece], *, tokens_per_second: float, start: int = 0, behind: int = 0) -> Placed:
    """Place text and videos one behind the other, as Qwen2.5-VL does; with videos of one frame each, as Qwen3-VL does.

    In text the three ids are equal and go up by one. In a video they are the video's first id plus the temporal id, the row, and the
    column of the token. What comes behind starts at the largest id so far plus one. Where a cache is continued, `start` is the first id
    and `behind` the number of tokens that are in it.
    """
    parts: list[NDArray[np.int64]] = [np.zeros((3, 0), np.int64)]
    latest = start
    for piece in pieces:
        if isinstance(piece, Text):
            parts.append(latest + _text(piece))
            latest += piece.tokens
        else:
            ids, extent = _video(piece.frames, tokens_per_second)
            parts.append(latest + ids)
            latest += extent
    three = np.concatenate(parts, axis=1)
    return Placed(np.concatenate([behind + np.arange(three.shape[1])[None], three])[:, None], latest)


def position_ids(
    *, before: int, times: Sequence[MediaTime], rows: int, columns: int, after: int, tokens_per_second: float
) -> NDArray[np.int64]:
    """Position ids [4, 1, before + len(times) * rows * columns + after] of text, a video of equal frames, and text; see `place`."""
    video = Video(tuple(Frame(time, rows, columns) for time in times))
    return place([Text(before), video, Text(after)], tokens_per_second=tokens_per_second).ids


def in_order(times: Sequence[MediaTime]) -> list[int]:
    """Which of the times, and in which order, tell a scene: from the earliest to the latest, of equal ones the first.

    A frame that comes late is put where it belongs. Two frames at one time cannot both be right; the second is left out.
    """
    earliest: dict[int, int] = {}
    for index, time in enumerate(times):
        earliest.setdefault(time.nanos, index)
    return [earliest[nanos] for nanos in sorted(earliest)]


def qwen3_time(time: MediaTime) -> str:
    """What stands before a frame in the prompt of Qwen3-VL: "<3.0 seconds>", counted from the first frame."""
    return f"<{time.seconds:.1f} seconds>"


def clock_times(times: Sequence[MediaTime]) -> list[str]:
    """The times from the first on as "01:07", as SmolVLM2 is told them; with tenths, or milliseconds, where two would read the same."""
    since = [max(0, (time - times[0]).nanos) // 1_000_000 for time in times]
    texts: list[str] = []
    for digits, unit in ((0, 1000), (1, 100), (3, 1)):
        fraction = [f".{millis % 1000 // unit:0{digits}}" if digits else "" for millis in since]
        texts = [f"{millis // 60_000:02}:{millis // 1000 % 60:02}{part}" for millis, part in zip(since, fraction, strict=True)]
        if len(set(texts)) == len(texts):
            break
    return texts


def _text(text: Text) -> NDArray[np.int64]:
    return np.tile(np.arange(text.tokens) if text.kept is None else np.array(text.kept, np.int64), (3, 1))


def _video(frames: Sequence[Frame], tokens_per_second: float) -> tuple[NDArray[np.int64], int]:
    """The ids [3, tokens] of a video's tokens, from 0 on, and the first id that no token has, were all of them there.

    The temporal id is floor((time - first time) * tokens_per_second), exactly. Times closer than a token share one, and so do equal ones.
    """
    parts: list[NDArray[np.int64]] = [np.zeros((3, 0), np.int64)]
    extent = 0
    for frame in frames:
        since = Fraction((frame.time - frames[0].time).nanos, NANOS)
        places = np.arange(frame.rows * frame.columns) if frame.kept is None else np.array(frame.kept, np.int64)
        rows, columns = np.divmod(places, frame.columns)
        temporal = int(since * Fraction(tokens_per_second) // 1)
        parts.append(np.stack([np.full(len(rows), temporal, np.int64), rows, columns]))
        extent = max(extent, temporal + 1, frame.rows, frame.columns)
    return np.concatenate(parts, axis=1), extent
