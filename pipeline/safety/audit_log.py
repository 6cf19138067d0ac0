"""The audit log in a database: rows are only ever added, and each names the one before it by its hash.

A row's hash is SHA-256 (HMAC-SHA-256 with a key) over the hash before it, its kind and its body, so that a changed, removed or
inserted row breaks the chain from there on; how many rows there are, and the last hash, stand beside. Who can write the file can
make a whole new log that is consistent, unless there is a key, or somebody has noted the head (`watchword audit verify --expect`).
"""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message
from watchword.v1.events_pb2 import AuditEvent
from watchword.v1.safety_pb2 import AuditRecord

from pipeline.errors import MessageInvalid, RequestInvalid
from pipeline.memory.database import Database, Session
from pipeline.timeline import MediaTime

GENESIS = "0" * 64
"""What stands for the hash before the first row."""
PAGE = 1000
"""Rows that are read at a time."""
COLUMNS = "seq, kind, id, stream, body, previous, hash"
ADD = f"INSERT INTO audit ({COLUMNS}) VALUES (:seq, :kind, :id, :stream, :body, :previous, :hash)"
ADD_FRAME = """
INSERT INTO audit_frames (stream, item, keyframe, at_ns, jpeg) VALUES (:stream, :item, :keyframe, :at, :jpeg) ON CONFLICT DO NOTHING
"""
LOCK_HEAD = "UPDATE audit_head SET rows = rows RETURNING rows, hash"
"""Another process may add to the same log: what the chain goes on from is read under the lock that writes it."""


