"""A clock that is advanced by hand, in place of `pipeline.clock.SystemClock`."""

import asyncio
import heapq
import itertools


class ManualClock:
    """Stands still until it is told to go on."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        """`now` is the Unix time in seconds to start with; `monotonic()` starts at 0."""
        self._start = now
        self._elapsed = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._slept = asyncio.Condition()

    def now(self) -> float:
        """Unix time in seconds."""
        return self._start + self._elapsed

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._elapsed

    async def sleep_until(self, moment: float) -> None:
        """Wait until the clock has been advanced to `moment`."""
        if moment <= self._elapsed:
            await asyncio.sleep(0)
            return
        waked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (moment, next(self._numbers), waked))
        async with self._slept:
            self._slept.notify_all()
        await waked

    async def next_moment(self) -> float:
        """The earliest moment that someone waits for; waits until someone does."""
        async with self._slept:
            await self._slept.wait_for(lambda: self._earliest() is not None)
        moment = self._earliest()
        assert moment is not None
        return moment

    async def advance(self, seconds: float) -> None:
        """Let time pass and wake those whose moment has come, in order; each runs until it next lets others run."""
        until = self._elapsed + seconds
        while (moment := self._earliest()) is not None and moment <= until:
            self._elapsed = max(self._elapsed, moment)
            _, _, waked = heapq.heappop(self._sleepers)
            waked.set_result(None)
            await asyncio.sleep(0)
        self._elapsed = until

    def _earliest(self) -> float | None:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None
