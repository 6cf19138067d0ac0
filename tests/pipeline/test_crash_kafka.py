"""A crash loses no final and says none twice, over a real broker; also while two processes share and hand over their work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest

from pipeline.bus.kafka import KafkaBus
from tests.fakes import Crash, CrashingBus
from tests.pipeline.crashes import STREAMS, Viewer, chunk, end, publish, until_complete, viewing, work

pytestmark = pytest.mark.connected

AT_ONCE = 8
"""Crash points that are tried at the same time, each with its own topics: joining a group takes 3 s on this broker."""
NEVER = 1_000_000
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
        async with viewing(bus, "transcripts") as viewer:
            crashing = CrashingBus(bus, at)
            try:
                await until_complete(viewer, work(crashing, commit_interval_s=0.02, last="transcripts"))
            except* Crash:
                pass
            if crashing.crashed:
                await until_complete(viewer, work(bus, commit_interval_s=0.02, last="transcripts"))
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
    # Each stream has 4 partials, 2 finals and an end: every crash before that really happened.
    assert crashes >= 2 * (4 + 2 + 1)
    assert repetitions > 0


@dataclass(frozen=True)
class HandOver:
    """Two processes share a step: the second joins while the first works. Whether, and at what, each of them dies."""

    name: str
    first_dies_at: tuple[str, int] | None = None
    second_dies_at: tuple[str, int] | None = None


HAND_OVERS = (
    HandOver("nobody dies"),
    HandOver("the first dies when it should let go", first_dies_at=("release", 1)),
    HandOver("the second dies when it says its first words", second_dies_at=("publish", 1)),
    HandOver("the second dies when it commits", second_dies_at=("commit", 2)),
)


def mortal(bus: KafkaBus, dies_at: tuple[str, int] | None) -> CrashingBus:
    kind, at = dies_at or ("publish", NEVER)
    return CrashingBus(bus, at, only=(kind,))


async def hand_over(address: str, prefix: str, plan: HandOver) -> None:
    """Both streams, each on its own partition, go on all the time, a chunk when the one before has been heard."""
    async with AsyncExitStack() as stack:
        bus, first_bus, second_bus = [await stack.enter_async_context(connected(address, prefix, partitions=2)) for _ in range(3)]
        first, second = mortal(first_bus, plan.first_dies_at), mortal(second_bus, plan.second_dies_at)
        viewer = await stack.enter_async_context(viewing(bus, "transcripts"))
        settled = asyncio.Event()
        counts: dict[str, int] = {}

        async def live(process: CrashingBus) -> None:
            try:
                await work(process, commit_interval_s=0.02, last="transcripts")
            except* Crash:
                settled.set()
            await asyncio.Event().wait()

        async def join() -> None:
            await first.assigned.wait()
            await viewer.until_heard(STREAMS[0], 3)
            second_life = asyncio.create_task(live(second))
            try:
                await second.assigned.wait()
                if plan.first_dies_at is None and plan.second_dies_at is None:
                    settled.set()
                await second_life
            finally:
                second_life.cancel()
                await asyncio.gather(second_life, return_exceptions=True)

        async def speak(stream_id: str) -> None:
            sequence, left = 0, 6
            while left:
                await bus.publish("audio", stream_id, chunk(stream_id, sequence, size=2))
                sequence += 1
                await viewer.until_heard(stream_id, sequence)
                left -= settled.is_set()
            counts[stream_id] = sequence
            await bus.publish("audio", stream_id, end(stream_id))

        await until_complete(viewer, live(first), join(), speak(STREAMS[0]), speak(STREAMS[1]))
        for stream_id, count in counts.items():
            heard = [str(sequence) for sequence in range(count)]
            assert viewer.finals[stream_id] == [" ".join(heard[start : start + 4]) for start in range(0, count, 4)], plan.name
            assert len(viewer.partials[stream_id]) == count, plan.name
        assert counts.keys() == set(STREAMS)
        assert (first.crashed, second.crashed) == (plan.first_dies_at is not None, plan.second_dies_at is not None), plan.name
        assert first.done["publish"] > 6
        assert second.done["publish"] > 6 or plan.second_dies_at is not None, plan.name


@pytest.mark.timeout(300)
def test_two_processes_share_and_hand_over_whoever_dies(broker_address: str, prefix: str) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(hand_over(broker_address, f"{prefix}{number}.", plan) for number, plan in enumerate(HAND_OVERS)))

    asyncio.run(all_at_once())
