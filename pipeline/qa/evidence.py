"""From a question to the moments that may answer it, each with how sure that is."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from pipeline.memory.store import Found, Kind, Moment, SceneStore, Scope, Span, Vectors
from pipeline.qa.model import Embedder
from pipeline.qa.premise import knows, premise
from pipeline.qa.question import Question, contains, is_question
from pipeline.qa.reranker import Reranker
from pipeline.qa.retrieve import around, distinct, fuse, joined, whole_sentence
from pipeline.qa.support import (
    COMPARING,
    RERANKING,
    SUPPORTED,
    TAGS,
    Candidate,
    Signs,
    Weighing,
    essence,
    score,
    signs,
    standard,
    vocabulary,
)
from pipeline.qa.vectors import WordVectors
from pipeline.qa.words import content, stem
from pipeline.timeline import MediaTime

CANDIDATES = 8
"""How many moments are looked at closely."""
SEARCHED = 24
"""How many each of the two searches gives to choose them from."""
PLACES = 4
"""Decimal places of a score: more would tell apart what only the batching of the embedder makes different."""
FEW_LINES = 4
"""So many lines of a picture are quoted together."""
ASKS_ITSELF = 0.1
"""At most so sure is it that a sentence answers which asks something itself; what is said next may. Nor do tags that are doubted."""
RERANKED = 3
"""How many of the likeliest a reranker scores: the right one is among them in 97 of 100 questions that have an answer."""
RERANK_WITHIN_S = 2.0
"""What is not scored by then is judged as if there were no reranker."""
NEAR = MediaTime.of(6)
"""What is missing in a sentence is looked for in the sentences that are at most so far from it."""


@dataclass(frozen=True)
class Judged:
    """A moment, the signs read from it, and how sure it is that it answers the question, 0 to 1."""

    moment: Moment
    signs: Signs
    score: float


@dataclass(frozen=True)
class _Weighed:
    candidate: Candidate
    signs: Signs
    sure: float

    @classmethod
    def of(cls, candidate: Candidate, read: Signs, by: Weighing) -> "_Weighed":
        moment = candidate.moment
        asks = moment.kind is Kind.SPEECH and is_question(moment.text)
        most = ASKS_ITSELF if asks or (moment.text.startswith(TAGS) and read.doubted) else 1.0
        return cls(candidate, read, min(score(read, by), most))


@dataclass(frozen=True)
class Retrieval:
    """What the searches found for a question."""

    question: Question
    vector: Vectors
    """Of the question."""
    found: Sequence[Found]
    """The best first, near-equal pictures once."""
    span: Span
    among: Sequence[str] = ()
    """The texts of all that the searches gave, by which a word is common or rare."""


class Finder:
    """Looks for evidence in one memory with one embedder; any number of questions at a time."""

    def __init__(self, store: SceneStore, embedder: Embedder, *, reranker: Reranker | None = None) -> None:
        """With `reranker` the likeliest are scored before they are weighed."""
        self._store, self._embedder, self._reranker = store, embedder, reranker
        self._vectors = WordVectors(embedder)

    async def find(self, streams: Sequence[str], question: Question, span: Span, *, reranking: bool = True) -> list[Judged]:
        """The moments that may answer, the best first; each sentence once. `reranking=False` leaves a reranker out."""
        return await self.judge(await self.retrieve(streams, question, span), reranking=reranking)

    async def retrieve(self, streams: Sequence[str], question: Question, span: Span) -> Retrieval:
        """Search by words and by meaning; what is found may or may not answer."""
        vector = (await self._embedder.embed([question.text]))[0]
        hits = await self._store.search(Scope(tuple(streams), span=span), question.words, vector, limit=SEARCHED)
        found = distinct(fuse(hits, question.kinds, limit=2 * SEARCHED))
        return Retrieval(question, vector, found[:CANDIDATES], span, [hit.moment.text for hit in found])

    async def judge(self, retrieval: Retrieval, *, reranking: bool = True) -> list[Judged]:
        """Look at what was found closely: the best first; each sentence once."""
        weighed: Sequence[_Weighed] = await self._weigh(retrieval)
        if reranking and self._reranker is not None and weighed:
            weighed = await self._rerank(self._reranker, retrieval.question.text, weighed)
        judged = [await self._judged(each, retrieval) for each in weighed]
        return sorted(judged, key=lambda each: (-each.score, each.moment.start, each.moment.id))

    async def _weigh(self, retrieval: Retrieval) -> list[_Weighed]:
        """The candidates by comparing alone."""
        question = retrieval.question
        candidates = await self._candidates(retrieval)
        vectors = await self._vectors.of(vocabulary(question, candidates))

        def similarity(one: str, other: str) -> float:
            return float(vectors[one] @ vectors[other])

        assumed = premise(question.text)
        everything = [text for candidate in candidates for text in (candidate.moment.text, candidate.context)]
        named = knows(everything, replace(assumed, numbers=frozenset()))
        measured = standard(question, candidates, similarity, retrieval.among)
        weighed = []
        for candidate in candidates:
            counted = knows([candidate.moment.text, candidate.context], replace(assumed, names=frozenset()))
            read = signs(question, candidate, similarity, measured)
            weighed.append(_Weighed.of(candidate, read if named and counted else replace(read, doubted=1.0), COMPARING))
        return weighed

    async def _rerank(self, reranker: Reranker, question: str, weighed: Sequence[_Weighed]) -> Sequence[_Weighed]:
        """The same, the likeliest scored and weighed anew; as they were where that takes too long."""
        best = sorted(weighed, key=lambda each: -each.sure)
        likely, rest = best[:RERANKED], best[RERANKED:]
        try:
            async with asyncio.timeout(RERANK_WITHIN_S):
                near = await reranker.score(question, [each.candidate.moment.text for each in likely])
        except TimeoutError:
            structlog.get_logger(__name__).warning("question_not_reranked", reranker=reranker.name, seconds=RERANK_WITHIN_S)
            return weighed
        again = [_Weighed.of(each.candidate, replace(each.signs, reranked=one), RERANKING) for each, one in zip(likely, near, strict=True)]
        least = min(each.sure for each in again)
        # What was not scored was less likely before, and stays so.
        return [*again, *(replace(each, sure=min(each.sure, least)) for each in rest)]

    async def _judged(self, weighed: _Weighed, retrieval: Retrieval) -> Judged:
        moment = weighed.candidate.moment
        if weighed.sure >= SUPPORTED and weighed.signs.lacks:
            # What stands beside is quoted too, and makes nothing surer: a name or a number there is as often another thing's.
            moment = await self._beside(weighed.candidate, retrieval.question, retrieval.span) or moment
        return Judged(moment, weighed.signs, round(weighed.sure, PLACES))

    async def _candidates(self, retrieval: Retrieval) -> list[Candidate]:
        alike: dict[tuple[str, Kind, str, int], tuple[Moment, str, float]] = {}
        for hit in retrieval.found:
            moment, context = await self._understood(hit.moment, retrieval.question, retrieval.span)
            alike.setdefault((moment.stream_id, moment.kind, moment.text, moment.start.nanos), (moment, context, hit.cosine))
        # A moment that stands for itself has the vector that it is stored with: only the others are embedded.
        own = {hit.moment.text for hit in retrieval.found}
        texts = [_embedded(moment, context) for moment, context, _ in alike.values()]
        new = [text for text in texts if text not in own]
        vectors = dict(zip(new, await self._embedder.embed(new), strict=True)) if new else {}
        return [
            Candidate(moment, context, max(cosine, float(vectors[text] @ retrieval.vector)) if text in vectors else cosine)
            for (moment, context, cosine), text in zip(alike.values(), texts, strict=True)
        ]

    async def _understood(self, moment: Moment, question: Question, span: Span) -> tuple[Moment, str]:
        """The moment as it can be quoted, and what it refers to: the sentence before, or the other lines of the picture."""
        match moment.kind:
            case Kind.SPEECH:
                speech = await self._store.between(moment.stream_id, Kind.SPEECH, span=around(moment, span))
                whole = whole_sentence(moment, speech)
                before = [other.text for other in speech if other.end <= whole.start]
                return whole, before[-1] if before else ""
            case Kind.ON_SCREEN_TEXT:
                shown = Span(moment.start, moment.end)
                found = [
                    other
                    for kind in (Kind.ON_SCREEN_TEXT, Kind.DESCRIPTION)
                    for other in await self._store.between(moment.stream_id, kind, span=shown)
                    if other.source_id == moment.source_id
                ]
                lines = [other for other in found if other.kind is moment.kind]
                return _telling(moment, lines, question), " ".join(other.text for other in found if other.id != moment.id)
            case _:
                return moment, ""

    async def _beside(self, candidate: Candidate, question: Question, span: Span) -> Moment | None:
        """The sentence with the nearest one before or after it that has what the question wants; `None` where none has."""
        moment = candidate.moment
        if moment.kind is not Kind.SPEECH:
            return None
        near = Span(max(moment.start - NEAR, span.start) if span.start else moment.start - NEAR, moment.end + NEAR)
        speech = [other for other in await self._store.between(moment.stream_id, Kind.SPEECH, span=near) if other in span]
        having = [other for other in speech if contains(other.text, question)]
        if not having:
            return None
        nearest = min(having, key=lambda other: max(other.start - moment.end, moment.start - other.end).nanos)
        start, end = min(moment.start, nearest.start), max(moment.end, nearest.end)
        between = [other for other in speech if other.start >= start and other.end <= end]
        return joined(moment, sorted(between, key=lambda other: (other.start, other.part)))


def _embedded(moment: Moment, context: str) -> str:
    match moment.kind:
        case Kind.DESCRIPTION:
            return essence(moment.text)
        case Kind.ON_SCREEN_TEXT:
            return f"{context} {moment.text}".strip()
        case _:
            return moment.text


def _telling(moment: Moment, lines: Sequence[Moment], question: Question) -> Moment:
    """The line, with those beside it that are needed to answer.

    Where it says nothing but what the question says itself, such as a name, that is the line below it or else above. Where the
    question wants nothing else than what is written, it is all of a few lines.
    """
    if question.kinds == {moment.kind} and question.ask is None and len(lines) <= FEW_LINES:
        return joined(moment, sorted(lines, key=lambda line: line.part), between=" / ")
    if any(stem(word) not in question.stems for word in content(moment.text)):
        return moment
    ordered = sorted(lines, key=lambda line: line.part)
    places = [number for number, line in enumerate(ordered) if line.part == moment.part]
    if len(ordered) < 2 or not places:
        return moment
    here = places[0]
    pair = ordered[here : here + 2] if here + 1 < len(ordered) else ordered[here - 1 : here + 1]
    return joined(moment, pair, between=" / ")
