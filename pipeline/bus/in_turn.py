"""One daemon thread that runs jobs in the order in which they were asked for.

A job that never returns keeps neither its caller, who can be cancelled, nor the process from ending.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from pipeline.loops import Promise

T = TypeVar("T")


class Closed(RuntimeError):
    """Something was asked of a thread that has been let go."""


class InTurn:
    """An executor of one thread, unlike `ThreadPoolExecutor`'s not waited for when Python ends."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, once all that was asked for before is done; raises what it raises, and `Closed` after `close`."""
        promise: Promise[T] = Promise()

        def job() -> None:
            if promise.abandoned:
                return
            try:
                promise.keep(work())
            except BaseException as error:
                promise.fail(error)

        with self._lock:
            if self._closed:
                raise Closed(f"the thread {self._thread.name} has been let go")
            self._jobs.put(job)
        return await promise

    def close(self) -> None:
        """Let the thread go when it has done what it was asked for."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)

    def join(self) -> None:
        """Wait, after `close`, until the thread has done what it was asked for."""
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


async def aside(name: str, work: Callable[[], T], *, let_go: Callable[[T], object] = lambda made: None) -> T:
    """What `work` returns, done on a daemon thread of its own; where nobody waits any more, what it made is let go of there or here.

    Unlike `asyncio.to_thread`'s, work that is under way does not keep `asyncio.run` from ending.
    """
    made: list[T] = []
    unwanted = threading.Event()

    def discard() -> None:
        with contextlib.suppress(IndexError):  # whoever comes second finds nothing
            let_go(made.pop())

    def make() -> T:
        result = work()
        made.append(result)
        if unwanted.is_set():
            discard()
        return result

    turn = InTurn(name)
    try:
        return await turn.do(make)
    except asyncio.CancelledError:
        unwanted.set()
        discard()
        raise
    finally:
        turn.close()
