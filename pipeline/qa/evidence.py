"""From a question to the moments that may answer it, each with how sure that is."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.memory.store import Found, Kind, Moment, SceneStore, Scope, Span, Vectors
from pipeline.qa.model import Embedder
from pipeline.qa.question import Question
from pipeline.qa.retrieve import around, fuse, whole_sentence
from pipeline.qa.support import Candidate, Signs, points_back, score, signs, vocabulary

CANDIDATES = 8
"""How many moments are looked at closely."""
SEARCHED = 24
"""How many each of the two searches gives to choose them from."""
REMEMBERED_WORDS = 5000
"""Words whose vectors are kept; 1.5 kB each."""
PLACES = 4
"""Decimal places of a score: more would tell apart what only the batching of the embedder makes different."""


@dataclass(frozen=True)
class Judged:
    """A moment, the signs read from it, and how sure it is that it answers the question, 0 to 1."""

    moment: Moment
    signs: Signs
    score: float


class Finder:
    """Looks for evidence in one memory with one embedder; any number of questions at a time."""

    def __init__(self, store: SceneStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._words: OrderedDict[str, Vectors] = OrderedDict()

    async def find(self, stream_id: str, question: Question, span: Span) -> list[Judged]:
        """The moments that may answer, the best first; each sentence once."""
        vector = (await self._embedder.embed([question.text]))[0]
        hits = await self._store.search(Scope((stream_id,), span=span), question.words, vector, limit=SEARCHED)
        candidates = await self._candidates(fuse(hits, question.kinds, limit=CANDIDATES), vector, span)
        vectors = await self._vectors(vocabulary(question, candidates))

        def similarity(one: str, other: str) -> float:
            return float(vectors[one] @ vectors[other])

        read = [(candidate.moment, signs(question, candidate, similarity)) for candidate in candidates]
        judged = [Judged(moment, sign, round(score(sign), PLACES)) for moment, sign in read]
        return sorted(judged, key=lambda each: (-each.score, each.moment.start, each.moment.id))

    async def _candidates(self, found: Sequence[Found], question: Vectors, span: Span) -> list[Candidate]:
        alike: dict[tuple[Kind, str, int], tuple[Moment, str, float]] = {}
        for hit in found:
            moment, context = await self._understood(hit.moment, span)
            alike.setdefault((moment.kind, moment.text, moment.start.nanos), (moment, context, hit.cosine))
        texts = [f"{context} {moment.text}".strip() for moment, context, _ in alike.values()]
        vectors = await self._embedder.embed(texts)
        return [
            Candidate(moment, context, max(cosine, float(vector @ question)))
            for (moment, context, cosine), vector in zip(alike.values(), vectors, strict=True)
        ]

    async def _understood(self, moment: Moment, span: Span) -> tuple[Moment, str]:
        """The moment as a whole sentence, and what it refers to: the sentence before, or the other lines of the picture."""
        match moment.kind:
            case Kind.SPEECH:
                speech = await self._store.between(moment.stream_id, Kind.SPEECH, span=around(moment, span))
                whole = whole_sentence(moment, speech)
                before = [other.text for other in speech if other.end <= whole.start]
                return whole, before[-1] if before and points_back(whole.text) else ""
            case Kind.ON_SCREEN_TEXT:
                lines = await self._store.between(moment.stream_id, moment.kind, span=Span(moment.start, moment.end))
                return moment, " ".join(line.text for line in lines if line.source_id == moment.source_id and line.part != moment.part)
            case _:
                return moment, ""

    async def _vectors(self, words: Sequence[str]) -> dict[str, Vectors]:
        unknown = [word for word in words if word not in self._words]
        vectors = {word: self._words[word] for word in words if word in self._words}
        if unknown:
            vectors.update(zip(unknown, np.asarray(await self._embedder.embed(unknown)), strict=True))
        for word in words:
            self._words[word] = vectors[word]
            self._words.move_to_end(word)
        while len(self._words) > REMEMBERED_WORDS:
            self._words.popitem(last=False)
        return vectors
