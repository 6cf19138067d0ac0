"""How every bus behaves; `test_bus_memory.py` and `test_bus_kafka.py` run it."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest
from google.protobuf.message import Message
from watchword.v1 import events_pb2, media_pb2, transcript_pb2

from pipeline.bus import MAX_MESSAGE_BYTES, Assigned, Bus, Context, Origin, Position, Progress, Record, StreamProgress, Subscription, codec
from pipeline.errors import MessageInvalid, MessageTooLarge, RecordInvalid, WatchwordError

PARTITIONS = 4
TIMEOUT_S = 60


def chunk(stream_id: str, sequence: int, *, size: int = 10) -> events_pb2.AudioEvent:
    packets = [media_pb2.Packet(data=b"x" * size)]
    return events_pb2.AudioEvent(chunk=media_pb2.MediaChunk(stream_id=stream_id, epoch=7, sequence=sequence, packets=packets))


def segment(stream_id: str, text: str) -> events_pb2.TranscriptEvent:
    return events_pb2.TranscriptEvent(segment=transcript_pb2.TranscriptSegment(stream_id=stream_id, text=text))


async def read(subscription: Subscription, count: int) -> list[Record]:
    """The next `count` records; partitions are told before their records."""
    records: list[Record] = []
    known = set()
    async with asyncio.timeout(TIMEOUT_S):
        while len(records) < count:
            event = await subscription.next()
            if isinstance(event, Assigned):
                known.add(event.partition)
            else:
                assert isinstance(event, Record)
                records.append(event)
    return records


async def assignments(subscription: Subscription, count: int = PARTITIONS) -> dict[int, Progress]:
    """The assignments of the first `count` partitions, when nothing but them is to come."""
    found = {}
    async with asyncio.timeout(TIMEOUT_S):
        while len(found) < count:
            event = await subscription.next()
            assert isinstance(event, Assigned)
            found[event.partition] = event.progress
    return found


def by_stream(records: list[Record]) -> dict[str, list[int]]:
    """The sequence numbers of each stream's chunks, in the order read."""
    found = defaultdict(list)
    for record in records:
        assert isinstance(record.value, events_pb2.AudioEvent)
        found[record.stream_id].append(record.value.chunk.sequence)
    return dict(found)


