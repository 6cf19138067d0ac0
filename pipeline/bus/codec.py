"""Messages to bytes and headers, and back."""

import re
from collections.abc import Sequence
from dataclasses import replace

from google.protobuf.message import DecodeError, Message
from watchword.v1 import errors_pb2, media_pb2

from pipeline.bus import MAX_MESSAGE_BYTES, Context, Origin, Position, Record
from pipeline.errors import MessageInvalid, MessageTooLarge, RecordInvalid, WatchwordError
from pipeline.graph import Topic
from pipeline.timeline import CLOCK_HZ, NANOS, MediaTime

Headers = list[tuple[str, bytes]]

STREAM_ID = re.compile(r"[A-Za-z0-9._:-]{1,200}")
"""What a stream id may look like."""
STREAM_ID_RULE = "1 to 200 letters, digits, '.', '_', '-' and ':'"
"""`STREAM_ID` in words."""

ORIGIN_HEADER = "watchword-origin"
"""`step:major:minor`: which step sent the record, and where it stands among what that step says about the stream."""
STARTED_HEADER = "watchword-started"
"""Unix time in seconds, with a fraction, at which the stream's first packet was sent."""
LIVE_HEADER = "watchword-live"
"""Present and "1" where the source cannot wait."""

CLOCK_HEADER = "watchword-clock"
"""What the source's own clock said at media time 0, in 1/90,000 s. A chunk says it by its `media_offset`."""

NO_STREAM = "-"
"""The key of an error that belongs to no stream that could be told."""
PUBLISHER = "publish"
"""The step name of whoever sends chunks."""
UNKNOWN_STEP = "unknown"
"""The step name of a record that cannot be read."""
END_POSITION = Position(2**63 - 1, 0)
"""Beyond every chunk: the position of a publisher's end."""
LATEST_START = 7_258_118_400.0
"""The year 2200, in Unix seconds. A start before 1970 or after this is the publisher's mistake, and no date could be made of it."""


def encode(topic: Topic, stream_id: str, value: Message, origin: Origin | None, context: Context) -> tuple[bytes, Headers]:
    """The body and headers of a record; raises `MessageInvalid` or `MessageTooLarge`."""
    if type(value) is not topic.message:
        raise MessageInvalid(f"a {type(value).__name__} cannot be sent to {topic.name}, which holds {topic.message.__name__}")
    if not STREAM_ID.fullmatch(stream_id):
        raise MessageInvalid(f"{stream_id[:50]!r} is not a stream id: {STREAM_ID_RULE}")
    body = value.SerializeToString(deterministic=True)
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"stream {stream_id}: a message of {len(body):,} bytes for {topic.name} is over the limit of "
            f"{MAX_MESSAGE_BYTES:,}; send smaller chunks"
        )
    headers: Headers = []
    if origin is not None:
        headers.append((ORIGIN_HEADER, f"{origin.step}:{origin.position.major}:{origin.position.minor}".encode()))
    if context.started_at is not None:
        headers.append((STARTED_HEADER, f"{context.started_at:.6f}".encode()))
    if context.live:
        headers.append((LIVE_HEADER, b"1"))
    if context.clock is not None and not isinstance(_inner(value), media_pb2.MediaChunk):
        headers.append((CLOCK_HEADER, str(context.clock).encode()))
    return body, headers


