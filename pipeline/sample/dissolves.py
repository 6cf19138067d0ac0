"""Dissolves and fades: where one picture has turned gradually into quite another.

A recent frame A, the frame B now and the frames between them are a dissolve that has just ended when the share of B in them rises
from zero to one in several steps, and no more, and when what is measured of them (`pipeline.sample.mixing`) speaks for mixtures of
the two. Shares and distances are those of pictures of 16x9 pixels, in which a little motion does not show.

A fade goes through pictures without contrast. It ends where the contrast has stopped to rise, or where there has been none
for a while, unless the picture after it is the one from before.

Like a cut, the end of a dissolve is judged by the frames of the last `REACH` alone.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.looks import PERIOD, Look, evenness
from pipeline.sample.mixing import Signs, evidence
from pipeline.timeline import MediaTime

SPANS = tuple(MediaTime.of(span) for span in (0.6, 1, 1.5, 2, 2.6))
"""How far back A lies; of a longer dissolve the last part is enough."""
REPEATS = MediaTime.of(0.6)
"""For so long the same end of a dissolve can be seen again."""
REACH = SPANS[-1] + REPEATS + MediaTime.of(1)
"""How far back the frames lie on which a decision depends."""

_COLOUR = 1.5
"""Weight of colour against brightness."""
_DIFFERENT = 0.03
"""Least distance of A and B: root mean square, as a share of white."""
_MIXED = (0.1, 0.9)
_FEWEST = 5
_IN_STEPS = 2
"""So many frames at least have a share of B between these."""
_AT_ONCE = 0.6
_BACK = -0.15
"""How much the share of B may rise or fall between two looks."""
_FAST, _FASTER = 1.2, 1.6
"""The most that the share of B rose in the last look and in the one before, as a share of what it rose in its middle."""
_STOPPED, _SLOWED = 0.4, 0.9
"""A dissolve has ended when these were less than that."""
_OVER = MediaTime.of(0.15)
_ENOUGH = 5.0
"""It has also ended when nothing has spoken for it for so long, two looks of ten a second, and enough had before."""
_DONE = 0.78
_NOT_YET = 0.95
_BEFORE = MediaTime.of(0.35)
"""The share of B is the one or more in the last frame, and was less than the other so long ago."""
_FAR = 0.6
"""Distance from the line, as a share of its length, from which no picture is a mixture."""
_FLAT = 1e-5
"""Added to the squares of slopes, two levels of noise, so that an even picture has some."""
_BLANK = 0.015
"""Contrast, as a share of white, of which a picture shows nothing."""
_BLANK_FOR = MediaTime.of(1.5)
"""Less of it belongs to the fade on either side."""
_STEADY = 1.06
"""A fade has ended when the contrast grew by less than this factor in the last two looks."""
_LATELY = MediaTime.of(1.3)
"""It has had half of its contrast for no longer; what changes later is something else."""
_RISES = 1.03
_ROSE = 7
_GREW = 1.25
"""It grew by this factor within so many looks, where a fade has ended just now."""
_SHOWS = 0.04
_SAME = 0.8
"""Correlation from which a picture is the one from before the fade."""

_Pixels = NDArray[np.float32]

_LUMA = 16 * 9
_ROOM = 64
"""Looks that there is room for; fewer than 32 are within reach."""


class DissolveFinder:
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a dissolve has ended with it."""

    def __init__(self, speaks: Callable[[Signs], float] = evidence) -> None:
        """`speaks` says how much speaks for a dissolve; above zero it is likely."""
        self._evidence = speaks
        self._pictures: _Pixels | None = None
        """Of the looks from `_first` to `_end`: luma and, where known, weighted colour, 0 to 1."""
        self._products = np.zeros((_ROOM, _ROOM))
        """The scalar products of the pictures: all that is asked about lines between them follows from these."""
        self._nanos: list[int] = [0] * _ROOM
        self._contrasts: list[float] = [0.0] * _ROOM
        self._looks: list[Look | None] = [None] * _ROOM
        self._edges: list[float] = [0.0] * _ROOM
        self._first = self._end = 0
        self._slot: int | None = None
        self._ended_at: MediaTime | None = None
        self._likely: tuple[float, int] | None = None
        """What has spoken for a dissolve that has not been told, and when it did last, in nanoseconds."""

    def push(self, time: MediaTime, look: Look, *, cut: bool) -> bool:
        """Take a frame; nothing before a cut is mixed with what follows."""
        if cut:
            self._first = self._end
            self._likely = None
        slot, self._slot = self._slot, time.nanos // PERIOD.nanos
        if slot == self._slot and not cut:
            return False
        self._append(time.nanos, look)
        ended = self._has_ended()
        repeated = self._ended_at is not None and time - self._ended_at <= REPEATS
        if ended or (repeated and self._likely is not None):
            self._ended_at = time
        return ended and not repeated

    def _append(self, nanos: int, look: Look) -> None:
        picture = _coarse(look)
        if self._pictures is None:
            self._pictures = np.zeros((_ROOM, picture.size), np.float32)
        if self._end == _ROOM:
            kept, count = slice(self._first, self._end), self._end - self._first
            self._pictures[:count] = self._pictures[kept].copy()
            self._products[:count, :count] = self._products[kept, kept].copy()
            for each in (self._nanos, self._contrasts, self._looks, self._edges):
                each[:count] = each[kept]
            self._first, self._end = 0, count
        at, self._end = self._end, self._end + 1
        self._pictures[at] = picture
        self._nanos[at] = nanos
        luma = picture[:_LUMA]
        self._contrasts[at] = math.sqrt(max(float(luma @ luma) / _LUMA - (float(np.add.reduce(luma)) / _LUMA) ** 2, 0.0))
        self._looks[at], self._edges[at] = look, _slopes(look.luma)
        oldest = nanos - (SPANS[-1] + PERIOD + PERIOD).nanos
        while self._nanos[self._first] < oldest:
            self._first += 1
        products = self._pictures[self._first : self._end] @ picture
        self._products[at, self._first : self._end] = products
        self._products[self._first : self._end, at] = products

    def _has_ended(self) -> bool:
        if self._end - self._first < _FEWEST:
            return False
        if self._was_blank:
            self._likely = None
            return self._has_faded()
        return self._has_dissolved()

    def _has_dissolved(self) -> bool:
        """Whether a dissolve has ended: the share of B has stopped to rise, or, where B moves, it is over for a while."""
        now = self._nanos[self._end - 1]
        speaks = [(self._evidence(signs), signs) for signs in self.signs()]
        most = max((evidence for evidence, _ in speaks), default=0.0)
        if most > 0:
            self._likely = (most if self._likely is None else self._likely[0] + most, now)
            return any(evidence > 0 and signs.last <= _STOPPED and signs.before_last <= _SLOWED for evidence, signs in speaks)
        if self._likely is None or now - self._likely[1] < _OVER.nanos:
            return False
        (total, _), self._likely = self._likely, None
        return total >= _ENOUGH

    @property
    def _was_blank(self) -> bool:
        """Whether nothing was seen a while ago: then only the end of the fade is looked for, on whose way all are mixtures, too."""
        return min(self._contrasts[self._first : self._end]) < _BLANK

    def _has_faded(self) -> bool:
        """Whether a fade has ended just now, in a picture or in none."""
        contrasts, nanos = self._contrasts[self._first : self._end], self._nanos[self._first : self._end]
        now = contrasts[-1]
        if now < _BLANK:
            shown = max((at for at, each in zip(nanos, contrasts, strict=True) if each >= _BLANK), default=None)
            if shown is None or max(contrasts) < _SHOWS:
                return False
            return nanos[-1] - shown >= _BLANK_FOR.nanos > nanos[-2] - shown
        blank = max(index for index, each in enumerate(contrasts) if each < _BLANK)
        since = contrasts[blank + 1 :]
        if len(since) < 3 or now < _SHOWS or now > _STEADY * since[-3]:
            return False
        half = next(at for at, each in zip(nanos[blank + 1 :], since, strict=True) if 2 * each >= now)
        if nanos[-1] - half > _LATELY.nanos:
            return False
        # In several steps: writing that appears on an empty slide comes at once.
        if sum(0.15 * now < after < 0.85 * now and after > _RISES * before for before, after in pairwise(since)) < _IN_STEPS:
            return False
        before = next((index for index in reversed(range(blank)) if contrasts[index] >= _SHOWS), None)
        if before is None:
            # What was before is out of reach: it must have ended just now, or it has been judged already.
            return now >= _GREW * min(since[-_ROSE:])
        return self._likeness(self._first + before) < _SAME

    def signs(self) -> Iterator[Signs]:
        """What speaks for a dissolve that has ended with the latest look, for each earlier one with which it may have begun."""
        if self._end - self._first < _FEWEST or self._was_blank:
            return
        now = self._end - 1
        nanos = self._nanos[now]
        early = now
        while early >= self._first and nanos - self._nanos[early] <= _BEFORE.nanos:
            early -= 1
        start = now
        for span in SPANS:
            begin = nanos - span.nanos
            if self._nanos[self._first] > begin:
                return
            before = start
            while self._nanos[start] > begin:
                start -= 1
            if start != before and start + 4 <= now and start < early:
                found = self._signs(start, early, span)
                if found is not None:
                    yield found

    def _signs(self, start: int, early: int, span: MediaTime) -> Signs | None:
        """What speaks for a dissolve since `start`, unless the share of B says at once that there was none."""
        now = self._end - 1
        to_now, to_first = self._products[now], self._products[start]
        square, cross = float(to_first[start]), float(to_first[now])
        length = float(to_now[now]) - 2 * cross + square
        assert self._pictures is not None
        if length < self._pictures.shape[1] * _DIFFERENT * _DIFFERENT:
            return None
        if to_now[now - 1] - to_first[now - 1] - cross + square < _DONE * length:
            return None
        lately = float(to_now[early] - to_first[early] - cross + square) / length
        if lately > _NOT_YET:
            return None
        of_first = to_first[start + 1 : now]
        shares = ((to_now[start + 1 : now] - of_first - (cross - square)) / length).tolist()
        rises = [after - before for before, after in pairwise([0.0, *shares, 1.0])]
        steepest, back = max(rises), min(rises)
        if steepest > _AT_ONCE or back < _BACK:
            return None
        mixed = [index for index, share in enumerate(shares) if _MIXED[0] < share < _MIXED[1]]
        if len(mixed) < _IN_STEPS:
            return None
        usual = sum([rises[index] for index in mixed]) / len(mixed)
        if usual <= 0 or rises[-1] > _FAST * usual or rises[-2] > _FASTER * usual:
            return None
        distances = ((self._products.diagonal()[start + 1 : now] - 2 * of_first + square) / length).tolist()
        away = sum([math.sqrt(max(distances[index] - shares[index] * shares[index], 0.0)) for index in mixed]) / len(mixed)
        if away > _FAR:
            return None
        faded, expected = 0.0, 0.0
        of_a, of_b = self._edges[start], self._edges[now]
        for index in mixed:
            share = shares[index]
            faded += (1 - share) * of_a + share * of_b - self._edges[start + 1 + index]
            expected += share * (1 - share)
        first, latest = self._looks[start], self._looks[now]
        assert first is not None and latest is not None
        faded /= expected * _slopes(latest.luma - first.luma)
        return Signs(
            away,
            max(1 - faded, 0.0),
            max(faded - 1, 0.0),
            float(first.shape @ latest.shape),
            evenness(latest.luma - first.luma),
            steepest,
            min(back, 0.0),
            abs(rises[-1]) / usual,
            abs(rises[-2]) / usual,
            lately,
            len(mixed) / len(shares),
            span.seconds,
        )

    def _likeness(self, before: int) -> float:
        """Correlation of the luma of a look and of the latest, -1 to 1; 0 where one of them is of one brightness."""
        assert self._pictures is not None
        left, right = self._pictures[before, :_LUMA], self._pictures[self._end - 1, :_LUMA]
        left, right = left - left.mean(), right - right.mean()
        scale = math.sqrt(float(left @ left) * float(right @ right))
        return float(left @ right) / scale if scale > 1e-3 else 0.0


