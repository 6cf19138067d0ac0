"""Looking into the audit log: whether it is whole, what it holds, and what people say of it."""

import asyncio
import base64
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from watchword.v1.safety_pb2 import Action, AuditRecord

from pipeline.errors import RequestInvalid, SettingInvalid
from pipeline.memory.address import shown
from pipeline.memory.open import existing_store
from pipeline.safety.audit import Keys
from pipeline.safety.audit_log import AuditLog, Row
from pipeline.safety.policy import Policy, Subject
from pipeline.safety.policy_file import SHIPPED, read
from pipeline.timeline import MediaTime
from services.cli import logs
from services.cli.counting import counted
from services.cli.files import write, writing

T = TypeVar("T")

WORDS = {"uphold": "upheld", "overturn": "overturned"}


def verify(store: str, key: Path | None, expect: str) -> None:
    """Say whether the log is whole; raises `SystemExit` with 1 where it is not."""
    report = _with(store, key, lambda log: log.verify(expect=_expected(expect)))
    for problem in report.problems:
        print(problem, file=sys.stderr)
    if report.problems:
        raise SystemExit(1)
    print(f"{counted(report.rows, 'row')}, none removed or changed; the head is {report.rows}:{report.head}")


def export(store: str, key: Path | None, out: Path | None, stream: str, *, content: bool) -> None:
    """Write every row as a JSON object a line; with `content`, what was sealed is opened."""
    keys = _keys(key)
    if content and keys is None:
        raise SettingInvalid("--content needs the key that sealed it: --key, or WATCHWORD_AUDIT_KEY")

    async def write(log: AuditLog) -> None:
        with _lines(out) as tell:
            async for row in log.all(stream_id=stream or None):
                told: dict[str, Any] = {
                    "seq": row.seq,
                    "kind": row.kind,
                    "id": row.id,
                    "stream": row.stream_id,
                    "hash": row.hash,
                } | row.body
                if content and keys is not None and row.kind == "verdict" and row.record.sealed_content:
                    told["content"] = _readable(keys.open(row.record.sealed_content, row.id))
                tell(told)

    _with(store, key, write)


def review_list(store: str, stream: str, *, everything: bool) -> None:
    """Print verdicts, the undecided ones alone unless everything is asked for."""

    async def show(log: AuditLog) -> None:
        count = 0
        async for row, decision in _verdicts(log, stream or None):
            if decision and not everything:
                continue
            count += 1
            print(_line(row, decision, [keyframe for keyframe, _ in await log.frames(row.stream_id, row.record.item_id)]))
        print(f"{counted(count, 'verdict')}{'' if everything else ' to decide'}")

    _with(store, None, show)


def review_show(store: str, record_id: str, out: Path | None) -> None:
    """Print all that is kept of a verdict; its keyframes go to the file `out`, and beside it where there are several."""

    async def find(log: AuditLog) -> tuple[Row, str, list[tuple[str, bytes]]] | None:
        async for row, decision in _verdicts(log, None):
            if row.id == record_id:
                return row, decision, await log.frames(row.stream_id, row.record.item_id)
        return None

    found = _with(store, None, find)
    if found is None:
        raise RequestInvalid(f"there is no verdict {record_id!r} in {shown(store)}")
    row, decision, frames = found
    told = dict(row.body)
    passed = base64.b64decode(told.pop("passed_jpeg", ""))
    print(json.dumps(told | {"decision": decision or None}, ensure_ascii=False, indent=2))
    for number, (keyframe, jpeg) in enumerate([(row.record.item_id, passed)] if passed else frames, 1):
        if out is None:
            print(f"keyframe {keyframe}: {len(jpeg):,} bytes of JPEG; --out FILE writes it")
            continue
        path = out if number == 1 else out.with_stem(f"{out.stem}-{number}")
        write(path, jpeg)
        print(f"keyframe {keyframe}: {path}")


def decide(store: str, key: Path | None, record_id: str, decision: str, reviewer: str, note: str) -> None:
    """Add a person's decision to the log."""
    _with(store, key, lambda log: log.review(record_id, decision, reviewer=reviewer, note=note))
    print(f"{record_id} {WORDS[decision]}")


