"""The scene memory in SQLite: FTS5 for words, sqlite-vec for meaning, one file or none.

The vector stands beside its moment as 384 little-endian floats, and the cosine is taken over the rows that the rest of
the query leaves, which are those of one stream. Some Pythons cannot load extensions into SQLite; there a function of the
same name in numpy takes sqlite-vec's place, on the same file and by the same queries.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog

from pipeline.errors import InternalError, RequestInvalid, SettingInvalid
from pipeline.qa.engine import sqlite3
from pipeline.qa.store import DIMENSIONS, EVERYTHING, Found, Hits, Kind, Moment, Span, StreamState, Vectors
from pipeline.telemetry import RECORDS_DROPPED
from pipeline.timeline import MediaTime

T = TypeVar("T")

MAX_LIMIT = 200
"""The most moments that one query gives."""
MAX_WORDS = 64
"""The most words that one query looks for."""
MAX_STREAMS = 1000
"""The most streams that one listing gives."""
BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for another process that writes the same file."""
SCHEMA_VERSION = 1

SCHEMA = f"""
CREATE TABLE streams (
    stream TEXT PRIMARY KEY,
    first_seen REAL NOT NULL,
    latest INTEGER NOT NULL,
    ended INTEGER NOT NULL DEFAULT 0,
    dropped INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE moments (
    id INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    source TEXT NOT NULL,
    kind TEXT NOT NULL,
    part INTEGER NOT NULL,
    start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL,
    text TEXT NOT NULL,
    model TEXT NOT NULL,
    vector BLOB NOT NULL CHECK (length(vector) = {4 * DIMENSIONS}),
    UNIQUE (stream, source, kind, part)
);
CREATE INDEX moments_by_time ON moments (stream, start_ns);
CREATE VIRTUAL TABLE words USING fts5(text, content='moments', content_rowid='id', tokenize='porter unicode61');
CREATE TRIGGER moment_added AFTER INSERT ON moments BEGIN
    INSERT INTO words (rowid, text) VALUES (new.id, new.text);
END;
CREATE TRIGGER moment_removed AFTER DELETE ON moments BEGIN
    INSERT INTO words (words, rowid, text) VALUES ('delete', old.id, old.text);
END;
PRAGMA user_version = {SCHEMA_VERSION};
"""

MOMENT = "m.stream, m.source, m.kind, m.part, m.text, m.start_ns, m.end_ns, m.model"
IN_SPAN = "m.stream = :stream AND m.start_ns < :before AND (m.end_ns > :after OR m.start_ns >= :after)"
BY_WORDS = f"""
SELECT {MOMENT}, 1 - vec_distance_cosine(m.vector, :vector) FROM words JOIN moments m ON m.id = words.rowid
WHERE words MATCH :words AND {IN_SPAN} ORDER BY bm25(words), m.start_ns, m.kind, m.part LIMIT :limit
"""
BY_VECTOR = f"""
SELECT {MOMENT}, 1 - vec_distance_cosine(m.vector, :vector) AS cosine FROM moments m
WHERE {IN_SPAN} ORDER BY cosine DESC, m.start_ns, m.kind, m.part LIMIT :limit
"""
BETWEEN = f"SELECT {MOMENT} FROM moments m WHERE {IN_SPAN} AND m.kind = :kind ORDER BY m.start_ns, m.source, m.part LIMIT :limit"
STREAMS = """
SELECT s.stream, s.first_seen, s.latest, s.ended, (SELECT count(*) FROM moments m WHERE m.stream = s.stream), s.dropped FROM streams s
"""
SEE = """
INSERT INTO streams (stream, first_seen, latest) VALUES (?, ?, ?)
ON CONFLICT (stream) DO UPDATE SET latest = max(latest, excluded.latest), ended = 0
"""
OLDEST = """
DELETE FROM moments WHERE id IN (
    SELECT id FROM moments WHERE stream = :stream ORDER BY start_ns, id
    LIMIT max(0, (SELECT count(*) FROM moments WHERE stream = :stream) - :most)
)
"""

ENDED_TOO_MANY = """
SELECT stream FROM streams WHERE ended ORDER BY first_seen, stream LIMIT max(0, (SELECT count(*) FROM streams WHERE ended) - ?)
"""


