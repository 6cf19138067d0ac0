"""The answerer that looks: a video model in this process is asked the question about the pictures, twice, and told only where it agrees."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np
from watchword.v1.answer_pb2 import Answer, Claim, Retrieved
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import Captioner, SceneView, Shot, aclose
from pipeline.memory.store import EVERYTHING, Moment, Picture, SceneStore, Span, StreamState
from pipeline.qa.answer import NOT_SHOWN, Part, Turn, check, evidence_of, identity, known, log_answered, picture_evidence
from pipeline.qa.checking import statement
from pipeline.qa.composed import AROUND, LookAgain
from pipeline.qa.conversation import in_context
from pipeline.qa.evidence import Finder
from pipeline.qa.model import Embedder
from pipeline.qa.question import read
from pipeline.qa.support import SUPPORTED
from pipeline.qa.visual import Visual
from pipeline.qa.when import read_when
from pipeline.qa.within import Beyond, beyond, within
from pipeline.timeline import MediaTime

LOOKED_AT = 12
"""The most pictures of one question; each look sees half of them."""
LONG = MediaTime.of(60)
"""A shorter stream is looked at as a whole where no words say where to look."""
LEAST = 2
"""Fewer cannot be looked at twice."""
AGREES = 0.9
"""The cosine from which two answers say the same, where their numbers and names are the same too."""
AGREED = 0.75
"""How sure an answer is that two looks at different pictures gave."""


@dataclass(frozen=True)
class _Stretch:
    """Where to look, and what was found there in words."""

    span: Span
    moments: Sequence[tuple[Moment, float]] = ()
    cause: str = ""
    """Why there is nothing to look at."""


class SeeingAnswerer:
    """An `Answerer` around a captioner that can be asked in words, such as `VlmCaptioner`.

    The pictures are those of the stretch that the question names in time, or of what answers it in words, or of the whole stream. Every
    other one makes the first look and the rest the second: a model that guesses says something else when it sees others of the same.
    """

    def __init__(
        self, name: str, store: SceneStore, embedder: Embedder, captioner: Captioner, look: LookAgain, *, visual: Visual | None = None
    ) -> None:
        """With `visual` the pictures that look most like the question say where to look, where no words do."""
        self.model = f"{name}:{captioner.name}"
        self._store, self._embedder, self._captioner, self._look = store, embedder, captioner, look
        self._finder, self._visual = Finder(store, embedder), visual

    async def ask(
        self, stream_id: str, question: str, span: Span | None = None, *, beside: Sequence[str] = (), history: Sequence[Turn] = ()
    ) -> AsyncIterator[Part]:
        """See `Answerer`; of several streams the first is looked at. Raises what the captioner raises."""
        span = span or EVERYTHING
        check(stream_id, question, span, beside)
        states = await known(self._store, (stream_id, *beside))
        asked = in_context(question, history)
        stretch = await self._stretch(states, asked, span)
        pictures = [] if stretch.cause else await self._look(stream_id, stretch.span, LOOKED_AT)
        seen = [picture_evidence(picture, AGREED) for picture in pictures]
        yield Retrieved(evidence=[*(evidence_of(moment, score) for moment, score in stretch.moments), *seen])
        answer = Answer(stream_id=stream_id, id=identity(stream_id, question, span, beside), question=question, model=self.model)
        said = await self._agreed(pictures, asked) if len(pictures) >= LEAST else ""
        if said:
            first, last = (MediaTime.from_proto(seen[place].media_start).clock() for place in (0, -1))
            answer.text = f"{said} ({first})" if first == last else f"{said} ({first}–{last})"
            answer.supported, answer.confidence = True, AGREED
            answer.evidence.extend(seen)
            answer.claims.append(Claim(text=said, citations=seen))
        else:
            answer.text, answer.confidence = f"{NOT_SHOWN} {stretch.cause}".rstrip(), AGREED if pictures else 1.0
        log_answered(answer)
        yield answer.text
        for claim in answer.claims:
            yield claim
        yield answer

    async def aclose(self) -> None:
        """Let go of the captioner."""
        await aclose(self._captioner)

    async def _stretch(self, states: Sequence[StreamState], asked: str, span: Span) -> _Stretch:
        if (nothing := beyond(states, span)) is not None:
            return _Stretch(span, cause=nothing.cause)
        when = read_when(asked)
        if when is not None:
            meant = await within(self._finder, states, when, span)
            if isinstance(meant, Beyond):
                return _Stretch(span, cause=meant.cause)
            if meant is not None:
                return _Stretch(meant)
        judged = await self._finder.find([states[0].stream_id], read(asked), span)
        best = [(each.moment, each.score) for each in judged if each.score >= SUPPORTED][:1]
        where = best
        if not best and self._visual is not None and states[0].latest > LONG:
            where = await self._visual.near([states[0].stream_id], read(asked), span, limit=1)
        if not where:
            return _Stretch(span)
        start, end = where[0][0].start - AROUND, where[0][0].end + AROUND
        inside = Span(max(start, span.start) if span.start else start, min(end, span.end) if span.end else end)
        return _Stretch(inside, best)

    async def _agreed(self, pictures: Sequence[Picture], asked: str) -> str:
        """What the model says of both halves of the pictures; empty where it says two things, or nothing."""
        looks = (pictures[::2], pictures[1::2]) if len(pictures) >= 2 * LEAST else (pictures, pictures[::-1][:1])
        first, second = [(await self._captioner.describe(_view(look, asked))).text.strip() for look in looks]
        if not first or not second:
            return ""
        if first.casefold() == second.casefold():
            return first
        one, other = statement(first), statement(second)
        vectors = np.asarray(await self._embedder.embed([first, second]))
        same = one.exact == other.exact and one.negated == other.negated and float(vectors[0] @ vectors[1]) >= AGREES
        return first if same else ""


def _view(pictures: Sequence[Picture], asked: str) -> SceneView:
    ordered = sorted(pictures, key=lambda picture: picture.at)
    reason = KeyframeReason.KEYFRAME_REASON_UNSPECIFIED
    shots = tuple(Shot(picture.at, reason, picture.score, 0.0, picture.jpeg) for picture in ordered)
    return SceneView(shots[0].time, shots[-1].time, shots, asked=asked)
