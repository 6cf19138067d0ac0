"""Packets of a source into runs that make a chunk each, in the order in which they are sent."""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from watchword.v1.media_pb2 import Packet

from pipeline.media.chunks import Cutter
from pipeline.media.source import Source
from pipeline.media.stamps import Stamped
from pipeline.media.tracks import Kind, Track

SPAN = Fraction(1, 4)
"""Seconds of media in a chunk: it cannot be sent before its last packet exists, so its length is part of every delay."""
LOOKAHEAD_S = 2
"""How far apart a file may store what belongs together before the track that is ahead is sent without the other."""


@dataclass(frozen=True)
class Run:
    """Consecutive packets of one track."""

    track: Track
    packets: tuple[Packet, ...]
    shift: Fraction
    """Seconds to add to the packets' times to be on the source's clock."""
    start: Fraction
    """Seconds on the source's clock at which the earliest packet is shown."""
    end: Fraction
    """Seconds on the source's clock at which the latest packet ends."""
    complete: Fraction
    """Seconds on the source's clock at which a live source would have all of it."""


class Runs:
    """Groups one source's packets."""

    def __init__(self, source: Source, stream_id: str) -> None:
        """`stream_id` is named when a packet is too large. A live source's runs come as they are complete."""
        self._source = source
        self._stream_id = stream_id
        self._cutters: dict[Kind, Cutter] = {}
        self._shifts: dict[Kind, Fraction] = {}
        self._reached: dict[Kind, Fraction] = {}
        self._complete: dict[Kind, Fraction] = {}
        self._waiting: list[tuple[Fraction, int, Run]] = []
        self._numbers = itertools.count()

    def __iter__(self) -> Iterator[Run]:
        """The runs in order of their ends, as far as the container's own order allows.

        Raises what `Source.packets` raises, after all runs that could be made; and `MessageTooLarge`.
        """
        failure: Exception | None = None
        try:
            for kind, stamped in self._source.packets():
                yield from self._add(kind, stamped)
        except Exception as error:
            failure = error
        for kind in self._cutters:
            self._finish(kind)
        while self._waiting:
            yield heapq.heappop(self._waiting)[2]
        if failure is not None:
            raise failure

    def _add(self, kind: Kind, stamped: Stamped) -> Iterator[Run]:
        track = self._source.tracks[kind]
        if kind not in self._cutters:
            self._cutters[kind] = Cutter(track.unit, stream_id=self._stream_id, span=SPAN)
            self._shifts[kind] = stamped.shift
        if stamped.shift != self._shifts[kind]:
            self._finish(kind)
            self._shifts[kind] = stamped.shift
        if packets := self._cutters[kind].add(stamped.packet):
            self._hold(kind, packets)
        dts = stamped.packet.dts if stamped.packet.HasField("dts") else stamped.packet.pts
        self._reached[kind] = dts * track.unit + stamped.shift
        while self._waiting and self._may_go(self._waiting[0][2]):
            yield heapq.heappop(self._waiting)[2]

    def _finish(self, kind: Kind) -> None:
        if packets := self._cutters[kind].rest():
            self._hold(kind, packets)

    def _hold(self, kind: Kind, packets: list[Packet]) -> None:
        track, shift = self._source.tracks[kind], self._shifts[kind]
        start = min(packet.pts for packet in packets) * track.unit + shift
        end = max(packet.pts + packet.duration for packet in packets) * track.unit + shift
        last = max(packet.pts for packet in packets) * track.unit + shift
        # Where pictures are reordered a run may end before the one that precedes it, which it must not overtake.
        complete = max(min(end, last + SPAN), self._complete.get(kind, last))
        self._complete[kind] = complete
        run = Run(track, tuple(packets), shift, start, end, complete)
        heapq.heappush(self._waiting, (run.complete, next(self._numbers), run))

    def _may_go(self, run: Run) -> bool:
        """Whether no track will give a run that ends before this one, or that one is too far away to wait for."""
        if self._source.live:
            return True
        others = [self._reached.get(kind) for kind in self._source.tracks if kind != run.track.kind]
        if all(reached is not None and reached >= run.complete for reached in others):
            return True
        return max(self._reached.values()) - run.complete >= LOOKAHEAD_S
