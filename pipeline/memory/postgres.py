"""The scene memory in PostgreSQL: full-text search for words, pgvector for meaning.

All tables stand in a schema of their own. Several processes may write: what two of them say of one stream is put in order by the
stream's row, which each transaction locks first.
"""

import json
import re
import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np
import psycopg
import structlog
from psycopg import errors
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format

from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.memory.address import shown
from pipeline.memory.database import Row, Session, Values
from pipeline.memory.folding import folded
from pipeline.memory.migrations import migrate
from pipeline.memory.patience import PATIENCE_S, patiently, patiently_now
from pipeline.memory.ranking import HASHED, rank
from pipeline.memory.schema_postgres import STEPS
from pipeline.memory.sql import SqlStore
from pipeline.memory.store import Vectors
from pipeline.memory.workers import Workers

T = TypeVar("T")

SCHEMA = "watchword"
READERS = 4
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 120
"""After so long the server gives a statement up, so that none hangs for ever."""
SHORT_QUERIES = "-c jit=off -c max_parallel_workers_per_gather=0"
"""Queries take milliseconds: compiling them, or starting processes for them, takes longer."""


class PostgresStore(SqlStore):
    """A `SceneStore` in a PostgreSQL database."""

    def __init__(
        self,
        address: str,
        *,
        schema: str = SCHEMA,
        max_moments: int = 100_000,
        max_pictures: int = 5_000,
        max_ended: int = 1_000,
        clock: Callable[[], float] = time.time,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Connect to `postgresql://user:password@host:port/database` and make the schema where there is none; blocks.

        A server that is away is waited for during `patience_s`, here and later. The rest is `SqlStore`'s. Raises `SettingInvalid`
        where the address, the password, the rights or the extension pgvector are wrong, and `StoreUnavailable` where nobody answers.
        """
        self.server = PostgresDatabase(address, schema=schema, patience_s=patience_s)
        super().__init__(self.server, max_moments=max_moments, max_pictures=max_pictures, max_ended=max_ended, clock=clock)


class PostgresDatabase:
    """A `Database` on a PostgreSQL server."""

    hamming = "(m.code <~> :code)"
    words_of = HASHED.format(no="CAST(:no AS bigint)", words="to_tsvector('stemmed', :indexed)")
    listed = "(SELECT json_array_elements_text(CAST(:names AS json)))"

    def __init__(self, address: str, *, schema: str = SCHEMA, patience_s: float = PATIENCE_S) -> None:
        """See `PostgresStore`."""
        try:
            self.shown = shown(address)
        except ValueError as error:
            raise SettingInvalid(f"The address of the scene memory cannot be read: {error}.") from None
        self._patience_s = patience_s

        def connect() -> _Connection:
            return _open(address, self.shown, schema)

        self._workers = patiently_now(lambda: Workers(connect, readers=READERS), lambda error: self._told("connecting", error), patience_s)
        structlog.get_logger(__name__).info("scene_memory_opened", address=self.shown, near_by="pgvector")

    async def read(self, doing: str, work: Callable[[Session], T]) -> T:
        """See `Database`."""
        return await patiently(lambda: self._workers.read(work), lambda error: self._told(doing, error), self._patience_s)

    async def write(self, doing: str, work: Callable[[Session], T]) -> T:
        """See `Database`."""
        return await patiently(lambda: self._workers.write(work), lambda error: self._told(doing, error), self._patience_s)

    async def scrub(self) -> None:
        """Let the server reclaim what was removed; its log, replicas and backups are its administrator's."""

        def scrub(db: _Connection) -> None:
            for table in ("moments", "vectors", "pictures", "judgements", "sources"):
                db.run(f"VACUUM {table}")

        await patiently(lambda: self._workers.alone(scrub), lambda error: self._told("vacuuming", error), self._patience_s)

    async def close(self) -> None:
        """See `Database`."""
        await self._workers.close()

    def match(self, words: Iterable[str]) -> str:
        """See `Database`: each word as letters and digits alone."""
        plain = [clean for word in words if (clean := folded(word))]
        return json.dumps(plain, ensure_ascii=False) if plain else ""

    def rank(self, db: Session, words: str, where: str, values: Values, limit: int) -> list[Row]:
        """See `Database`."""
        return rank(db, words, where, values, limit)

    def nearest(self, db: Session, code: bytes, most: int) -> list[int] | None:
        """See `Database`: the codes are looked at by the server."""
        return None

    def indexed(self, text: str) -> str:
        """See `Database`."""
        return folded(text)

    def cosines(self, db: Session, numbers: Sequence[int], vector: Vectors) -> dict[int, float]:
        """See `Database`."""
        query = "SELECT id, -(vector <#> :vector) FROM vectors WHERE id = ANY (CAST(:ids AS bigint[]))"
        return dict(db.rows(query, {"vector": _Vector(vector), "ids": list(numbers)}))

    def vector(self, vector: Vectors) -> object:
        """See `Database`."""
        return _Vector(vector)

    def code(self, code: bytes) -> object:
        """See `Database`."""
        return "".join(map(_BITS.__getitem__, code))

    def _told(self, doing: str, error: Exception) -> tuple[StoreUnavailable, bool] | None:
        """The error as told, and whether it may pass; `None` for what is none of the server's."""
        if not isinstance(error, psycopg.Error) or isinstance(error, psycopg.DataError):
            return None
        passing = isinstance(error, _PASSING) and "password" not in str(error)
        help_ = "is the server up and reachable?" if passing else "look at the server's log"
        if isinstance(error, errors.DiskFull):
            help_ = "make room on the server's disk"
        said = " ".join(str(error).split())
        where = "to" if doing == "connecting" else "in"
        return StoreUnavailable(f"{doing[0].upper()}{doing[1:]} {where} the scene memory {self.shown} failed: {said}; {help_}"), passing


_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, errors.DiskFull, errors.ReadOnlySqlTransaction)
"""A server that restarts, is full or fails over; deadlocks and the like are operational errors too."""
_BITS = [f"{byte:08b}"[::-1] for byte in range(256)]


