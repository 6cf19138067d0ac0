"""Writes that share a commit: what becomes of the others when one of them fails, or the database does."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.memory.database import Session
from pipeline.memory.workers import Workers

pytestmark = pytest.mark.unit


class Connection:
    """A database that keeps what was committed, and may be held by somebody else."""

    broken = False

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.begun = 0
        self.held = False
        self._waiting: list[str] = []

    def begin(self) -> None:
        self.begun += 1
        if self.held:
            raise OSError("held by another")

    def run(self, sql: str, values: Any = None) -> int:
        if sql == "bad":
            raise KeyError(sql)
        self._waiting.append(sql)
        return 1

    def run_many(self, sql: str, values: Sequence[Any]) -> None:
        raise NotImplementedError

    def rows(self, sql: str, values: Any = None) -> list[Any]:
        raise NotImplementedError

    def look(self) -> None:
        """Nothing is read here."""

    def commit(self) -> None:
        self.kept += self._waiting
        self._waiting = []

    def rollback(self) -> None:
        self._waiting = []

    def close(self) -> None:
        """There is nothing to let go of."""


def written(connection: Connection, *what: str) -> list[int | BaseException]:
    """What becomes of writes that wait together."""

    async def run() -> list[int | BaseException]:
        workers = Workers(lambda: connection, readers=0)
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(_: Connection) -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)

        def job(sql: str) -> Any:
            def work(session: Session) -> int:
                return session.run(sql)

            return work

        held = asyncio.ensure_future(workers.alone(hold))
        writes = [asyncio.ensure_future(workers.write(job(sql))) for sql in what]
        await asyncio.sleep(0.05)
        release.set()
        await held
        results = await asyncio.gather(*writes, return_exceptions=True)
        await workers.close()
        return results

    return asyncio.run(run())


def test_writes_that_wait_together_are_done_in_one_transaction() -> None:
    connection = Connection()
    assert written(connection, "a", "b", "c") == [1, 1, 1]
    assert (connection.kept, connection.begun) == (["a", "b", "c"], 1)


def test_a_write_that_fails_does_not_keep_the_others_from_being_done() -> None:
    connection = Connection()
    first, failed, last = written(connection, "a", "bad", "c")
    assert (first, type(failed), last) == (1, KeyError, 1)
    assert connection.kept == ["a", "c"]


def test_a_database_that_another_holds_is_waited_for_once_not_once_for_each_write() -> None:
    connection = Connection()
    connection.held = True
    assert {str(result) for result in written(connection, *"abcdefgh")} == {"held by another"}
    assert connection.begun == 1
