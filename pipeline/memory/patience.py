"""A database that is locked or away for a moment is waited for, not given up at once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from pipeline.errors import StoreUnavailable

T = TypeVar("T")

PATIENCE_S = 30.0
"""How long a condition that may pass is waited for."""
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0

Told = Callable[[Exception], tuple[StoreUnavailable, bool] | None]
"""What is told of a failure, and whether it may pass; `None` for a failure that is not the database's."""


async def patiently(attempt: Callable[[], Awaitable[T]], told: Told, patience_s: float) -> T:
    """Do something until it succeeds, fails for good, or patience is over; raises `StoreUnavailable`."""
    until, wait = time.monotonic() + patience_s, FIRST_WAIT_S
    while True:
        try:
            return await attempt()
        except Exception as error:
            said = told(error)
            if said is None:
                raise
            failure, may_pass = said
            if not may_pass or time.monotonic() + wait > until:
                raise failure from error
            structlog.get_logger(__name__).warning("scene-memory.waiting", cause=str(failure), wait_s=wait)
        await asyncio.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
