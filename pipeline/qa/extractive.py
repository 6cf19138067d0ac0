"""The answerer that adds no word of its own to the evidence: it quotes, with times, or says that there is nothing."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from watchword.v1.answer_pb2 import Answer, Claim, Retrieved

from pipeline.memory.store import EVERYTHING, Kind, Moment, SceneStore, Span, StreamState
from pipeline.qa.answer import UNSUPPORTED, WORDING, Part, Turn, check, evidence_of, identity, known, log_answered
from pipeline.qa.conversation import in_context
from pipeline.qa.evidence import SEARCHED, Finder, Retrieval
from pipeline.qa.model import Embedder
from pipeline.qa.objects import Things
from pipeline.qa.question import Question, contains, read
from pipeline.qa.reranker import Reranker
from pipeline.qa.rereading import asks_for_writing
from pipeline.qa.retrieve import whole_sentence
from pipeline.qa.support import SUPPORTED, TAGS
from pipeline.qa.visual import Visual
from pipeline.qa.when import When, point_of, read_when
from pipeline.qa.within import Beyond, beyond, within
from pipeline.qa.words import tokens
from pipeline.timeline import ZERO, MediaTime

CERTAIN = 1.0
"""The score of what was asked for as it is, such as all that is on the screen."""
READ = 0.8
"""The score of what is written at a time, where nothing tells that it is what was asked for."""
QUOTES = 3
"""The most that an answer quotes."""
BESIDE_THE_BEST = 0.3
"""Another quote is added where its odds are at least this part of the best's."""
NEAREST = 0.2
"""The nearest moment is worth naming from this score on, where none answers."""
OVERVIEW = frozenset(["what", "about", "describe", "summary", "summarise", "summarize", "where", "which"])
SPEAKING = re.compile(
    r"\b(?:any(?:body|one)|some(?:body|one)|(?:a )?person|people)\b.*\b(?:speak|talk|say)|\b(?:speech|silen(?:ce|t)|quiet)\b", re.I
)
UNRECOGNISED = "nothing recognised with confidence"
"""What a description says that recognises nothing (pipeline.caption.compose): it answers no question for an overview."""

Found = tuple[Moment, float]
"""A moment and how sure it is that it answers, 0 to 1."""
Reread = Callable[[str, MediaTime], Awaitable[Moment | None]]
"""What is written on a stream's screen at a time, read anew where that can be done: `pipeline.qa.rereading`."""


@dataclass(frozen=True)
class _Looked:
    """What a question led to."""

    found: Sequence[Found] = ()
    cause: str = ""
    """Why nothing can be found, beyond that nothing was."""
    negative: str = ""
    """What the memory shows not to have happened, in words."""