def review_export(store: str, key: Path | None, out: Path | None, policies: Path | None) -> None:
    """Write what was decided as preferences, one JSON object a line: a prompt, the answer that people chose, and the other one.

    The prompt is ShieldGemma's for the policy and the content. Content that was neither passed nor kept is not there, and its
    verdicts are left out and counted.
    """
    keys = _keys(key)
    held = read(policies or SHIPPED)

    async def write(log: AuditLog) -> None:
        left_out = 0
        with _lines(out) as tell:
            async for row, decision in _verdicts(log, None):
                if not decision:
                    continue
                content = _content(row.record, keys)
                known = held.of(row.stream_id).policies
                for violation in row.record.violations:
                    policy = known.get(violation.policy)
                    if content is None or policy is None:
                        left_out += 1
                        continue
                    tell(_preference(row, content, policy, violation.probability, decision))
        if left_out:
            print(f"{left_out} left out: their content was not kept, or their policy is not known any more", file=sys.stderr)

    _with(store, key, write)


def _preference(row: Row, content: str | bytes, policy: Policy, probability: float, decision: str) -> Mapping[str, object]:
    from pipeline.safety import prompts

    subject = Subject(row.record.subject)
    chosen, rejected = (prompts.YES, prompts.NO) if decision == "uphold" else (prompts.NO, prompts.YES)
    if isinstance(content, bytes):
        prompt, image = prompts.SHIELDGEMMA_2.format(policy=policy.wording(subject)), base64.b64encode(content).decode()
    else:
        prompt, image = prompts.shieldgemma(content, policy, subject), None
    told: dict[str, object] = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    if image is not None:
        told["image"] = image
    return told | {
        "id": row.id,
        "stream": row.stream_id,
        "policy": policy.name,
        "policy_version": row.record.policy_version,
        "probability": round(probability, 4),
    }


def _content(record: AuditRecord, keys: Keys | None) -> str | bytes | None:
    """What was judged, as far as it may be known: what was sealed, else what was flagged and passed as it was."""
    if record.sealed_content and keys is not None:
        opened = keys.open(record.sealed_content, record.id)
        return opened if record.subject == Subject.FRAME.value else opened.decode("utf-8", "replace")
    if record.action == Action.ACTION_FLAG:
        return record.passed_jpeg or record.passed_text or None
    return None


async def _verdicts(log: AuditLog, stream_id: str | None) -> AsyncIterator[tuple[Row, str]]:
    """Every verdict in order, with the latest decision of it; empty where there is none."""
    # Read twice: decisions follow what they are about, and verdicts hold pictures, so that not all of them are kept meanwhile.
    decisions = {row.body["of"]: row.body["decision"] async for row in log.all(stream_id=stream_id) if row.kind == "review"}
    async for row in log.all(stream_id=stream_id):
        if row.kind == "verdict":
            yield row, decisions.get(row.id, "")


def _line(row: Row, decision: str, frames: Sequence[str]) -> str:
    record = row.record
    at = MediaTime.from_proto(record.media_start).clock() if record.HasField("media_start") else "-"
    action = Action.Name(record.action).removeprefix("ACTION_").lower().replace("block", "withhold")
    shown = " ".join(record.passed_text.split())
    parts = [record.id, record.stream_id or "-", record.subject, at, action, record.cause or "-"]
    if keyframes := [record.item_id] if record.passed_jpeg else [*record.keyframe_ids] or [*frames]:
        parts.append(f"keyframe {', '.join(keyframes)}")
    if shown:
        parts.append(f"“{shown[:80]}{'…' if len(shown) > 80 else ''}”")
    return "  ".join([*parts, *([WORDS[decision]] if decision else [])])


def _with(store: str, key: Path | None, work: Callable[[AuditLog], Awaitable[T]]) -> T:
    logs.configure("error")
    keys = _keys(key)

    async def run() -> T:
        memory = await asyncio.to_thread(existing_store, store)
        try:
            return await work(AuditLog(memory.database, key=keys.chain if keys is not None else b""))
        finally:
            await memory.close()

    return asyncio.run(run())


def _keys(key: Path | None) -> Keys | None:
    return Keys.read(key) if key is not None else None


def _expected(text: str) -> tuple[int, str] | None:
    if not text:
        return None
    found = re.fullmatch(r"(\d+):([0-9a-f]{64})", text)
    if found is None:
        raise SettingInvalid(f"--expect {text}: ROWS:HASH is needed, as `watchword audit verify` prints it")
    return int(found[1]), found[2]


def _readable(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


@contextlib.contextmanager
def _lines(out: Path | None) -> Iterator[Callable[[Mapping[str, object]], object]]:
    """Writes objects as JSON, one a line, into a file or to the terminal, as they come: a log may be larger than the memory."""
    if out is None:
        yield lambda told: print(json.dumps(told, ensure_ascii=False))
        return
    with writing(out) as file:
        yield lambda told: file.write(f"{json.dumps(told, ensure_ascii=False)}\n".encode())
