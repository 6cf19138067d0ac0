"""What viewers can see: the recent past of every stream, and its live edge.

One task follows `cleared` and one follows `errors`; each stream keeps a bounded history, from which a viewer who comes
late or comes back is served first. A viewer who reads too slowly is dropped from the live edge and told so; nobody
waits for anybody.
"""

import asyncio
import functools
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from watchword.v1 import errors_pb2, events_pb2, live_service_pb2, media_pb2, scene_pb2

from pipeline import telemetry
from pipeline.bus import Assigned, Bus, Position, Record
from pipeline.bus.anew import begin_anew
from pipeline.bus.codec import NO_STREAM
from pipeline.errors import BrokerRenewed, ClientSlow, RequestInvalid, StreamUnknown, WatchwordError
from pipeline.graph import BRANCHES
from pipeline.timeline import ZERO, MediaTime

FOLLOWED = ("cleared", "errors")
HISTORY_UPDATES = 4096
"""How many updates of a stream are kept for viewers who come late."""
HISTORY_BYTES = 64_000_000
"""How many bytes of updates of a stream are kept."""
HISTORY_BYTES_IN_ALL = 512_000_000
"""How many of all streams together; the one that has most of them gives its oldest."""
STREAMS_KEPT = 512
"""How many streams are kept; the one that was silent longest goes first."""
STREAMS_TOLD = 5
"""So many are named to who asks for one that is not known."""
ERRORS_REMEMBERED = 1024
"""How many errors of a stream are remembered, to tell each once."""
QUEUE_UPDATES = 256
"""How far a viewer may fall behind the live edge."""

TOKEN = re.compile(r"(\d+)\.(\d+)(?:\.([0-9a-f]*)\.([0-9a-f]*))?")
ID_DIGITS = 8
"""How much of a topic's id stands in a resume token."""


@dataclass(frozen=True)
class Mark:
    """How far a viewer has seen: for each topic the offset after the last record; the topics are independent."""

    cleared: int = 0
    errors: int = 0
    topics: tuple[str, str] = ("", "")
    """Which topics these are offsets in, by the ends of their ids; empty where that is not told."""

    @classmethod
    def parse(cls, token: str) -> "Mark":
        """The mark in a resume token; an empty token is the beginning. Raises `RequestInvalid`."""
        if not token:
            return cls()
        match = TOKEN.fullmatch(token)
        if match is None:
            raise RequestInvalid(f"{token[:50]!r} is no resume token of this service; leave it out to start from the oldest kept event")
        return cls(int(match[1]), int(match[2]), (match[3] or "", match[4] or ""))

    def token(self) -> str:
        """The mark as a resume token."""
        return f"{self.cleared}.{self.errors}" + (f".{self.topics[0]}.{self.topics[1]}" if any(self.topics) else "")

    def after(self, topic: str, offset: int) -> "Mark":
        """The mark once the record at `offset` of the topic has been seen too."""
        return replace(self, cleared=offset + 1) if topic == "cleared" else replace(self, errors=offset + 1)

    def within(self, topics: tuple[str, str]) -> "Mark":
        """The mark in these topics: the beginning of each that is not the one that it was made in, or not known yet to be."""
        offsets = zip((self.cleared, self.errors), self.topics, topics, strict=True)
        cleared, errors = (0 if then and then != now else offset for offset, then, now in offsets)
        return Mark(cleared, errors, topics)

    def is_before(self, kept: "Mark", topics: tuple[str, str]) -> bool:
        """Whether it asks for what is not kept of a topic that it was made in."""
        offsets = zip((self.cleared, self.errors), (kept.cleared, kept.errors), self.topics, topics, strict=True)
        return any(offset < oldest and (not then or then == now) for offset, oldest, then, now in offsets)

    def covers(self, topic: str, offset: int) -> bool:
        """Whether the record at `offset` of the topic has been seen."""
        return offset < (self.cleared if topic == "cleared" else self.errors)


@dataclass(frozen=True)
class _Update:
    response: live_service_pb2.WatchResponse
    topic: str
    offset: int
    partial_of: str
    """The id of the segment that this is a partial of; empty for everything else."""
    size: int


