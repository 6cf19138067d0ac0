"""Where a source holds nothing for a while: a segment of a playlist that its server has lost, packets lost on the way.

Sound comes evenly, so a hole is where it stops for longer than any codec's silence and no picture comes either. Pictures alone
do not tell: a screen that is at rest sends none. A jump of the source's clock is no hole (`pipeline.media.stamps`).
"""

from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction

from pipeline.errors import MediaMissing
from pipeline.media.tracks import Kind
from pipeline.timeline import MediaTime

LEAST = Fraction(1, 2)
"""Seconds without anything that are a hole; Opus speaks at least every 0.4 s in silence (RFC 6716, 2.1.9)."""


@dataclass(frozen=True)
class Hole:
    """A stretch on the source's clock, in seconds, of which nothing came."""

    start: Fraction
    end: Fraction

    def told(self, name: str, offset: Fraction) -> MediaMissing:
        """The hole as an error of the source of this name; `offset` is to be added to the source's clock for media time."""
        start, end = MediaTime.of(self.start + offset), MediaTime.of(self.end + offset)
        length = (end - start).seconds
        return MediaMissing(
            f"{name} holds nothing from {start.clock()} to {end.clock()} ({length:.1f} s): a segment or packets of it are lost"
        )


class Holes:
    """Looks at one source's packets in the order in which they come."""

    def __init__(self, kinds: Collection[Kind]) -> None:
        """`kinds` are the source's tracks."""
        self._watched = frozenset(kinds) if "audio" in kinds else frozenset()
        self._reached: dict[Kind, Fraction] = {}
        self._leaps: dict[Kind, Hole] = {}
        self._found: list[Hole] = []

    def see(self, kind: Kind, start: Fraction, end: Fraction) -> None:
        """A packet that is decoded from `start` to `end`, in seconds on the source's clock."""
        reached = self._reached.get(kind)
        self._reached[kind] = end if reached is None else max(reached, end)
        if reached is None or start - reached < LEAST:
            return
        self._leaps[kind] = Hole(reached, start)
        if self._leaps.keys() == self._watched:
            common = Hole(max(leap.start for leap in self._leaps.values()), min(leap.end for leap in self._leaps.values()))
            if common.end - common.start >= LEAST:
                self._found.append(common)
                self._leaps.clear()

    def take(self) -> list[Hole]:
        """The holes that were found since this was asked last."""
        found, self._found = self._found, []
        return found
