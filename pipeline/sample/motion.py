"""How much moves from look to look, a tenth of a second apart, and what that says: where it peaks, and when it comes to rest."""

from collections import deque
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.cuts import Payload, Seen

_LEAST = 0.05
_FAST = 0.1
_BLOCKS = 6
"""Mean change of the six blocks that change most in a tenth of a second: a peak has more than the one, a burst than the other."""
_REST = 0.01
"""Less is noise."""
_PARTLY = 2.4
"""Where so many times the mean of the picture moves, it is a part of it: in a dissolve or a flash all changes."""
_TIMES_USUAL = 2.5
"""A peak so many times above the usual motion, noise added, is an event however restless the picture is."""
_LASTS = 0.3
"""What moves is seen to move in a look before or after the peak, too, by this part of it; what appears is not."""
_LOCAL = 3.0
_WAIT_FOR_PEAK = 10
"""While a part moves fast, by so many times the mean of the picture, a change waits for the peak, for so many looks."""
_ABOVE_MEAN = 1.25
_LOOKS = 40
_FEW = 5
_LIVELY = 0.04
"""Usual motion of a picture that moves always."""
_LATELY = 10
_STIRRED = 0.04
_CALM = 0.6
"""When six blocks moved more than the one within a second, and now less than that part of it, the picture has settled."""
_WHOLE_LOOKS = 8
_SLOWED = 0.6
"""Share of the most that the whole picture has changed in a look lately, below which it comes to rest."""


@dataclass(frozen=True)
class _Look(Generic[Payload]):
    """A look, and how much moved since the one before; the frame itself is kept only while something moves."""

    motion: float
    whole: float
    frame: Seen[Payload] | None


def _most(blocks: NDArray[np.float32]) -> float:
    """Of the blocks that change most."""
    return sum(sorted(blocks.ravel().tolist())[-_BLOCKS:]) / _BLOCKS


@dataclass(frozen=True)
class Peak(Generic[Payload]):
    """Motion was greatest a moment ago."""

    at: Seen[Payload]
    after: Seen[Payload] | None
    """The look after it, where something still moves."""
    around: tuple[Seen[Payload] | None, ...]
    """Four looks: one before the peak, the peak, and two after it; `None` where nothing moved."""
    fast: bool
    is_partial: bool
    """Whether a part of the picture moved far more than the rest."""
    outstanding: bool
    """Whether that is far above what usually moves here."""


class Motion(Generic[Payload]):
    """Follows the looks of one scene."""

    def __init__(self) -> None:
        self._moving: deque[_Look[Payload]] = deque(maxlen=4)
        self._motions: deque[float] = deque(maxlen=_LOOKS)
        self._wholes: deque[float] = deque(maxlen=_WHOLE_LOOKS)
        self._fast_for = 0

    def add(self, frame: Seen[Payload], blocks: NDArray[np.float32], whole: float) -> None:
        """Take a look: the mean change of each of its blocks since the look before, camera left out, and of all with it, 0 to 1."""
        motion = _most(blocks)
        self._moving.append(_Look(motion, whole, frame if motion > _LEAST / 2 else None))
        self._motions.append(motion)
        self._wholes.append(whole)
        self._fast_for = self._fast_for + 1 if motion > _LOCAL * whole and motion >= _FAST else 0

    def pause(self, looks: int, blocks: NDArray[np.float32], whole: float) -> None:
        """So many looks were left out, because little moved in them: what has changed since is spread over them."""
        motion = _most(blocks)
        looks = max(min(looks, _LOOKS), 1)
        self._moving.clear()
        self._motions.extend([motion / looks] * looks)
        self._wholes.extend([whole / looks] * min(looks, _WHOLE_LOOKS))
        self._fast_for = 0

    def restlessness(self) -> float:
        """How much usually moves here, as a share of what a lively picture has, 0 to 1."""
        return 1.0 if len(self._motions) < _FEW else min(self._usual() / _LIVELY, 1.0)

    @property
    def is_usually_at_rest(self) -> bool:
        """Whether hardly anything has moved most of the time."""
        return self._usual() <= _REST

    @property
    def rests(self) -> bool:
        """Whether hardly anything moves now."""
        return max(list(self._motions)[-3:], default=0.0) <= _REST

    def _usual(self) -> float:
        return sorted(self._motions)[len(self._motions) // 2] if self._motions else 0.0

    def _stands_out(self, motion: float) -> bool:
        return motion >= _TIMES_USUAL * (self._usual() + _REST)

    @property
    def peak_comes(self) -> bool:
        """Whether a part moves fast, so that a peak is near."""
        return 0 < self._fast_for <= _WAIT_FOR_PEAK

    def has_settled(self) -> bool:
        """Whether much moved a moment ago and little does now: what came of it can be seen, and nothing blurs it."""
        if len(self._motions) < 3:
            return False
        lately = list(self._motions)[-_LATELY:]
        return max(lately) > _STIRRED and max(lately[-2:]) < _CALM * max(lately)

    def comes_to_rest(self) -> bool:
        """Whether the picture as a whole changes less than it did within the last second."""
        return not self._wholes or self._wholes[-1] < _SLOWED * max(self._wholes)

    def peak(self) -> Peak[Payload] | None:
        """The peak of motion two looks ago, if there was one that was more than a jerk."""
        if len(self._moving) < 4:
            return None
        looks = list(self._moving)
        peak = looks[1]
        if peak.frame is None or peak.motion < _LEAST or peak.motion < max(each.motion for each in looks):
            return None
        if max(looks[0].motion, looks[2].motion) < _LASTS * peak.motion:
            return None
        if peak.motion < _ABOVE_MEAN * sum(self._motions) / len(self._motions):
            return None
        partial = peak.motion >= _PARTLY * peak.whole
        return Peak(
            peak.frame,
            looks[2].frame,
            tuple(each.frame for each in looks),
            peak.motion >= _FAST,
            partial,
            partial and self._stands_out(peak.motion),
        )

    def take_peak(self) -> None:
        """The peak was chosen: its looks are no part of another."""
        self._moving.clear()
