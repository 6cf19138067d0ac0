"""Begin again where the broker is not what it was: one that came back empty, or a topic that was made anew."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable

import structlog

from pipeline import telemetry
from pipeline.errors import BrokerRenewed

log = structlog.get_logger(__name__)

MOST = 5
"""So often within `WITHIN_S` is begun anew; after that something else is wrong, which the end of the service makes known."""
WITHIN_S = 60.0
PAUSE_S = 0.1
"""Before the first; each further one within the time waits twice as long as the one before."""


async def begin_anew(reader: str, work: Callable[[], Awaitable[None]]) -> None:
    """Do the work, and do it again each time it raises `BrokerRenewed`, which is counted and logged.

    Raises it where that happens more often than `MOST` times in `WITHIN_S`.
    """
    begun: deque[float] = deque()
    while True:
        try:
            return await work()
        except BrokerRenewed as error:
            now = time.monotonic()
            while begun and now - begun[0] > WITHIN_S:
                begun.popleft()
            if len(begun) >= MOST:
                raise
            begun.append(now)
            telemetry.BEGUN_ANEW.labels(reader).inc()
            log.warning("begun_anew", reader=reader, cause=str(error))
            await asyncio.sleep(PAUSE_S * 2 ** (len(begun) - 1))
