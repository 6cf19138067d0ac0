"""Time as something that is given to code, so that tests advance it instead of waiting."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it."""

    def now(self) -> float:
        """Unix time in seconds; may be set back by the system."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep_until(self, moment: float) -> None:
        """Wait until `monotonic()` has reached `moment`; returns at once if it has."""
        ...


class SystemClock:
    """The machine's own time."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return time.monotonic()

    async def sleep_until(self, moment: float) -> None:
        """Wait until `moment`."""
        await asyncio.sleep(max(moment - time.monotonic(), 0))
