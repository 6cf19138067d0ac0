"""The audit log: what is in it stays as it is, or it shows."""

import asyncio
import base64
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.message import Message
from watchword.v1.events_pb2 import AuditEvent
from watchword.v1.safety_pb2 import Action, AuditRecord, Violation

from pipeline.errors import MessageInvalid, RequestInvalid, SettingInvalid
from pipeline.memory.sqlite import SqliteDatabase
from pipeline.safety.audit import Auditor, Item, Keys
from pipeline.safety.audit_log import GENESIS, AuditLog, KeepAudit, Report
from pipeline.safety.book import FixedBook
from pipeline.safety.judge import Judge
from pipeline.safety.model import NoPictures
from pipeline.safety.policy import Subject
from pipeline.safety.policy_file import read
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def record(number: int, stream: str = "s") -> AuditRecord:
    return AuditRecord(
        stream_id=stream,
        id=f"audit-{number}",
        item_id=f"segment-{number}",
        subject="speech",
        media_start=MediaTime.of(number).to_proto(),
        action=Action.ACTION_FLAG,
        violations=[Violation(policy="profanity", probability=0.75, model="rules-v1", model_sha256="ab" * 32)],
        cause="profanity (0.75)",
        passed_text=f"text “{number}”",
        passed_jpeg=b"\xff\xd8\x00",
    )


def filled(path: Path, count: int = 5, key: bytes = b"") -> Report:
    async def run() -> Report:
        log = AuditLog(SqliteDatabase(path), key=key)
        for number in range(count):
            assert await log.append(record(number))
        report = await log.verify()
        await log.database.close()
        return report

    return asyncio.run(run())


def verified(path: Path, key: bytes = b"", expect: tuple[int, str] | None = None) -> Report:
    async def run() -> Report:
        log = AuditLog(SqliteDatabase(path), key=key)
        report = await log.verify(expect=expect)
        await log.database.close()
        return report

    return asyncio.run(run())


def tamper(path: Path, *statements: str) -> None:
    """As somebody would who has the file and means it: the triggers are no hindrance to them."""
    with sqlite3.connect(path) as db:
        for trigger in ("audit_is_not_changed", "audit_is_not_removed"):
            db.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            db.execute(statement)
    db.close()


def test_what_is_added_is_read_back_as_it_was(tmp_path: Path) -> None:
    async def run() -> None:
        log = AuditLog(SqliteDatabase(tmp_path / "store.db"))
        assert (await log.verify()) == Report(0, GENESIS, ())
        await log.append(record(1))
        await log.append(record(2, "other"))
        assert not await log.append(record(1))
        first, second = await log.rows()
        assert (first.seq, first.kind, first.record) == (1, "verdict", record(1))
        assert second.stream_id == "other"
        assert [row.id for row in await log.rows(stream_id="other")] == ["audit-2"]
        await log.database.close()

    asyncio.run(run())


def test_the_log_goes_on_after_a_restart_and_beside_another_process(tmp_path: Path) -> None:
    async def run() -> None:
        one, other = AuditLog(SqliteDatabase(tmp_path / "store.db")), AuditLog(SqliteDatabase(tmp_path / "store.db"))
        for number in range(10):
            await (one if number % 2 else other).append(record(number))
        assert (await one.verify()).rows == 10
        assert (await one.verify()).problems == ()
        await one.database.close()
        await other.database.close()

    asyncio.run(run())


@pytest.mark.parametrize("statement", ["UPDATE audit SET stream = 'x'", "DELETE FROM audit WHERE seq = 3"])
def test_rows_cannot_be_touched_by_accident(statement: str, tmp_path: Path) -> None:
    filled(tmp_path / "store.db")
    db = sqlite3.connect(tmp_path / "store.db")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(statement)
    db.close()


