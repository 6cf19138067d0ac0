"""Which moments may answer a question: two rankings fused, and sentences made whole."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from pipeline.memory.store import Found, Hits, Kind, Moment, Span
from pipeline.timeline import MediaTime

RANK_OFFSET = 60
"""The constant of reciprocal-rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009)."""
HINTED = 1.5
"""How much more a moment counts that is of a kind which the question's wording names."""
PAUSE = MediaTime.of(1.5)
"""A sentence does not go on after a longer silence."""
LONGEST = MediaTime.of(20)
"""A sentence is not put together beyond this."""
SENTENCE_ENDS = tuple(".!?…")


def fuse(hits: Hits, kinds: Collection[Kind] = (), *, limit: int = 8) -> list[Found]:
    """The best of both rankings by reciprocal-rank fusion, the best first, each moment once."""
    scores: dict[str, float] = {}
    found: dict[str, Found] = {}
    for ranking in (hits.by_words, hits.by_vector):
        for rank, hit in enumerate(ranking, start=1):
            found[hit.moment.id] = hit
            weight = HINTED if hit.moment.kind in kinds else 1.0
            scores[hit.moment.id] = scores.get(hit.moment.id, 0.0) + weight / (RANK_OFFSET + rank)
    best = sorted(found.values(), key=lambda hit: (-scores[hit.moment.id], hit.moment.start, hit.moment.id))
    return best[:limit]


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
    here = line.index(moment)
    first = last = here
    while first > 0 and _goes_on(line[first - 1], line[first]) and moment.end - line[first - 1].start < LONGEST:
        first -= 1
    while last + 1 < len(line) and _goes_on(line[last], line[last + 1]) and line[last + 1].end - line[first].start < LONGEST:
        last += 1
    parts = line[first : last + 1]
    return replace(moment, text=" ".join(part.text for part in parts), start=parts[0].start, end=parts[-1].end)


def _goes_on(one: Moment, following: Moment) -> bool:
    return not one.text.rstrip("\"”')").endswith(SENTENCE_ENDS) and following.start - one.end < PAUSE
