"""A crash loses no final and says none twice, over a real broker; also while two processes share and hand over their work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from pipeline.bus.kafka import KafkaBus
from tests.fakes import Crash, CrashingBus
from tests.pipeline.crashes import Viewer, publish, until_complete, viewing, work

pytestmark = pytest.mark.connected

AT_ONCE = 4
"""Crash points that are tried at the same time, each with its own topics: joining a group takes 3 s on this broker."""
SIZES = (6, 6, 2, 2)
FINALS = ["0 1", "2 3"]


@asynccontextmanager
async def connected(address: str, prefix: str, partitions: int = 1) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(address, prefix=prefix, partitions=partitions)
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


async def crash_and_go_on(address: str, prefix: str, at: int) -> tuple[bool, Viewer]:
    """Whether it came to the crash, and what a viewer has seen in the end."""
    async with connected(address, f"{prefix}{at}.") as bus:
        await publish(bus, SIZES)
        async with viewing(bus) as viewer:
            crashing = CrashingBus(bus, at)
            try:
                await until_complete(viewer, work(crashing, commit_interval_s=0.02))
            except* Crash:
                pass
            if crashing.crashed:
                await until_complete(viewer, work(bus, commit_interval_s=0.02))
    return crashing.crashed, viewer


@pytest.mark.timeout(300)
def test_no_final_is_lost_or_said_twice_wherever_it_crashes(broker_address: str, prefix: str) -> None:
    async def try_some(first: int) -> list[tuple[bool, Viewer]]:
        return await asyncio.gather(*(crash_and_go_on(broker_address, prefix, at) for at in range(first, first + AT_ONCE)))

    crashes, repetitions, at = 0, 0, 1
    while crashes == at - 1:
        for crashed, viewer in asyncio.run(try_some(at)):
            viewer.check(FINALS)
            crashes += crashed
            repetitions += viewer.repetitions
        at += AT_ONCE
    # Each stream has 4 partials, 2 finals and an end, said by two steps: every crash before that really happened.
    assert crashes >= 2 * 2 * (4 + 2 + 1)
    assert repetitions > 0
