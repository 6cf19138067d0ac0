"""The port to answerers, and what all of them share: what may be asked, what an answer is made of."""

import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog
from watchword.v1.answer_pb2 import Answer, Claim, Evidence, EvidenceKind, Retrieved

from pipeline.errors import RequestInvalid, StreamUnknown
from pipeline.memory.store import Kind, Moment, Picture, SceneStore, Span, StreamState

log = structlog.get_logger(__name__)

Part = str | Retrieved | Claim | Answer
"""What an answer comes in: first what was found, then words, a claim after the words that make it, and last the whole answer."""

MAX_CHARACTERS = 2000
"""The longest question."""
MAX_STREAMS = 16
"""The most streams that one question is about."""

UNSUPPORTED = "Nothing in this stream supports an answer to that."
NOT_SHOWN = "The stream does not show this."
"""What an answerer with words of its own says where none of them is supported."""
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


@dataclass(frozen=True)
class Turn:
    """A question that was asked before in the same conversation, and its answer."""

    question: str
    answer: str


class Answerer(Protocol):
    """Answers questions about streams."""

    def ask(
        self, stream_id: str, question: str, span: Span | None = None, *, beside: Sequence[str] = (), history: Sequence[Turn] = ()
    ) -> AsyncIterator[Part]:
        """What was found, the answer's text in parts, which joined are the whole text, its claims, and last the whole answer.

        `span` leaves only what overlaps it, `beside` names more streams, `history` is what was asked before, the latest last.
        What is yielded is not judged, but by `pipeline.qa.screened`. Raises `RequestInvalid` for an empty question, one of more than 2,000
        characters, a span that ends before it starts or more than 16 streams, `StreamUnknown` for a stream that was never
        seen, and `StoreUnavailable` where the memory cannot be read.
        """
        ...


def check(stream_id: str, question: str, span: Span, beside: Sequence[str] = ()) -> None:
    """Raise `RequestInvalid` for what `Answerer.ask` says cannot be asked."""
    about = f"A question about stream {stream_id!r}"
    if not stream_id or not all(beside):
        raise RequestInvalid("A question about no stream: name the stream's id.")
    if not question.strip():
        raise RequestInvalid(f"{about} is empty: ask something.")
    if len(question) > MAX_CHARACTERS:
        raise RequestInvalid(f"{about} has {len(question)} characters: at most {MAX_CHARACTERS} are read.")
    if len(beside) >= MAX_STREAMS:
        raise RequestInvalid(f"{about} is about {len(beside) + 1} streams: at most {MAX_STREAMS} are searched at once.")
    if span.start is not None and span.end is not None and span.end <= span.start:
        raise RequestInvalid(f"{about}: the span asked about ends at {span.end.clock()}, not after its start at {span.start.clock()}.")


async def known(store: SceneStore, stream_ids: Iterable[str]) -> list[StreamState]:
    """The states of the streams; raises `StreamUnknown` for the first that was never seen."""
    states = []
    for stream_id in stream_ids:
        state = await store.stream(stream_id)
        if state is None:
            raise StreamUnknown(f"A question about stream {stream_id!r}: no such stream is known; list the streams to see which are.")
        states.append(state)
    return states


def evidence_of(moment: Moment, score: float) -> Evidence:
    """A moment as it is cited."""
    return Evidence(
        kind=ON_THE_WIRE[moment.kind],
        text=moment.text,
        media_start=moment.start.to_proto(),
        media_end=moment.end.to_proto(),
        source_id=moment.source_id,
        score=score,
        stream_id=moment.stream_id,
    )


def picture_evidence(picture: Picture, score: float) -> Evidence:
    """A picture as it is cited."""
    at = picture.at.to_proto()
    kind = EvidenceKind.EVIDENCE_KIND_KEYFRAME
    return Evidence(kind=kind, media_start=at, media_end=at, source_id=picture.id, score=score, stream_id=picture.stream_id)


def log_answered(answer: Answer) -> None:
    """Log that a question was answered, without a word of it."""
    log.info("question_answered", stream=answer.stream_id, answer=answer.id, supported=answer.supported, evidence=len(answer.evidence))


def identity(stream_id: str, question: str, span: Span, beside: Sequence[str] = ()) -> str:
    """The id of the answer to a question: the same for the same question."""
    bounds = [str(time.nanos) if time else "" for time in (span.start, span.end)]
    asked = "\0".join([stream_id, question, *bounds, *beside])
    return f"answer-{hashlib.sha256(asked.encode()).hexdigest()[:16]}"
