"""What is kept of verdicts: which become records, what a record holds, and how content is sealed. Keeping them is `audit_log`'s."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from watchword.v1.safety_pb2 import Action, AuditRecord, Verdict, Violation

from pipeline.errors import SettingInvalid
from pipeline.safety.book import Book
from pipeline.safety.policy import Policy, Subject

Keep = Callable[[AuditRecord], Awaitable[object]]
"""Takes the record of a verdict."""

KEY_BYTES = 32
_NONCE_BYTES = 12
TEXT_CHARACTERS = 20_000
"""The most of a passed text that a record holds."""
CONTENT_BYTES = 450_000
"""A larger picture is not kept, passed or sealed: a record has to fit into a message."""


class Keys:
    """What one secret is used for: sealing content (AES-256-GCM, NIST SP 800-38D) and signing the log (HMAC-SHA-256).

    Both keys are derived from the secret, so that neither tells the other (HMAC as a PRF, as in RFC 5869).
    """

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise SettingInvalid(f"an audit key has {KEY_BYTES} bytes, not {len(secret)}")
        self._seal = hmac.digest(secret, b"watchword audit seal", "sha256")
        self.chain = hmac.digest(secret, b"watchword audit chain", "sha256")

    @classmethod
    def read(cls, path: Path) -> "Keys":
        """The keys of a file with 64 hexadecimal digits; raises `SettingInvalid`."""
        try:
            return cls(bytes.fromhex(path.read_text("ascii").strip()))
        except (OSError, ValueError) as error:
            raise SettingInvalid(
                f"{path} is no audit key: 64 hexadecimal digits are, as `openssl rand -hex 32` makes them ({error})"
            ) from error

    def seal(self, content: bytes, name: str) -> bytes:
        """The content encrypted, bound to the name of its record."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._seal).encrypt(nonce, content, name.encode())

    def open(self, sealed: bytes, name: str) -> bytes:
        """What was sealed under this name; raises `SettingInvalid` where the key is another or the bytes were changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._seal).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise SettingInvalid(f"the content of {name} cannot be opened: another key sealed it, or it was changed") from error


@dataclass(frozen=True)
class Item:
    """What was judged, as far as its record needs to know."""

    stream_id: str
    id: str
    subject: Subject
    content: str | bytes
    """As it was before it was judged."""
    passed: str | bytes = b""
    """What of it may pass."""
    start: Duration | None = None
    end: Duration | None = None
    keyframe_ids: Sequence[str] = ()


class Auditor:
    """Makes records of verdicts."""

    def __init__(self, book: Book, digests: Mapping[str, str], *, keys: Keys | None = None, clock: Callable[[], float] = time.time) -> None:
        """`digests` are SHA-256 by the names that verdicts cite; `clock` is Unix time in seconds."""
        self._book = book
        self._digests = digests
        self._keys = keys
        self._clock = clock

    def record(self, item: Item, verdict: Verdict) -> AuditRecord | None:
        """The record of a verdict; `None` where it is to allow and nothing failed. Its id follows from item and verdict."""
        if verdict.action == Action.ACTION_ALLOW and not verdict.failed:
            return None
        applying = self._book.of(item.stream_id).applying(item.subject)
        record = AuditRecord(
            stream_id=item.stream_id,
            tenant=self._book.tenant_of(item.stream_id),
            item_id=item.id,
            subject=item.subject.value,
            media_start=item.start,
            media_end=item.end,
            judged_at=_timestamp(self._clock()),
            action=verdict.action,
            policy_version=verdict.policy_version,
            violations=self._violations(verdict, applying, item.subject),
            failed=verdict.failed,
            unscored=verdict.unscored,
            cause=verdict.cause,
            keyframe_ids=item.keyframe_ids,
        )
        said = "\0".join([item.stream_id, item.subject.value, item.id, verdict.policy_version, str(verdict.action), verdict.cause])
        if not item.id:
            # Nothing else tells one question, or one call, from another of the same verdict.
            said += "\0" + hashlib.sha256(_bytes(item.content)).hexdigest() + "\0" + str(record.judged_at.ToNanoseconds())
        record.id = f"audit-{hashlib.sha256(said.encode()).hexdigest()[:16]}"
        if verdict.action in (Action.ACTION_FLAG, Action.ACTION_REDACT):
            if isinstance(item.passed, bytes):
                record.passed_jpeg = item.passed if len(item.passed) <= CONTENT_BYTES else b""
            else:
                record.passed_text = item.passed[:TEXT_CHARACTERS]
        kept = any(applying[each.policy].keep_content for each in record.violations if each.policy in applying)
        fits = len(_bytes(item.content)) <= CONTENT_BYTES
        if kept and fits and self._keys is not None and verdict.action != Action.ACTION_FLAG:
            record.sealed_content = self._keys.seal(_bytes(item.content), record.id)
        return record

    def _violations(self, verdict: Verdict, applying: Mapping[str, Policy], subject: Subject) -> list[Violation]:
        found = []
        for score in sorted(verdict.scores, key=lambda score: -score.probability):
            policy = applying.get(score.policy)
            if policy is not None and policy.violated_by(score.probability, subject):
                model = score.model or verdict.model
                found.append(
                    Violation(
                        policy=score.policy,
                        probability=score.probability,
                        action=policy.action_for(subject),
                        model=model,
                        model_sha256=self._digests.get(model, ""),
                    )
                )
        return found


def _bytes(content: str | bytes) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")


def _timestamp(seconds: float) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromNanoseconds(round(seconds * 1e9))
    return timestamp
