"""Dissolves and fades: where one picture has turned gradually into quite another.

While one picture dissolves into another, every picture in between is a mixture of the two. So a recent frame A, the frame
B now and the frames between them are a dissolve that has just ended when the share of B rises from zero to one in several
steps and three things hold together: each frame in between lies close to the line from A to B in the space of pictures; A and
B have little in common; and in between there is less contrast than in either, as in any mixture of two unrelated pictures.
Pans, zooms and things that move lead through pictures that are no such mixtures and keep their contrast; a dissolve between
moving shots is no exact mixture of two frames, but keeps the other two signs. Hence the sum of the three decides, measured on
pictures of 16x9 pixels in which a little motion does not show. (The production model of A. Hampapur, R. Jain and T. Weymouth,
"Digital video segmentation", ACM Multimedia 1994, section 4, used as a test; the dip in contrast is that of A. M. Alattar,
"Detecting and compressing dissolve regions in video sequences", ISCAS 1993.)

A fade goes through pictures without contrast. It ends where the contrast has stopped to rise, or where there has been none
for a while, unless the picture after it is the one from before.

Like a cut, the end of a dissolve is judged by the frames of the last `REACH` alone.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.frame_difference import Thumbnails
from pipeline.timeline import MediaTime

SPANS = tuple(MediaTime.of(span) for span in (0.6, 1, 1.5, 2, 2.6))
"""How far back A lies; of a longer dissolve the last part is enough."""
REPEATS = MediaTime.of(0.6)
"""For so long the same end of a dissolve can be seen again."""
REACH = SPANS[-1] + REPEATS + MediaTime.of(0.4)
"""How far back the frames lie on which a decision depends."""

_PERIOD = MediaTime.of(0.1)
"""Frames are looked at ten times a second, at the first after each tenth of a second, however many there are."""
_COLOUR = 1.5
"""Weight of colour against brightness."""
_DIFFERENT = 0.03
"""Least distance of A and B: root mean square, as a share of white."""
_MIXED = (0.1, 0.9)
_IN_STEPS = 2
"""So many frames at least have a share of B between these."""
_AT_ONCE = 0.5
_BACK = -0.15
"""How much the share of B may rise or fall between two looks."""
_STOPPED = 0.35
"""A dissolve has ended when the share of B rose less in the last look than this part of what it rose in its middle."""
_DONE = 0.85
_NOT_YET = 0.93
_BEFORE = MediaTime.of(0.35)
"""The share of B is the one or more in the last frame, and was less than the other so long ago."""
_NO_DIP = 0.8
_DIP_COUNTS = 0.5
_UNRELATED = 0.3
_LIKENESS_COUNTS = 0.3
_DOUBT = 0.24
"""Distance from the line (share of its length), contrast above 0.8 of that of A and B by half, and correlation of A and B
above 0.3 by 0.3, together. Dissolves between shots that move were measured at 0.2, pans, zooms and titles at 0.26 and more."""
_BLANK = 0.015
"""Contrast, as a share of white, of which a picture shows nothing."""
_BLANK_FOR = MediaTime.of(1)
"""Less of it belongs to the fade on either side."""
_STEADY = 1.06
"""A fade has ended when the contrast grew by less than this factor in the last two looks."""
_SHOWS = 0.04
_SAME = 0.8
"""Correlation from which a picture is the one from before the fade."""

_Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Look:
    nanos: int
    picture: _Pixels
    """Luma and, where known, weighted colour, 0 to 1."""
    contrast: float


class DissolveFinder:
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a dissolve has ended with it."""

    def __init__(self) -> None:
        self._looks: deque[_Look] = deque()
        self._slot: int | None = None
        self._ended_at: MediaTime | None = None

    def push(self, time: MediaTime, luma: Thumbnails, *, cut: bool, chroma: NDArray[np.uint8] | None = None) -> bool:
        """Take a frame, `uint8`, with Cb and Cr where they are known; nothing before a cut is mixed with what follows."""
        if cut:
            self._looks.clear()
        slot, self._slot = self._slot, time.nanos // _PERIOD.nanos
        if slot == self._slot and not cut:
            return False
        picture = _coarse(luma)
        contrast = float(picture.std())
        if chroma is not None:
            picture = np.concatenate([picture, *(np.float32(_COLOUR) * _coarse(plane) for plane in chroma)])
        self._looks.append(_Look(time.nanos, picture, contrast))
        oldest = (time - SPANS[-1] - _PERIOD - _PERIOD).nanos
        while self._looks[0].nanos < oldest:
            self._looks.popleft()
        if not self._has_ended():
            return False
        ended_at, self._ended_at = self._ended_at, time
        return ended_at is None or time - ended_at > REPEATS

    def _has_ended(self) -> bool:
        looks = list(self._looks)
        if len(looks) < 5:
            return False
        # After a picture of nothing only the end of the fade is looked for: on its way it is a mixture, too.
        return _faded(looks) if any(each.contrast < _BLANK for each in looks) else _dissolved(looks)


