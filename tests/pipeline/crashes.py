"""Steps over any bus, killed at a chosen point and started again: what a viewer gets of it."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2, media_pb2

from pipeline.bus import Bus, Origin, Position, Record
from pipeline.bus.codec import is_end
from pipeline.errors import WatchwordError
from pipeline.graph import STEPS
from pipeline.runtime import run
from tests.fakes import Clear, Windows

TRANSCRIBE, CLEAR = STEPS["transcribe"], STEPS["screen-transcripts"]
SIZES = (6, 6, 2, 2, 2, 2, 8, 2)
FINALS = ["0 1", "2 3 4 5", "6", "7"]
"""What `Windows` makes of chunks of these sizes."""
STREAMS = ("left", "right")
TIMEOUT_S = 60
_MARKS: dict[str, Message] = {
    "cleared": events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id="mark")),
    "transcripts": events_pb2.TranscriptEvent(end=media_pb2.StreamEnd(stream_id="mark")),
    "errors": errors_pb2.ErrorEvent(stream_id="mark"),
}


def chunk(stream_id: str, sequence: int, *, size: int) -> events_pb2.AudioEvent:
    packets = [media_pb2.Packet(data=bytes(size))]
    return events_pb2.AudioEvent(chunk=media_pb2.MediaChunk(stream_id=stream_id, epoch=1, sequence=sequence, packets=packets))


def end(stream_id: str) -> events_pb2.AudioEvent:
    return events_pb2.AudioEvent(end=media_pb2.StreamEnd(stream_id=stream_id))


async def publish(bus: Bus, sizes: tuple[int, ...] = SIZES) -> None:
    """Two interleaved streams; each chunk is sent twice, as by a publisher that was not sure."""
    for sequence, size in enumerate(sizes):
        for stream_id in STREAMS:
            for _ in range(2):
                await bus.publish("audio", stream_id, chunk(stream_id, sequence, size=size))
    for stream_id in STREAMS:
        await bus.publish("audio", stream_id, end(stream_id))


async def work(bus: Bus, *, commit_interval_s: float, last: str = "cleared") -> None:
    """The steps up to the topic `last`, until one of them fails."""
    async with asyncio.TaskGroup() as group:
        group.create_task(run(TRANSCRIBE, bus, Windows, commit_interval_s=commit_interval_s))
        if last == "cleared":
            group.create_task(run(CLEAR, bus, Clear, commit_interval_s=commit_interval_s))


@dataclass
class Viewer:
    """Takes in the last topic as every reader does: what is not beyond the last position of its step is a repetition."""

    finals: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    partials: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    ended: set[str] = field(default_factory=set)
    complete: asyncio.Event = field(default_factory=asyncio.Event)
    repetitions: int = 0
    _seen: dict[tuple[str, str], Position] = field(default_factory=dict)
    _said: dict[tuple[str, Origin], bytes] = field(default_factory=dict)
    _heard: asyncio.Condition = field(default_factory=asyncio.Condition)

    def take(self, record: Record) -> None:
        assert not isinstance(record.value, WatchwordError)
        body = record.value.SerializeToString(deterministic=True)
        assert self._said.setdefault((record.stream_id, record.origin), body) == body, "the same position says something else"
        key = (record.stream_id, record.origin.step)
        if key in self._seen and record.origin.position <= self._seen[key]:
            self.repetitions += 1
            return
        self._seen[key] = record.origin.position
        assert record.stream_id not in self.ended, "nothing follows a stream's end"
        if is_end(record.value):
            self.ended.add(record.stream_id)
            if self.ended == set(STREAMS):
                self.complete.set()
            return
        assert isinstance(record.value, events_pb2.ClearedEvent | events_pb2.TranscriptEvent)
        segment = record.value.segment
        (self.finals if segment.is_final else self.partials)[record.stream_id].append(segment.text)

    async def watch(self, bus: Bus, topic: str) -> None:
        """Until the mark."""
        async for record in _until_mark(bus, topic):
            self.take(record)
            async with self._heard:
                self._heard.notify_all()

    async def until_heard(self, stream_id: str, partials: int) -> None:
        """Until so many partials of the stream have been taken in."""
        async with self._heard:
            await self._heard.wait_for(lambda: len(self.partials[stream_id]) >= partials)

    def check(self, finals: list[str] = FINALS) -> None:
        assert self.finals == dict.fromkeys(STREAMS, finals)
        assert self.ended == set(STREAMS)


@asynccontextmanager
async def viewing(bus: Bus, topic: str = "cleared") -> AsyncIterator[Viewer]:
    """A viewer of all that the body says on `topic`, up to the end of both streams; and nothing may be reported as an error."""
    viewer = Viewer()
    async with asyncio.timeout(TIMEOUT_S), asyncio.TaskGroup() as group:
        group.create_task(viewer.watch(bus, topic))
        group.create_task(_no_errors(bus))
        yield viewer
        await viewer.complete.wait()
        for name in (topic, "errors"):
            await bus.publish(name, "mark", _MARKS[name], origin=Origin("mark", Position(0, 0)))


async def until_complete(viewer: Viewer, *bodies: Coroutine[Any, Any, None]) -> None:
    """Run the bodies until the viewer has seen all, or one of them fails, which is raised in a group."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(body) for body in bodies]
        await viewer.complete.wait()
        for task in tasks:
            task.cancel()


async def _no_errors(bus: Bus) -> None:
    async for record in _until_mark(bus, "errors"):
        raise AssertionError(f"reported as an error: {record.value}")


async def _until_mark(bus: Bus, topic: str) -> AsyncIterator[Record]:
    """The records of all partitions up to the mark; streams that matter must stand on the mark's partition or before it in time."""
    follower = await bus.follow(topic)
    try:
        while True:
            event = await follower.next()
            if isinstance(event, Record):
                if event.stream_id == "mark":
                    return
                yield event
    finally:
        await follower.close()