@dataclass(frozen=True)
class Row:
    """One row of the log."""

    seq: int
    """From 1, without gaps."""
    kind: str
    """"verdict", "review" or "erasure"."""
    id: str
    stream_id: str
    body: dict[str, Any]
    """An `AuditRecord` in protobuf's JSON form, or what a person decided or had removed."""
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
    """The log in one database; each call is one transaction. What fails for a cause outside raises `StoreUnavailable`."""

    def __init__(self, database: Database, *, key: bytes = b"", clock: Callable[[], float] = time.time) -> None:
        """`key` signs what is added."""
        self.database = database
        self._key = key
        self._clock = clock

    async def append(self, record: AuditRecord) -> bool:
        """Add a verdict; False where it is there already."""
        body = MessageToDict(record, preserving_proto_field_name=True)
        return await self.database.write("adding to the audit log", lambda db: self._add(db, "verdict", record.id, record.stream_id, body))

    async def review(self, record_id: str, decision: str, *, reviewer: str, note: str = "") -> None:
        """Add what a person decided of a verdict: "uphold" or "overturn". The latest decision counts; all are kept.

        Raises `RequestInvalid` where there is no such verdict, or the decision is none.
        """
        if decision not in ("uphold", "overturn"):
            raise RequestInvalid(f"{decision!r} is no decision: uphold and overturn are")

        def add(db: Session) -> None:
            found = db.rows("SELECT stream FROM audit WHERE kind = 'verdict' AND id = :id", {"id": record_id})
            if not found:
                raise RequestInvalid(f"there is no verdict {record_id!r} in {self.database.shown}; `watchword review list` tells which are")
            decided = {"of": record_id, "decision": decision, "reviewer": reviewer, "note": note, "decided_at": round(self._clock(), 3)}
            prefix = f"review-{record_id}-"
            count = db.rows("SELECT count(*) FROM audit WHERE substr(id, 1, length(:prefix)) = :prefix", {"prefix": prefix})[0][0]
            self._add(db, "review", f"{prefix}{count + 1}", found[0][0], decided)

        await self.database.write("adding to the audit log", add)

    def erased(self, stream_id: str, removed: Mapping[str, Any]) -> Callable[[Session, Mapping[str, int]], None]:
        """What adds, in the transaction that removes something of a stream, that it was removed, by whom, and how much it was."""

        def add(db: Session, counts: Mapping[str, int]) -> None:
            told = {**removed, "removed": dict(counts), "erased_at": round(self._clock(), 3)}
            digest = hashlib.sha256(json.dumps([stream_id, told], sort_keys=True).encode()).hexdigest()
            self._add(db, "erasure", f"erasure-{digest[:16]}", stream_id, told)

        return add

    async def rows(self, *, stream_id: str | None = None, after: int = 0, limit: int = 1000) -> list[Row]:
        """Rows in order, those of one stream where it is named, from behind the row `after`."""
        own = "AND stream = :stream" if stream_id is not None else ""
        query = f"SELECT seq, kind, id, stream, body, hash FROM audit WHERE seq > :after {own} ORDER BY seq LIMIT :limit"
        values = {"after": after, "stream": stream_id, "limit": limit}
        found = await self.database.read("reading the audit log", lambda db: db.rows(query, values))
        return [Row(seq, kind, row_id, stream, json.loads(body), row_hash) for seq, kind, row_id, stream, body, row_hash in found]

    async def all(self, *, stream_id: str | None = None) -> AsyncIterator[Row]:
        """Every row in order, read in parts."""
        after = 0
        while rows := await self.rows(stream_id=stream_id, after=after):
            for row in rows:
                yield row
            after = rows[-1].seq

    async def add_frame(self, stream_id: str, item_id: str, keyframe_id: str, at: MediaTime, jpeg: bytes, *, instead: str = "") -> None:
        """Keep a keyframe beside an item, for review, and no longer the one that it is there `instead` of.

        Neither is a row of the chain, and both go when the stream is forgotten.
        """
        of_item = {"stream": stream_id, "item": item_id}

        def add(db: Session) -> None:
            db.run("DELETE FROM audit_frames WHERE stream = :stream AND item = :item AND keyframe = :old", {**of_item, "old": instead})
            db.run(ADD_FRAME, {**of_item, "keyframe": keyframe_id, "at": at.nanos, "jpeg": jpeg})

        await self.database.write("adding to the audit log", add)

    async def frames(self, stream_id: str, item_id: str) -> list[tuple[str, bytes]]:
        """The keyframes beside an item in order of time: id and JPEG."""
        query = "SELECT keyframe, jpeg FROM audit_frames WHERE stream = :stream AND item = :item ORDER BY at_ns, keyframe"
        values = {"stream": stream_id, "item": item_id}
        found = await self.database.read("reading the audit log", lambda db: db.rows(query, values))
        return [(str(keyframe), bytes(jpeg)) for keyframe, jpeg in found]

    async def verify(self, *, expect: tuple[int, str] | None = None) -> Report:
        """Follow the chain from the first row to the last; `expect` are a number of rows and the hash that the last of them had."""
        return await self.database.read("verifying the audit log", lambda db: self._verify(db, expect))

    def _add(self, db: Session, kind: str, row_id: str, stream_id: str, body: dict[str, Any]) -> bool:
        db.run('INSERT INTO audit_head ("only", rows, hash) VALUES (1, 0, :genesis) ON CONFLICT DO NOTHING', {"genesis": GENESIS})
        count, previous = db.rows(LOCK_HEAD)[0]
        if db.rows("SELECT 1 FROM audit WHERE id = :id", {"id": row_id}):
            return False
        text = json.dumps(body, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
        row_hash = self._hash(previous, kind, row_id, stream_id, text)
        row = {"seq": count + 1, "kind": kind, "id": row_id, "stream": stream_id, "body": text, "previous": previous, "hash": row_hash}
        db.run(ADD, row)
        db.run("UPDATE audit_head SET rows = :rows, hash = :hash", {"rows": count + 1, "hash": row_hash})
        return True

    def _hash(self, previous: str, kind: str, row_id: str, stream_id: str, body: str) -> str:
        said = json.dumps([previous, kind, row_id, stream_id, body]).encode()
        return hmac.new(self._key, said, "sha256").hexdigest() if self._key else hashlib.sha256(said).hexdigest()

    def _verify(self, db: Session, expect: tuple[int, str] | None) -> Report:
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
        count, head = next(iter(db.rows("SELECT rows, hash FROM audit_head")), (0, GENESIS))
        if (count, head) != (last, previous):
            problems.append(f"the log ends with row {last}, and row {count} was its last: rows were removed, or put in from elsewhere")
        if expect is not None and noted != expect[1]:
            problems.append(f"row {expect[0]} is not the one that was noted: its hash is {noted or 'missing'}, not {expect[1]}")
        return Report(last, previous, tuple(problems))


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


def _rows(db: Session) -> Iterator[tuple[int, str, str, str, str, str, str]]:
    after = 0
    while found := db.rows(f"SELECT {COLUMNS} FROM audit WHERE seq > :after ORDER BY seq LIMIT {PAGE}", {"after": after}):
        yield from found
        after = found[-1][0]