class ExtractiveAnswerer:
    """An `Answerer` that quotes; what it says of its own is the time, who or what says it, or that there is nothing.

    It judges nothing: who tells its answers judges them (`pipeline.qa.screened`).
    """

    model = "extractive"

    def __init__(
        self,
        store: SceneStore,
        embedder: Embedder,
        *,
        visual: Visual | None = None,
        reranker: Reranker | None = None,
        reread: Reread | None = None,
    ) -> None:
        """With `visual` what pictures are recognised to show counts where nothing in words answers; `reranker` scores what was found.

        With `reread` what the screen reads at a point in time is looked up in the recording.
        """
        self._store, self._visual, self._reread = store, visual, reread
        self._finder = Finder(store, embedder, reranker=reranker)
        self._things = Things(store, embedder)

    async def ask(
        self, stream_id: str, question: str, span: Span | None = None, *, beside: Sequence[str] = (), history: Sequence[Turn] = ()
    ) -> AsyncIterator[Part]:
        """See `Answerer`."""
        span = span or EVERYTHING
        check(stream_id, question, span, beside)
        states = await known(self._store, (stream_id, *beside))
        asked = in_context(question, history)
        looked: _Looked | None = None
        async for step in self._look(states, asked, span):
            if isinstance(step, Retrieved):
                yield step
            else:
                looked = step
        assert looked is not None
        answer = _compose(stream_id, question, identity(stream_id, question, span, beside), looked, self.model)
        log_answered(answer)
        for part in re.findall(r"\s*\S+", answer.text):
            yield part
        for claim in answer.claims:
            yield claim
        yield answer

    async def _look(self, states: Sequence[StreamState], asked: str, span: Span) -> AsyncIterator[Retrieved | _Looked]:
        """Evidence for a question: within the time that it names, where it names any that can be found, else wherever it is."""
        if (nothing := beyond(states, span)) is not None:
            yield Retrieved()
            yield _Looked(cause=nothing.cause)
            return
        when = read_when(asked)
        if when is not None:
            meant = await within(self._finder, states, when, span)
            if isinstance(meant, Beyond):
                yield Retrieved()
                yield _Looked(cause=meant.cause)
                return
            if meant is not None:
                looked = await self._timed(states, when, meant)
                if looked.found or looked.negative or not when.anchor:
                    yield _retrieved(looked.found)
                    yield looked
                    return
        question = read(asked)
        streams = [state.stream_id for state in states]
        if seen := await self._things.answer(states, asked, span, first=True):
            yield _retrieved(seen)
            yield _Looked(seen)
            return
        if not question.words:
            found = [(moment, CERTAIN) for state in states for moment in await self._overview(state.stream_id, question, span)]
            yield _retrieved(found)
            yield _Looked(found[:QUOTES])
            return
        retrieval = await self._finder.retrieve(streams, question, span)
        yield _told(retrieval)
        judged = await self._finder.judge(retrieval)
        yield _Looked(await self._or_shown(states, question, span, [(each.moment, each.score) for each in judged]))

    async def _or_shown(
        self, states: Sequence[StreamState], question: Question, span: Span, found: Sequence[Found], when: When | None = None
    ) -> Sequence[Found]:
        """What was found in words where it answers; else what pictures show, where a question about them asks for it by name."""
        streams = [state.stream_id for state in states]
        answered = bool(found) and found[0][1] >= SUPPORTED
        tagged = bool(found) and found[0][0].text.startswith(TAGS)
        if (tagged or not answered) and (seen := await self._things.answer(states, question.text, span, when, first=False)):
            return [*seen, *found]
        if self._visual is None or answered or question.kinds - {Kind.DESCRIPTION}:
            return found
        shown = await self._visual.shown(streams, question, span)
        return [*((moment, max(share, SUPPORTED)) for moment, share in shown), *found]

    async def _timed(self, states: Sequence[StreamState], when: When, meant: Span) -> _Looked:
        question = read(when.rest)
        stream_id = states[0].stream_id
        if when.point and SPEAKING.search(when.rest):
            return await self._speaking(states[0], when)
        if when.point and (again := await self._read_again(states[0], question, when, meant)):
            return _Looked(again)
        for first in (True, False) if when.point else (True,):
            if seen := await self._things.answer(states, when.rest, meant, when, first=first):
                return _Looked(seen)
        if when.point and await self._things.would_know(stream_id, when.rest):
            # A scene's tags are about all of it: of this moment they would say what is not so.
            return _Looked()
        if when.one:
            moments = await self._store.between(stream_id, _kind(question), span=meant, limit=1, last=when.one == "last")
            return _Looked([(moment, CERTAIN) for moment in moments])
        if question.words and not (when.near and not question.ask):
            judged = await self._finder.find([state.stream_id for state in states], question, meant)
            return _Looked(await self._or_shown(states, question, meant, [(each.moment, each.score) for each in judged], when))
        kinds = {_kind(question)} if when.near else set()
        asked = replace(question, kinds=question.kinds or frozenset(kinds))
        found = await self._overview(stream_id, asked, meant, most=1 if when.near else QUOTES, anything=True, last=when.side == "before")
        return _Looked([(moment, CERTAIN) for moment in found])

    async def _read_again(self, state: StreamState, question: Question, when: When, meant: Span) -> list[Found]:
        """What the screen reads at the point that is meant, where that is asked for and what is read there can be the answer."""
        if self._reread is None or not asks_for_writing(question):
            return []
        point = point_of(when, state.latest, state.facts.started_at)
        if point > state.latest or (meant.start is not None and point < meant.start) or (meant.end is not None and point > meant.end):
            return []
        read_there = await self._reread(state.stream_id, point)
        fits = contains(read_there.text, question) if read_there is not None else False
        return [] if read_there is None or fits is False else [(read_there, CERTAIN if fits else READ)]

    async def _speaking(self, state: StreamState, when: When) -> _Looked:
        """What is said there, or that nobody speaks, from where to where."""
        stream_id, middle = state.stream_id, point_of(when, state.latest, state.facts.started_at)
        said = await self._store.between(stream_id, Kind.SPEECH, span=Span(middle, middle + MediaTime(1)))
        if said:
            return _Looked([(moment, CERTAIN) for moment in said])
        before = await self._store.between(stream_id, Kind.SPEECH, span=Span(end=middle), limit=1, last=True)
        after = await self._store.between(stream_id, Kind.SPEECH, span=Span(middle), limit=1)
        since = before[0].end if before else ZERO
        until = after[0].start if after else state.latest
        words = f"Nobody is heard at {middle.clock()}: nothing is said between {since.clock()} and {until.clock()}."
        return _Looked([(moment, CERTAIN) for moment in (*before, *after)], negative=words)

    async def _overview(
        self, stream_id: str, question: Question, span: Span, *, most: int = 0, anything: bool = False, last: bool = False
    ) -> list[Moment]:
        """For a question without words of its own, such as "What is on the screen?": the first of what it asks for."""
        if not anything and not question.kinds and not OVERVIEW & set(tokens(question.text)):
            return []
        most = most or (QUOTES if question.kinds else 1)
        found: list[Moment] = []
        for kind in WORDING:
            if kind in question.kinds or not question.kinds:
                moments = await self._store.between(stream_id, kind, span=span, limit=SEARCHED, last=last)
                whole = {sentence.text: sentence for sentence in (whole_sentence(each, moments) for each in moments)}
                telling = [each for each in whole.values() if _tells(each.text, question)]
                found += telling[-most:] if last else telling[:most]
        return sorted(found, key=lambda moment: (moment.start, moment.id))[:QUOTES]


