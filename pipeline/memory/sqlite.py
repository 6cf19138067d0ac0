"""The scene memory in SQLite: FTS5 for words, sqlite-vec for meaning, one file or none.

Some Pythons cannot load extensions into SQLite; there functions of the same names in Python take sqlite-vec's place, on the
same file and by the same queries.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import structlog

from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.memory import code_pages, codes
from pipeline.memory.common import CommonWords
from pipeline.memory.database import Row, Session, Values
from pipeline.memory.engine import sqlite3
from pipeline.memory.filling import WHOLE
from pipeline.memory.migrations import migrate
from pipeline.memory.patience import PATIENCE_S, patiently
from pipeline.memory.rarest_first import ranked
from pipeline.memory.schema_sqlite import STEPS, code_of
from pipeline.memory.sql import SqlStore
from pipeline.memory.store import DIMENSIONS, Vectors
from pipeline.memory.workers import Workers

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""How long a transaction waits for another process that writes the same file."""
READERS = 2
CACHE_KB = 64 * 1024
"""Of the file's pages, for each connection, at most."""
PASSING = ("locked", "busy", "full")
"""What SQLite says of conditions that may pass."""


BY_WORDS = """
SELECT m.id, bm25(words) AS score, m.start_ns FROM words JOIN moments m ON m.id = words.rowid
WHERE words MATCH :words AND words.rowid >= :low AND words.rowid < :high AND {where}
ORDER BY score, m.start_ns, m.kind, m.part LIMIT :limit
"""
OF_THESE = "SELECT m.id, m.start_ns, m.kind, m.part FROM moments m WHERE m.id IN ({ids}) AND {where}"
AMONG = 8
"""For each moment to be found in the whole memory so many are ranked, before it is asked what else must hold of them."""
MOST_COUNTED = 1000
"""Words that so many moments in scope have are all the same."""
IN_SCOPE = f"""
SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH :words AND rowid >= :low AND rowid < :high LIMIT {MOST_COUNTED})
"""
WITH_WORD = """
SELECT m.id, m.start_ns FROM words JOIN moments m ON m.id = words.rowid
WHERE words MATCH :words AND words.rowid >= :low AND words.rowid < :high AND {where} ORDER BY words.rowid LIMIT :limit
"""
"""Not ranked, and so not counted in the whole file."""