class Viewer:
    """One client's place: first what is kept of the past, then the live edge."""

    def __init__(self, stream_id: str, mark: Mark, past: Iterable[_Update]) -> None:
        self.stream_id = stream_id
        self.cut_off = asyncio.Event()
        self._mark = mark
        self._past = deque(update for update in past if not mark.covers(update.topic, update.offset))
        self._queue: deque[_Update] = deque()
        self._changed = asyncio.Event()
        self._why: WatchwordError | None = None

    def offer(self, update: _Update) -> None:
        """Append what happens at the live edge; a viewer that is too far behind it is cut off."""
        if self._why is not None or self._mark.covers(update.topic, update.offset):
            return
        if len(self._queue) >= QUEUE_UPDATES:
            telemetry.WATCHERS_DROPPED.inc()
            self.cut(
                ClientSlow(
                    f"stream {self.stream_id}: this client fell {QUEUE_UPDATES} updates behind and was dropped from the live edge; "
                    "it may come back to where it was"
                )
            )
            return
        self._queue.append(update)
        self._changed.set()

    def begin_errors(self) -> None:
        """Errors are counted from 0 again: this viewer has seen none of those that come."""
        self._mark = replace(self._mark, errors=0)

    def cut(self, why: WatchwordError) -> None:
        """Nothing more is told but why; what was waiting is let go."""
        self._why = why
        self._past.clear()
        self._queue.clear()
        self.cut_off.set()
        self._changed.set()

    async def updates(self) -> AsyncIterator[live_service_pb2.WatchResponse]:
        """What happened and happens, to the stream's end; raises why the viewer was cut off, if it was."""
        while True:
            while self._past or self._queue:
                update = (self._past or self._queue).popleft()
                yield update.response
                if update.response.HasField("end"):
                    return
            if self._why is not None:
                raise self._why
            self._changed.clear()
            await self._changed.wait()


class Follower(Protocol):
    """Somebody who is told of all streams what their viewers are shown."""

    def take(self, record: Record, media_end: MediaTime, is_over: bool) -> None:
        """Take a record when it is first shown; any branch of its stream has come to `media_end`, and, if it is over, all have ended it."""
        ...

    def forget(self, stream_id: str) -> None:
        """A stream is not kept any more."""
        ...


@dataclass
class _Stream:
    history: deque[_Update] = field(default_factory=deque)
    bytes: int = 0
    mark: Mark = Mark()
    forgotten: Mark = Mark()
    """Up to here updates are not kept any more."""
    seen: dict[str, Position] = field(default_factory=dict)
    """For each step, the position of what it said last on `cleared`."""
    errors: OrderedDict[str, None] = field(default_factory=OrderedDict)
    """The ids of the latest errors: steps report them in no strict order."""
    ended: set[str] = field(default_factory=set)
    complete: bool = False
    started_at: float | None = None
    media_end: MediaTime = ZERO
    keyframes: dict[str, _Update] = field(default_factory=dict)
    """Those of the history that brought a keyframe, the latest of each by its id."""
    viewers: set[Viewer] = field(default_factory=set)

    def forget_oldest(self) -> None:
        """Keep the oldest update no more."""
        oldest = self.history.popleft()
        self.bytes -= oldest.size
        if self.keyframes.get(keyframe_id := oldest.response.event.keyframe.id) is oldest:
            del self.keyframes[keyframe_id]
        self.forgotten = self.forgotten.after(oldest.topic, oldest.offset)