def _tells(text: str, question: Question) -> bool:
    """Whether an overview may quote it; "What time is it?" has no words of its own either, and tags tell no time."""
    if UNRECOGNISED in text or (question.ask is not None and text.startswith(TAGS)):
        return False
    return contains(text, question) is not False


def _kind(question: Question) -> Kind:
    """The kind that is asked for where one alone is told: what was said, unless the wording says otherwise."""
    return next((kind for kind in WORDING if kind in question.kinds), Kind.SPEECH)


def _retrieved(found: Sequence[Found]) -> Retrieved:
    return Retrieved(evidence=[evidence_of(moment, score) for moment, score in found])


def _told(retrieval: Retrieval) -> Retrieved:
    return Retrieved(evidence=[evidence_of(found.moment, max(0.0, found.cosine)) for found in retrieval.found])


def _compose(stream_id: str, question: str, answer_id: str, looked: _Looked, model: str) -> Answer:
    found = looked.found
    answering = _worth_quoting(found)
    best = found[0][1] if found else 0.0
    answer = Answer(
        stream_id=stream_id,
        id=answer_id,
        question=question,
        supported=bool(answering),
        evidence=[evidence_of(moment, score) for moment, score in answering],
        model=model,
        confidence=best if answering else 1 - best,
    )
    if looked.negative:
        answer.text, answer.supported, answer.confidence = looked.negative, True, CERTAIN
        answer.claims.append(Claim(text=looked.negative, citations=answer.evidence))
    elif answering:
        quotes = [_quote(moment, stream_id) for moment, _ in answering]
        answer.text = " ".join(quotes)
        answer.claims.extend(Claim(text=quote, citations=[cited]) for quote, cited in zip(quotes, answer.evidence, strict=True))
    elif found and best >= NEAREST:
        quote = _quote(found[0][0], stream_id)
        answer.text = f"{UNSUPPORTED} Merely the nearest to it: {quote[0].lower()}{quote[1:]}"
    else:
        answer.text = f"{UNSUPPORTED} {looked.cause}".rstrip()
    return answer


def _worth_quoting(found: Sequence[Found]) -> list[Found]:
    """Those that answer, and nearly as surely as the best; of one picture's lines, which lend each other meaning, only the best."""
    chosen: list[Found] = []
    pictures: set[str] = set()
    for moment, score in found:
        on_screen = moment.kind is Kind.ON_SCREEN_TEXT and score < CERTAIN
        if moment.text.startswith(TAGS) and moment.source_id in pictures:
            continue  # what is written there was quoted by itself
        if score >= SUPPORTED and _odds(score) >= BESIDE_THE_BEST * _odds(found[0][1]) and not (on_screen and moment.source_id in pictures):
            chosen.append((moment, score))
            pictures |= {moment.source_id} if on_screen else set()
    return chosen[:QUOTES]


def _odds(score: float) -> float:
    return score / (1 - min(score, 0.9999))


def _quote(moment: Moment, asked: str) -> str:
    stop = "" if moment.text.endswith((".", "!", "?", "…")) else "."
    where = "" if moment.stream_id == asked else f" of {moment.stream_id}"
    return f"At {moment.start.clock()}{where} {WORDING[moment.kind]} “{moment.text}”{stop}"
