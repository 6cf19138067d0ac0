"""Hard cuts: which frames are the first of a new shot, judged by the frames near them alone.

A cut is a step that is large, larger than its neighbours, and far above the steps just before it, and after which the
picture does not return to what it was, as it does after a flash. Whether a frame is one depends on the frames of the last
`REACH`, and on at most two frames after it, but on no earlier decision: who starts to read anywhere finds, after `REACH`,
the same cuts as everyone else. The adaptive threshold over a sliding window is that of B.-L. Yeo and B. Liu, "Rapid scene
analysis on compressed video", IEEE Trans. CSVT 5 (1995), section III, made causal.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from kernels.frame_difference import Thumbnails, histogram_distance, luma_difference
from pipeline.timeline import MediaTime

REACH = MediaTime.of(4)
"""How far back the steps go that a step is compared with."""
NEAR = MediaTime.of(0.2)
"""The most time in which a flash comes and goes, and so the longest that a decision is put off while frames come."""
SPARSE = MediaTime.of(0.25)
"""Frames further apart than this are compared only with such frames: their steps hold more motion."""

_STEPS = 16
_OUTLIERS = 2
"""Of the last 16 steps the two largest are left out of the mean: they are those of an earlier cut, or of a flash."""
_ENOUGH = 4
"""With fewer steps to compare with, as at a stream's start, the step must be as large as between sparse frames."""
_ABOVE_USUAL = 2.5
_STEP = 0.08
_STEP_OF_DARK = 0.04
_STEP_OF_SPARSE = 0.15
"""A cut's step exceeds one of these by 2.5 times the usual step. The real cuts measured have 0.12 and more, a whip pan 0.13."""
_OTHER_BRIGHTNESS = 0.5
"""Histogram distance from which the step of dark pictures is enough: they differ little, but share no brightness."""
_RETURNED = 0.4
"""Share of a step below which pictures before and after it count as the same."""

Payload = TypeVar("Payload")


@dataclass(frozen=True)
class Seen(Generic[Payload]):
    """A frame, and how it differs from the one before."""

    time: MediaTime
    luma: Thumbnails
    """Thumbnail, `uint8`, shape (36, 64)."""
    payload: Payload
    """What the caller wants back with it."""
    step: float
    """Mean absolute luma difference from the frame before, 0 to 1; 0 for the first."""
    stands_out: bool
    """Whether it could be a cut, as far as the frames before it tell."""


class CutFinder(Generic[Payload]):
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a shot begins with it."""

    def __init__(self) -> None:
        self._steps: dict[bool, deque[tuple[int, float]]] = {sparse: deque(maxlen=_STEPS) for sparse in (False, True)}
        self._past: deque[Seen[Payload]] = deque(maxlen=3)
        self._waiting: deque[Seen[Payload]] = deque()

    def push(self, time: MediaTime, luma: Thumbnails, payload: Payload) -> list[tuple[Seen[Payload], bool]]:
        """Take a frame; the frames of which it is now settled whether they are cuts. Most are settled at once."""
        before = self._waiting[-1] if self._waiting else self._past[-1] if self._past else None
        self._waiting.append(self._look(before, time, luma, payload))
        return self._settle()

    def flush(self) -> list[tuple[Seen[Payload], bool]]:
        """No frame follows: the frames that were not settled."""
        return self._settle(last=True)

    def _look(self, before: Seen[Payload] | None, time: MediaTime, luma: Thumbnails, payload: Payload) -> Seen[Payload]:
        if before is None:
            return Seen(time, luma, payload, 0.0, stands_out=False)
        step = float(luma_difference(before.luma, luma))
        sparse = time - before.time > SPARSE
        steps = self._steps[sparse]
        since = (time - REACH).nanos
        recent = [value for at, value in steps if at >= since]
        above = step - _ABOVE_USUAL * _usual(recent)
        if sparse or len(recent) < _ENOUGH:
            stands_out = above > _STEP_OF_SPARSE
        else:
            dark_cut = above > _STEP_OF_DARK and float(histogram_distance(before.luma, luma)) > _OTHER_BRIGHTNESS
            stands_out = above > _STEP or dark_cut
        steps.append((time.nanos, step))
        return Seen(time, luma, payload, step, stands_out)

    def _settle(self, *, last: bool = False) -> list[tuple[Seen[Payload], bool]]:
        settled = []
        while self._waiting:
            frame = self._waiting[0]
            cut = False
            if frame.stands_out:
                after = [later for later in list(self._waiting)[1:3] if later.time - frame.time <= NEAR]
                if not last and len(after) < 2 and len(self._waiting) == 1 + len(after):
                    break
                cut = self._is_cut(frame, after)
            settled.append((frame, cut))
            self._past.append(self._waiting.popleft())
        return settled

    def _is_cut(self, frame: Seen[Payload], after: list[Seen[Payload]]) -> bool:
        """Whether the step is the largest near by, and no picture from before it is seen again after it."""
        near = [earlier for earlier in self._past if frame.time - earlier.time <= NEAR]
        if any(later.step > frame.step for later in after) or any(earlier.step >= frame.step for earlier in near[-2:]):
            return False
        here = [frame, *after]
        returned = _RETURNED * frame.step
        return not any(float(luma_difference(old.luma, new.luma)) < returned for old in near for new in here)


def _usual(steps: Iterable[float]) -> float:
    """The mean of the steps without the largest two; zero where there are no more than these."""
    kept = sorted(steps)[:-_OUTLIERS]
    return sum(kept) / len(kept) if kept else 0.0
