"""What a reading thread hands over to an asyncio task: a bounded line of events."""

import asyncio
import threading
from collections import deque
from collections.abc import Collection

from pipeline.bus import Assigned, Record, Revoked
from pipeline.loops import tell

Event = Record | Assigned | Revoked


class Handover:
    """A line with one thread at its end and one task at its front.

    It does not block the thread, which asks `full` and stops reading for a while; so what waits here is bounded by the
    limits and what the thread reads at once.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, max_records: int, max_bytes: int) -> None:
        self._loop = loop
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._line: deque[tuple[Event, int]] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._arrived = asyncio.Event()
        self._failure: BaseException | None = None
        self.peak = 0
        """The most events that have waited at once."""

    @property
    def full(self) -> bool:
        """Whether a limit is reached."""
        return len(self._line) >= self._max_records or self._bytes >= self._max_bytes

    @property
    def has_room(self) -> bool:
        """Whether at most half of each limit is used: time to read again."""
        return len(self._line) * 2 <= self._max_records and self._bytes * 2 <= self._max_bytes

    def put(self, event: Event, size: int = 0) -> None:
        """Add an event of `size` bytes at the end; from the thread."""
        with self._lock:
            self._line.append((event, size))
            self._bytes += size
            self.peak = max(self.peak, len(self._line))
        self._wake()

    def revoke(self, partitions: Collection[int]) -> tuple[int, ...]:
        """Take back what waits of these partitions and say `Revoked` next, before all else; from any thread.

        Returns the partitions that it is said of: not those whose `Assigned` was still waiting.
        """
        with self._lock:
            unknown = {event.partition for event, _ in self._line if isinstance(event, Assigned)}
            kept = [(event, size) for event, size in self._line if isinstance(event, Revoked) or event.partition not in partitions]
            told = tuple(sorted(partition for partition in partitions if partition not in unknown))
            self._line = deque(kept)
            if told:
                self._line.appendleft((Revoked(told), 0))
            self._bytes = sum(size for _, size in kept)
        self._wake()
        return told

    def fail(self, failure: BaseException) -> None:
        """Nothing more comes; what waits is still taken, and then `get` raises this."""
        self._failure = failure
        self._wake()

    async def get(self) -> Event:
        """The next event; being cancelled loses none."""
        while True:
            self._arrived.clear()
            with self._lock:
                if self._line:
                    event, size = self._line.popleft()
                    self._bytes -= size
                    return event
            if self._failure is not None:
                raise self._failure
            await self._arrived.wait()

    def _wake(self) -> None:
        tell(self._loop, self._arrived.set)
