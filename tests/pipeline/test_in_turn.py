"""Work beside the event loop that keeps nobody from ending."""

import asyncio
import threading

import pytest

from pipeline.bus.in_turn import Closed, InTurn, aside

pytestmark = pytest.mark.unit

TIMEOUT_S = 20.0


def test_what_is_asked_before_the_end_is_done_and_after_it_refused() -> None:
    async def run() -> None:
        turn, done = InTurn("turn"), []
        asked = [asyncio.ensure_future(turn.do(lambda number=number: done.append(number))) for number in range(3)]
        await asyncio.sleep(0)
        turn.close()
        turn.close()
        await asyncio.gather(*asked)
        assert done == [0, 1, 2]
        with pytest.raises(Closed, match="turn"):
            await turn.do(lambda: None)

    asyncio.run(run())


def test_what_is_made_after_nobody_waits_any_more_is_let_go_once() -> None:
    """And `asyncio.run` ends before it is made."""
    free, let_go, dropped = threading.Event(), threading.Event(), []

    def make() -> str:
        assert free.wait(TIMEOUT_S)
        return "a connection"

    def drop(made: str) -> None:
        dropped.append(made)
        let_go.set()

    async def run() -> None:
        async with asyncio.timeout(0.05):
            await aside("slow", make, let_go=drop)

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert not dropped
    free.set()
    assert let_go.wait(TIMEOUT_S)
    assert dropped == ["a connection"]


def test_what_is_waited_for_is_kept_and_errors_are_raised() -> None:
    dropped: list[int] = []
    assert asyncio.run(aside("quick", lambda: 7, let_go=dropped.append)) == 7
    with pytest.raises(ZeroDivisionError):
        asyncio.run(aside("wrong", lambda: 1 // 0))
    assert not dropped
