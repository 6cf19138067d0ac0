"""Which moments may answer a question: two rankings fused, near-equal ones once, and sentences made whole."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from pipeline.memory.store import Found, Hits, Kind, Moment, Span
from pipeline.qa.words import stem, tokens
from pipeline.timeline import MediaTime

RANK_OFFSET = 60
"""The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
BY_WORDS = 0.5
"""How much a rank by words counts beside one by meaning: chosen on the sets that the weights of `support` are fitted to."""
HINTED = 1.5
"""How much more a moment counts that is of a kind which the question's wording names."""
PAUSE = MediaTime.of(1.5)
"""A sentence does not go on after a longer silence."""
LONGEST = MediaTime.of(20)
"""A sentence is not put together beyond this."""
SENTENCE_ENDS = tuple(".!?…")
ALIKE = 0.85
"""Pictures whose words are shared to this part of all of them (Jaccard) show the same once more."""
UNPUNCTUATED = 3
"""Whoever writes so many sentences without any mark between them writes none at all; then each moment is a sentence."""


def fuse(hits: Hits, kinds: Collection[Kind] = (), *, limit: int = 8) -> list[Found]:
    """The best of both rankings by reciprocal-rank fusion, the best first, each moment once."""
    scores: dict[str, float] = {}
    found: dict[str, Found] = {}
    for ranking, trust in ((hits.by_words, BY_WORDS), (hits.by_vector, 1.0)):
        for rank, hit in enumerate(ranking, start=1):
            name = f"{hit.moment.stream_id}\0{hit.moment.id}"
            found[name] = hit
            weight = trust * (HINTED if hit.moment.kind in kinds else 1.0)
            scores[name] = scores.get(name, 0.0) + weight / (RANK_OFFSET + rank)
    best = sorted(found, key=lambda name: (-scores[name], found[name].moment.start, name))
    return [found[name] for name in best[:limit]]


def distinct(found: Iterable[Found]) -> list[Found]:
    """The first of each group of pictures that are described, or lettered, nearly alike; speech stays as it is."""
    kept: list[tuple[Found, frozenset[str]]] = []
    for hit in found:
        words = frozenset(map(stem, tokens(hit.moment.text)))
        if hit.moment.kind is Kind.SPEECH or not any(other.moment.kind is hit.moment.kind and _alike(words, seen) for other, seen in kept):
            kept.append((hit, words))
    return [hit for hit, _ in kept]


def around(moment: Moment, span: Span) -> Span:
    """Where to look for the rest of a spoken sentence, within the span that was asked about."""
    start, end = moment.start - LONGEST, moment.end + LONGEST
    return Span(max(start, span.start) if span.start else start, min(end, span.end) if span.end else end)


def whole_sentence(moment: Moment, speech: Iterable[Moment]) -> Moment:
    """The moment with the speech around it that belongs to the same sentence; other kinds stand for themselves.

    A sentence goes on where a text ends without a mark and the next begins soon after. Its identity stays the moment's.
    """
    if moment.kind is not Kind.SPEECH:
        return moment
    line = sorted({other.id: other for other in (moment, *speech)}.values(), key=lambda other: (other.start, other.part))
    if len(line) >= UNPUNCTUATED and not any(_ended(other) for other in line):
        return moment
    here = line.index(moment)
    first = last = here
    while first > 0 and _goes_on(line[first - 1], line[first]) and moment.end - line[first - 1].start < LONGEST:
        first -= 1
    while last + 1 < len(line) and _goes_on(line[last], line[last + 1]) and line[last + 1].end - line[first].start < LONGEST:
        last += 1
    return joined(moment, line[first : last + 1])


def joined(moment: Moment, parts: Sequence[Moment], *, between: str = " ") -> Moment:
    """The moment with the words and the time of all the parts; its identity stays."""
    return replace(
        moment,
        text=between.join(part.text for part in parts),
        start=min((part.start for part in parts), default=moment.start),
        end=max((part.end for part in parts), default=moment.end),
    )


def _goes_on(one: Moment, following: Moment) -> bool:
    return not _ended(one) and following.start - one.end < PAUSE


def _ended(one: Moment) -> bool:
    return one.text.rstrip("\"”')").endswith(SENTENCE_ENDS)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * len(one | other)
