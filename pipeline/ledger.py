"""What a step has taken in of one partition, and from where it would have to go on: the rule behind every commit.

Streams share a partition, so the committed offset is that of the oldest record any stream still needs, and beside it
stands the place of every stream that is further. A stage that starts again with its held items says some things twice,
so each record carries its position among what its step says about the stream, and one at or before a position that was
seen is dropped. The decision why this and not less is in docs/decisions/0001-what-is-committed.md.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pipeline.bus import Origin, Position, Progress, StreamProgress

ENDED_KEPT = 32
"""How many ended streams of a partition are remembered, so that what comes after the end is refused."""
STREAMS_KEPT = 512
"""How many streams of a partition are remembered; beyond it those that have been silent longest are forgotten first."""


class Admission(Enum):
    """What is done with a record."""

    TAKE = "take"
    """It is new: process it, then `settle` or `drop` it."""
    SKIP = "skip"
    """It was processed before a restart."""
    DUPLICATE = "duplicate"
    """Its step has said it, or something after it, before."""
    ENDED = "ended"
    """Its step has ended the stream."""


@dataclass
class _Item:
    """A record that has been taken and is still needed, with what was known of the stream before it."""

    offset: int
    seen: Mapping[str, Position]
    ended: frozenset[str]


@dataclass
class _Stream:
    seen: Mapping[str, Position] = field(default_factory=dict)
    ended: frozenset[str] = frozenset()
    items: deque[_Item] = field(default_factory=deque)
    settled: int = 0
    """How many of the leading items have been processed; only what has not been is ever dropped."""
    passed: int = 0
    """The offset after the last record that was looked at."""

    def progress(self) -> StreamProgress:
        if self.items:
            oldest = self.items[0]
            return StreamProgress(oldest.offset, oldest.seen, oldest.ended)
        return StreamProgress(self.passed, self.seen, self.ended)


class Ledger:
    """One partition, as one step sees it. Pure bookkeeping: no bus, no clock."""

    def __init__(self, progress: Progress, writers: frozenset[str] = frozenset()) -> None:
        """Go on from `progress`; `writers` are the steps that must all end a stream for it to be over (none: any one)."""
        self._writers = writers
        self._next = progress.offset
        self._streams = {
            stream_id: _Stream(stream.seen, stream.ended, passed=stream.needed) for stream_id, stream in progress.streams.items()
        }
        self._finished = dict.fromkeys(stream_id for stream_id in self._streams if self.is_over(stream_id))

    def admit(self, stream_id: str, offset: int, origin: Origin, *, is_end: bool) -> Admission:
        """Look at the record at `offset`; records come in order of their offsets.

        An end is told apart because nothing of its step may follow it; its position is not taken as seen, so that a late
        message is recognised as late instead of being taken for a duplicate.
        """
        self._next = offset + 1
        stream = self._streams.get(stream_id) or self._add(stream_id)
        if offset < stream.passed:
            return Admission.SKIP
        stream.passed = offset + 1
        seen = stream.seen.get(origin.step)
        if seen is not None and origin.position <= seen:
            return Admission.DUPLICATE
        if origin.step in stream.ended:
            return Admission.DUPLICATE if is_end else Admission.ENDED
        stream.items.append(_Item(offset, stream.seen, stream.ended))
        if is_end:
            stream.ended = stream.ended | {origin.step}
        else:
            stream.seen = {**stream.seen, origin.step: origin.position}
        return Admission.TAKE

    def is_over(self, stream_id: str) -> bool:
        """Whether every step that writes the stream has ended it, as far as records were admitted."""
        ended = self._streams[stream_id].ended
        return bool(ended) and ended >= self._writers

    def is_last(self, stream_id: str, offset: int) -> bool:
        """Whether the record, which is still needed, is the end after which nothing of the stream follows.

        Records are admitted ahead of the work, so a stream can be over while what came between two ends still waits.
        """
        return self.is_over(stream_id) and self._streams[stream_id].items[-1].offset == offset

    def is_empty(self, stream_id: str) -> bool:
        """Whether nothing but ends was ever admitted of the stream."""
        return not self._streams[stream_id].seen

    def settle(self, stream_id: str, offset: int, held: int) -> None:
        """The record has been processed and what it led to is published; of the processed ones the latest `held` are kept."""
        stream = self._streams[stream_id]
        assert stream.items[stream.settled].offset == offset, "a stream's records are settled in order"
        stream.settled += 1
        while stream.settled > held:
            stream.items.popleft()
            stream.settled -= 1

    def release(self, stream_id: str) -> None:
        """Nothing that was processed of the stream is needed any more, though it has not ended; it may be forgotten already."""
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        for _ in range(stream.settled):
            stream.items.popleft()
        stream.settled = 0

    def drop(self, stream_id: str, offset: int) -> None:
        """The record is not needed: it was refused, or left out to keep up."""
        stream = self._streams[stream_id]
        stream.items = deque(item for item in stream.items if item.offset != offset)

    def finish(self, stream_id: str) -> None:
        """The stream is over: nothing of it is needed any more, and only its end is remembered, for a while."""
        stream = self._streams[stream_id]
        stream.items.clear()
        stream.settled = 0
        self._finished[stream_id] = None
        while len(self._finished) > ENDED_KEPT:
            self._forget(next(iter(self._finished)))

    def pass_over(self, offset: int) -> None:
        """A record that belongs to no stream has been dealt with."""
        self._next = offset + 1

    @property
    def held(self) -> int:
        """How many records are still needed, over all streams."""
        return sum(len(stream.items) for stream in self._streams.values())

    def progress(self) -> Progress:
        """Where this step would go on in this partition after a crash now."""
        streams = {stream_id: stream.progress() for stream_id, stream in self._streams.items()}
        waiting = [stream.items[0].offset for stream in self._streams.values() if stream.items]
        return Progress(min(waiting, default=self._next), streams)

    def _forget(self, stream_id: str) -> None:
        self._streams.pop(stream_id, None)
        self._finished.pop(stream_id, None)

    def _add(self, stream_id: str) -> _Stream:
        if len(self._streams) >= STREAMS_KEPT:
            silent = [(stream.passed, name) for name, stream in self._streams.items() if not stream.items]
            if silent:
                self._forget(min(silent)[1])
        self._streams[stream_id] = stream = _Stream()
        return stream
