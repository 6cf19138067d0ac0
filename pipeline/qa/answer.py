"""Answers to questions about a stream: the port, and one that quotes what was said and shown."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import structlog
from watchword.v1.answer_pb2 import Answer, Evidence, EvidenceKind
from watchword.v1.safety_pb2 import Action, Verdict

from pipeline.errors import RequestInvalid, StreamUnknown
from pipeline.memory.store import EVERYTHING, Kind, Moment, SceneStore, Span
from pipeline.qa.evidence import SEARCHED, Finder
from pipeline.qa.model import Embedder
from pipeline.qa.question import Question, contains, read
from pipeline.qa.support import SUPPORTED
from pipeline.qa.words import tokens

CERTAIN = 1.0
"""The score of what was asked for as it is, such as all that is on the screen."""

Found = tuple[Moment, float]
"""A moment and how sure it is that it answers, 0 to 1."""

JudgeText = Callable[[str], tuple[str, Verdict]]
"""Judges a text: what may pass of it (redacted, or empty where nothing may), and the verdict."""

MAX_CHARACTERS = 2000
"""The longest question."""
QUOTES = 3
"""The most that an answer quotes."""
BESIDE_THE_BEST = 0.5
"""Another quote is added where its odds are at least this part of the best's."""
NEAREST = 0.2
"""The nearest moment is worth naming from this score on, where none answers."""

UNSUPPORTED = "Nothing in this stream supports an answer to that."
WITHHELD = "The answer is withheld by the safety filter."
WORDING = {
    Kind.SPEECH: "someone says",
    Kind.DESCRIPTION: "the picture shows",
    Kind.ON_SCREEN_TEXT: "the screen reads",
}
ON_THE_WIRE = {
    Kind.SPEECH: EvidenceKind.EVIDENCE_KIND_SPEECH,
    Kind.DESCRIPTION: EvidenceKind.EVIDENCE_KIND_DESCRIPTION,
    Kind.ON_SCREEN_TEXT: EvidenceKind.EVIDENCE_KIND_ON_SCREEN_TEXT,
}
OVERVIEW = frozenset(["what", "about", "describe", "summary", "summarise", "summarize"])


class Answerer(Protocol):
    """Answers questions about streams."""

    def ask(self, stream_id: str, question: str, span: Span | None = None) -> AsyncIterator[str | Answer]:
        """The answer's text in parts, which joined are the whole text, and last the whole answer.

        `span` leaves only what overlaps it. Nothing is yielded before it is judged. The same question about the same
        memory has the same answer. Raises `RequestInvalid` for an empty question, one of more than 2,000 characters or
        a span that ends before it starts, and `StreamUnknown` for a stream that was never seen.
        """
        ...


class ExtractiveAnswerer:
    """An `Answerer` that adds no word of its own to the evidence: it quotes, with times, or says that there is nothing."""

    model = "extractive"

    def __init__(self, store: SceneStore, embedder: Embedder, judge_text: JudgeText | None = None) -> None:
        """Without `judge_text` its answers are not judged: who tells them judges them (`pipeline.qa.screened`)."""
        self._store = store
        self._finder = Finder(store, embedder)
        self._judge_text = judge_text

    async def ask(self, stream_id: str, question: str, span: Span | None = None) -> AsyncIterator[str | Answer]:
        """See `Answerer`."""
        span = span or EVERYTHING
        check(stream_id, question, span)
        if await self._store.stream(stream_id) is None:
            raise StreamUnknown(f"A question about stream {stream_id!r}: no such stream is known; list the streams to see which are.")
        asked = read(question)
        if asked.words:
            found = [(judged.moment, judged.score) for judged in await self._finder.find(stream_id, asked, span)]
        else:
            found = [(moment, CERTAIN) for moment in await self._overview(stream_id, asked, span)]
        answer = await self._judged(_compose(stream_id, question, span, found, self.model))
        structlog.get_logger(__name__).info(
            "question.answered", stream=stream_id, answer=answer.id, supported=answer.supported, evidence=len(answer.evidence)
        )
        for part in re.findall(r"\s*\S+", answer.text):
            yield part
        yield answer

    async def _overview(self, stream_id: str, question: Question, span: Span) -> list[Moment]:
        """For a question without words of its own, such as "What is on the screen?": the first of what it asks for."""
        if not question.kinds and not OVERVIEW & set(tokens(question.text)):
            return []
        most = QUOTES if question.kinds else 1
        found: list[Moment] = []
        for kind in WORDING:
            if kind in question.kinds or not question.kinds:
                moments = await self._store.between(stream_id, kind, span=span, limit=SEARCHED)
                found += [moment for moment in moments if contains(moment.text, question) is not False][:most]
        return sorted(found, key=lambda moment: (moment.start, moment.id))[:QUOTES]

    async def _judged(self, answer: Answer) -> Answer:
        if self._judge_text is None:
            return answer
        text, verdict = await asyncio.to_thread(self._judge_text, answer.text)
        answer.verdict.CopyFrom(verdict)
        answer.text = text
        match verdict.action:
            case Action.ACTION_ALLOW:
                pass
            case Action.ACTION_REDACT:
                for evidence in answer.evidence:
                    evidence.text, _ = await asyncio.to_thread(self._judge_text, evidence.text)
            case _:
                answer.text = WITHHELD
                answer.supported = False
                del answer.evidence[:]
        return answer


