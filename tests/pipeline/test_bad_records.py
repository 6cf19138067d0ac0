"""Bad records on a topic: each is one explained event on `errors`, and what is said of the other streams stays the same."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2, media_pb2

from pipeline.bus import MAX_MESSAGE_BYTES, Record
from pipeline.bus.codec import is_end
from pipeline.bus.memory import MemoryBus
from pipeline.errors import WatchwordError, reason_name
from pipeline.graph import STEPS
from pipeline.runtime import run
from pipeline.sample.stage import Sample
from pipeline.stage import StageFactory
from tests import synthetic
from tests.fakes import Windows
from tests.synthetic import Spec

pytestmark = pytest.mark.unit

GOOD = "good"
MARK = errors_pb2.ErrorEvent(stream_id="mark", id="mark")


@dataclass(frozen=True)
class Raw:
    """Bytes under a key, as a client that does not know our messages could send them."""

    key: bytes | None
    body: bytes


def chunk(stream_id: str, sequence: int, *, size: int = 4, said: str | None = None) -> events_pb2.AudioEvent:
    packets = [media_pb2.Packet(data=bytes(size))]
    return events_pb2.AudioEvent(
        chunk=media_pb2.MediaChunk(stream_id=stream_id if said is None else said, epoch=1, sequence=sequence, packets=packets)
    )


def end(stream_id: str, *, cause: str = "") -> events_pb2.AudioEvent:
    return events_pb2.AudioEvent(end=media_pb2.StreamEnd(stream_id=stream_id, cause=cause))


def raw(event: Message, key: str) -> Raw:
    return Raw(key.encode(), event.SerializeToString())


Sending = Sequence[tuple[str, Message] | Raw]
GOOD_AUDIO: Sending = [(GOOD, chunk(GOOD, number)) for number in range(6)] + [(GOOD, end(GOOD))]


def amid(bad: Sending, good: Sending = GOOD_AUDIO) -> Sending:
    """The bad records after the third good one."""
    return [*good[:3], *bad, *good[3:]]


@dataclass(frozen=True)
class Told:
    """What a step said."""

    outputs: list[tuple[str, bytes]]
    """Stream and message, in order."""
    errors: list[tuple[str, errors_pb2.ErrorEvent]]
    """Key and message, in order."""

    def of(self, stream_id: str) -> list[bytes]:
        return [body for key, body in self.outputs if key == stream_id]


def tell(
    sending: Sending, *, step: str = "transcribe", make_stage: StageFactory = Windows, streams: frozenset[str] = frozenset({GOOD})
) -> Told:
    """Send records to a step until it has ended the streams; what it said."""

    async def main() -> Told:
        bus = MemoryBus()
        reads, (writes,) = STEPS[step].reads, STEPS[step].writes
        working = asyncio.create_task(run(STEPS[step], bus, make_stage))
        outputs, errors = (asyncio.create_task(collect(bus, topic, done)) for topic, done in ((writes, ends(streams)), ("errors", is_mark)))
        try:
            async with asyncio.timeout(60):
                for record in sending:
                    if isinstance(record, Raw):
                        await bus.publish_raw(reads, record.key, record.body)
                    else:
                        await bus.publish(reads, *record)
                said = await outputs
                await bus.publish("errors", "mark", MARK, origin=said[-1].origin)
                told = await errors
        finally:
            for task in (working, outputs, errors):
                task.cancel()
            await asyncio.gather(working, outputs, errors, return_exceptions=True)
        return Told([(record.stream_id, body(record)) for record in said], [(record.stream_id, error_of(record)) for record in told[:-1]])

    return asyncio.run(main())


async def collect(bus: MemoryBus, topic: str, is_last: Callable[[Record], bool]) -> list[Record]:
    subscription = await bus.follow(topic)
    records: list[Record] = []
    while not records or not is_last(records[-1]):
        event = await subscription.next()
        if isinstance(event, Record):
            records.append(event)
    return records


def ends(streams: frozenset[str]) -> Callable[[Record], bool]:
    """Tells the record with which the last of the streams has ended."""
    open_ = set(streams)

    def is_last(record: Record) -> bool:
        if is_end(message(record)):
            open_.discard(record.stream_id)
        return not open_

    return is_last


def is_mark(record: Record) -> bool:
    return record.stream_id == "mark"


def message(record: Record) -> Message:
    assert not isinstance(record.value, WatchwordError)
    return record.value


def error_of(record: Record) -> errors_pb2.ErrorEvent:
    assert isinstance(record.value, errors_pb2.ErrorEvent)
    return record.value


def body(record: Record) -> bytes:
    return message(record).SerializeToString(deterministic=True)


ENDED: Sending = [("bad", chunk("bad", 0)), ("bad", end("bad"))]


@pytest.mark.parametrize(
    ("before", "bad", "reason", "stream_id"),
    [
        ([], Raw(b"bad", b"\xff\xff garbage"), "RECORD_INVALID", "bad"),
        ([], Raw(b"bad", b""), "RECORD_INVALID", "bad"),
        ([], Raw(None, b"garbage without a key"), "RECORD_INVALID", ""),
        ([], Raw(b"no stream id!", b"garbage"), "RECORD_INVALID", ""),
        ([], Raw(GOOD.encode(), b"\xff\xff garbage under a good stream's key"), "RECORD_INVALID", GOOD),
        ([], raw(chunk("bad", 0, said=GOOD), "bad"), "MESSAGE_INVALID", "bad"),
        ([], raw(chunk("bad", 0, size=50_000_000), "bad"), "MESSAGE_TOO_LARGE", "bad"),
        (ENDED, ("bad", chunk("bad", 1)), "STREAM_ENDED", "bad"),
    ],
    ids=["garbage", "empty", "no key", "wrong key", "garbage in good", "two ids", "50 MB", "after the end"],
)
def test_a_bad_record_is_one_explained_error_and_the_others_go_on(
    before: Sending, bad: tuple[str, Message] | Raw, reason: str, stream_id: str
) -> None:
    clean = tell(amid(before))
    told = tell(amid([*before, bad]))
    assert told.of(GOOD) == clean.of(GOOD)
    assert len(told.of(GOOD)) > 6
    assert told.of("bad") == clean.of("bad"), "what was said before is not changed"
    assert clean.errors == []
    ((key, error),) = told.errors
    assert (error.step, reason_name(error.reason), error.stream_id) == ("transcribe", reason, stream_id)
    assert key == (stream_id or "-")
    assert error.origin == f"audio/0/{3 + len(before)}"
    assert error.id == f"error-transcribe-0-{3 + len(before)}-0"
    assert error.occurred_at.seconds > 0
    assert stream_id in error.message
    assert len(error.message) < 300
    assert "garbage" not in error.message, "what a record holds is not repeated"


def test_each_of_many_bad_records_is_told_once() -> None:
    bad = [Raw(b"bad", b"\xff" * size) for size in range(1, 40)]
    told = tell(amid(bad))
    assert [error.origin for _, error in told.errors] == [f"audio/0/{offset}" for offset in range(3, 3 + len(bad))]
    assert len({error.id for _, error in told.errors}) == len(bad)
    assert told.of(GOOD) == tell(GOOD_AUDIO).of(GOOD)


def test_a_message_at_the_limit_is_taken() -> None:
    event = chunk("bad", 0, size=MAX_MESSAGE_BYTES - 100)
    told = tell(amid([("bad", event), ("bad", end("bad"))]), streams=frozenset({GOOD, "bad"}))
    assert told.errors == []
    assert len(told.of("bad")) > 1


@pytest.fixture(scope="module")
def video() -> list[media_pb2.MediaChunk]:
    return synthetic.chunks(synthetic.clip(Spec(seconds=4, cuts=(50,), audio=None)), "video", GOOD)


def of_stream(stream_id: str, chunks: Sequence[media_pb2.MediaChunk]) -> list[tuple[str, Message]]:
    copies: list[tuple[str, Message]] = []
    for original in chunks:
        copy = media_pb2.MediaChunk()
        copy.CopyFrom(original)
        copy.stream_id = stream_id
        copies.append((stream_id, events_pb2.VideoEvent(chunk=copy)))
    return [*copies, (stream_id, events_pb2.VideoEvent(end=media_pb2.StreamEnd(stream_id=stream_id)))]


def test_packets_of_garbage_are_told_and_both_streams_go_on(video: list[media_pb2.MediaChunk]) -> None:
    good, bad = of_stream(GOOD, video), of_stream("bad", video)
    damaged: Any = bad[4][1]
    for packet in damaged.chunk.packets:
        packet.data = b"\xff garbage" * 50
    both = [record for pair in zip(good, bad, strict=True) for record in pair]
    told = tell(both, step="sample", make_stage=Sample, streams=frozenset({GOOD, "bad"}))
    alone = tell(good, step="sample", make_stage=Sample)
    assert told.of(GOOD) == alone.of(GOOD)
    assert len(told.of(GOOD)) > 3
    ((_, error),) = told.errors
    assert (error.step, reason_name(error.reason), error.stream_id) == ("sample", "MEDIA_UNDECODABLE", "bad")
    assert error.origin == "video/0/9"
    assert "stream bad" in error.message
    assert len(told.of("bad")) > 2, "what comes after the damage is understood"


@pytest.mark.parametrize("cause", ["", "the source was lost"])
def test_a_stream_without_the_track_is_told_once_unless_publishing_failed(cause: str) -> None:
    told = tell(amid([("bad", end("bad", cause=cause))]), streams=frozenset({GOOD, "bad"}))
    if cause:
        assert told.errors == []
        return
    ((_, error),) = told.errors
    assert (error.step, reason_name(error.reason), error.stream_id) == ("transcribe", "TRACK_MISSING", "bad")
    assert error.message == "stream bad has no sound: there is nothing to caption"
    assert error.origin == "audio/0/3"
    assert len(told.of("bad")) == 1, "its end goes on to the next step"
