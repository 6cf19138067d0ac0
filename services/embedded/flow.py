"""All steps in one process over the memory bus: a laptop, a demo, a test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from google.protobuf.message import Message
from watchword.v1 import errors_pb2, events_pb2

from pipeline.bus import Record
from pipeline.bus.memory import MemoryBus
from pipeline.errors import WatchwordError
from pipeline.graph import BRANCHES, SERVICES, STEPS
from pipeline.media.publish import PublishReport, publish
from pipeline.qa.answer import Answerer, Part
from pipeline.qa.recordings import Recordings
from pipeline.runtime import run
from pipeline.stage import Dated, Stage, StageFactory
from services.memory.main import MemoryParts
from services.memory.servicer import Asking
from services.serve import Parts, one_failure
from services.settings import Settings

EMBEDDED = tuple(service for service in SERVICES if service != "gateway")
"""The services whose steps run here; the caller is the viewer."""


@dataclass(frozen=True)
class Flow:
    """A loaded flow, ready for one stream after another."""

    parts: dict[str, Parts]
    answerer: Answerer
    asking: Asking
    recordings: Recordings

    @classmethod
    async def load(cls, settings: Settings) -> "Flow":
        """Load all models; raises `ModelMissing` or `ModelMismatch`."""
        bus = MemoryBus()
        # One source in one process: if its decoder ends, there is nothing else to be kept.
        settings = replace(settings, decoder_apart=bool(settings.decoder_apart))
        built = await asyncio.gather(*(import_module(f"services.{service}.main").build(settings, bus) for service in EMBEDDED))
        parts = dict(zip(EMBEDDED, built, strict=True))
        memory = parts["memory"]
        assert isinstance(memory, MemoryParts)
        return cls(parts, memory.answerer, memory.asking, memory.recordings)

    async def close(self) -> None:
        """Let go of the models and the store."""
        for parts in self.parts.values():
            if parts.close is not None:
                await parts.close()

    async def run(
        self,
        source: str,
        stream_id: str,
        *,
        speed: float | None,
        cleared: Callable[[events_pb2.ClearedEvent, float | None], None],
        failed: Callable[[errors_pb2.ErrorEvent], None],
        bus: MemoryBus | None = None,
    ) -> PublishReport:
        """Publish a source and tell what is cleared, until everything about it has been said and is remembered.

        `bus` is a new one that others may follow, too.
        Raises what publishing raises, after what could be read was understood, and what a step raises for good.
        """
        bus = bus or MemoryBus()
        if (path := Path(source)).is_file():
            self.recordings.add(stream_id, path)
        indexed, audited = asyncio.Event(), asyncio.Event()
        async with one_failure(), asyncio.TaskGroup() as group:
            viewing = [
                group.create_task(_follow_cleared(bus, cleared)),
                group.create_task(_follow_errors(bus, failed)),
            ]
            factories = {name: factory for parts in self.parts.values() for name, factory in parts.stages.items()}
            factories["index"] = telling(factories["index"], indexed)
            factories["keep-audit"] = telling(factories["keep-audit"], audited)
            steps = [group.create_task(run(step, bus, factories[step.name])) for step in STEPS.values()]
            report, failure = None, None
            try:
                report = await publish(source, bus, stream_id=stream_id, speed=speed)
            except WatchwordError as error:
                failure = error
            if report is not None or bus.holds("audio"):
                await viewing[0]
                await indexed.wait()
                await audited.wait()
                await bus.caught_up("errors")
            for task in [*viewing, *steps]:
                task.cancel()
        if report is None:
            assert failure is not None
            raise failure
        return report

    async def ask(self, stream_id: str, question: str) -> AsyncIterator[Part]:
        """What was found, the answer's words and claims, then the whole answer; raises as `Answerer.ask` does."""
        async for part in self.answerer.ask(stream_id, question):
            yield part


async def _follow_cleared(bus: MemoryBus, take: Callable[[events_pb2.ClearedEvent, float | None], None]) -> None:
    """Tell what is cleared until every branch has ended."""
    subscription = await bus.follow("cleared")
    ended: set[str] = set()
    while not ended.issuperset(BRANCHES):
        record = await subscription.next()
        if isinstance(record, Record) and isinstance(record.value, events_pb2.ClearedEvent):
            if record.value.WhichOneof("event") == "end":
                ended.add(record.origin.step)
            else:
                take(record.value, record.context.started_at)
    await subscription.close()


async def _follow_errors(bus: MemoryBus, take: Callable[[errors_pb2.ErrorEvent], None]) -> None:
    subscription = await bus.follow("errors")
    while True:
        record = await subscription.next()
        if isinstance(record, Record) and isinstance(record.value, errors_pb2.ErrorEvent):
            take(record.value)


class _Telling:
    """A stage that tells when it has flushed."""

    def __init__(self, stage: Stage, flushed: asyncio.Event) -> None:
        self._stage = stage
        self._flushed = flushed

    @property
    def held(self) -> int:
        return self._stage.held

    def process(self, item: Message) -> AsyncIterator[Message]:
        return self._stage.process(item)

    async def flush(self) -> AsyncIterator[Message]:
        async for said in self._stage.flush():
            yield said
        self._flushed.set()

    def began_at(self, unix_s: float) -> None:
        if isinstance(self._stage, Dated):
            self._stage.began_at(unix_s)

    def close(self) -> None:
        self._stage.close()


def telling(make_stage: StageFactory, flushed: asyncio.Event) -> StageFactory:
    """A factory of the same stages, each of which sets the event when it has flushed."""
    return lambda stream_id: _Telling(make_stage(stream_id), flushed)