def check(stream_id: str, question: str, span: Span) -> None:
    """Raise `RequestInvalid` for what `Answerer.ask` says cannot be asked."""
    about = f"A question about stream {stream_id!r}"
    if not stream_id:
        raise RequestInvalid("A question about no stream: name the stream's id.")
    if not question.strip():
        raise RequestInvalid(f"{about} is empty: ask something.")
    if len(question) > MAX_CHARACTERS:
        raise RequestInvalid(f"{about} has {len(question)} characters: at most {MAX_CHARACTERS} are read.")
    if span.start is not None and span.end is not None and span.end <= span.start:
        raise RequestInvalid(f"{about}: the span asked about ends at {span.end.clock()}, not after its start at {span.start.clock()}.")


def _compose(stream_id: str, question: str, span: Span, found: Sequence[Found], model: str) -> Answer:
    answering = _worth_quoting(found)
    answer = Answer(
        stream_id=stream_id,
        id=identity(stream_id, question, span),
        question=question,
        supported=bool(answering),
        evidence=[_evidence(moment, score) for moment, score in answering],
        model=model,
    )
    if answering:
        answer.text = " ".join(f"At {moment.start.clock()} {_quoted(moment)}" for moment, _ in answering)
    elif found and found[0][1] >= NEAREST:
        nearest = found[0][0]
        answer.text = f"{UNSUPPORTED} Merely the nearest to it: at {nearest.start.clock()} {_quoted(nearest)}"
    else:
        answer.text = UNSUPPORTED
    return answer


def _worth_quoting(found: Sequence[Found]) -> list[Found]:
    """Those that answer, and nearly as surely as the best; of one picture's lines, which lend each other meaning, only the best."""
    chosen: list[Found] = []
    pictures: set[str] = set()
    for moment, score in found:
        on_screen = moment.kind is Kind.ON_SCREEN_TEXT and score < CERTAIN
        if score >= SUPPORTED and _odds(score) >= BESIDE_THE_BEST * _odds(found[0][1]) and not (on_screen and moment.source_id in pictures):
            chosen.append((moment, score))
            pictures |= {moment.source_id} if on_screen else set()
    return chosen[:QUOTES]


def _odds(score: float) -> float:
    return score / (1 - min(score, 0.9999))


def _quoted(moment: Moment) -> str:
    stop = "" if moment.text.endswith((".", "!", "?", "…")) else "."
    return f"{WORDING[moment.kind]} “{moment.text}”{stop}"


def _evidence(moment: Moment, score: float) -> Evidence:
    return Evidence(
        kind=ON_THE_WIRE[moment.kind],
        text=moment.text,
        media_start=moment.start.to_proto(),
        media_end=moment.end.to_proto(),
        source_id=moment.source_id,
        score=score,
    )


def identity(stream_id: str, question: str, span: Span) -> str:
    """The id of the answer to a question: the same for the same question."""
    bounds = [str(time.nanos) if time else "" for time in (span.start, span.end)]
    asked = "\0".join([stream_id, question, *bounds])
    return f"answer-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
