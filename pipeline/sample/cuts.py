"""Hard cuts: which frames are the first of a new shot, judged by the frames near them alone.

A cut is a frame whose shape or colour is unlike that of the frame before, far more unlike than frames usually were just
before it and than those next to it are, all over the picture, and after which the picture does not return to what it was.
Light that flashes or flickers leaves the shapes as they are; a whip pan has several large steps in a row; writing that
appears changes a small part of the picture. Whether a frame is a cut depends on the frames of the last `REACH`, and on at
most two frames after it, but on no earlier decision: who starts to read anywhere finds, after `REACH`, the same cuts as
everyone else. The adaptive threshold over a sliding window is that of B.-L. Yeo and B. Liu, "Rapid scene analysis on
compressed video", IEEE Trans. CSVT 5 (1995), section III, made causal.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails
from pipeline.sample.looks import Look, colour_distance, colour_step, look, shape_distance, spread, step
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
_UNLIKE = 0.6
_UNLIKE_OF_FEW = 0.9
"""The least distance of shapes. Photographs shown one after the other, all with the same title, are 0.65 apart."""
_UNLIKE_OF_DARK = 0.95
_DARK = 0.05
"""The least distance of two pictures of less contrast than this, the one of half the other's, so that the end of a fade is no cut."""
_ALIKE = 0.2
"""Distance of shapes of frames far apart below which nothing moved in between."""
_ABOVE_USUAL = 0.4
_ABOVE_NEAR = 0.3
"""By how much a cut's distance of shapes exceeds the usual one, and each one within two frames."""
_MAY_HIDE = 0.75
"""Share of the least distances of a cut from which one may lie between two pictures that do not follow each other."""
_LEAST = 0.012
"""The least difference of brightness or colour, three levels: what is less is the noise of even pictures."""
_STEP_OF_FEW = 0.15
"""The least difference of brightness between sparse frames that cannot be compared with enough others."""
_SPREAD = 0.2
_COLOUR = 0.05
_OTHER_COLOUR = 0.7
_TIMES_USUAL = 6.0
"""A cut to another colour: the least step of colour, the share of the picture that has another, and the times the usual step."""
_EVEN = 0.02
_STEP_OF_EVEN = 0.04
_TIMES_USUAL_OF_EVEN = 2.5
"""Pictures with less contrast have no shape; a cut between two of them shows in their brightness alone."""
_RETURNED = 0.6
"""Share of a distance below which pictures before and after it count as the same."""

Payload = TypeVar("Payload")


@dataclass(frozen=True, slots=True)
class Seen(Generic[Payload]):
    """A frame, and how it differs from the one before."""

    time: MediaTime
    luma: Thumbnails
    """Thumbnail, `uint8`, shape (36, 64)."""
    look: Look
    payload: Payload
    """What the caller wants back with it."""
    step: float
    """Mean absolute luma difference from the frame before, 0 to 1; 0 for the first. Where frames between the two were passed over,
    this and the next two are what each of the steps had on average."""
    unlike: float
    """Distance of the shapes of the frame before and of this one, 0 to 2; 0 for the first."""
    colour: float
    """Mean absolute difference of the colours, 0 to 1; 0 for the first."""
    stands_out: bool
    """Whether it could be a cut, as far as the frames before it tell."""


