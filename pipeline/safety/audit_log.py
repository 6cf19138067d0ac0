"""The audit log in SQLite: rows are only ever added, and each names the one before it by its hash.

A row's hash is SHA-256 (HMAC-SHA-256 with a key) over the hash before it, its kind and its body, so that a changed, removed or
inserted row breaks the chain from there on; how many rows there are, and the last hash, stand beside. Who can write the file can
make a whole new log that is consistent, unless there is a key, or somebody has noted the head (`watchword audit verify --expect`).
"""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from watchword.v1.events_pb2 import AuditEvent
from watchword.v1.safety_pb2 import AuditRecord

from pipeline.errors import InternalError, MessageInvalid, RequestInvalid, SettingInvalid
from pipeline.qa.engine import sqlite3

T = TypeVar("T")

GENESIS = "0" * 64
"""What stands for the hash before the first row."""
BUSY_TIMEOUT_S = 5.0
SCHEMA = """
CREATE TABLE IF NOT EXISTS audit (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('verdict', 'review')),
    id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL,
    body TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS audit_by_stream ON audit (stream, seq);
CREATE TABLE IF NOT EXISTS audit_head (only INTEGER PRIMARY KEY CHECK (only = 1), rows INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS audit_frames (
    stream TEXT NOT NULL,
    item TEXT NOT NULL,
    keyframe TEXT NOT NULL,
    at REAL NOT NULL,
    jpeg BLOB NOT NULL,
    PRIMARY KEY (stream, item, keyframe)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER IF NOT EXISTS audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""


@dataclass(frozen=True)
class Row:
    """One row of the log."""

    seq: int
    """From 1, without gaps."""
    kind: str
    """"verdict" or "review"."""
    id: str
    stream_id: str
    body: dict[str, Any]
    """An `AuditRecord` in protobuf's JSON form, or what a person decided."""
    hash: str

    @property
    def record(self) -> AuditRecord:
        """The verdict that the row holds."""
        return ParseDict(self.body, AuditRecord())


@dataclass(frozen=True)
class Report:
    """What came of verifying a log."""

    rows: int
    head: str
    """The last row's hash; `GENESIS` of an empty log."""
    problems: tuple[str, ...]
    """What is wrong, in order of the rows; empty where nothing is."""