class SqliteStore:
    """A `SceneStore` in one SQLite file, or in memory; all access happens in one thread that it owns."""

    def __init__(
        self,
        path: Path | str = ":memory:",
        *,
        max_moments: int = 20_000,
        max_ended: int = 1_000,
        clock: Callable[[], float] = time.time,
        extension: bool = True,
    ) -> None:
        """Open the memory at `path` and make it where there is none; ":memory:" lives as long as the object.

        A stream keeps at most `max_moments`, and of the streams that have ended the latest `max_ended` are kept; what was there
        first goes first, and its moments are counted. `extension=False` computes cosines in
        numpy even where sqlite-vec could be loaded. Raises `SettingInvalid` where the file cannot be used.
        """
        self._path = str(path)
        self._max_moments = max_moments
        self._max_ended = max_ended
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="scene-memory")
        try:
            self._connection, self.cosine_by = self._worker.submit(_open, self._path, extension).result()
        except BaseException:
            self._worker.shutdown()
            raise
        structlog.get_logger(__name__).info("scene-memory.opened", path=self._path, cosine_by=self.cosine_by)

    async def see(self, stream_id: str, latest: MediaTime) -> None:
        """See `SceneStore`."""
        await self._do("seeing", stream_id, lambda db: self._see(db, stream_id, latest))

    async def put(self, stream_id: str, source_id: str, moments: Sequence[Moment], vectors: Vectors) -> None:
        """See `SceneStore`; raises `InternalError` where `vectors` do not fit the moments."""
        if vectors.shape != (len(moments), DIMENSIONS):
            raise InternalError(f"Storing {len(moments)} moments of stream {stream_id}: their vectors have the shape {vectors.shape}.")
        dropped = await self._do("storing", stream_id, lambda db: self._put(db, stream_id, source_id, moments, vectors))
        if dropped:
            RECORDS_DROPPED.labels(step="index", policy="drop-oldest").inc(dropped)

    async def remove(self, stream_id: str, source_id: str) -> int:
        """See `SceneStore`."""
        return await self._do("removing", stream_id, lambda db: _forget(db, stream_id, source_id))

    async def end(self, stream_id: str) -> None:
        """See `SceneStore`."""

        def mark(db: sqlite3.Connection) -> int:
            self._see(db, stream_id, MediaTime(0))
            db.execute("UPDATE streams SET ended = 1 WHERE stream = ?", (stream_id,))
            gone = db.execute(ENDED_TOO_MANY, (self._max_ended,)).fetchall()
            db.executemany("DELETE FROM streams WHERE stream = ?", gone)
            return db.executemany("DELETE FROM moments WHERE stream = ?", gone).rowcount if gone else 0

        dropped = await self._do("ending", stream_id, mark)
        if dropped:
            RECORDS_DROPPED.labels(step="index", policy="drop-oldest").inc(dropped)

    async def stream(self, stream_id: str) -> StreamState | None:
        """See `SceneStore`."""
        rows = await self._do("reading", stream_id, lambda db: db.execute(f"{STREAMS} WHERE s.stream = ?", (stream_id,)).fetchall())
        return _state(rows[0]) if rows else None

    async def streams(self) -> list[StreamState]:
        """See `SceneStore`."""
        query = f"{STREAMS} ORDER BY s.first_seen DESC, s.stream LIMIT {MAX_STREAMS}"
        return [_state(row) for row in await self._do("listing", "", lambda db: db.execute(query).fetchall())]

    async def search(self, stream_id: str, words: Iterable[str], vector: Vectors, *, span: Span = EVERYTHING, limit: int = 24) -> Hits:
        """See `SceneStore`; raises `RequestInvalid` for a limit outside 1 to 200."""
        parameters = {**_bounds(stream_id, span, limit), "vector": _blob(vector), "words": _match(words)}

        def find(db: sqlite3.Connection) -> Hits:
            worded = db.execute(BY_WORDS, parameters).fetchall() if parameters["words"] else []
            return Hits(tuple(map(_found, worded)), tuple(map(_found, db.execute(BY_VECTOR, parameters).fetchall())))

        return await self._do("searching", stream_id, find)

    async def between(self, stream_id: str, kind: Kind, *, span: Span = EVERYTHING, limit: int = 24) -> list[Moment]:
        """See `SceneStore`; raises `RequestInvalid` for a limit outside 1 to 200."""
        parameters = {**_bounds(stream_id, span, limit), "kind": kind.value}
        return [_moment(row) for row in await self._do("reading", stream_id, lambda db: db.execute(BETWEEN, parameters).fetchall())]

    async def close(self) -> None:
        """See `SceneStore`."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._connection.close)
        self._worker.shutdown()

    async def _do(self, doing: str, stream_id: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            try:
                with self._connection as db:
                    return work(db)
            except sqlite3.Error as error:
                cause = f"{doing} moments of stream {stream_id!r} in the scene memory {self._path} failed: {error}"
                raise InternalError(f"{cause[0].upper()}{cause[1:]}; look at the disk's space and the file's permissions.") from error

        return await asyncio.get_running_loop().run_in_executor(self._worker, transaction)

    def _see(self, db: sqlite3.Connection, stream_id: str, latest: MediaTime) -> None:
        db.execute(SEE, (stream_id, self._clock(), latest.nanos))

    def _put(self, db: sqlite3.Connection, stream_id: str, source_id: str, moments: Sequence[Moment], vectors: Vectors) -> int:
        self._see(db, stream_id, max((moment.end for moment in moments), default=MediaTime(0)))
        _forget(db, stream_id, source_id)
        db.executemany(
            "INSERT INTO moments (stream, source, kind, part, start_ns, end_ns, text, model, vector) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (stream_id, source_id, m.kind.value, m.part, m.start.nanos, m.end.nanos, m.text, m.model, _blob(vector))
                for m, vector in zip(moments, vectors, strict=True)
            ],
        )
        dropped = db.execute(OLDEST, {"stream": stream_id, "most": self._max_moments}).rowcount
        if dropped:
            db.execute("UPDATE streams SET dropped = dropped + ? WHERE stream = ?", (dropped, stream_id))
        return dropped


def _open(path: str, extension: bool) -> tuple[sqlite3.Connection, str]:
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    except sqlite3.Error as error:
        raise SettingInvalid(f"The scene memory {path} cannot be opened: {error}; name a file in a folder that can be written.") from error
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise SettingInvalid(
                f"The scene memory {path} has the layout {version}, this Watchword knows {SCHEMA_VERSION}; use another file."
            )
        if version == 0:
            db.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")
        return db, _load_cosine(db) if extension else _make_cosine(db)
    except sqlite3.Error as error:
        db.close()
        raise SettingInvalid(f"The scene memory {path} cannot be used: {error}; use another file, or mend this one.") from error
    except BaseException:
        db.close()
        raise


def _load_cosine(db: sqlite3.Connection) -> str:
    if not hasattr(db, "enable_load_extension"):
        return _make_cosine(db)
    import sqlite_vec

    db.enable_load_extension(True)
    sqlite_vec.load(db)
    db.enable_load_extension(False)
    return "sqlite-vec"


def _make_cosine(db: sqlite3.Connection) -> str:
    def distance(one: bytes, other: bytes) -> float:
        return 1.0 - float(np.dot(np.frombuffer(one, np.float32), np.frombuffer(other, np.float32)))

    db.create_function("vec_distance_cosine", 2, distance, deterministic=True)
    return "numpy"


def _forget(db: sqlite3.Connection, stream_id: str, source_id: str) -> int:
    return db.execute("DELETE FROM moments WHERE stream = ? AND source = ?", (stream_id, source_id)).rowcount


def _match(words: Iterable[str]) -> str:
    quoted = [f'"{clean}"' for word in words if (clean := word.replace('"', " ").replace("\0", " ").strip())]
    return " OR ".join(quoted[:MAX_WORDS])


def _blob(vector: Vectors) -> bytes:
    return vector.astype("<f4").tobytes()


def _bounds(stream_id: str, span: Span, limit: int) -> dict[str, str | int | bytes]:
    if not 1 <= limit <= MAX_LIMIT:
        raise RequestInvalid(f"A query for {limit} moments of stream {stream_id}: ask for 1 to {MAX_LIMIT}.")
    furthest = 2**63 - 1
    return {
        "stream": stream_id,
        "after": span.start.nanos if span.start else -furthest,
        "before": span.end.nanos if span.end else furthest,
        "limit": limit,
    }


Row = tuple[str, str, str, int, str, int, int, str]


def _moment(row: Row) -> Moment:
    stream_id, source_id, kind, part, text, start, end, model = row
    return Moment(stream_id, source_id, Kind(kind), part, text, MediaTime(start), MediaTime(end), model)


def _found(row: tuple[str, str, str, int, str, int, int, str, float]) -> Found:
    return Found(_moment(row[:8]), row[8])


def _state(row: tuple[str, float, int, int, int, int]) -> StreamState:
    stream_id, first_seen, latest, ended, moments, dropped = row
    return StreamState(stream_id, first_seen, MediaTime(latest), bool(ended), moments, dropped)
