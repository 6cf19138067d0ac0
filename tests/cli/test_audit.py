"""`watchword audit` and `watchword review` on a real log."""

import asyncio
import json
import sqlite3
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from watchword.v1.safety_pb2 import Action, AuditRecord, Verdict, Violation
from watchword.v1.safety_service_pb2 import ScreenRequest, ScreenResponse, ScreenStreamRequest, ScreenStreamResponse
from watchword.v1.safety_service_pb2_grpc import SafetyServiceStub

from pipeline.errors import StoreUnavailable
from pipeline.memory.postgres import PostgresStore
from pipeline.memory.sqlite import SqliteDatabase, SqliteStore
from pipeline.safety import prompts
from pipeline.safety.audit import Auditor, Item, Keys
from pipeline.safety.audit_log import AuditLog
from pipeline.safety.book import FixedBook
from pipeline.safety.policy import Subject
from pipeline.safety.policy_file import parse, read
from pipeline.timeline import MediaTime
from services.safety.alone import OwnAudit
from services.settings import Settings
from tests.pipeline.store_suite import put, spoken
from tests.processes import running, watchword

pytestmark = pytest.mark.connected

KEY = "0123456789abcdef" * 4


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A log with a flagged text, a flagged frame and a withheld text whose content was sealed."""
    (tmp_path / "key").write_text(KEY + "\n")
    keys = Keys(bytes.fromhex(KEY))
    path = tmp_path / "store.db"
    flagged = {"action": Action.ACTION_FLAG, "policy_version": "abc"}
    sealing = parse(
        "policies: [{name: harassment, description: D., applies_to: [speech], threshold: 0.5, action: withhold, keep_content: true}]"
    )
    verdict = Verdict(action=Action.ACTION_BLOCK, cause="harassment (1.00)", model="rules-v1")
    verdict.scores.add(policy="harassment", probability=1.0)
    sealed = Auditor(FixedBook(sealing.of("").policies), {}, keys=keys).record(
        Item("s", "segment-9", Subject.SPEECH, "I will kill you"), verdict
    )
    assert sealed is not None

    async def run() -> None:
        log = AuditLog(SqliteDatabase(path), key=keys.chain)
        await log.append(
            AuditRecord(
                id="audit-text",
                stream_id="s",
                subject="speech",
                item_id="segment-1",
                passed_text="you fool",
                cause="harassment (0.60)",
                media_start=MediaTime.of(61).to_proto(),
                violations=[Violation(policy="harassment", probability=0.6)],
                **flagged,
            )
        )
        await log.append(
            AuditRecord(
                id="audit-frame",
                stream_id="t",
                subject="frame",
                item_id="keyframe-7",
                passed_jpeg=b"\xff\xd8 a picture",
                violations=[Violation(policy="violence-gore", probability=0.7)],
                **flagged,
            )
        )
        await log.append(sealed)
        for keyframe, at in (("keyframe-62000", 62.0), ("keyframe-58000", 58.0)):
            await log.add_frame("s", "segment-1", keyframe, MediaTime.of(at), keyframe.encode())
        await log.database.close()

    asyncio.run(run())
    return path


def test_verify_says_whether_the_log_is_whole_and_which_row_is_not(store: Path) -> None:
    whole = watchword("audit", "verify", "--store", str(store), "--key", str(store.with_name("key")))
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout.startswith("3 rows, none removed or changed; the head is 3:")
    head = whole.stdout.split()[-1]
    assert watchword("audit", "verify", "--store", str(store), "--key", str(store.with_name("key")), "--expect", head).returncode == 0
    db = sqlite3.connect(store)
    db.execute("DROP TRIGGER audit_is_not_removed")
    db.execute("DELETE FROM audit WHERE seq = 2")
    db.commit()
    db.close()
    broken = watchword("audit", "verify", "--store", str(store), "--key", str(store.with_name("key")))
    assert broken.returncode == 1
    assert "row 2 is missing" in broken.stderr
    assert watchword("audit", "verify", "--store", str(store.with_name("none.db"))).returncode == 2


def test_export_opens_what_was_sealed_for_who_has_the_key(store: Path) -> None:
    plain = watchword("audit", "export", "--store", str(store))
    rows = [json.loads(line) for line in plain.stdout.splitlines()]
    assert [row["id"] for row in rows][:2] == ["audit-text", "audit-frame"]
    assert "kill" not in plain.stdout
    opened = watchword("audit", "export", "--store", str(store), "--key", str(store.with_name("key")), "--content", "--stream", "s")
    assert [json.loads(line).get("content") for line in opened.stdout.splitlines()] == [None, "I will kill you"]
    assert watchword("audit", "export", "--store", str(store), "--content").returncode == 2
    nowhere = watchword("audit", "export", "--store", str(store), "--out", "/nonexistent/log.jsonl")
    assert (nowhere.returncode, nowhere.stderr.count("\n")) == (2, 1), nowhere.stderr
    assert "/nonexistent/log.jsonl cannot be written" in nowhere.stderr


def test_a_person_decides_and_the_decisions_become_preferences(store: Path, tmp_path: Path) -> None:
    key = ("--key", str(store.with_name("key")))
    listed = watchword("review", "list", "--store", str(store))
    assert "audit-text  s  speech  1:01.0" in listed.stdout or "audit-text  s  speech  1:01" in listed.stdout, listed.stdout
    assert "“you fool”" in listed.stdout
    assert "keyframe keyframe-58000, keyframe-62000  “you fool”" in listed.stdout
    assert "keyframe keyframe-7" in listed.stdout
    assert "3 verdicts to decide" in listed.stdout
    shown = watchword("review", "show", "audit-frame", "--store", str(store), "--out", str(tmp_path / "frame.jpg"))
    assert shown.returncode == 0, shown.stderr
    assert (tmp_path / "frame.jpg").read_bytes() == b"\xff\xd8 a picture"
    assert watchword("review", "show", "audit-text", "--store", str(store), "--out", str(tmp_path / "said.jpg")).returncode == 0
    assert [(tmp_path / name).read_bytes() for name in ("said.jpg", "said-2.jpg")] == [b"keyframe-58000", b"keyframe-62000"]
    overturned = watchword("review", "overturn", "audit-text", "--reviewer", "ann", "--store", str(store), *key, "--note", "in jest")
    assert overturned.stdout == "audit-text overturned\n", overturned.stderr
    for verdict in ("audit-frame", json.loads(watchword("audit", "export", "--store", str(store)).stdout.splitlines()[2])["id"]):
        assert watchword("review", "uphold", verdict, "--reviewer", "ann", "--store", str(store), *key).returncode == 0
    assert "0 verdicts to decide" in watchword("review", "list", "--store", str(store)).stdout
    assert watchword("audit", "verify", "--store", str(store), *key).returncode == 0
    exported = watchword("review", "export", "--store", str(store), *key)
    text, frame, sealed = [json.loads(line) for line in exported.stdout.splitlines()]
    policies = read().of("").policies
    assert (text["chosen"], text["rejected"]) == ("No", "Yes")
    assert text["prompt"] == prompts.shieldgemma("you fool", policies["harassment"], Subject.SPEECH)
    assert (frame["chosen"], frame["rejected"], frame["policy"]) == ("Yes", "No", "violence-gore")
    assert frame["image"]
    assert "I will kill you" in sealed["prompt"]
    without = watchword("review", "export", "--store", str(store))
    assert len(without.stdout.splitlines()) == 2
    assert "1 left out" in without.stderr
    assert watchword("review", "uphold", "none", "--reviewer", "ann", "--store", str(store), *key).returncode == 1


def test_what_was_forgotten_is_on_record_and_no_verdict_to_decide(store: Path) -> None:
    key = ("--key", str(store.with_name("key")))

    async def hear() -> None:
        memory = SqliteStore(store)
        await put(memory, spoken("you fool", 61))
        await memory.close()

    asyncio.run(hear())
    assert watchword("review", "overturn", "audit-text", "--reviewer", "ann", "--store", str(store), *key).returncode == 0
    assert watchword("forget", "s", "--by", "ben", "--store", str(store), *key).returncode == 0
    for arguments, told in ((("list",), "2 verdicts to decide"), (("list", "--all"), "3 verdicts"), (("export",), '"id": "audit-text"')):
        done = watchword("review", *arguments, "--store", str(store))
        assert done.returncode == 0, done.stderr
        assert told in done.stdout


def test_the_filter_serves_by_itself_without_a_broker_and_keeps_its_audit(tmp_path: Path) -> None:
    store = tmp_path / "audit.db"
    (tmp_path / "policies.yaml").write_text(
        "policies:\n  - {name: profanity, description: D., applies_to: [speech], threshold: 0.5, action: redact}\n"
    )
    settings = {
        "WATCHWORD_LISTEN": "127.0.0.1:0",
        "WATCHWORD_STORE": str(store),
        "WATCHWORD_KAFKA": "127.0.0.1:1",
        "WATCHWORD_POLICIES": str(tmp_path / "policies.yaml"),
    }

    async def call(address: str) -> tuple[ScreenResponse, list[ScreenStreamResponse]]:
        async with grpc.aio.insecure_channel(address) as channel:
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="watchword.v1.SafetyService"))
            assert health.status == health_pb2.HealthCheckResponse.SERVING
            stub = SafetyServiceStub(channel)
            one = await stub.Screen(ScreenRequest(text="oh shit", stream_id="s"))
            items = [ScreenStreamRequest(item=ScreenRequest(text=text)) for text in ("fine", "what the fuck")]
            return one, [response async for response in stub.ScreenStream(iter(items))]

    with running("serve", "safety", "--alone", env=settings) as process:
        address = process.wait_for("serving on").split()[-1]
        one, many = asyncio.run(call(address))
        assert process.stop() == 0
    assert one.text == "oh s***"
    assert [response.screened.text for response in many] == ["fine", "what the f***"]
    rows = [json.loads(line) for line in watchword("audit", "export", "--store", str(store)).stdout.splitlines()]
    assert [(row["stream"], row["passed_text"]) for row in rows] == [("s", "oh s***"), ("", "what the f***")]
    other = watchword("serve", "sampler", "--alone", env=settings)
    assert other.returncode == 2
    assert "only safety is of use by itself" in other.stderr


def test_by_itself_it_keeps_its_audit_where_the_store_is_and_tells_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PostgresStore.__init__.__kwdefaults__, "patience_s", 0.0)
    address = "postgresql://ann:open-sesame@127.0.0.1:1/scenes?connect_timeout=2"
    with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1") as told:
        asyncio.run(OwnAudit.open(Settings(store=address)))
    assert "open-sesame" not in str(told.value)
