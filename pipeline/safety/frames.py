"""The keyframes that were to be seen beside a flagged, redacted or withheld item, kept for its review.

Only keyframes that passed the filter are here, as they passed, and only those beside a verdict that is not to allow. Speech and
pictures come in no order of each other, so both wait for the other for a while. After a restart what waited is forgotten: a
review then has words alone.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.safety_pb2 import Action, Verdict

from pipeline.safety.audit_log import AuditLog
from pipeline.stage import Stage
from pipeline.timeline import MediaTime

BEFORE_S = 30.0
"""A keyframe shows what is to be seen until the next one; one that is older than this does not count."""
WAITING = 32
"""Keyframes, and items, of a stream that wait for the other."""
PER_ITEM = 4


@dataclass
class _Item:
    id: str
    start: float
    end: float
    found: int = 0
    before: str = ""
    """The keyframe that was to be seen when it began."""

    def shows(self, at: float) -> bool:
        return self.start - BEFORE_S <= at <= self.end and self.found < PER_ITEM


class WithFrames:
    """A stage around the one that indexes a stream, which also keeps the keyframes of what has to be looked at."""

    def __init__(self, stream_id: str, stage: Stage, log: AuditLog) -> None:
        self._stream_id, self._stage, self._log = stream_id, stage, log
        self._frames: deque[tuple[float, str, bytes]] = deque(maxlen=WAITING)
        self._items: deque[_Item] = deque(maxlen=WAITING)

    @property
    def held(self) -> int:
        """See `Stage`: what waits here is not held."""
        return self._stage.held

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """See `Stage`."""
        if isinstance(item, ClearedEvent):
            await self._take(item)
        async for said in self._stage.process(item):
            yield said

    async def flush(self) -> AsyncIterator[Message]:
        """See `Stage`."""
        async for said in self._stage.flush():
            yield said

    def close(self) -> None:
        """See `Stage`."""
        self._stage.close()

    async def _take(self, event: ClearedEvent) -> None:
        match event.WhichOneof("event"):
            case "keyframe":
                await self._keyframe(MediaTime.from_proto(event.keyframe.media_time).seconds, event.keyframe.id, event.keyframe.jpeg)
            case "segment" if event.segment.is_final:
                await self._item(event.segment.id, event.segment.verdict, event.segment.media_start, event.segment.media_end)
            case "caption":
                await self._item(event.caption.id, event.caption.verdict, event.caption.media_start, event.caption.media_end)
            case "withheld" if event.withheld.kind != "keyframe":
                await self._item(event.withheld.id, event.withheld.verdict, event.withheld.media_start, event.withheld.media_end)

    async def _keyframe(self, at: float, keyframe_id: str, jpeg: bytes) -> None:
        self._frames.append((at, keyframe_id, jpeg))
        for item in self._items:
            await self._keep(item, at, keyframe_id, jpeg)

    async def _item(self, item_id: str, verdict: Verdict, start: Duration, end: Duration) -> None:
        if verdict.action == Action.ACTION_ALLOW and not verdict.failed:
            return
        item = _Item(item_id, MediaTime.from_proto(start).seconds, MediaTime.from_proto(end).seconds)
        for at, keyframe_id, jpeg in self._frames:
            await self._keep(item, at, keyframe_id, jpeg)
        self._items.append(item)

    async def _keep(self, item: _Item, at: float, keyframe_id: str, jpeg: bytes) -> None:
        if not item.shows(at):
            return
        # Keyframes come in order: of those before an item the latest was to be seen.
        await self._log.add_frame(
            self._stream_id, item.id, keyframe_id, MediaTime.of(at), jpeg, instead=item.before if at <= item.start else ""
        )
        if at <= item.start:
            item.before = keyframe_id
        else:
            item.found += 1
