"""The answerer that lets a model write, and tells only the sentences whose citations were found to support them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from watchword.v1.answer_pb2 import Answer, Claim, Evidence, Retrieved

from pipeline.errors import ServiceUnavailable, WatchwordError
from pipeline.memory.store import EVERYTHING, Kind, Moment, Picture, SceneStore, Span, StreamState
from pipeline.qa.answer import NOT_SHOWN, Part, Turn, check, evidence_of, identity, known, log_answered, picture_evidence
from pipeline.qa.checking import echoes, supporting
from pipeline.qa.cited import Cited, Sentences
from pipeline.qa.conversation import in_context
from pipeline.qa.evidence import Finder
from pipeline.qa.model import Embedder
from pipeline.qa.question import read
from pipeline.qa.reranker import Reranker
from pipeline.qa.support import SUPPORTED
from pipeline.qa.teller import NOT_SHOWN_MARK, Brief, Teller
from pipeline.qa.voice import Voice, style_of
from pipeline.qa.when import read_when
from pipeline.qa.within import Beyond, beyond, within
from pipeline.timeline import MediaTime

NUMBERED = 12
"""The most evidence that a model is given, pictures among it."""
WITH_NEIGHBOURS = 3
"""The best so many sentences bring the one before and the one after along."""
DEADLINE_S = 60.0
"""How long a model may write."""
LOOKED_AT = 6
"""The most pictures that a model looks at."""
AROUND = MediaTime.of(4)
"""Pictures this far around the evidence are looked at."""
UNCHECKED = 0.5
"""The score of a picture that the model is shown: nothing has told yet whether it answers the question."""

LookAgain = Callable[[str, Span, int], Awaitable[Sequence[Picture]]]
"""Pictures of a stream within a span, spread over it, at most so many; from the memory, or from the recording."""


@dataclass(frozen=True)
class _Supported:
    claim: Claim
    words: str
    """The sentence with the time of what it rests on."""


class ComposedAnswerer:
    """An `Answerer` around a `Teller`; with `look`, a teller that sees is shown the pictures around the evidence."""

    def __init__(
        self,
        name: str,
        store: SceneStore,
        embedder: Embedder,
        teller: Teller,
        *,
        voices: Sequence[Voice] = (),
        look: LookAgain | None = None,
        reranker: Reranker | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        self.model = f"{name}:{teller.name}"
        self._store, self._embedder, self._teller = store, embedder, teller
        self._finder = Finder(store, embedder, reranker=reranker)
        self._voices, self._look, self._deadline_s = voices, look, deadline_s

    async def ask(
        self, stream_id: str, question: str, span: Span | None = None, *, beside: Sequence[str] = (), history: Sequence[Turn] = ()
    ) -> AsyncIterator[Part]:
        """See `Answerer`; raises what the teller raises before it has told anything: later the answer is marked as partial."""
        span = span or EVERYTHING
        check(stream_id, question, span, beside)
        states = await known(self._store, (stream_id, *beside))
        evidence, pictures, cause = await self._evidence(states, in_context(question, history), span)
        yield Retrieved(evidence=evidence)
        answer = Answer(stream_id=stream_id, id=identity(stream_id, question, span, beside), question=question, model=self.model)
        brief = Brief(question, evidence, pictures, style_of(stream_id, self._voices), history)
        if evidence:
            async with aclosing(self._told(brief, answer)) as told:
                async for part in told:
                    yield part
        if not answer.claims:
            answer.text = f"{NOT_SHOWN} {cause}".rstrip()
            answer.confidence = 1 - max((cited.score for cited in evidence), default=0.0)
            yield answer.text
        log_answered(answer)
        yield answer

    async def _told(self, brief: Brief, answer: Answer) -> AsyncGenerator[str | Claim, None]:
        """The sentences that hold, as they are written; `answer` is filled as they come."""
        deadline = asyncio.get_running_loop().time() + self._deadline_s
        try:
            async with aclosing(self._sentences(brief)) as sentences:
                while (supported := await _next(sentences, deadline)) is not None:
                    separator = " " if answer.text else ""
                    answer.text += separator + supported.words
                    answer.claims.append(supported.claim)
                    _cite(answer, supported.claim)
                    yield separator + supported.words
                    yield supported.claim
        except TimeoutError:
            late = ServiceUnavailable(f"{self.model}: it did not end its answer within {self._deadline_s:g} s")
            _break_off(answer, late)
        except WatchwordError as error:
            _break_off(answer, error)
        answer.supported = bool(answer.claims)
        if answer.supported:
            answer.confidence = max(0.5, *(cited.score for cited in answer.evidence))

    async def _sentences(self, brief: Brief) -> AsyncGenerator[_Supported, None]:
        """Those that hold, up to where the model begins to repeat itself or says that there is nothing."""
        said: set[str] = set()
        async with aclosing(self._written(brief)) as written:
            async for cited in written:
                if cited.text in said or (not said and NOT_SHOWN_MARK in cited.text.upper()):
                    return
                said.add(cited.text)
                if (supported := await self._supported(cited, brief)) is not None:
                    yield supported

    async def _written(self, brief: Brief) -> AsyncGenerator[Cited, None]:
        sentences = Sentences()
        async with aclosing(self._teller.tell(brief)) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                for cited in sentences.add(piece):
                    yield cited
                if sentences.loops:
                    return
        for cited in sentences.end():
            yield cited

    async def _supported(self, cited: Cited, brief: Brief) -> _Supported | None:
        """The sentence with those of its citations that exist and hold; `None` where none does.

        Small models forget to cite. What they say without is looked for in the evidence that would be quoted by itself, so that it
        is both supported and about the question.
        """
        if NOT_SHOWN_MARK in cited.text.upper() or echoes(cited.text, brief.question):
            return None
        places = [number - 1 for number in cited.numbers if 1 <= number <= len(brief.evidence)]
        if not cited.numbers:
            places = [place for place, evidence in enumerate(brief.evidence) if evidence.text and evidence.score >= SUPPORTED]
        worded = [brief.evidence[place] for place in places if brief.evidence[place].text]
        holding = await supporting(cited.text, worded, self._embedder)
        for place in places:
            jpeg = brief.pictures[place] if place < len(brief.pictures) else None
            if jpeg is not None and await self._teller.confirms(cited.text, jpeg):
                holding.append(brief.evidence[place])
        if not holding:
            return None
        times = dict.fromkeys(MediaTime.from_proto(each.media_start).clock() for each in holding)
        return _Supported(Claim(text=cited.text, citations=holding), f"{cited.text} ({', '.join(times)})")

    async def _evidence(self, states: Sequence[StreamState], asked: str, span: Span) -> tuple[list[Evidence], list[bytes | None], str]:
        """Evidence in order of time, the pictures among it, and why there can be none."""
        if (nothing := beyond(states, span)) is not None:
            return [], [], nothing.cause
        when = read_when(asked)
        if when is not None:
            meant = await within(self._finder, states, when, span)
            if isinstance(meant, Beyond):
                return [], [], meant.cause
            span = meant or span
        moments = await self._moments(states, asked, span)
        seen = [(evidence_of(moment, score), None) for moment, score in moments]
        shown = [
            (picture_evidence(picture, UNCHECKED), picture.jpeg)
            for picture in await self._pictures(states[0].stream_id, moments, when is not None, span)
        ]
        rows: list[tuple[Evidence, bytes | None]] = [*seen[: NUMBERED - len(shown)], *shown]
        rows.sort(key=lambda row: (row[0].stream_id, MediaTime.from_proto(row[0].media_start).nanos))
        return [evidence for evidence, _ in rows], [jpeg for _, jpeg in rows], ""

    async def _moments(self, states: Sequence[StreamState], asked: str, span: Span) -> list[tuple[Moment, float]]:
        """What may answer, the best first, and what stands around the best of it."""
        judged = await self._finder.find([state.stream_id for state in states], read(asked), span)
        found = {each.moment.id: (each.moment, each.score) for each in judged}
        for each in [each for each in judged if each.moment.kind is Kind.SPEECH][:WITH_NEIGHBOURS]:
            for moment in await self._store.neighbours(each.moment, before=1, after=1):
                inside = any(moment.start >= other.start and moment.end <= other.end for other, _ in found.values())
                if moment in span and not inside:
                    found.setdefault(moment.id, (moment, 0.0))
        return list(found.values())

    async def _pictures(self, stream_id: str, moments: Sequence[tuple[Moment, float]], timed: bool, span: Span) -> Sequence[Picture]:
        if self._look is None:
            return ()
        if timed or not moments:
            return await self._look(stream_id, span, LOOKED_AT)
        best = [moment for moment, _ in moments[:WITH_NEIGHBOURS] if moment.stream_id == stream_id]
        found: dict[str, Picture] = {}
        for moment in best:
            around = Span(moment.start - AROUND, moment.end + AROUND)
            found.update({picture.id: picture for picture in await self._look(stream_id, around, max(1, LOOKED_AT // len(best)))})
        return list(found.values())[:LOOKED_AT]


async def _next(sentences: AsyncGenerator[_Supported, None], deadline: float) -> _Supported | None:
    """The next sentence; `None` after the last. Only the wait for it is cut off, never the caller, who may take long to read."""
    async with asyncio.timeout_at(deadline):
        return await anext(sentences, None)


def _cite(answer: Answer, claim: Claim) -> None:
    for cited in claim.citations:
        if cited not in answer.evidence:
            answer.evidence.append(cited)


def _break_off(answer: Answer, error: WatchwordError) -> None:
    """Before anything was told a failure is the caller's to hear of; after that the answer says that it is not whole."""
    if not answer.claims:
        raise error
    answer.partial_cause = str(error)