class _Vector:
    """A vector on its way to the server."""

    def __init__(self, numbers: Vectors) -> None:
        self.numbers = numbers


class _VectorDumper(Dumper):
    """As `vector_recv` reads it: the number of dimensions, nothing, the numbers as big-endian floats."""

    format = Format.BINARY

    def dump(self, obj: _Vector) -> bytes:
        return len(obj.numbers).to_bytes(2) + b"\0\0" + obj.numbers.astype(">f4").tobytes()


class _VectorLoader(Loader):
    format = Format.BINARY

    def load(self, data: bytes | bytearray | memoryview) -> bytes:
        return np.frombuffer(bytes(data[4:]), ">f4").astype("<f4").tobytes()


class _Connection:
    """A `Connection` to the server."""

    def __init__(self, connection: "psycopg.Connection[Row]") -> None:
        self._connection = connection

    @property
    def broken(self) -> bool:
        return self._connection.closed

    def rows(self, sql: str, values: Values | None = None) -> list[Row]:
        return self._execute(sql, values).fetchall()

    def run(self, sql: str, values: Values | None = None) -> int:
        return self._execute(sql, values).rowcount

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(sql), values)

    def begin(self) -> None:
        self._connection.execute("BEGIN")

    def look(self) -> None:
        self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def commit(self) -> None:
        self._connection.execute("COMMIT")

    def rollback(self) -> None:
        try:
            self._connection.execute("ROLLBACK")
        except psycopg.Error:
            # Without a working connection there is no transaction either.
            self._connection.close()

    def close(self) -> None:
        self._connection.close()

    def _execute(self, sql: str, values: Values | None) -> "psycopg.Cursor[Row]":
        if not values:
            return self._connection.execute(sql.encode(), binary=True)
        return self._connection.execute(_translated(sql), values, binary=True)


@lru_cache(maxsize=512)
def _translated(sql: str) -> bytes:
    """The same statement with psycopg's sign for a parameter."""
    return re.sub(r"(?<![:\w]):([a-z_]+)", r"%(\1)s", sql.replace("%", "%%")).encode()


def _open(address: str, told: str, schema: str) -> _Connection:
    try:
        connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_S,
            application_name="watchword",
            keepalives_idle=30,
            tcp_user_timeout=30_000,
            options=f"-c search_path={schema},public -c statement_timeout={STATEMENT_TIMEOUT_S}s -c client_encoding=UTF8 {SHORT_QUERIES}",
        )
    except psycopg.ProgrammingError:
        # What it says may quote the address, and so the password.
        raise SettingInvalid(f"The address of the scene memory {told} cannot be read: look at its options.") from None
    except psycopg.OperationalError as error:
        if wrong := _WRONG.search(str(error)):
            raise SettingInvalid(f"The scene memory {told} does not let us in: {wrong[0]}; look at user, password and database.") from None
        raise
    try:
        opened = _Connection(connection)
        _prepare(opened, told, schema)
        kind = opened.rows("SELECT CAST('vector' AS regtype)::oid")[0][0]
        connection.adapters.register_dumper(_Vector, type("_Dumper", (_VectorDumper,), {"oid": kind}))
        connection.adapters.register_loader(kind, _VectorLoader)
        return opened
    except (psycopg.OperationalError, SettingInvalid):
        connection.close()
        raise
    except psycopg.Error as error:
        connection.close()
        said = " ".join(str(error).split())
        raise SettingInvalid(f"The scene memory {told} cannot be used: {said}; its user must be able to create a schema.") from error


_WRONG = re.compile(
    r'(password authentication failed|no password supplied|role ".*?" does not exist|database ".*?" does not exist'
    r"|no pg_hba.conf entry[^\n]*|permission denied[^\n]*)"
)


def _prepare(db: _Connection, told: str, schema: str) -> None:
    """Bring the schema up to date, under a lock, since other processes may start at the same time."""
    db.begin()
    try:
        db.run(f"SELECT pg_advisory_xact_lock(hashtext('watchword migrations {schema}'))")
        _require_vectors(db, told)
        db.run(f"CREATE SCHEMA IF NOT EXISTS {schema}")
        db.run("CREATE TABLE IF NOT EXISTS layout (version integer NOT NULL)")
        found = db.rows("SELECT version FROM layout")
        version = migrate(db, found[0][0] if found else 0, STEPS, told)
        db.run("UPDATE layout SET version = :version" if found else "INSERT INTO layout (version) VALUES (:version)", {"version": version})
        db.commit()
    except BaseException:
        db.rollback()
        raise


def _require_vectors(db: _Connection, told: str) -> None:
    if db.rows("SELECT 1 FROM pg_extension WHERE extname = 'vector'"):
        return
    try:
        db.run("CREATE EXTENSION vector SCHEMA public")
    except psycopg.Error as error:
        said = str(error).splitlines()[0]
        raise SettingInvalid(
            f"The scene memory {told} needs the extension pgvector, which cannot be made there ({said}): "
            "install pgvector on the server and run CREATE EXTENSION vector as an administrator."
        ) from error
