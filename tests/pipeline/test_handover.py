"""The line between a reading thread and a task."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pipeline.bus import Assigned, Context, Origin, Position, Progress, Record, Revoked
from pipeline.bus.handover import Handover
from pipeline.errors import BrokerUnavailable, RecordInvalid

pytestmark = pytest.mark.unit


NOTHING = RecordInvalid("none")


def record(partition: int, offset: int) -> Record:
    return Record("audio", partition, offset, "s", NOTHING, Origin("publish", Position(0, offset)), Context())


def run(test: Callable[[Handover], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        async with asyncio.timeout(10):
            await test(Handover(asyncio.get_running_loop(), max_records=4, max_bytes=1000))

    asyncio.run(inside())


def test_what_a_thread_puts_comes_in_order() -> None:
    async def test(line: Handover) -> None:
        def put() -> None:
            for offset in range(1000):
                line.put(record(0, offset))

        thread = threading.Thread(target=put)
        thread.start()
        assert [await line.get() for _ in range(1000)] == [record(0, offset) for offset in range(1000)]
        thread.join()

    run(test)


def test_it_is_full_by_records_and_by_bytes_and_has_room_when_half_empty() -> None:
    async def test(line: Handover) -> None:
        for offset in range(4):
            assert not line.full
            line.put(record(0, offset), 10)
        assert line.full
        await line.get()
        assert (line.full, line.has_room) == (False, False)
        await line.get()
        assert line.has_room
        line.put(record(0, 9), 990)
        assert line.full
        for _ in range(3):
            await line.get()
        assert line.has_room
        assert line.peak == 4

    run(test)


def test_a_revocation_comes_first_and_takes_back_what_waits() -> None:
    async def test(line: Handover) -> None:
        for offset in range(2):
            line.put(record(0, offset), 500)
            line.put(record(1, offset), 1)
        assert line.full
        assert line.revoke([0]) == (0,)
        assert not line.full
        assert [await line.get() for _ in range(3)] == [Revoked((0,)), record(1, 0), record(1, 1)]

    run(test)


def test_a_partition_that_nobody_was_told_of_is_not_revoked() -> None:
    async def test(line: Handover) -> None:
        line.put(Assigned(0, Progress()))
        line.put(Assigned(1, Progress()))
        assert await line.get() == Assigned(0, Progress())
        line.put(record(1, 0))
        assert line.revoke([1]) == ()
        assert line.revoke([0, 1]) == (0, 1)
        assert await line.get() == Revoked((0, 1))

    run(test)


def test_a_failure_comes_after_what_waits_and_again() -> None:
    async def test(line: Handover) -> None:
        waiting = asyncio.create_task(line.get())
        await asyncio.sleep(0)
        line.put(record(0, 0))
        line.fail(BrokerUnavailable("gone"))
        assert await waiting == record(0, 0)
        for _ in range(2):
            with pytest.raises(BrokerUnavailable, match="gone"):
                await line.get()

    run(test)


def test_a_thread_may_put_after_the_loop_has_ended() -> None:
    async def make() -> Handover:
        return Handover(asyncio.get_running_loop(), max_records=1, max_bytes=1)

    line = asyncio.run(make())
    line.put(record(0, 0))
    line.fail(BrokerUnavailable("gone"))
    assert line.full