@pytest.mark.parametrize(
    ("statements", "what"),
    [
        (["UPDATE audit SET body = replace(body, 'FLAG', 'ALLOW') WHERE seq = 3"], "row 3 (audit-2) was changed"),
        (["UPDATE audit SET stream = 'x' WHERE seq = 1"], "row 1 (audit-0) was changed"),
        (["DELETE FROM audit WHERE seq = 3"], "row 3 is missing"),
        (["DELETE FROM audit WHERE seq IN (2, 3)"], "rows 2 to 3 are missing"),
        (["DELETE FROM audit WHERE seq = 5"], "ends with row 4"),
        (["DELETE FROM audit"], "ends with row 0"),
        (
            ["UPDATE audit SET seq = 9 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = 9"],
            "row 2",
        ),
        (["INSERT INTO audit VALUES (6, 'verdict', 'x', 's', '{}', (SELECT hash FROM audit WHERE seq = 5), 'made up')"], "row 6 (x)"),
    ],
)
def test_a_row_that_was_changed_removed_moved_or_put_in_shows(statements: list[str], what: str, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    assert filled(path).problems == ()
    tamper(path, *statements)
    problems = verified(path).problems
    assert problems
    assert any(what in problem for problem in problems), problems


def test_a_log_written_anew_shows_by_its_key_or_by_a_noted_head(tmp_path: Path) -> None:
    key = Keys(bytes(range(32))).chain
    signed, plain = tmp_path / "signed.db", tmp_path / "plain.db"
    filled(signed, key=key)
    assert verified(signed, key=key).problems == ()
    assert len(verified(signed).problems) >= 5
    noted = filled(plain)
    assert verified(plain, expect=(5, noted.head)).problems == ()
    plain.unlink()
    filled(plain, count=4)
    assert verified(plain).problems == ()
    assert "row 5" in verified(plain, expect=(5, noted.head)).problems[0]


def test_decisions_are_rows_of_the_chain(tmp_path: Path) -> None:
    async def run() -> None:
        log = AuditLog(SqliteDatabase(tmp_path / "store.db"), clock=lambda: 5.0)
        await log.append(record(1))
        await log.review("audit-1", "uphold", reviewer="ann")
        await log.review("audit-1", "overturn", reviewer="ben", note="harmless")
        rows = await log.rows()
        assert [row.kind for row in rows] == ["verdict", "review", "review"]
        assert rows[-1].body == {"of": "audit-1", "decision": "overturn", "reviewer": "ben", "note": "harmless", "decided_at": 5.0}
        assert (await log.verify()).problems == ()
        with pytest.raises(RequestInvalid, match="no verdict 'none'"):
            await log.review("none", "uphold", reviewer="ann")
        with pytest.raises(RequestInvalid, match="no decision"):
            await log.review("audit-1", "maybe", reviewer="ann")
        await log.database.close()

    asyncio.run(run())


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "store.db").write_bytes(b"this is no database, but long enough to be looked at as one" * 20)
    with pytest.raises(SettingInvalid, match=r"store.db cannot be used"):
        AuditLog(SqliteDatabase(tmp_path / "store.db"))
    with pytest.raises(SettingInvalid, match="64 hexadecimal digits"):
        Keys.read(tmp_path / "store.db")


def test_the_stage_keeps_records_of_its_stream(tmp_path: Path) -> None:
    async def run() -> None:
        log = AuditLog(SqliteDatabase())
        stage = KeepAudit("s", log)

        async def take(item: Message) -> None:
            assert [message async for message in stage.process(item)] == []

        await take(AuditEvent(record=record(1)))
        await take(AuditEvent(record=record(1)))
        assert len(await log.rows()) == 1
        for wrong in (AuditEvent(record=record(1, "other")), AuditEvent(), AuditRecord()):
            with pytest.raises(MessageInvalid):
                await take(wrong)
        await log.database.close()

    asyncio.run(run())


def test_every_verdict_that_is_not_allow_has_a_record_and_a_repeat_the_same_one() -> None:
    book = FixedBook(read().of("").policies)
    judge = Judge(NoPictures(), book=book)
    make: Callable[[str], AuditRecord | None] = lambda text: Auditor(book, judge.digests()).record(  # noqa: E731
        Item("s", "segment-1", Subject.SPEECH, text), judge.text(text).verdict
    )
    assert make("hello") is None
    one, again, other = make("oh shit"), make("oh shit"), make("I will kill you")
    assert one is not None
    assert again is not None
    assert other is not None
    assert one.id == again.id != other.id
    assert (one.action, other.action) == (Action.ACTION_REDACT, Action.ACTION_BLOCK)


def test_a_row_is_plain_json(tmp_path: Path) -> None:
    filled(tmp_path / "store.db", count=1)
    db = sqlite3.connect(tmp_path / "store.db")
    body = json.loads(db.execute("SELECT body FROM audit").fetchone()[0])
    db.close()
    assert body["action"] == "ACTION_FLAG"
    assert base64.b64decode(body["passed_jpeg"]) == b"\xff\xd8\x00"
    assert body["media_start"] == "0s"
