"""A database that is locked or away for a moment is waited for, not given up at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from pipeline.errors import StoreUnavailable
from pipeline.telemetry import STORE_FAILURES

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a condition that may pass is waited for."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0

Told = Callable[[Exception], tuple[StoreUnavailable, bool] | None]
"""What is told of a failure, and whether it may pass; `None` for a failure that is not the database's."""


async def patiently(attempt: Callable[[], Awaitable[T]], told: Told, patience_s: float) -> T:
    """Do something until it succeeds, fails for good, or patience is over; raises `StoreUnavailable`."""
    waiting = _Waiting(told, patience_s)
    while True:
        try:
            return await attempt()
        except Exception as error:
            wait = waiting.after(error)
        await asyncio.sleep(wait)


def patiently_now(attempt: Callable[[], T], told: Told, patience_s: float) -> T:
    """The same for what blocks."""
    waiting = _Waiting(told, patience_s)
    while True:
        try:
            return attempt()
        except Exception as error:
            wait = waiting.after(error)
        time.sleep(wait)


class _Waiting:
    """How long to wait after a failure; longer each time."""

    def __init__(self, told: Told, patience_s: float) -> None:
        self._told = told
        self._until = time.monotonic() + patience_s
        self._wait = FIRST_WAIT_S

    def after(self, error: Exception) -> float:
        """Seconds until the next attempt; raises what is told where there is none."""
        said = self._told(error)
        if said is None:
            raise error
        failure, may_pass = said
        if not may_pass or time.monotonic() + self._wait > self._until:
            STORE_FAILURES.labels("given up").inc()
            raise failure from error
        STORE_FAILURES.labels("tried again").inc()
        structlog.get_logger(__name__).warning("scene_memory_waiting", cause=str(failure), wait_s=self._wait)
        wait, self._wait = self._wait, min(2 * self._wait, LONGEST_WAIT_S)
        return wait
