"""Dissolves and fades: where one picture has turned gradually into quite another.

A recent frame A, the frame B now and the frames between them are a dissolve that has just ended when the share of B in them rises
from zero to one in several steps, and no more, and when what is measured of them (`pipeline.sample.mixing`) speaks for mixtures of
the two. Shares and distances are those of pictures of 16x9 pixels, in which a little motion does not show.

The end is told when the share of B has stopped to rise, so that B is seen alone. Where B moves, the share goes on to change, and the
end is told when nothing has spoken for a dissolve for a moment, and enough had before. Fades are `pipeline.sample.fades`.

Like a cut, the end of a dissolve is judged by the frames of the last `REACH` alone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.cuts import SPARSE
from pipeline.sample.fades import BLANK, has_faded
from pipeline.sample.looks import PERIOD, Look, spread
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
_AT_ONCE, _BACK = 0.6, -0.15
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
_SAME = 0.9
"""Correlation from which A and B are one picture in another light."""
_FLAT = 1e-5
"""Added to the squares of slopes, two levels of noise, so that an even picture has some."""
_Pixels = NDArray[np.float32]

_LUMA = 16 * 9
_ROOM = 64
"""Looks that there is room for; fewer than 32 are within reach."""


class _Measured(NamedTuple):
    nanos: int
    look: Look
    contrast: float
    """Of the picture of 16x9."""
    edges: tuple[float, float]
    """Mean squares of the slopes, across and along."""


class DissolveFinder:
    """Takes the frames of one uninterrupted stretch in order of time and says of each whether a dissolve has ended with it."""

    def __init__(self, speaks: Callable[[Signs], float] = evidence) -> None:
        """`speaks` says how much speaks for a dissolve; above zero it is likely."""
        self._evidence = speaks
        self._pictures: _Pixels | None = None
        """Of the looks from `_first` to `_end`: luma and, where known, weighted colour, 0 to 1."""
        self._products = np.zeros((_ROOM, _ROOM))
        """The scalar products of the pictures: all that is asked about lines between them follows from these."""
        self._looks: list[_Measured] = []
        """As many as there are pictures."""
        self._first = self._end = 0
        self._blank = -1
        """Which look was the latest of nothing, as those of indices from `_first` on."""
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
        likely = self._likely
        self._append(time.nanos, look)
        ended = self._has_ended()
        # Where nothing was looked at for a while, what is over was over long before.
        at = time if likely is None or time.nanos - likely[1] <= SPARSE.nanos else MediaTime(likely[1])
        repeated = self._ended_at is not None and at - self._ended_at <= REPEATS
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
            del self._looks[: self._first]
            self._blank -= self._first
            self._first, self._end = 0, count
        at, self._end = self._end, self._end + 1
        self._pictures[at] = picture
        contrast = _contrast(picture[:_LUMA], look.bars)
        self._looks.append(_Measured(nanos, look, contrast, _slopes(look.luma)))
        if contrast < BLANK:
            self._blank = at
        oldest = nanos - (SPANS[-1] + PERIOD + PERIOD).nanos
        while self._looks[self._first].nanos < oldest:
            self._first += 1
        products = self._pictures[self._first : self._end] @ picture
        self._products[at, self._first : self._end] = products
        self._products[self._first : self._end, at] = products

    def _has_ended(self) -> bool:
        if self._end - self._first < _FEWEST:
            return False
        if self._was_blank:
            self._likely = None
            seen = self._looks[self._first :]
            likeness = lambda index: self._likeness(self._first + index)  # noqa: E731
            return has_faded([each.nanos for each in seen], [each.contrast for each in seen], likeness)
        return self._has_dissolved()

    def _has_dissolved(self) -> bool:
        """Whether a dissolve has ended: the share of B has stopped to rise, or, where B moves, it is over for a while."""
        now = self._looks[self._end - 1].nanos
        likely = [(most, signs) for signs in self.signs() if (most := self._evidence(signs)) > 0]
        if likely:
            most = max(each for each, _ in likely)
            self._likely = (most if self._likely is None else self._likely[0] + most, now)
            return any(signs.last <= _STOPPED and signs.before_last <= _SLOWED for _, signs in likely)
        if self._likely is None or now - self._likely[1] < _OVER.nanos:
            return False
        (total, _), self._likely = self._likely, None
        return total >= _ENOUGH

    @property
    def _was_blank(self) -> bool:
        """Whether nothing was seen a while ago: then only the end of the fade is looked for, on whose way all are mixtures, too."""
        return self._blank >= self._first

    def signs(self) -> Iterator[Signs]:
        """What speaks for a dissolve that has ended with the latest look, for each earlier one with which it may have begun."""
        if self._end - self._first < _FEWEST or self._was_blank:
            return
        now = self._end - 1
        nanos = self._looks[now].nanos
        early = now
        while early >= self._first and nanos - self._looks[early].nanos <= _BEFORE.nanos:
            early -= 1
        start = now
        for span in SPANS:
            begin = nanos - span.nanos
            if self._looks[self._first].nanos > begin:
                return
            before = start
            while self._looks[start].nanos > begin:
                start -= 1
            if start != before and start + 4 <= now and start < early:
                found = self._signs(start, early, span)
                if found is not None:
                    yield found

    def _signs(self, start: int, early: int, span: MediaTime) -> Signs | None:
        """What speaks for a dissolve since `start`, unless the share of B says at once that there was none."""
        line = self._line(start, early)
        if line is None:
            return None
        shares, distances = line
        rises = [after - before for before, after in pairwise([0.0, *shares, 1.0])]
        if max(rises) > _AT_ONCE or min(rises) < _BACK:
            return None
        mixed = [index for index, share in enumerate(shares) if _MIXED[0] < share < _MIXED[1]]
        usual = sum([rises[index] for index in mixed]) / max(len(mixed), 1)
        if len(mixed) < _IN_STEPS or usual <= 0 or rises[-1] > _FAST * usual or rises[-2] > _FASTER * usual:
            return None
        away = sum([math.sqrt(max(distances[index] - shares[index] * shares[index], 0.0)) for index in mixed]) / len(mixed)
        likeness = self._likeness(start)
        if away > _FAR or likeness > _SAME:
            return None
        across, along = self._faded(start, [(start + 1 + index, shares[index]) for index in mixed])
        faded = (across + along) / 2
        return Signs(
            away=away,
            kept=max(1 - faded, 0.0),
            blurred=max(faded - 1, 0.0),
            one_way=abs(across - along),
            likeness=likeness,
            spread=spread(self._looks[start].look, self._looks[-1].look),
            steepest=max(rises),
            back=min(*rises, 0.0),
            last=abs(rises[-1]) / usual,
            before_last=abs(rises[-2]) / usual,
            lately=shares[early - start - 1],
            filled=len(mixed) / len(shares),
            seconds=span.seconds,
        )

    def _line(self, start: int, early: int) -> tuple[list[float], list[float]] | None:
        """The share of B in each look after A, and the square of its distance from A, as a share of that of B.

        Nothing where A and B are much alike, the look before B is not nearly B, or the one at `early` is.
        """
        assert self._pictures is not None
        now = self._end - 1
        to_now, to_first = self._products[now], self._products[start]
        square, cross = float(to_first[start]), float(to_first[now])
        length = float(to_now[now]) - 2 * cross + square
        if length < self._pictures.shape[1] * _DIFFERENT * _DIFFERENT:
            return None
        if to_now[now - 1] - to_first[now - 1] - cross + square < _DONE * length:
            return None
        if to_now[early] - to_first[early] - cross + square > _NOT_YET * length:
            return None
        of_first = to_first[start + 1 : now]
        shares = (to_now[start + 1 : now] - of_first - (cross - square)) / length
        distances = (self._products.diagonal()[start + 1 : now] - 2 * of_first + square) / length
        return shares.tolist(), distances.tolist()

    def _faded(self, start: int, mixed: Sequence[tuple[int, float]]) -> tuple[float, float]:
        """How much of their edges, across and along, the mixed looks have lost, as a share of what mixtures of A and B would have lost.

        For a mixture by a share s the squares of its slopes are those of A and B by their shares, less s (1 - s) times those of B - A.
        """
        now = self._end - 1
        of_a, of_b = self._looks[start].edges, self._looks[now].edges
        apart = _slopes(self._looks[now].look.luma - self._looks[start].look.luma)
        expected = sum([share * (1 - share) for _, share in mixed])
        across, along = (
            sum([(1 - share) * of_a[way] + share * of_b[way] - self._looks[index].edges[way] for index, share in mixed])
            / (expected * apart[way])
            for way in (0, 1)
        )
        return across, along

    def _likeness(self, before: int) -> float:
        """Correlation of the shapes of a look and of the latest, -1 to 1."""
        return float(self._looks[before].look.shape @ self._looks[-1].look.shape)


def _coarse(look: Look) -> _Pixels:
    """The picture in 16x9 means, flat, 0 to 1: luma, and Cb and Cr times their weight where they are known."""
    luma: _Pixels = np.add.reduce(look.luma.reshape(9, 4, 64), axis=1) @ _LUMA_MEANS
    if look.chroma is None:
        return luma.ravel()
    chroma = look.chroma.reshape(2, 9, 2, 32)
    colour = np.add(chroma[:, :, 0], chroma[:, :, 1], dtype=np.float32) @ _CHROMA_MEANS
    return np.concatenate([luma.ravel(), colour.ravel()])


def _contrast(luma: _Pixels, bars: tuple[int, int]) -> float:
    """Standard deviation of what is between the bars, whose rows and columns are those of the thumbnail."""
    if bars != (0, 0):
        rows, columns = -(-bars[0] // 4), -(-bars[1] // 4)
        luma = luma.reshape(9, 16)[rows : 9 - rows, columns : 16 - columns].ravel()
    return math.sqrt(max(float(luma @ luma) / luma.size - (float(np.add.reduce(luma)) / luma.size) ** 2, 0.0))


def _slopes(luma: _Pixels) -> tuple[float, float]:
    """Mean squares of the slopes, across and along, as a share of white; more than zero."""
    rows = luma.reshape(36, 64)
    across, along = (rows[:, 1:] - rows[:, :-1]).ravel(), (rows[1:] - rows[:-1]).ravel()
    return float(across @ across) / across.size / 255**2 + _FLAT, float(along @ along) / along.size / 255**2 + _FLAT


def _means(across: int, scale: float) -> _Pixels:
    """The matrix that sums `across` neighbouring columns and scales the sums."""
    return np.kron(np.eye(16), np.full((across, 1), scale)).astype(np.float32)


_LUMA_MEANS = _means(4, 1 / (255 * 16))
_CHROMA_MEANS = _means(2, _COLOUR / (255 * 4))