class CutFinder(Generic[Payload]):
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a shot begins with it."""

    def __init__(self) -> None:
        self._steps: dict[bool, deque[tuple[int, float, float, float]]] = {each: deque(maxlen=_STEPS) for each in (False, True)}
        self._past: deque[Seen[None]] = deque(maxlen=3)
        """Without their pictures, which take memory."""
        self._waiting: deque[Seen[Payload]] = deque()
        self._prepared: tuple[Thumbnails, Look, float, float] | None = None
        """The picture that `may_hide` was asked about, and how its shape and colour differ from the latest."""

    def may_hide(self, luma: Thumbnails, chroma: NDArray[np.uint8] | None = None) -> bool:
        """Whether frames between the latest and this one have to be taken, because one of them may be a cut, or tells if one was."""
        if self._waiting or not self._past:
            return True
        before, now = self._past[-1].look, look(luma, chroma)
        unlike, colour = shape_distance(before, now), colour_step(before, now)
        self._prepared = (luma, now, unlike, colour)
        if unlike > _MAY_HIDE * _UNLIKE or colour > _MAY_HIDE * _COLOUR:
            return True
        return max(before.contrast, now.contrast) < _EVEN / _MAY_HIDE and step(before, now) > _MAY_HIDE * _STEP_OF_EVEN

    def push(
        self, time: MediaTime, luma: Thumbnails, payload: Payload, chroma: NDArray[np.uint8] | None = None, *, passed: int = 0
    ) -> list[tuple[Seen[Payload], bool]]:
        """Take a frame; the frames of which it is now settled whether they are cuts. Most are settled at once.

        So many frames were `passed` over before it, of which `may_hide` told that they need not be taken: it is no cut.
        """
        before: Seen[Any] | None = self._waiting[-1] if self._waiting else self._past[-1] if self._past else None
        prepared, self._prepared = self._prepared, None
        known = prepared if prepared is not None and prepared[0] is luma else None
        now = look(luma, chroma) if known is None else known[1]
        if passed and before is not None:
            apart = (shape_distance(before.look, now), colour_step(before.look, now)) if known is None else known[2:]
            self._waiting.append(self._glance(before, time, luma, now, payload, apart, passed + 1))
        else:
            self._waiting.append(self._look(before, time, luma, now, payload))
        return self._settle()

    def flush(self) -> list[tuple[Seen[Payload], bool]]:
        """No frame follows: the frames that were not settled."""
        return self._settle(last=True)

    def _glance(
        self,
        before: Seen[Any],
        time: MediaTime,
        luma: Thumbnails,
        now: Look,
        payload: Payload,
        apart: tuple[float, float],
        count: int,
    ) -> Seen[Payload]:
        """A frame that is no cut, so many steps after the one before; how far `apart` the two are is spread over the steps."""
        light, unlike, colour = step(before.look, now) / count, apart[0] / count, apart[1] / count
        self._steps[time.nanos - before.time.nanos > SPARSE.nanos].extend([(time.nanos, light, unlike, colour)] * count)
        return Seen(time, luma, now, payload, light, unlike, colour, stands_out=False)

    def _look(self, before: Seen[Any] | None, time: MediaTime, luma: Thumbnails, now: Look, payload: Payload) -> Seen[Payload]:
        if before is None:
            return Seen(time, luma, now, payload, 0.0, 0.0, 0.0, stands_out=False)
        light, unlike, colour = step(before.look, now), shape_distance(before.look, now), colour_step(before.look, now)
        sparse = time.nanos - before.time.nanos > SPARSE.nanos
        steps = self._steps[sparse]
        stands_out = False
        contrasts = sorted((before.look.contrast, now.contrast))
        contrast = contrasts[1]
        is_even = contrast < _EVEN and light > _STEP_OF_EVEN
        if max(light, colour) > _LEAST and (unlike > _UNLIKE or colour > _COLOUR or is_even):
            since = (time - REACH).nanos
            recent = [values for at, *values in steps if at >= since]
            usual = [_usual(each) for each in zip(*recent, strict=True)] or [0.0, 0.0, 0.0]
            known = len(recent) >= _ENOUGH or (not sparse and self._was_still(since))
            few = sparse and not known
            least = (
                _UNLIKE_OF_DARK if contrast < _DARK and 2 * contrasts[0] < contrast else _UNLIKE_OF_FEW if sparse or not known else _UNLIKE
            )
            in_shape = unlike > least and unlike - usual[1] > _ABOVE_USUAL and (not few or light > _STEP_OF_FEW)
            in_colour = colour > max(_COLOUR, _TIMES_USUAL * usual[2]) and colour_distance(before.look, now) > _OTHER_COLOUR
            stands_out = (
                in_shape or (in_colour and unlike > _UNLIKE / 2) or (is_even and light > _STEP_OF_EVEN + _TIMES_USUAL_OF_EVEN * usual[0])
            )
        steps.append((time.nanos, light, unlike, colour))
        return Seen(time, luma, now, payload, light, unlike, colour, stands_out)

    def _was_still(self, since: int) -> bool:
        """Whether frames far apart were alike: those between them, which nobody saw, were no less so."""
        return any(at >= since and unlike < _ALIKE for at, _, unlike, _ in self._steps[True])

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
            self._waiting.popleft()
            self._past.append(Seen(frame.time, frame.luma, frame.look, None, frame.step, frame.unlike, frame.colour, frame.stands_out))
        return settled

    def _is_cut(self, frame: Seen[Payload], after: list[Seen[Payload]]) -> bool:
        """Whether the step is the largest near by, all over the picture, and no picture from before it is seen again after it."""
        near = [earlier for earlier in self._past if frame.time - earlier.time <= NEAR]
        here = [frame, *after]
        around: list[Seen[Any]] = [*near[-2:], *after]
        if not near:
            return True
        before = near[-1]
        if _is_alone(frame, near, after):
            if spread(before.look, frame.look) < _SPREAD and frame.colour < _COLOUR:
                return False
            return not any(shape_distance(old.look, new.look) < _RETURNED * frame.unlike for old in near for new in here)
        if frame.colour > _COLOUR and all(2 * each.colour < frame.colour for each in around):
            return not any(colour_step(old.look, new.look) < _RETURNED * frame.colour for old in near for new in here)
        if max(before.look.contrast, frame.look.contrast) < _EVEN and all(2 * each.step < frame.step for each in around):
            return not any(step(old.look, new.look) < _RETURNED * frame.step for old in near for new in here)
        return False


def _is_alone(frame: Seen[Payload], near: Sequence[Seen[Any]], after: Sequence[Seen[Any]]) -> bool:
    """Whether the step is far larger than each one near by, or one of two that a blended frame makes of a cut, the first."""
    before = [each.unlike for each in near[-2:]]
    later = [each.unlike for each in after]
    if all(frame.unlike - each > _ABOVE_NEAR for each in (*before, *later)):
        return True
    if len(later) < 2:
        return False
    both = shape_distance(near[-1].look, after[0].look)
    return both > max(frame.unlike, later[0]) + _ABOVE_NEAR and all(2 * each < both for each in (*before, later[1]))


def _usual(steps: Iterable[float]) -> float:
    """The mean of the steps without the largest two; zero where there are no more than these."""
    kept = sorted(steps)[:-_OUTLIERS]
    return sum(kept) / len(kept) if kept else 0.0