def _faded(looks: list[_Look]) -> bool:
    """Whether a fade has ended just now, in a picture or in none."""
    now = looks[-1]
    if now.contrast < _BLANK:
        shown = max((each.nanos for each in looks if each.contrast >= _BLANK), default=None)
        return shown is not None and now.nanos - shown >= _BLANK_FOR.nanos > looks[-2].nanos - shown
    blank = max(index for index, each in enumerate(looks) if each.contrast < _BLANK)
    since = [each.contrast for each in looks[blank + 1 :]]
    if len(since) < 3 or now.contrast < _SHOWS or now.contrast > _STEADY * since[-3]:
        return False
    if sum(0.15 * now.contrast < each < 0.85 * now.contrast for each in since) < _IN_STEPS:
        return False
    before = next((each for each in reversed(looks[:blank]) if each.contrast >= _SHOWS), None)
    return before is None or _correlation(before.picture, now.picture) < _SAME


def _dissolved(looks: list[_Look]) -> bool:
    """Whether a dissolve has ended just now."""
    now = looks[-1]
    nanos = np.array([each.nanos for each in looks])
    starts = {int(np.searchsorted(nanos, now.nanos - span.nanos, side="right")) - 1 for span in SPANS}
    pictures: _Pixels | None = None
    for start in sorted(start for start in starts if 0 <= start <= len(looks) - 5):
        first = looks[start]
        line = now.picture - first.picture
        length = float(line @ line)
        if length < line.size * _DIFFERENT * _DIFFERENT or first.contrast < _BLANK:
            continue
        if pictures is None:
            pictures = np.stack([each.picture for each in looks])
        offsets = pictures[start + 1 : -1] - first.picture
        shares = offsets @ line / length
        rises = np.diff(shares, prepend=0, append=1)
        mixed = (shares > _MIXED[0]) & (shares < _MIXED[1])
        if rises.max() > _AT_ONCE or rises.min() < _BACK or np.count_nonzero(mixed) < _IN_STEPS:
            continue
        ago = now.nanos - nanos[start + 1 : -1]
        early = shares[ago > _BEFORE.nanos]
        if shares[-1] < _DONE or not early.size or early[-1] > _NOT_YET or rises[-1] > _STOPPED * float(rises[:-1][mixed].mean()):
            continue
        off_line = offsets[mixed] - shares[mixed, None] * line
        doubt = float(np.sqrt((off_line * off_line).sum(axis=1) / length).mean())
        middle = looks[start + 1 + int(np.argmin(np.abs(shares - 0.5)))].contrast
        doubt += _DIP_COUNTS * max(0.0, middle / math.sqrt((first.contrast**2 + now.contrast**2) / 2) - _NO_DIP)
        doubt += _LIKENESS_COUNTS * max(0.0, _correlation(first.picture, now.picture) - _UNRELATED)
        if doubt < _DOUBT:
            return True
    return False


def _coarse(plane: NDArray[np.uint8]) -> _Pixels:
    """A plane as 16x9 means, flat, 0 to 1; as it is where it cannot be divided so."""
    height, width = plane.shape
    down, across = height // 9, width // 16
    if down < 1 or across < 1 or height % 9 or width % 16:
        return plane.ravel().astype(np.float32) / np.float32(255)
    rows = np.add.reduce(plane.reshape(9, down, width), axis=1, dtype=np.uint16)
    sums = np.add.reduce(rows.reshape(9, 16, across), axis=2, dtype=np.uint16)
    return sums.ravel().astype(np.float32) * np.float32(1 / (255 * down * across))


def _correlation(left: _Pixels, right: _Pixels) -> float:
    """Correlation of the luma of two pictures, -1 to 1; 0 where one of them is of one brightness."""
    left, right = left[:144], right[:144]
    left, right = left - left.mean(), right - right.mean()
    scale = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / scale if scale > 1e-3 else 0.0
