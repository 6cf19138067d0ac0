"""Worker threads and the event loops that wait for them."""

import asyncio
import contextlib
import threading

import pytest

from pipeline.bus.in_turn import InTurn
from pipeline.loops import Promise

pytestmark = pytest.mark.unit


class Unaware(asyncio.SelectorEventLoop):
    """A loop that is closed right after a thread asked whether it is."""

    unaware = True

    def is_closed(self) -> bool:
        return not self.unaware and super().is_closed()


def test_a_thread_goes_on_when_the_loop_that_waits_for_it_closes_under_it() -> None:
    worker, begun, go_on = InTurn("test"), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go_on.wait(20)

    async def leave() -> None:
        task = asyncio.ensure_future(worker.do(work))
        assert await asyncio.to_thread(begun.wait, 20)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    loop = Unaware()
    loop.run_until_complete(leave())
    loop.close()
    go_on.set()
    try:
        assert asyncio.run(asyncio.wait_for(worker.do(lambda: "alive"), 20)) == "alive"
    finally:
        loop.unaware = False
        worker.close()


def test_a_promise_is_kept_or_broken_once_from_any_thread() -> None:
    async def both() -> tuple[int, str]:
        kept, broken = Promise[int](), Promise[int]()
        for act in (lambda: kept.keep(1), lambda: kept.keep(2), lambda: broken.fail(KeyError("no")), lambda: broken.keep(3)):
            await asyncio.to_thread(act)
        with pytest.raises(KeyError) as refused:
            await broken
        return await kept, str(refused.value)

    assert asyncio.run(both()) == (1, "'no'")


def test_a_promise_tells_that_nobody_waits_for_it_any_more() -> None:
    async def leave() -> tuple[bool, bool]:
        promise = Promise[int]()

        async def wait() -> int:
            return await promise

        task = asyncio.ensure_future(wait())
        await asyncio.sleep(0)
        before = promise.abandoned
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        promise.keep(1)
        return before, promise.abandoned

    assert asyncio.run(leave()) == (False, True)