def _coarse(look: Look) -> _Pixels:
    """The picture in 16x9 means, flat, 0 to 1: luma, and Cb and Cr times their weight where they are known."""
    luma: _Pixels = np.add.reduce(look.luma.reshape(9, 4, 64), axis=1) @ _LUMA_MEANS
    if look.chroma is None:
        return luma.ravel()
    chroma = look.chroma.reshape(2, 9, 2, 32)
    colour = np.add(chroma[:, :, 0], chroma[:, :, 1], dtype=np.float32) @ _CHROMA_MEANS
    return np.concatenate([luma.ravel(), colour.ravel()])


def _slopes(luma: _Pixels) -> float:
    """Mean square of the slopes, across and along, as a share of white; more than zero."""
    rows = luma.reshape(36, 64)
    across, along = rows[:, 1:] - rows[:, :-1], rows[1:] - rows[:-1]
    return (float(np.vdot(across, across)) / across.size + float(np.vdot(along, along)) / along.size) / 255**2 + _FLAT


def _means(across: int, scale: float) -> _Pixels:
    """The matrix that sums `across` neighbouring columns and scales the sums."""
    return np.kron(np.eye(16), np.full((across, 1), scale)).astype(np.float32)


_LUMA_MEANS = _means(4, 1 / (255 * 16))
_CHROMA_MEANS = _means(2, _COLOUR / (255 * 4))