def decode(
    topic: Topic, key: bytes | None, body: bytes | None, headers: Sequence[tuple[str, bytes]]
) -> tuple[str, Message, Origin, Context]:
    """Stream id, message, origin and context of a record; raises `RecordInvalid`, `MessageInvalid` or `MessageTooLarge`."""
    stream_id = decode_key(key)
    if not body:
        raise RecordInvalid(f"stream {stream_id}: an empty record on {topic.name} is no {topic.message.__name__}")
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge(
            f"stream {stream_id}: a record of {len(body):,} bytes on {topic.name} is over the limit of {MAX_MESSAGE_BYTES:,}"
        )
    try:
        value = topic.message.FromString(body)
    except DecodeError:
        raise RecordInvalid(f"stream {stream_id}: {len(body):,} bytes on {topic.name} are no {topic.message.__name__}") from None
    inner = _inner(value)
    if inner is None:
        raise RecordInvalid(f"stream {stream_id}: a {topic.message.__name__} on {topic.name} says nothing that is known here")
    said = getattr(inner, "stream_id", stream_id)
    of_no_stream = isinstance(value, errors_pb2.ErrorEvent) and not said
    if said != stream_id and not of_no_stream:
        raise MessageInvalid(f"stream {stream_id}: the record's key and its message's stream id {said[:50]!r} differ")
    origin, context = _read(headers, topic, stream_id)
    if isinstance(inner, media_pb2.MediaChunk):
        context = replace(context, clock=_clock(inner))
    return stream_id, value, origin or _own_origin(topic, inner), context


def decode_key(key: bytes | None) -> str:
    """The stream id in a record's key; raises `RecordInvalid`."""
    stream_id = (key or b"").decode("utf-8", "replace")
    if not STREAM_ID.fullmatch(stream_id):
        raise RecordInvalid(f"a record with the key {stream_id[:50]!r} names no stream: the key must be the stream id")
    return stream_id


def unreadable(topic: Topic, partition: int, offset: int, key: bytes | None, error: WatchwordError) -> Record:
    """The record that stands for bytes which cannot be decoded: it carries the error in place of a message."""
    try:
        stream_id = decode_key(key)
    except RecordInvalid:
        stream_id = NO_STREAM
    return Record(topic.name, partition, offset, stream_id, error, Origin(UNKNOWN_STEP, Position(offset, 0)), Context())


def is_end(value: Message) -> bool:
    """Whether the message is the last of its stream on its topic."""
    return isinstance(_inner(value), media_pb2.StreamEnd)


def _inner(value: Message) -> Message | None:
    """What an event wraps, or the message itself where it wraps nothing."""
    if "event" not in value.DESCRIPTOR.oneofs_by_name:
        return value
    which = value.WhichOneof("event")
    return None if which is None else getattr(value, which)


def _own_origin(topic: Topic, inner: Message) -> Origin:
    """The origin of a record that has no header: publishers may send plain messages."""
    match inner:
        case media_pb2.MediaChunk():
            return Origin(PUBLISHER, Position(inner.epoch, inner.sequence))
        case media_pb2.StreamEnd() if topic.name in ("audio", "video"):
            return Origin(PUBLISHER, END_POSITION)
        case _:
            raise RecordInvalid(f"a {type(inner).__name__} on {topic.name} needs the header {ORIGIN_HEADER}")


def _read(headers: Sequence[tuple[str, bytes]], topic: Topic, stream_id: str) -> tuple[Origin | None, Context]:
    origin: Origin | None = None
    started_at: float | None = None
    live = False
    clock: int | None = None
    try:
        for name, value in headers:
            if name == ORIGIN_HEADER:
                step, major, minor = value.decode("ascii").rsplit(":", 2)
                origin = Origin(step, Position(int(major), int(minor)))
            elif name == STARTED_HEADER:
                started_at = _started_at(value)
            elif name == LIVE_HEADER:
                live = value == b"1"
            elif name == CLOCK_HEADER:
                clock = int(value)
    except ValueError:
        raise RecordInvalid(f"stream {stream_id}: the header {name} of a record on {topic.name} cannot be read") from None
    return origin, Context(started_at, live, clock)


def _started_at(value: bytes) -> float:
    seconds = float(value)
    if not 0 <= seconds <= LATEST_START:
        raise ValueError(f"{seconds} is no time at which a stream can have begun")
    return seconds


def _clock(chunk: media_pb2.MediaChunk) -> int:
    """The source's time at media time 0, for the packets of this chunk."""
    return -round(MediaTime.from_proto(chunk.media_offset).nanos * CLOCK_HZ / NANOS)
