"""One daemon thread that runs jobs in the order in which they were asked for.

A job that never returns keeps neither its caller, who can be cancelled, nor the process from ending.
"""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from pipeline.loops import Promise

T = TypeVar("T")


class InTurn:
    """An executor of one thread, unlike `ThreadPoolExecutor`'s not waited for when Python ends."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, once all that was asked for before is done; raises what it raises."""
        promise: Promise[T] = Promise()

        def job() -> None:
            if promise.abandoned:
                return
            try:
                promise.keep(work())
            except BaseException as error:
                promise.fail(error)

        self._jobs.put(job)
        return await promise

    def close(self) -> None:
        """Let the thread go when it has done what it was asked for."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
