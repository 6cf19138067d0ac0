"""A thread that does one thing after the other; what never comes back from it keeps nobody, not even the process from ending."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class InTurn:
    """An executor of one thread, unlike `ThreadPoolExecutor`'s not waited for when Python ends."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, once all that was asked for before is done; raises what it raises."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(act: Callable[[Any], None], outcome: object) -> None:
            if not done.done():
                act(outcome)

        def job() -> None:
            if done.cancelled():
                return
            act: Callable[[Any], None] = done.set_result
            outcome: object
            try:
                outcome = work()
            except BaseException as error:
                act, outcome = done.set_exception, error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, act, outcome)

        self._jobs.put(job)
        return await done

    def close(self) -> None:
        """Let the thread go when it has done what it was asked for."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