class Hub:
    """Follows the bus and serves viewers; `run` must be running."""

    def __init__(self, bus: Bus, *, followers: Iterable[Follower] = ()) -> None:
        self._bus = bus
        self._streams: OrderedDict[str, _Stream] = OrderedDict()
        self._topic_ids: dict[str, str] = {}
        self._followers = tuple(followers)

    async def run(self) -> None:
        """Follow the bus until cancelled; raises what the bus raises."""
        async with asyncio.TaskGroup() as group:
            for topic in FOLLOWED:
                group.create_task(begin_anew(f"gateway {topic}", functools.partial(self._follow, topic)))

    def watch(self, stream_id: str, resume_token: str) -> Viewer:
        """A new viewer, served from its mark on; raises `StreamUnknown` or `RequestInvalid`."""
        stream = self._streams.get(stream_id)
        if stream is None:
            raise StreamUnknown(f"no stream {stream_id[:200]!r} is known here; {_told(self._streams)}")
        mark = Mark.parse(resume_token)
        if resume_token and mark.is_before(stream.forgotten, self._topics):
            raise RequestInvalid(
                f"stream {stream_id}: what followed the token {resume_token} is not kept any more; without a token you start from what is"
            )
        viewer = Viewer(stream_id, mark.within(self._topics), stream.history)
        stream.viewers.add(viewer)
        telemetry.WATCHERS.inc()
        return viewer

    def leave(self, viewer: Viewer) -> None:
        """The viewer is gone."""
        stream = self._streams.get(viewer.stream_id)
        if stream is not None and viewer in stream.viewers:
            stream.viewers.remove(viewer)
            telemetry.WATCHERS.dec()

    def keyframe(self, stream_id: str, keyframe_id: str) -> scene_pb2.Keyframe | None:
        """A keyframe that is kept; `None` for one that never was, is not kept any more, or was taken back."""
        stream = self._streams.get(stream_id)
        update = stream.keyframes.get(keyframe_id) if stream is not None else None
        return update.response.event.keyframe if update is not None else None

    def started_at(self, stream_id: str) -> float | None:
        """The Unix time at which the stream began; `None` where nobody knows."""
        stream = self._streams.get(stream_id)
        return stream.started_at if stream is not None else None

    def is_complete(self, stream_id: str) -> bool:
        """Whether every branch of the stream has ended."""
        stream = self._streams.get(stream_id)
        return stream is not None and stream.complete

    def streams(self) -> list[live_service_pb2.StreamInfo]:
        """The known streams in order of their ids."""
        return [
            live_service_pb2.StreamInfo(
                stream_id=stream_id, ended=stream.complete, media_end=stream.media_end.to_proto(), started_at=_timestamp(stream.started_at)
            )
            for stream_id, stream in sorted(self._streams.items())
        ]

    async def _follow(self, topic: str) -> None:
        subscription = await self._bus.follow(topic)
        try:
            while True:
                match await subscription.next():
                    case Record() as record:
                        self.take(record)
                    case Assigned(topic_id=topic_id):
                        self._topic_ids[topic] = topic_id[-ID_DIGITS:]
        except BrokerRenewed as error:
            self._topic_ids.pop(topic, None)
            if topic == "errors":
                self._forget_errors()
            else:
                self._forget_all(error)
            raise
        finally:
            await subscription.close()

    def take(self, record: Record) -> None:
        """Show a record to the stream's viewers, unless it was shown before or cannot be read."""
        if isinstance(record.value, WatchwordError):
            telemetry.ERRORS.labels("gateway", "RECORD_INVALID").inc()
            return
        if record.stream_id == NO_STREAM:
            return
        stream = self._stream(record.stream_id)
        if self._was_shown(stream, record):
            telemetry.RECORDS_DUPLICATE.labels("gateway").inc()
            return
        stream.started_at = stream.started_at or record.context.started_at
        stream.mark = stream.mark.after(record.topic, record.offset)
        response = self._response(stream, record)
        if response is not None:
            self._show(stream, record, response)
        for follower in self._followers:
            follower.take(record, stream.media_end, stream.complete)

    def _was_shown(self, stream: _Stream, record: Record) -> bool:
        if isinstance(record.value, errors_pb2.ErrorEvent):
            known = record.value.id in stream.errors
            stream.errors[record.value.id] = None
            if len(stream.errors) > ERRORS_REMEMBERED:
                stream.errors.popitem(last=False)
            return known
        position = stream.seen.get(record.origin.step)
        if position is not None and record.origin.position <= position:
            return True
        stream.seen[record.origin.step] = record.origin.position
        return False

    def _response(self, stream: _Stream, record: Record) -> live_service_pb2.WatchResponse | None:
        value = record.value
        if isinstance(value, errors_pb2.ErrorEvent):
            return live_service_pb2.WatchResponse(error=value)
        assert isinstance(value, events_pb2.ClearedEvent)
        stream.media_end = max(stream.media_end, media_end_of(value))
        if value.WhichOneof("event") != "end":
            return live_service_pb2.WatchResponse(event=value)
        stream.ended.add(record.origin.step)
        if stream.complete or not stream.ended.issuperset(BRANCHES):
            return None
        stream.complete = True
        end = media_pb2.StreamEnd(stream_id=record.stream_id, media_end=stream.media_end.to_proto(), cause=value.end.cause)
        return live_service_pb2.WatchResponse(end=end)

    def _show(self, stream: _Stream, record: Record, response: live_service_pb2.WatchResponse) -> None:
        response.resume_token = replace(stream.mark, topics=self._topics).token()
        if stream.started_at is not None:
            response.started_at.FromNanoseconds(round(stream.started_at * 1e9))
        segment = response.event.segment if response.event.HasField("segment") else None
        partial_of = segment.id if segment is not None and not segment.is_final else ""
        update = _Update(response, record.topic, record.offset, partial_of, response.ByteSize())
        if segment is not None and stream.history and stream.history[-1].partial_of == segment.id:
            # A later word on the same segment says all that the partial said.
            stream.bytes -= stream.history.pop().size
        if response.event.HasField("withheld"):
            self._take_back(stream, response.event.withheld.id)
        if response.event.HasField("keyframe"):
            stream.keyframes[response.event.keyframe.id] = update
        stream.history.append(update)
        stream.bytes += update.size
        while len(stream.history) > HISTORY_UPDATES or stream.bytes > HISTORY_BYTES:
            stream.forget_oldest()
        while sum(each.bytes for each in self._streams.values()) > HISTORY_BYTES_IN_ALL:
            max(self._streams.values(), key=lambda each: each.bytes).forget_oldest()
        for viewer in stream.viewers:
            viewer.offer(update)

    def _take_back(self, stream: _Stream, item_id: str) -> None:
        """Forget what was shown of an item that is withheld, such as partials: who comes late is not shown what is taken back."""
        stream.keyframes.pop(item_id, None)
        kept = [update for update in stream.history if item_id not in (update.partial_of, update.response.event.keyframe.id)]
        if len(kept) < len(stream.history):
            stream.history = deque(kept)
            stream.bytes = sum(update.size for update in kept)

    def _stream(self, stream_id: str) -> _Stream:
        stream = self._streams.get(stream_id)
        if stream is None:
            if len(self._streams) >= STREAMS_KEPT:
                self._forget_one()
            stream = self._streams[stream_id] = _Stream()
        self._streams.move_to_end(stream_id)
        return stream

    @property
    def _topics(self) -> tuple[str, str]:
        """The ends of the topics' ids, as far as they are known."""
        return self._topic_ids.get("cleared", ""), self._topic_ids.get("errors", "")

    def _forget_all(self, why: WatchwordError) -> None:
        """Let go of every stream: what was told of them means nothing in what comes now."""
        for stream_id, stream in self._streams.items():
            for viewer in stream.viewers:
                telemetry.WATCHERS.dec()
                viewer.cut(StreamUnknown(f"stream {stream_id} is not known any more: {why}"))
            for follower in self._followers:
                follower.forget(stream_id)
        self._streams.clear()

    def _forget_errors(self) -> None:
        """Let go of the errors of every stream: those that come now are counted from 0. The streams go on."""
        for stream in self._streams.values():
            stream.history = deque(update for update in stream.history if update.topic != "errors")
            stream.bytes = sum(update.size for update in stream.history)
            stream.mark, stream.forgotten = replace(stream.mark, errors=0), replace(stream.forgotten, errors=0)
            for viewer in stream.viewers:
                viewer.begin_errors()

    def _forget_one(self) -> None:
        """Let go of a stream: one that has ended and nobody watches, else one nobody watches, else the one longest silent."""
        unwatched = [stream_id for stream_id, stream in self._streams.items() if not stream.viewers]
        ended = [stream_id for stream_id in unwatched if self._streams[stream_id].complete]
        stream_id = next(iter([*ended, *unwatched, *self._streams]))
        for follower in self._followers:
            follower.forget(stream_id)
        for viewer in self._streams.pop(stream_id).viewers:
            telemetry.WATCHERS.dec()
            viewer.cut(StreamUnknown(f"stream {stream_id} is not kept here any more: {STREAMS_KEPT} others have been heard of since"))


def media_end_of(event: events_pb2.ClearedEvent) -> MediaTime:
    """Media time up to which the event tells something."""
    which = event.WhichOneof("event")
    if which is None:
        return ZERO
    item: Message = getattr(event, which)
    name = "media_time" if which == "keyframe" else "media_end"
    return MediaTime.from_proto(getattr(item, name))


def _told(known: Iterable[str]) -> str:
    """The latest streams of those that are known, in words."""
    names = list(known)[-STREAMS_TOLD:]
    return f"these were heard of last: {', '.join(reversed(names))}" if names else "none has been heard of yet"


def _timestamp(seconds: float | None) -> Timestamp | None:
    if seconds is None:
        return None
    timestamp = Timestamp()
    timestamp.FromNanoseconds(round(seconds * 1e9))
    return timestamp
