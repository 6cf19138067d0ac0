"""Dissolves and fades: where one picture has turned gradually into quite another.

While one picture dissolves into another, every picture in between is a mixture of the two. So a recent frame A, the frame
B now and the frames between them are a dissolve that has just ended when A and B have little in common, each frame between
lies close to the line from A to B in the space of pictures, and the share of B in them rises to one in several steps. Pans,
zooms and things that move lead through pictures that are no such mixtures. (The production model of A. Hampapur, R. Jain
and T. Weymouth, "Digital video segmentation", ACM Multimedia 1994, section 4, used as a test.)

Like a cut, the end of a dissolve is judged by the frames of the last `REACH` alone.
"""

from collections import deque

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails
from pipeline.timeline import MediaTime

SPANS = (MediaTime.of(1), MediaTime.of(2))
"""How far back A lies; of a longer dissolve the last part is enough."""
REPEATS = MediaTime.of(0.6)
"""For so long the same end of a dissolve can be seen again."""
REACH = SPANS[-1] + REPEATS + MediaTime.of(0.4)
"""How far back the frames lie on which a decision depends."""

_PERIOD = MediaTime.of(0.1)
"""Frames are looked at ten times a second, at the first after each tenth of a second, however many there are."""
_DIFFERENT = 0.1
_ALIKE = 0.7
"""A and B differ by more than the one in mean luma and correlate less than the other."""
_OFF_LINE = 0.3
"""Largest distance of a mixture from the line, as a share of the line's length. Dissolves between moving pictures were
measured at 0.22 and less, moving cameras at 0.32 and more."""
_DONE = 0.92
"""The share of B at which a dissolve has ended; the rest is motion and noise."""
_JUST_NOW = MediaTime.of(0.25)
_BEFORE = MediaTime.of(0.35)
"""The share of B is that in every frame later than the one, and was not yet in the last frame earlier than the other."""
_AT_ONCE = 0.5
_BACK = -0.1
"""How much the share of B may rise or fall between two looks."""

_Pixels = NDArray[np.float32]


class DissolveFinder:
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a dissolve has ended with it."""

    def __init__(self) -> None:
        self._looks: deque[tuple[int, _Pixels]] = deque()
        self._slot: int | None = None
        self._ended_at: MediaTime | None = None

    def push(self, time: MediaTime, luma: Thumbnails, *, cut: bool) -> bool:
        """Take a frame, `uint8`; nothing before a cut is mixed with what follows."""
        if cut:
            self._looks.clear()
        slot, self._slot = self._slot, time.nanos // _PERIOD.nanos
        if slot == self._slot and not cut:
            return False
        self._looks.append((time.nanos, luma.astype(np.float32).ravel() / np.float32(255)))
        oldest = (time - SPANS[-1] - _PERIOD - _PERIOD).nanos
        while self._looks[0][0] < oldest:
            self._looks.popleft()
        if not any(self._has_ended(span) for span in SPANS):
            return False
        ended_at, self._ended_at = self._ended_at, time
        return ended_at is None or time - ended_at > REPEATS

    def _has_ended(self, span: MediaTime) -> bool:
        now, picture = self._looks[-1]
        begin = now - span.nanos
        start = sum(time <= begin for time, _ in self._looks) - 1
        if start < 0 or len(self._looks) - start < 8:
            return False
        first = self._looks[start][1]
        line = picture - first
        if float(np.abs(line).mean()) < _DIFFERENT or _correlation(first, picture) > _ALIKE:
            return False
        times, between = zip(*list(self._looks)[start + 1 : -1], strict=True)
        offsets = np.stack(between) - first
        length = float(line @ line)
        shares = offsets @ line / length
        rises = np.diff(shares, prepend=0, append=1)
        if rises.max() > _AT_ONCE or rises.min() < _BACK or np.count_nonzero((shares > 0.1) & (shares < 0.9)) < 2:
            return False
        ago = now - np.array(times)
        late, early = ago < _JUST_NOW.nanos, ago > _BEFORE.nanos
        if shares[late].min(initial=1) < _DONE or shares[early][-1] > _DONE:
            return False
        off_line = offsets - shares[:, None] * line
        return float((off_line * off_line).sum(axis=1).max()) <= _OFF_LINE * _OFF_LINE * length


def _correlation(left: _Pixels, right: _Pixels) -> float:
    """Correlation of two pictures, -1 to 1; 0 where one of them is of one brightness."""
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / scale if scale > 1e-3 else 0.0
