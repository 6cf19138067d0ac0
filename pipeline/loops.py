"""The way back from a worker thread to the event loop that waits for it."""

import asyncio
import contextlib
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def tell(loop: asyncio.AbstractEventLoop, act: Callable[[], object]) -> None:
    """Call `act` in the loop, from any thread; nothing happens where the loop was closed meanwhile."""
    # To ask `is_closed` first would not do: the loop may be closed between the question and the call.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(act)


class Promise(Generic[T]):
    """A result that any thread may give, once, to whoever awaits it in the loop where it was made."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[T] = self._loop.create_future()

    def __await__(self) -> Generator[Any, None, T]:
        return self._future.__await__()

    @property
    def abandoned(self) -> bool:
        """Whether who waited for it was cancelled."""
        return self._future.cancelled()

    def keep(self, result: T) -> None:
        """Give the result; from any thread."""
        tell(self._loop, lambda: None if self._future.done() else self._future.set_result(result))

    def fail(self, error: BaseException) -> None:
        """Give an error that is raised where the result is awaited; from any thread."""
        tell(self._loop, lambda: None if self._future.done() else self._future.set_exception(error))