class BusSuite:
    """Subclasses say how to open a bus of `PARTITIONS` partitions and how a foreign client appends to it."""

    open: Callable[[], AbstractAsyncContextManager[Bus]]
    append: Callable[..., Coroutine[Any, Any, None]]

    def run(self, test: Callable[[Bus], Coroutine[Any, Any, None]]) -> None:
        async def inside() -> None:
            async with asyncio.timeout(TIMEOUT_S * 2), self.open() as bus:
                await test(bus)

        asyncio.run(inside())

    def test_a_stream_keeps_its_order(self) -> None:
        async def test(bus: Bus) -> None:
            streams = [f"stream-{number}" for number in range(7)]
            for sequence in range(12):
                for stream_id in streams:
                    await bus.publish("audio", stream_id, chunk(stream_id, sequence))
            records = await read(await bus.follow("audio"), 7 * 12)
            assert by_stream(records) == {stream_id: list(range(12)) for stream_id in streams}
            places = [(record.partition, record.offset) for record in records]
            assert len(set(places)) == len(places)
            assert len({partition for partition, _ in places}) > 1

        self.run(test)

    def test_each_group_gets_everything(self) -> None:
        async def test(bus: Bus) -> None:
            first, second = await bus.subscribe("audio", "first"), await bus.subscribe("audio", "second")
            for sequence in range(5):
                await bus.publish("audio", "s", chunk("s", sequence))
            for records in await asyncio.gather(read(first, 5), read(second, 5)):
                assert by_stream(records) == {"s": [0, 1, 2, 3, 4]}

        self.run(test)

    def test_a_group_goes_on_where_it_committed(self) -> None:
        async def test(bus: Bus) -> None:
            for sequence in range(10):
                await bus.publish("audio", "s", chunk("s", sequence))
            subscription = await bus.subscribe("audio", "step")
            records = await read(subscription, 10)
            partition, fourth = records[0].partition, records[4].offset
            progress = Progress(
                fourth,
                {
                    "s": StreamProgress(fourth + 2, {"publish": Position(7, 3)}),
                    "old": StreamProgress(0, {"publish": Position(2**62, 0)}, frozenset({"publish"})),
                },
            )
            await subscription.commit({partition: Progress(1)})
            await subscription.commit({partition: progress})
            await subscription.close()

            again = await bus.subscribe("audio", "step")
            found = await assignments(again)
            assert found.pop(partition) == progress
            assert list(found.values()) == [Progress(0)] * (PARTITIONS - 1)
            assert by_stream(await read(again, 6)) == {"s": [4, 5, 6, 7, 8, 9]}

        self.run(test)

    def test_a_commit_may_follow_an_assignment_at_once(self) -> None:
        async def test(bus: Bus) -> None:
            progress = Progress(0, {"s": StreamProgress(5)})
            subscription = await bus.subscribe("audio", "step")
            for _ in range(PARTITIONS):
                event = await subscription.next()
                assert isinstance(event, Assigned)
                await subscription.commit({event.partition: progress})
            await subscription.close()
            assert await assignments(await bus.subscribe("audio", "step")) == dict.fromkeys(range(PARTITIONS), progress)

        self.run(test)

    def test_what_is_not_committed_is_read_again(self) -> None:
        async def test(bus: Bus) -> None:
            subscription = await bus.subscribe("audio", "step")
            await bus.publish("audio", "s", chunk("s", 0))
            await read(subscription, 1)
            await subscription.close()
            assert by_stream(await read(await bus.subscribe("audio", "step"), 1)) == {"s": [0]}

        self.run(test)

    def test_a_follower_reads_from_the_oldest_record_and_belongs_to_no_group(self) -> None:
        async def test(bus: Bus) -> None:
            for sequence in range(3):
                await bus.publish("audio", "s", chunk("s", sequence))
            for _ in range(2):
                follower = await bus.follow("audio")
                records = await read(follower, 3)
                assert by_stream(records) == {"s": [0, 1, 2]}
                await follower.commit({records[0].partition: Progress(3)})
                await follower.release({records[0].partition: Progress(3)})
                await follower.close()
            follower = await bus.follow("audio")
            await read(follower, 3)
            await bus.publish("audio", "s", chunk("s", 3))
            assert by_stream(await read(follower, 1)) == {"s": [3]}

        self.run(test)

    def test_message_origin_and_context_arrive(self) -> None:
        async def test(bus: Bus) -> None:
            origin = Origin("transcribe", Position(12345678901, 3))
            context = Context(started_at=1_780_000_000.25, live=True, clock=126_000)
            await bus.publish("transcripts", "s", segment("s", "Grüße, 世界"), origin=origin, context=context)
            (record,) = await read(await bus.follow("transcripts"), 1)
            assert record.value == segment("s", "Grüße, 世界")
            assert (record.topic, record.stream_id, record.origin, record.context) == ("transcripts", "s", origin, context)
            assert record.where == f"transcripts/{record.partition}/0"

        self.run(test)

    def test_a_chunk_tells_its_own_origin(self) -> None:
        async def test(bus: Bus) -> None:
            await self.append(bus, "audio", b"plain", chunk("plain", 5).SerializeToString(), None)
            (record,) = await read(await bus.follow("audio"), 1)
            assert record.value == chunk("plain", 5)
            assert record.origin == Origin("publish", Position(7, 5))
            assert record.context == Context(clock=0)

        self.run(test)

    @pytest.mark.parametrize(
        ("key", "body", "headers", "stream_id", "error"),
        [
            pytest.param(b"s", b"\xff\xfegarbage", None, "s", RecordInvalid, id="garbage"),
            pytest.param(b"s", b"", None, "s", RecordInvalid, id="empty"),
            pytest.param(None, b"\xff\xfe", None, codec.NO_STREAM, RecordInvalid, id="no key"),
            pytest.param(b"\xff spaced", b"\xff", None, codec.NO_STREAM, RecordInvalid, id="key that is no stream id"),
            pytest.param(b"s", chunk("other", 1).SerializeToString(), None, "s", MessageInvalid, id="another stream's message"),
            pytest.param(
                b"s", chunk("s", 1).SerializeToString(), [(codec.ORIGIN_HEADER, b"nonsense")], "s", RecordInvalid, id="unreadable header"
            ),
            pytest.param(b"s", chunk("s", 1, size=MAX_MESSAGE_BYTES).SerializeToString(), None, "s", MessageTooLarge, id="too large"),
        ],
    )
    def test_a_bad_record_is_an_explained_record_and_the_next_one_is_read(
        self, key: bytes | None, body: bytes, headers: codec.Headers | None, stream_id: str, error: type[WatchwordError]
    ) -> None:
        async def test(bus: Bus) -> None:
            await self.append(bus, "audio", key, body, headers)
            await bus.publish("audio", "s", chunk("s", 9))
            records = await read(await bus.follow("audio"), 2)
            (bad,) = [record for record in records if isinstance(record.value, WatchwordError)]
            assert type(bad.value) is error
            assert (bad.stream_id, bad.origin) == (stream_id, Origin("unknown", Position(bad.offset, 0)))
            (good,) = [record for record in records if record is not bad]
            assert good.value == chunk("s", 9)

        self.run(test)

    @pytest.mark.parametrize(
        ("topic", "stream_id", "value", "error"),
        [
            pytest.param("audio", "cam-1", chunk("cam-1", 0, size=50_000_000), MessageTooLarge, id="50 MB"),
            pytest.param("audio", "cam-1", segment("cam-1", "wrong topic"), MessageInvalid, id="another topic's message"),
            pytest.param("audio", "no stream!", chunk("no stream!", 0), MessageInvalid, id="stream id"),
        ],
    )
    def test_what_cannot_be_published_is_refused_and_leaves_no_trace(
        self, topic: str, stream_id: str, value: Message, error: type[WatchwordError]
    ) -> None:
        async def test(bus: Bus) -> None:
            with pytest.raises(error, match=r"cam-1|no stream!|TranscriptEvent"):
                await bus.publish(topic, stream_id, value)
            await bus.publish("audio", "cam-1", chunk("cam-1", 1))
            (record,) = await read(await bus.follow("audio"), 1)
            assert (record.value, record.offset) == (chunk("cam-1", 1), 0)

        self.run(test)

    def test_a_message_at_the_limit_passes(self) -> None:
        async def test(bus: Bus) -> None:
            overhead = len(chunk("s", 1, size=MAX_MESSAGE_BYTES - 100).SerializeToString()) - (MAX_MESSAGE_BYTES - 100)
            largest = chunk("s", 1, size=MAX_MESSAGE_BYTES - overhead)
            assert largest.ByteSize() == MAX_MESSAGE_BYTES
            await bus.publish("audio", "s", largest, origin=Origin("s" * 100, Position(1, 1)), context=Context(1.0, True))
            (record,) = await read(await bus.follow("audio"), 1)
            assert record.value == largest

        self.run(test)

    def test_publishers_do_not_disturb_each_other(self) -> None:
        async def test(bus: Bus) -> None:
            async def publish(stream_id: str) -> None:
                for sequence in range(10):
                    await bus.publish("audio", stream_id, chunk(stream_id, sequence, size=20_000))

            streams = [f"stream-{number}" for number in range(20)]
            await asyncio.gather(*(publish(stream_id) for stream_id in streams))
            records = await read(await bus.follow("audio"), 200)
            assert by_stream(records) == {stream_id: list(range(10)) for stream_id in streams}

        self.run(test)

    def test_a_reader_that_stops_waiting_misses_nothing(self) -> None:
        async def test(bus: Bus) -> None:
            follower = await bus.follow("audio")
            await assignments(follower)
            records = []
            for sequence in range(20):
                waiting = asyncio.ensure_future(follower.next())
                await bus.publish("audio", "s", chunk("s", sequence))
                for _ in range(sequence % 4):
                    await asyncio.sleep(0)
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    event = await waiting
                    assert isinstance(event, Record)
                    records.append(event)
            records += await read(follower, 20 - len(records))
            assert by_stream(records) == {"s": list(range(20))}

        self.run(test)
