"""The audio since the last border, in the portions in which it came.

Borders between segments lie where one item of the topic ends and the next begins, because that is the only place that a
stage that starts again can be told: by how many items it has to read.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.segmentation import RATE

Samples = NDArray[np.float32]
"""Mono audio at 16 kHz, -1 to 1."""

_AROUND = RATE * 3 // 100
"""Samples on each side of a border that tell how loud it is there: 30 ms, since gaps between words are short."""


def media_time(sample: int) -> MediaTime:
    """When the sample with this absolute number is heard."""
    return MediaTime(round(sample * NANOS / RATE))


def sample_at(time: MediaTime) -> int:
    """The absolute number of the sample that is heard at a media time."""
    return time.nanos * RATE // NANOS


@dataclass(frozen=True)
class Portion:
    """The audio of one item."""

    needed: int
    """Number of the item from which a decoder must start to make these samples."""
    start: int
    """Absolute number of the first sample."""
    samples: Samples
    is_bridge: bool = False
    """Whether it stands for sound that was lost."""

    @property
    def end(self) -> int:
        """Absolute number of the sample after the last one."""
        return self.start + len(self.samples)


class Run:
    """Consecutive portions; what little is missing between two is bridged with silence."""

    def __init__(self) -> None:
        self._portions: list[Portion] = []
        self._needed: int | None = None

    def __bool__(self) -> bool:
        return bool(self._portions)

    @property
    def needed(self) -> int:
        """Number of the item from which the whole run can be made again, with what was released of it."""
        return self._portions[0].needed if self._needed is None else self._needed

    @property
    def start(self) -> int:
        """Absolute number of the first sample that is kept."""
        return self._portions[0].start

    @property
    def end(self) -> int:
        """Absolute number of the sample after the last one."""
        return self._portions[-1].end

    @property
    def length(self) -> int:
        """In samples."""
        return self.end - self.start if self else 0

    @property
    def borders(self) -> list[int]:
        """Where portions end, as absolute sample numbers in ascending order; not beside a bridge, which may lie within an item."""
        following = [*self._portions[1:], None]
        return [
            portion.end
            for portion, after in zip(self._portions, following, strict=True)
            if not portion.is_bridge and (after is None or not after.is_bridge)
        ]

    def append(self, portion: Portion) -> None:
        """Add the portion that follows."""
        self._portions.append(portion)

    def bridge(self, start: int) -> None:
        """Let silence stand for what is missing up to the portion that starts there."""
        lost = np.zeros(start - self.end, np.float32)
        self._portions.append(Portion(self._portions[-1].needed, self.end, lost, is_bridge=True))

    def shorten(self, length: int) -> None:
        """Forget the oldest portions as long as at least `length` samples stay; a bridge is never the first."""
        while self._portions and (self._portions[0].is_bridge or self.end - self._portions[0].end >= length):
            del self._portions[0]
        self._needed = None

    def release(self, sample: int) -> None:
        """Free the audio before a sample; the latest portion stays. The run is still needed from where it began."""
        if self._needed is None:
            self._needed = self.needed
        while len(self._portions) > 1 and self._portions[0].end <= sample:
            del self._portions[0]

    def after(self, border: int) -> list[Portion]:
        """The portions behind a border, as they came: without bridges."""
        return [portion for portion in self._portions if portion.start >= border and not portion.is_bridge]

    def samples(self, start: int, end: int) -> Samples:
        """The audio between two absolute sample numbers within the run."""
        parts = [portion for portion in self._portions if portion.end > start and portion.start < end]
        if not parts:
            return np.zeros(0, np.float32)
        joined: Samples = np.concatenate([portion.samples for portion in parts])
        return joined[start - parts[0].start : end - parts[0].start]

    def levels(self, borders: Sequence[int]) -> list[float]:
        """The mean square of the audio around each border, relative to that of the whole run."""
        power = np.square(self.samples(self.start, self.end))
        whole = float(np.mean(power)) or 1.0
        near = [power[max(0, border - self.start - _AROUND) : border - self.start + _AROUND] for border in borders]
        return [float(np.mean(part)) / whole for part in near]
