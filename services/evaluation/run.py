"""One evaluation: every medium learnt, every question asked and marked, words and delays measured."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchword.v1.events_pb2 import ClearedEvent

from pipeline.errors import SourceError
from pipeline.evaluation.marking import mark, normal
from pipeline.evaluation.measures import Asked, word_errors
from pipeline.evaluation.questions import WRITTEN, Medium, Question, QuestionSet
from pipeline.evaluation.written import events, without_pictures
from pipeline.timeline import MediaTime
from services.evaluation.cleared import Cleared, Shelf
from services.evaluation.smaller import smaller
from services.evaluation.systems import System

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Heard:
    """How well one medium was heard."""

    medium: str
    errors: int
    words: int
    delays_s: tuple[float, ...]
    """For each final the seconds from its last word's end to its telling; only where it was played at its own speed."""


@dataclass
class Outcome:
    """Everything that one evaluation found."""

    system: str
    asked: list[Asked] = field(default_factory=list)
    blind: list[Asked] = field(default_factory=list)
    """The questions about pictures and written text, asked once more without any picture."""
    small: list[Asked] = field(default_factory=list)
    """The questions about written text, asked of a smaller copy."""
    heard: list[Heard] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


async def evaluate(
    questions: QuestionSet, system: System, shelf: Shelf | None, *, part: str = "", tell: Progress, small: int = 0
) -> Outcome:
    """Ask every question of the set, or of one part of it; media that cannot be read are told as problems.

    Without a shelf the system knows the media already. `small` is the height of copies in which text is read once more.
    """
    outcome = Outcome(system.name)
    for medium in questions.media.values():
        own = [each for each in questions.questions if each.medium == medium.name and part in ("", each.part)]
        if not own:
            continue
        stream_id = stream_of(medium)
        seen = [each for each in own if each.kind in ("picture", "text")]
        try:
            if shelf is not None:
                kept = await _learn(medium, stream_id, system, shelf, outcome)
                if seen:
                    await system.learn(f"{stream_id}-unseen", _renamed(without_pictures(kept), f"{stream_id}-unseen"))
        except SourceError as error:
            outcome.problems.insert(0, f"{medium.name}: {error}")  # before what is merely incomplete: its questions are not asked
            continue
        outcome.asked += await _ask(own, stream_id, system)
        if shelf is not None:
            outcome.blind += await _ask(seen, f"{stream_id}-unseen", system)
            if small and medium.path is not None and (read := [each for each in own if each.kind == "text"]):
                try:
                    outcome.small += await _ask_smaller(read, medium.path, small, system, shelf)
                except SourceError as error:
                    outcome.problems.append(f"{medium.name}, {small} pixels high: {error}")
        tell(f"{medium.name}: {len(own)} questions")
    return outcome


async def _ask_smaller(questions: Sequence[Question], path: Path, height: int, system: System, shelf: Shelf) -> list[Asked]:
    copy = await asyncio.to_thread(smaller, path, height, shelf.folder)
    stream_id = copy.stem
    await system.learn(stream_id, [event for _, event in (await shelf.get(copy, stream_id)).events], recording=copy)
    return await _ask(questions, stream_id, system)


def stream_of(medium: Medium) -> str:
    """The id of a medium's stream: its name's last part without its ending."""
    if medium.name.startswith(WRITTEN):
        return medium.name.removeprefix(WRITTEN).replace(" ", "-")
    return Path(medium.name).stem


async def _learn(medium: Medium, stream_id: str, system: System, shelf: Shelf, outcome: Outcome) -> Sequence[ClearedEvent]:
    if medium.path is None:
        kept = list(events(medium, stream_id))
    else:
        cleared = await shelf.get(medium.path, stream_id)
        kept = [event for _, event in cleared.events]
        outcome.problems += [f"{medium.name}: {problem}" for problem in cleared.problems]
        if medium.transcript:
            outcome.heard.append(_heard(medium, cleared))
    await system.learn(stream_id, kept, recording=medium.path)
    return kept


async def _ask(questions: Iterable[Question], stream_id: str, system: System) -> list[Asked]:
    asked = []
    for question in questions:
        given = await system.ask(stream_id, question)
        asked.append(Asked(question, given, mark(question, given), await system.ranks(stream_id, question)))
    return asked


def _heard(medium: Medium, cleared: Cleared) -> Heard:
    finals = [
        (emitted, event.segment)
        for emitted, event in cleared.events
        if event.WhichOneof("event") == "segment" and event.segment.is_final and not event.segment.translation_of and event.segment.text
    ]
    heard = normal(" ".join(segment.text for _, segment in finals))
    errors, words = word_errors(normal(medium.transcript), heard)
    delays = [emitted - MediaTime.from_proto(segment.media_end).seconds for emitted, segment in finals]
    return Heard(medium.name, errors, words, tuple(delays) if cleared.speed == 1 else ())


def _renamed(kept: Iterable[ClearedEvent], stream_id: str) -> Iterable[ClearedEvent]:
    for event in kept:
        renamed = ClearedEvent()
        renamed.CopyFrom(event)
        getattr(renamed, renamed.WhichOneof("event")).stream_id = stream_id
        yield renamed
