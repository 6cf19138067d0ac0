"""What was cleared of a recording, kept in a file, so that questions can be asked again without understanding it again."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.v1.errors_pb2 import ErrorEvent
from watchword.v1.events_pb2 import ClearedEvent

from pipeline.errors import SettingInvalid, SourceUnavailable
from services.settings import Settings

if TYPE_CHECKING:
    from services.embedded.flow import Flow

FORMAT = 1
DECIDE = (
    *("model", "language", "translate", "glossary", "streams", "safety_models"),
    *("second_look", "keyframes_per_minute", "keyframe_gap"),
    *("captioner", "captioner_model", "caption_styles", "caption_tokens", "caption_extend", "caption_context"),
    *("refiner", "refiner_model", "refiner_per_minute"),
)
"""The settings that decide what is cleared of a recording, beside the policies, of which the file's content counts."""


@dataclass(frozen=True)
class Cleared:
    """One recording, understood."""

    events: Sequence[tuple[float, ClearedEvent]]
    """Each with the seconds from the first packet to its telling; they mean a latency only at the recording's own speed."""
    speed: float | None
    """How fast it was played; `None` is as fast as the machine went."""
    took_s: float
    """How long understanding took, models loaded."""
    problems: Sequence[str]
    """What could not be used of it."""
    made: str
    """When, as ISO 8601."""


async def understand(flow: "Flow", path: Path, stream_id: str, *, speed: float | None) -> Cleared:
    """Run a loaded flow over a recording; raises what opening it raises."""
    events: list[tuple[float, ClearedEvent]] = []
    problems: list[str] = []
    begun = time.time()

    def take(event: ClearedEvent, started_at: float | None) -> None:
        events.append((time.time() - (begun if started_at is None else started_at), event))

    def fail(error: ErrorEvent) -> None:
        problems.append(error.message)

    await flow.run(str(path), stream_id, speed=speed, cleared=take, failed=fail)
    return Cleared(events, speed, time.time() - begun, problems, time.strftime("%Y-%m-%dT%H:%M:%S%z"))


class Shelf:
    """A folder of what was understood, one file a recording; models are loaded when the first one has to be understood."""

    def __init__(self, folder: Path, settings: Settings, *, speed: float | None, fresh: bool = False) -> None:
        """`fresh` understands everything again. Raises `SettingInvalid` where the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingInvalid(f"--cache {folder} cannot be written: {error.strerror}") from error
        self.folder, self._settings, self._speed, self._fresh = folder, settings, speed, fresh
        self._flow: Flow | None = None

    async def get(self, path: Path, stream_id: str) -> Cleared:
        """What was cleared of the recording, from the shelf or understood now; raises what opening it raises."""
        kept = self.folder / f"{path.stem}-{self._key(path, stream_id)}.jsonl"
        if kept.is_file() and not self._fresh:
            return _read(kept)
        cleared = await understand(await self._loaded(), path, stream_id, speed=self._speed)
        _write(kept, cleared)
        return cleared

    async def close(self) -> None:
        """Let go of the models."""
        flow, self._flow = self._flow, None
        if flow is not None:
            await flow.close()

    async def _loaded(self) -> "Flow":
        from services.embedded.flow import Flow

        if self._flow is None:
            self._flow = await Flow.load(replace(self._settings, store=":memory:"))
        return self._flow

    def _key(self, path: Path, stream_id: str) -> str:
        """The same for the same bytes, stream, speed and settings: anything else is understood anew."""
        settings = self._settings
        policies = settings.policies.read_bytes() if settings.policies is not None else b""
        asked = [FORMAT, stream_id, self._speed, [repr(getattr(settings, name)) for name in DECIDE]]
        return hashlib.sha256(digest_of(path).encode() + json.dumps(asked).encode() + policies).hexdigest()[:16]


def digest_of(path: Path) -> str:
    """SHA-256 of a recording's bytes; raises `SourceUnavailable`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SourceUnavailable(f"{path} cannot be read: {error.strerror}; is the question set's media where it says?") from error


def _write(path: Path, cleared: Cleared) -> None:
    head = {"speed": cleared.speed, "took_s": round(cleared.took_s, 3), "problems": list(cleared.problems), "made": cleared.made}
    lines = [json.dumps(head)]
    lines += [
        json.dumps([round(emitted, 4), base64.b64encode(event.SerializeToString(deterministic=True)).decode()])
        for emitted, event in cleared.events
    ]
    half_written = path.with_suffix(".part")
    half_written.write_text("\n".join(lines) + "\n", encoding="utf-8")
    half_written.replace(path)


def _read(path: Path) -> Cleared:
    try:
        first, *rest = path.read_text(encoding="utf-8").splitlines()
        head: Mapping[str, object] = json.loads(first)
        rows = [json.loads(line) for line in rest]
        events = [(float(emitted), ClearedEvent.FromString(base64.b64decode(event))) for emitted, event in rows]
        return Cleared(events, head["speed"], float(str(head["took_s"])), list(head["problems"]), str(head["made"]))  # type: ignore[arg-type, call-overload]
    except (ValueError, KeyError, TypeError) as error:
        raise SettingInvalid(f"{path} is damaged: {error}; delete it, or evaluate with --fresh") from error
