"""Question sets: JSON lines that name media, what was said in them, and what may be asked about them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import SettingInvalid
from pipeline.memory.store import Kind

KINDS = ("speech", "text", "picture", "order", "trap")
"""Where an answer stands: in what was said, read or seen, in the order of things; or nowhere."""
WRITTEN = "text:"
"""The media of a set may be written: its moments stand in the set itself, under a name that begins so."""
MOST_LINES = 20_000

Accepted = tuple[tuple[str, ...], ...]
"""Right answers: any one of them, of which all parts must be there."""


@dataclass(frozen=True)
class Medium:
    """Something that is asked about."""

    name: str
    """As the set writes it: a path, or "text:" and a name."""
    path: Path | None
    """The recording; `None` where its moments are written in the set."""
    transcript: str = ""
    """What is truly said, where that is known."""
    moments: tuple[tuple[Kind, float, float, str], ...] = ()
    """Kind, start and end in seconds, and words, of written media."""


@dataclass(frozen=True)
class Question:
    """One question and what is true."""

    medium: str
    text: str
    kind: str
    """One of `KINDS`."""
    accepted: Accepted
    """Empty for a trap: nothing in the medium answers it."""
    times: tuple[tuple[float, float], ...]
    """Where the answer stands, in seconds; empty where that is not known or nowhere."""
    part: str = ""
    """Which part of the set it is in, such as "dev" or "held-out"."""

    @property
    def answerable(self) -> bool:
        """Whether the medium answers it."""
        return self.kind != "trap"


@dataclass(frozen=True)
class QuestionSet:
    """Media and the questions about them, in the order of the file."""

    media: Mapping[str, Medium]
    questions: Sequence[Question] = field(default_factory=tuple)


def load(path: Path) -> QuestionSet:
    """Read a set; its media's paths are relative to it. Raises `SettingInvalid` with the number of a line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingInvalid(f"the question set {path} cannot be read: {error}") from error
    if len(lines) > MOST_LINES:
        raise SettingInvalid(f"the question set {path} has {len(lines):,} lines: at most {MOST_LINES:,} are read")
    media: dict[str, Medium] = {}
    questions: list[Question] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            record = json.loads(line)
            if "question" in record:
                questions.append(_question(record))
                media.setdefault(record["media"], _medium({"media": record["media"]}, path.parent))
            else:
                media[record["media"]] = _medium(record, path.parent)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
            raise SettingInvalid(f"the question set {path}, line {number}: {why}; docs/evaluation.md tells the format") from error
    if not questions:
        raise SettingInvalid(f"the question set {path} asks nothing: it has no line with a question")
    return QuestionSet(media, tuple(questions))


def _medium(record: Mapping[str, Any], folder: Path) -> Medium:
    name = str(record["media"])
    moments = tuple((Kind(kind), float(start), float(end), str(text)) for kind, start, end, text in record.get("moments", ()))
    return Medium(name, None if name.startswith(WRITTEN) else folder / name, str(record.get("transcript", "")), moments)


def _question(record: Mapping[str, Any]) -> Question:
    kind = str(record["kind"])
    if kind not in KINDS:
        raise ValueError(f"the kind {kind!r} is none of {', '.join(KINDS)}")
    accepted = tuple(tuple(map(str, each)) if isinstance(each, list) else (str(each),) for each in record.get("accepted") or ())
    if bool(accepted) == (kind == "trap"):
        raise ValueError("a trap accepts no answer, every other question at least one")
    times = tuple((float(start), float(end)) for start, end in record.get("times") or ())
    return Question(str(record["media"]), str(record["question"]), kind, accepted, times, str(record.get("part", "")))
