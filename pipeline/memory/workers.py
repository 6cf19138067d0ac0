"""Threads that own a database's connections: one that writes, a few that read.

Writes that wait at the same time share one commit, and each of them is done or not done by itself: what makes a commit
slow is waiting for the disk or the server, and the streams of a process can wait together.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from pipeline.memory.database import Session

T = TypeVar("T")
C = TypeVar("C", bound="Connection")

TOGETHER = 64
"""The most writes that share a commit."""


class Connection(Session, Protocol):
    """A session that can say where a transaction begins and ends."""

    @property
    def broken(self) -> bool:
        """Whether nothing more can come of it."""
        ...

    def begin(self) -> None:
        """Begin a transaction that writes."""
        ...

    def look(self) -> None:
        """Begin a transaction that reads: all its queries see the database at one time."""
        ...

    def commit(self) -> None:
        """End it; what was written is on the disk then."""
        ...

    def rollback(self) -> None:
        """End it as if nothing had been written; does not fail."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class _Job(Generic[T]):
    def __init__(self, work: Callable[[Session], T]) -> None:
        self.work = work
        self.future: Future[T] = Future()


class Workers(Generic[C]):
    """Runs work with connections, each of which only its own thread uses."""

    def __init__(self, connect: Callable[[], C], *, readers: int) -> None:
        """Without readers the one that writes reads too. Raises what `connect` raises for the first connection."""
        self._connect = connect
        self._local = threading.local()
        self._connections: list[C] = []
        self._jobs: deque[_Job[Any]] = deque()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="scene-memory")
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="scene-memory-reader") if readers else self._writer
        try:
            self._writer.submit(self._connection).result()
        except BaseException:
            self._writer.shutdown()
            raise

    async def read(self, work: Callable[[Session], T]) -> T:
        """Run work that changes nothing."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._look, work)

    async def write(self, work: Callable[[Session], T]) -> T:
        """Run work in a transaction, perhaps together with others that wait; it counts by itself all the same."""
        job = _Job(work)
        self._jobs.append(job)
        self._writer.submit(self._drain)
        return await asyncio.wrap_future(job.future)

    async def alone(self, work: Callable[[C], T]) -> T:
        """Run work with the connection that writes, outside any transaction."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, lambda: work(self._connection()))

    async def close(self) -> None:
        """Finish what was begun and let go of every connection."""
        await asyncio.to_thread(self._shutdown)

    def _shutdown(self) -> None:
        self._writer.shutdown()
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()

    def _look(self, work: Callable[[Session], T]) -> T:
        connection = self._connection()
        connection.look()
        try:
            return work(connection)
        finally:
            connection.rollback()

    def _connection(self) -> C:
        """This thread's connection, made anew where the one before is broken."""
        connection: C | None = getattr(self._local, "connection", None)
        if connection is None or connection.broken:
            if connection is not None:
                self._connections.remove(connection)
                connection.close()
            self._local.connection = None
            connection = self._connect()
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def _drain(self) -> None:
        """Do the writes that wait, unless an earlier call has done them."""
        jobs = [self._jobs.popleft() for _ in range(min(len(self._jobs), TOGETHER))]
        wanted = [job for job in jobs if job.future.set_running_or_notify_cancel()]
        try:
            if wanted and not self._settled(wanted):
                # One of them fails: each by itself, so that the others do not suffer.
                for job in wanted:
                    self._settled([job])
        except BaseException as error:
            # The database cannot be written to at all: to wait for it once for each job would keep all writers for minutes.
            for job in wanted:
                if not job.future.done():
                    job.future.set_exception(error)

    def _settled(self, jobs: Sequence[_Job[Any]]) -> bool:
        """Do jobs in one transaction and tell each its result; false, and nothing is done or told, if one of several fails.

        Raises if no transaction can be begun.
        """
        connection = self._connection()
        connection.begin()
        try:
            results = [job.work(connection) for job in jobs]
            connection.commit()
        except BaseException as error:
            connection.rollback()
            if len(jobs) > 1:
                return False
            jobs[0].future.set_exception(error)
            return True
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)
        return True