class SqliteStore(SqlStore):
    """A `SceneStore` in one SQLite file, or in memory."""

    def __init__(
        self,
        path: Path | str = ":memory:",
        *,
        max_moments: int = 100_000,
        max_pictures: int = 5_000,
        max_ended: int = 1_000,
        clock: Callable[[], float] = time.time,
        extension: bool = True,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Open the memory at `path` and make it where there is none; ":memory:" lives as long as the object.

        `extension=False` does without sqlite-vec even where it could be loaded; a condition that may pass is waited for during
        `patience_s`. The rest is `SqlStore`'s. Raises `SettingInvalid` where the file cannot be used.
        """
        self.file = SqliteDatabase(path, extension=extension, patience_s=patience_s)
        super().__init__(self.file, max_moments=max_moments, max_pictures=max_pictures, max_ended=max_ended, clock=clock)

    @property
    def near_by(self) -> str:
        """What compares vectors: "sqlite-vec" or "python"."""
        return self.file.near_by


class SqliteDatabase:
    """A `Database` in one SQLite file, or in memory."""

    hamming = "vec_distance_hamming(vec_bit(m.code), vec_bit(:code))"
    words_of = ":indexed"
    listed = "(SELECT value FROM json_each(:names))"

    def __init__(self, path: Path | str = ":memory:", *, extension: bool = True, patience_s: float = PATIENCE_S) -> None:
        """See `SqliteStore`."""
        self.shown = str(path)
        self.near_by = "sqlite-vec" if extension and hasattr(sqlite3.Connection, "enable_load_extension") else "python"
        self._patience_s = patience_s
        self._common = CommonWords()
        in_memory = self.shown == ":memory:"
        self._workers = Workers(lambda: _open(self.shown, self.near_by), readers=0 if in_memory else READERS)
        structlog.get_logger(__name__).info("scene_memory_opened", path=self.shown, near_by=self.near_by)

    async def read(self, doing: str, work: Callable[[Session], T]) -> T:
        """See `Database`."""
        return await patiently(lambda: self._workers.read(work), lambda error: self._told(doing, error), self._patience_s)

    async def write(self, doing: str, work: Callable[[Session], T]) -> T:
        """See `Database`."""
        return await patiently(lambda: self._workers.write(work), lambda error: self._told(doing, error), self._patience_s)

    async def scrub(self) -> None:
        """Merge the word index, whose segments keep the words of removed rows, and empty the log of pages."""

        def scrub(db: "_Connection") -> None:
            db.run("INSERT INTO words (words) VALUES ('optimize')")
            if db.rows("PRAGMA wal_checkpoint(TRUNCATE)")[0][0]:
                raise sqlite3.OperationalError("database is locked: somebody reads what was removed")

        doing = "overwriting what was removed"
        await patiently(lambda: self._workers.alone(scrub), lambda error: self._told(doing, error), self._patience_s)

    async def close(self) -> None:
        """See `Database`."""
        await self._workers.close()

    def match(self, words: Iterable[str]) -> str:
        """See `Database`: without what would reach FTS5's query language once a word is in quotes."""
        plain = [clean for word in words if (clean := word.replace('"', " ").replace("\0", " ").strip())]
        return json.dumps(plain, ensure_ascii=False) if plain else ""

    def rank(self, db: Session, words: str, where: str, values: Values, limit: int) -> list[Row]:
        """See `Database`."""
        asked = list(dict.fromkeys(json.loads(words)))
        telling = self._common.without(db, asked)
        if (values["low"], values["high"]) == WHOLE and not self._common.is_few(db):
            best = ranked(db, [f'"{word}"' for word in telling], AMONG * limit)
            rows = db.rows(OF_THESE.format(where=where, ids=", ".join(map(str, best))), values)
            rows = sorted((best[number], *rest, number) for number, *rest in rows)
            if len(rows) >= limit:
                return [(number, score, start) for score, start, _, _, number in rows[:limit]]
        matched = " OR ".join(f'"{word}"' for word in telling)
        rows = db.rows(BY_WORDS.format(where=where), {**values, "words": matched, "limit": limit})
        left_out = [f'"{word}"' for word in asked if word not in telling]
        return rows + _having(db, left_out, where, values, limit, rows) if len(rows) < limit else rows

    def nearest(self, db: Session, code: bytes, most: int) -> list[int] | None:
        """See `Database`."""
        return None if self._common.is_few(db) else code_pages.nearest(db, code, most)

    def indexed(self, text: str) -> str:
        """See `Database`: FTS5 takes the text itself."""
        return ""

    def cosines(self, db: Session, numbers: Sequence[int], vector: Vectors) -> dict[int, float]:
        """See `Database`."""
        rows = db.rows(f"SELECT id, vector FROM vectors WHERE id IN ({', '.join(map(str, numbers))})")
        stored = np.frombuffer(b"".join(row[1] for row in rows), "<f4").reshape(-1, DIMENSIONS)
        return dict(zip((row[0] for row in rows), (stored @ vector).tolist(), strict=True))

    def vector(self, vector: Vectors) -> object:
        """See `Database`."""
        return vector.astype("<f4").tobytes()

    def code(self, code: bytes) -> object:
        """See `Database`."""
        return code

    def _told(self, doing: str, error: Exception) -> tuple[StoreUnavailable, bool] | None:
        """The error as told, and whether it may pass; `None` for what is none of the database's."""
        if not isinstance(error, sqlite3.Error):
            return None
        said = str(error)
        if "locked" in said or "busy" in said:
            help_ = "another process holds it: let it finish"
        elif "full" in said:
            help_ = "make room on its disk"
        elif "readonly" in said or "read-only" in said:
            help_ = "let this process write the file and its folder"
        elif "is gone" in said:
            help_ = "start the process again"
        elif "malformed" in said or "not a database" in said or "no such table" in said:
            help_ = "it is damaged: put a backup in its place, or move it away and let the topic be read again"
        else:
            help_ = "look at the disk and at the file's permissions"
        passing = any(word in said for word in PASSING)
        return StoreUnavailable(f"{doing[0].upper()}{doing[1:]} in the scene memory {self.shown} failed: {said}; {help_}."), passing


def _having(db: Session, words: Sequence[str], where: str, values: Values, limit: int, found: Sequence[Row]) -> list[Row]:
    """Rows that stand behind those found, up to the limit: what has the words, those first that are the rarest in scope."""
    counts = {word: int(db.rows(IN_SCOPE, {**values, "words": word})[0][0]) for word in words}
    more: dict[int, Row] = {}
    known = {row[0] for row in found}
    for word in sorted(words, key=lambda word: counts[word]):
        # BM25 is never above 0, so that a count stands behind it.
        for number, start in db.rows(WITH_WORD.format(where=where), {**values, "words": word, "limit": limit}):
            if number not in known:
                more.setdefault(number, (number, counts[word], start))
        if len(more) >= limit - len(found):
            break
    return list(more.values())[: limit - len(found)]


class _Connection:
    """A `Connection` of SQLite's."""

    broken = False

    def __init__(self, db: sqlite3.Connection, path: str) -> None:
        self._db = db
        self._path = path
        self._file = _identity(path)

    def rows(self, sql: str, values: Values | None = None) -> list[Row]:
        return self._db.execute(sql, values or {}).fetchall()

    def run(self, sql: str, values: Values | None = None) -> int:
        return self._db.execute(sql, values or {}).rowcount

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        self._db.executemany(sql, values)

    def begin(self) -> None:
        self._require_file()
        self._db.execute("BEGIN IMMEDIATE")

    def look(self) -> None:
        self._require_file()
        self._db.execute("BEGIN")

    def commit(self) -> None:
        self._db.execute("COMMIT")

    def rollback(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def close(self) -> None:
        self._db.close()

    def _require_file(self) -> None:
        """A file that was removed can still be written to, and all of it is lost when it is closed."""
        if _identity(self._path) != self._file:
            raise sqlite3.OperationalError("the file is gone: it was removed or replaced while it was used")


def _open(path: str, near_by: str) -> _Connection:
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise SettingInvalid(f"The scene memory {path} cannot be opened: {error}; name a file in a folder that can be written.") from error
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # The place up to which the topic was read is kept elsewhere: it must not be ahead of what is on the disk.
        db.execute("PRAGMA synchronous = FULL")
        db.execute("PRAGMA secure_delete = ON")
        db.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        db.create_function("watchword_code", 1, code_of, deterministic=True)
        _load(db) if near_by == "sqlite-vec" else _stand_in(db)
        connection = _Connection(db, path)
        if _version(connection) != len(STEPS):
            connection.begin()
            # Another process may have brought it up to date while this one waited for the lock.
            version = migrate(connection, _version(connection), STEPS, path)
            connection.run(f"PRAGMA user_version = {version}")
            connection.commit()
        return connection
    except sqlite3.Error as error:
        db.close()
        raise SettingInvalid(f"The scene memory {path} cannot be used: {error}; use another file, or mend this one.") from error
    except BaseException:
        db.close()
        raise


def _identity(path: str) -> tuple[int, int] | None:
    """Tells one file from another; `None` for one that is not there, or in memory."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _version(connection: _Connection) -> int:
    return int(connection.rows("PRAGMA user_version")[0][0])


def _load(db: sqlite3.Connection) -> None:
    import sqlite_vec

    db.enable_load_extension(True)
    sqlite_vec.load(db)
    db.enable_load_extension(False)


def _stand_in(db: sqlite3.Connection) -> None:
    db.create_function("vec_bit", 1, lambda code: code, deterministic=True)
    db.create_function("vec_distance_hamming", 2, codes.distance, deterministic=True)
