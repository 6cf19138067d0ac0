"""The memory bus."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.bus import Bus, codec
from pipeline.bus.memory import MemoryBus
from pipeline.graph import TOPICS
from tests.pipeline.bus_suite import PARTITIONS, BusSuite, by_stream, chunk, read

pytestmark = pytest.mark.unit


class TestMemoryBus(BusSuite):
    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        bus = MemoryBus(partitions=PARTITIONS)
        yield bus
        await bus.close()

    async def append(self, bus: MemoryBus, topic: str, key: bytes | None, body: bytes, headers: codec.Headers | None) -> None:
        await bus.publish_raw(topic, key, body, headers)


def test_a_publisher_waits_for_a_slow_reader() -> None:
    capacity = TOPICS["audio"].capacity

    async def flow() -> None:
        bus = MemoryBus()
        reader = await bus.subscribe("audio", "slow")

        async def publish() -> None:
            for sequence in range(capacity + 10):
                await bus.publish("audio", "s", chunk("s", sequence))

        publishing = asyncio.create_task(publish())
        done, _ = await asyncio.wait([publishing], timeout=0.2)
        assert not done
        records = await read(reader, 9)
        done, _ = await asyncio.wait([publishing], timeout=0.2)
        assert not done
        records += await read(reader, capacity + 1)
        await publishing
        assert by_stream(records) == {"s": list(range(capacity + 10))}

    asyncio.run(flow())
