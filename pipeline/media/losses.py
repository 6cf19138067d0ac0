"""Telling of packets that could not be decoded among others that could: the first at once, then a count now and then.

A chunk of which nothing can be decoded is refused, and so told. But decoders mend what they can and pass over the rest, and
a damaged source would then be told as a whole one.
"""

from collections.abc import Iterator

from watchword.v1.errors_pb2 import ErrorEvent

from pipeline.errors import MediaUndecodable
from pipeline.media.tracks import Kind
from pipeline.timeline import ZERO, MediaTime

EVERY = MediaTime.of(60)
"""Media time between two reports of a stream."""
_WHAT = {"audio": ("sound", "what was said there is missing"), "video": ("pictures", "what builds on them is not looked at")}


class Losses:
    """Reports one stream's losses. When it does depends on where a stage began to count, so a report comes after all else of an item."""

    def __init__(self, stream_id: str, kind: Kind) -> None:
        self._stream_id = stream_id
        self._of, self._follows = _WHAT[kind]
        self._lost = 0
        """Packets of which nothing was told yet."""
        self._lost_at = ZERO
        self._told_at: MediaTime | None = None

    def note(self, packets: int, reached: MediaTime) -> Iterator[ErrorEvent]:
        """So many packets were lost in what was taken in last, which ends at this media time; a report, if one is due."""
        if packets:
            self._lost, self._lost_at = self._lost + packets, reached
        if self._told_at is None or reached - self._told_at >= EVERY:
            yield from self.rest()

    def rest(self) -> Iterator[ErrorEvent]:
        """What was not reported yet."""
        if not self._lost:
            return
        packets = "1 packet" if self._lost == 1 else f"{self._lost} packets"
        message = (
            f"stream {self._stream_id}: {packets} of its {self._of} up to {self._lost_at.clock()} could not be decoded; {self._follows}"
        )
        self._lost, self._told_at = 0, self._lost_at
        yield ErrorEvent(reason=MediaUndecodable.reason, message=message, media_time=self._lost_at.to_proto())