class AuditLog:
    """The log in one file; all access happens in one thread that it owns, and each call is one transaction."""

    def __init__(self, path: Path | str = ":memory:", *, key: bytes = b"", clock: Callable[[], float] = time.time) -> None:
        """Open the log in this file, which may be the scene memory's, and make it where there is none.

        `key` signs what is added. Raises `SettingInvalid` where the file cannot be used.
        """
        self._path = str(path)
        self._key = key
        self._clock = clock
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-log")
        try:
            self._connection = self._worker.submit(_open, self._path).result()
        except BaseException:
            self._worker.shutdown()
            raise

    async def append(self, record: AuditRecord) -> bool:
        """Add a verdict; False where it is there already. Raises `InternalError`, as all of these do, where the file fails."""
        body = MessageToDict(record, preserving_proto_field_name=True)
        return await self._do("adding to", lambda db: self._add(db, "verdict", record.id, record.stream_id, body))

    async def review(self, record_id: str, decision: str, *, reviewer: str, note: str = "") -> None:
        """Add what a person decided of a verdict: "uphold" or "overturn". The latest decision counts; all are kept.

        Raises `RequestInvalid` where there is no such verdict, or the decision is none.
        """
        if decision not in ("uphold", "overturn"):
            raise RequestInvalid(f"{decision!r} is no decision: uphold and overturn are")

        def add(db: sqlite3.Connection) -> None:
            found = db.execute("SELECT stream FROM audit WHERE kind = 'verdict' AND id = ?", (record_id,)).fetchone()
            if found is None:
                raise RequestInvalid(f"there is no verdict {record_id!r} in {self._path}; `watchword review list` tells which are")
            decided = {"of": record_id, "decision": decision, "reviewer": reviewer, "note": note, "decided_at": round(self._clock(), 3)}
            count = db.execute("SELECT count(*) FROM audit WHERE id GLOB ?", (f"review-{record_id}-*",)).fetchone()[0]
            self._add(db, "review", f"review-{record_id}-{count + 1}", found[0], decided)

        await self._do("adding to", add)

    async def rows(self, *, stream_id: str | None = None, after: int = 0, limit: int = 1000) -> list[Row]:
        """Rows in order, those of one stream where it is named, from behind the row `after`."""
        query = "SELECT seq, kind, id, stream, body, hash FROM audit WHERE seq > ? AND (? IS NULL OR stream = ?) ORDER BY seq LIMIT ?"
        found = await self._do("reading", lambda db: db.execute(query, (after, stream_id, stream_id, limit)).fetchall())
        return [Row(seq, kind, row_id, stream, json.loads(body), row_hash) for seq, kind, row_id, stream, body, row_hash in found]

    async def all(self, *, stream_id: str | None = None) -> AsyncIterator[Row]:
        """Every row in order, read in parts."""
        after = 0
        while rows := await self.rows(stream_id=stream_id, after=after):
            for row in rows:
                yield row
            after = rows[-1].seq

    async def add_frame(self, stream_id: str, item_id: str, keyframe_id: str, at: float, jpeg: bytes, *, instead: str = "") -> None:
        """Keep a keyframe beside an item, for review, and no longer the one that it is there `instead` of; neither is a row of the chain.

        `at` is its media time in seconds.
        """

        def add(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM audit_frames WHERE stream = ? AND item = ? AND keyframe = ?", (stream_id, item_id, instead))
            db.execute("INSERT OR REPLACE INTO audit_frames VALUES (?, ?, ?, ?, ?)", (stream_id, item_id, keyframe_id, at, jpeg))

        await self._do("adding to", add)

    async def frames(self, stream_id: str, item_id: str) -> list[tuple[str, bytes]]:
        """The keyframes beside an item in order of time: id and JPEG."""
        query = "SELECT keyframe, jpeg FROM audit_frames WHERE stream = ? AND item = ? ORDER BY at"
        return await self._do("reading", lambda db: [(str(row[0]), bytes(row[1])) for row in db.execute(query, (stream_id, item_id))])

    async def verify(self, *, expect: tuple[int, str] | None = None) -> Report:
        """Follow the chain from the first row to the last; `expect` are a number of rows and the hash that the last of them had."""
        return await self._do("verifying", lambda db: self._verify(db, expect))

    async def close(self) -> None:
        """Let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._connection.close)
        self._worker.shutdown()

    def _add(self, db: sqlite3.Connection, kind: str, row_id: str, stream_id: str, body: dict[str, Any]) -> bool:
        if db.execute("SELECT 1 FROM audit WHERE id = ?", (row_id,)).fetchone():
            return False
        count, previous = db.execute("SELECT rows, hash FROM audit_head").fetchone() or (0, GENESIS)
        text = json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        row_hash = self._hash(previous, kind, row_id, stream_id, text)
        db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (count + 1, kind, row_id, stream_id, text, previous, row_hash))
        db.execute("INSERT OR REPLACE INTO audit_head VALUES (1, ?, ?)", (count + 1, row_hash))
        return True

    def _hash(self, previous: str, kind: str, row_id: str, stream_id: str, body: str) -> str:
        said = json.dumps([previous, kind, row_id, stream_id, body]).encode()
        return hmac.new(self._key, said, "sha256").hexdigest() if self._key else hashlib.sha256(said).hexdigest()

    def _verify(self, db: sqlite3.Connection, expect: tuple[int, str] | None) -> Report:
        problems: list[str] = []
        previous, last = GENESIS, 0
        noted = GENESIS if expect is not None and expect[0] == 0 else ""
        for seq, kind, row_id, stream_id, body, before, row_hash in _rows(db):
            if seq != last + 1:
                gone = f"row {last + 1} is" if seq == last + 2 else f"rows {last + 1} to {seq - 1} are"
                problems.append(f"{gone} missing")
            elif before != previous:
                problems.append(f"row {seq} ({row_id}) does not follow row {last}: one of them was changed")
            if row_hash != self._hash(before, kind, row_id, stream_id, body):
                problems.append(f"row {seq} ({row_id}) was changed, or written with another key")
            previous, last = row_hash, seq
            if expect is not None and seq == expect[0]:
                noted = row_hash
        count, head = db.execute("SELECT rows, hash FROM audit_head").fetchone() or (0, GENESIS)
        if (count, head) != (last, previous):
            problems.append(f"the log ends with row {last}, and row {count} was its last: rows were removed, or put in from elsewhere")
        if expect is not None and noted != expect[1]:
            problems.append(f"row {expect[0]} is not the one that was noted: its hash is {noted or 'missing'}, not {expect[1]}")
        return Report(last, previous, tuple(problems))

    async def _do(self, doing: str, work: Callable[[sqlite3.Connection], T]) -> T:
        def transaction() -> T:
            try:
                with self._connection as db:
                    # Another process may add to the same file: what the chain goes on from is read under the lock that writes it.
                    db.execute("BEGIN IMMEDIATE")
                    return work(db)
            except sqlite3.Error as error:
                raise InternalError(f"{doing} the audit log {self._path} failed: {error}; look at the disk's space") from error

        return await asyncio.get_running_loop().run_in_executor(self._worker, transaction)


class KeepAudit:
    """One stream's share of keeping the audit: every record goes into the log. It says nothing, and a repeat is harmless.

    What was asked for comes under the key of the process that was asked, as if that were a stream.
    """

    held = 0

    def __init__(self, stream_id: str, log: AuditLog) -> None:
        self._stream_id = stream_id
        self._log = log

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Store the record of an `AuditEvent`."""
        kind = item.WhichOneof("event") if isinstance(item, AuditEvent) else None
        if isinstance(item, AuditEvent) and kind == "called":
            await self._log.append(item.called.record)
        elif isinstance(item, AuditEvent) and kind == "record" and item.record.stream_id == self._stream_id:
            await self._log.append(item.record)
        else:
            raise MessageInvalid(f"keeping the audit of stream {self._stream_id}: a {type(item).__name__} is no record of it")
        return
        yield

    async def flush(self) -> AsyncIterator[Message]:
        """There is nothing left to say."""
        return
        yield

    def close(self) -> None:
        """The log is shared, so it stays."""


def _open(path: str) -> sqlite3.Connection:
    try:
        db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    except sqlite3.Error as error:
        raise SettingInvalid(f"the audit log {path} cannot be opened: {error}; name a file in a folder that can be written") from error
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # An audit is written for the day on which the power fails.
        db.execute("PRAGMA synchronous = FULL")
        db.executescript(SCHEMA)
    except sqlite3.Error as error:
        db.close()
        raise SettingInvalid(f"the audit log {path} cannot be used: {error}; use another file, or mend this one") from error
    return db


def _rows(db: sqlite3.Connection) -> Iterator[tuple[int, str, str, str, str, str, str]]:
    yield from db.execute("SELECT seq, kind, id, stream, body, previous, hash FROM audit ORDER BY seq")
