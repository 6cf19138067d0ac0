"""The loop that runs a step: streams that fall silent, and streams that come back after their end."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2, media_pb2
from watchword.v1.safety_pb2 import AuditRecord

from pipeline.bus import Assigned, Origin, Position, Progress, Record, Subscription
from pipeline.bus.memory import MemoryBus
from pipeline.errors import TimeReversed
from pipeline.graph import STEPS, writers
from pipeline.runtime import run
from tests.fakes import Windows

pytestmark = pytest.mark.unit

STEP = STEPS["transcribe"]


def chunk(sequence: int, stream_id: str = "s") -> events_pb2.AudioEvent:
    return events_pb2.AudioEvent(
        chunk=media_pb2.MediaChunk(stream_id=stream_id, epoch=1, sequence=sequence, packets=[media_pb2.Packet(data=bytes(4))])
    )


def end(stream_id: str = "s") -> events_pb2.AudioEvent:
    return events_pb2.AudioEvent(end=media_pb2.StreamEnd(stream_id=stream_id))


async def finals(reader: Subscription, count: int) -> list[str]:
    """The next finals that are said."""
    found: list[str] = []
    async with asyncio.timeout(20):
        while len(found) < count:
            record = await reader.next()
            if isinstance(record, Record) and isinstance(record.value, events_pb2.TranscriptEvent) and record.value.segment.is_final:
                found.append(record.value.segment.text)
    return found


def test_a_stream_that_falls_silent_is_let_go_and_goes_on_when_it_does() -> None:
    async def flow() -> tuple[list[str], Progress]:
        bus = MemoryBus()
        reader = await bus.follow("transcripts")
        running = asyncio.create_task(run(STEP, bus, Windows, commit_interval_s=0, idle_s=0.05))
        for sequence in range(3):
            await bus.publish("audio", "s", chunk(sequence))
        said = await finals(reader, 2)
        for sequence in range(3, 6):
            await bus.publish("audio", "s", chunk(sequence))
        said += await finals(reader, 2)
        await bus.publish("audio", "s", end())
        await bus.caught_up("audio")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        again = await (await bus.subscribe("audio", STEP.name)).next()
        assert isinstance(again, Assigned)
        return said, again.progress

    said, progress = asyncio.run(flow())
    assert said == ["0 1", "2", "3 4", "5"], "what was held is said when the stream falls silent, and nothing twice"
    assert progress.offset == 7, "a silent stream holds no commit back"


def test_what_comes_after_the_end_is_reported_once_and_counted() -> None:
    async def flow() -> list[errors_pb2.ErrorEvent]:
        bus = MemoryBus()
        running = asyncio.create_task(run(STEP, bus, Windows, commit_interval_s=0))
        for stream_id in ("over", "too"):
            await bus.publish("audio", stream_id, chunk(0, stream_id))
            await bus.publish("audio", stream_id, end(stream_id))
        for sequence in range(1, 50):
            await bus.publish("audio", "over", chunk(sequence, "over"))
        await bus.publish("audio", "too", chunk(1, "too"))
        reader, told = await bus.follow("errors"), []
        async with asyncio.timeout(20):
            while len(told) < 2:
                record = await reader.next()
                if isinstance(record, Record):
                    assert isinstance(record.value, errors_pb2.ErrorEvent)
                    told.append(record.value)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return told

    told = asyncio.run(flow())
    assert [(event.stream_id, event.reason) for event in told] == [
        ("over", errors_pb2.ERROR_REASON_STREAM_ENDED),
        ("too", errors_pb2.ERROR_REASON_STREAM_ENDED),
    ]


class InOrder(Windows):
    """Refuses what comes after a later second of media: a chunk's second is its sequence by ten."""

    latest = 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, events_pb2.AudioEvent)
        second = item.chunk.sequence % 10
        if second < self.latest:
            raise TimeReversed(f"{second} after {self.latest}")
        self.latest = second
        async for said in super().process(item):
            yield said


def test_of_a_source_that_begins_again_the_first_item_is_reported_and_what_is_new_is_taken() -> None:
    async def flow() -> tuple[list[str], list[str]]:
        bus = MemoryBus()
        errors, reader = await bus.follow("errors"), await bus.follow("transcripts")
        running = asyncio.create_task(run(STEP, bus, InOrder, commit_interval_s=0))
        for sequence in (0, 1, 2, 3, 10, 11, 12, 13, 14, 20, 21, 24, 25):
            await bus.publish("audio", "s", chunk(sequence))
        await bus.publish("audio", "s", end())
        said = await finals(reader, 4)
        told = [record.value.message for record in [await errors.next() for _ in range(3)] if isinstance(record, Record)]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return said, told

    said, told = asyncio.run(flow())
    assert said == ["0 1", "2 3", "13 14", "24 25"]
    assert told == ["0 after 3", "0 after 4"]


class Slow:
    """Takes nothing before it may go on."""

    held = 0

    def __init__(self, taken: list[str], go_on: asyncio.Event, flushed: asyncio.Event) -> None:
        self._taken, self._go_on, self._flushed = taken, go_on, flushed

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, events_pb2.AuditEvent)
        await self._go_on.wait()
        self._taken.append(item.record.item_id)
        return
        yield

    async def flush(self) -> AsyncIterator[Message]:
        self._taken.append("flush")
        self._flushed.set()
        return
        yield

    def close(self) -> None:
        """Nothing is held."""


def test_a_slow_step_takes_all_that_several_writers_said_before_each_ended() -> None:
    """Also where it has read the last writer's end before it worked off the first one's."""
    step = STEPS["keep-audit"]

    async def flow() -> list[str]:
        bus, taken, go_on, flushed = MemoryBus(), list[str](), asyncio.Event(), asyncio.Event()
        running = asyncio.create_task(run(step, bus, lambda _: Slow(taken, go_on, flushed), commit_interval_s=0))
        for offset, writer in enumerate(sorted(writers("audit"))):
            for event in (AuditRecord(stream_id="s", item_id=writer), None):
                said = events_pb2.AuditEvent(record=event) if event else events_pb2.AuditEvent(end=media_pb2.StreamEnd(stream_id="s"))
                await bus.publish("audit", "s", said, origin=Origin(writer, Position(2 * offset + (event is None), 0)))
        async with asyncio.timeout(20):
            await bus.caught_up("audit")
            go_on.set()
            await flushed.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return taken

    assert asyncio.run(flow()) == [*sorted(writers("audit")), "flush"]
