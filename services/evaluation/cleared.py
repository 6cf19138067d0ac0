"""What was cleared of a recording, kept in a file, so that questions can be asked again without understanding it again."""

import base64
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from watchword.v1.errors_pb2 import ErrorEvent
from watchword.v1.events_pb2 import ClearedEvent

from pipeline.errors import SettingInvalid, SourceUnavailable
from services.settings import Settings

FORMAT = 1
BLOCK = 1 << 20


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


async def understand(path: Path, stream_id: str, settings: Settings, *, speed: float | None) -> Cleared:
    """Run the whole flow over a recording; raises what opening it raises."""
    from services.embedded.flow import Flow

    flow = await Flow.load(replace(settings, store=":memory:"))
    events: list[tuple[float, ClearedEvent]] = []
    problems: list[str] = []
    begun = time.time()

    def take(event: ClearedEvent, started_at: float | None) -> None:
        events.append((time.time() - (begun if started_at is None else started_at), event))

    def fail(error: ErrorEvent) -> None:
        problems.append(error.message)

    try:
        await flow.run(str(path), stream_id, speed=speed, cleared=take, failed=fail)
    finally:
        await flow.close()
    return Cleared(events, speed, time.time() - begun, problems, time.strftime("%Y-%m-%dT%H:%M:%S%z"))


class Shelf:
    """A folder of what was understood, one file a recording."""

    def __init__(self, folder: Path, settings: Settings, *, speed: float | None, fresh: bool = False) -> None:
        """`fresh` understands everything again. Raises `SettingInvalid` where the folder cannot be written."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingInvalid(f"--cache {folder} cannot be written: {error.strerror}") from error
        self.folder, self._settings, self._speed, self._fresh = folder, settings, speed, fresh

    async def get(self, path: Path, stream_id: str) -> Cleared:
        """What was cleared of the recording, from the shelf or understood now; raises what opening it raises."""
        kept = self.folder / f"{path.stem}-{self._key(path, stream_id)}.jsonl"
        if kept.is_file() and not self._fresh:
            return _read(kept)
        cleared = await understand(path, stream_id, self._settings, speed=self._speed)
        _write(kept, cleared)
        return cleared

    def _key(self, path: Path, stream_id: str) -> str:
        """The same for the same bytes, stream, speed and models: anything else is understood anew."""
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while block := file.read(BLOCK):
                    digest.update(block)
        except OSError as error:
            raise SourceUnavailable(f"{path} cannot be read: {error.strerror}; is the question set's media where it says?") from error
        settings = self._settings
        policies = settings.policies.read_bytes() if settings.policies is not None else b""
        asked = [FORMAT, stream_id, self._speed, settings.model, settings.language, settings.glossary, settings.captioner]
        digest.update(json.dumps([*asked, str(settings.captioner_model)]).encode() + policies)
        return digest.hexdigest()[:16]


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
