"""BM25 in PostgreSQL, over the moments that have a rare word; those that have frequent words alone are looked at only if they could win.

PostgreSQL's `ts_rank` knows nothing of how rare a word is, and to rank all moments with "the" in them takes long. What a word can
add to a score has a limit, so once enough moments score higher than all frequent words together can add, no other can be
among the best (Turtle and Flood, "Query evaluation: strategies and optimizations", 1995).

A word is indexed as a number that also tells its stream: a list of the index is then as long as one stream makes it,
however many streams there are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from pipeline.memory.database import Row, Session, Values
from pipeline.memory.filling import STREAM_BITS

K1, B = 1.2, 0.75
"""BM25's constants (Robertson and Zaragoza 2009), as FTS5 has them."""
RANKED = 2_000
"""Words are rare as long as no more moments than this have them, all in all."""
SAMPLE = 200
"""How many of the moments tell how long one usually is."""
MOST_RANKED = 20_000
"""The most moments with frequent words alone that are looked at."""

HASHED = "ARRAY(SELECT hashtextextended(l.lexeme, {no}) FROM unnest({words}) l, unnest(l.positions) p)"
"""The words of a `tsvector` of a stream as they are indexed, each as often as it is there; hash partitions keep this hash what it is."""

PARTS = """
SELECT a.place, l.lexeme FROM json_array_elements_text(CAST(:words AS json)) WITH ORDINALITY a(word, place),
    unnest(to_tsvector('stemmed', a.word)) l
"""
STREAMS = f"no >= CAST(:low AS bigint) >> {STREAM_BITS} AND no <= (CAST(:high AS bigint) - 1) >> {STREAM_BITS}"
WHOLE = f"""
SELECT CAST((SELECT sum(moments) FROM streams WHERE {STREAMS}) AS double precision), CAST(avg(cardinality(m.indexed)) AS double precision)
FROM (SELECT indexed FROM moments WHERE id >= :low AND id < :high ORDER BY id LIMIT {SAMPLE}) m
"""
HAVING = f"""
m.indexed && ARRAY(SELECT hashtextextended(l.lexeme, s.no) FROM streams s, unnest({{lexemes}}) l(lexeme) WHERE {STREAMS})
"""
LEXEMES = "(CAST(:lexemes AS text[]))"
TIMES = f"CAST(cardinality(array_positions(m.indexed, hashtextextended({LEXEMES}[{{place}}], m.stream))) AS double precision)"
COUNTED = "SELECT CAST({number} AS integer), count(*) FROM moments m WHERE {having} AND {where}"
FOUND = """
SELECT m.id, m.start_ns, m.kind, m.part, CAST(cardinality(m.indexed) AS double precision) AS long, {times}
FROM moments m WHERE {having} AND {where} LIMIT {most}
"""
FITTED = f"(CAST({K1 * (1 - B)} AS double precision) + CAST({K1 * B} AS double precision) * long / CAST(:usual AS double precision))"
ADDED = f"(CAST(:weights AS double precision[]))[{{number}}] * times{{number}} / (times{{number}} + {FITTED})"
SCORED = """
SELECT id, -({score}) AS score, start_ns FROM ({found}) f WHERE {some} ORDER BY score, start_ns, kind, part LIMIT :limit
"""


@dataclass(frozen=True)
class _Word:
    """A word that is asked for; one such as "well-known" has several parts, which count where all of them are there."""

    parts: tuple[int, ...]
    """Places of its lexemes among all, from 1."""
    moments: int = 0
    """How many in scope have it."""
    most: float = 0.0
    """What it adds to a score at most."""

    @property
    def times(self) -> str:
        """An SQL expression: how often a moment has it."""
        times = [TIMES.format(place=place) for place in self.parts]
        return times[0] if len(times) == 1 else f"least({', '.join(times)})"


def rank(db: Session, words: str, where: str, values: Values, limit: int) -> list[Row]:
    """Id, score and start of the moments that have any of the words, the best first; less is better.

    `words` is a JSON list, `where` what else must hold of a moment `m`, and `values` its values with `low` and `high`, the range of ids.
    """
    found: dict[int, list[str]] = {}
    for place, lexeme in db.rows(PARTS, {"words": words}):
        found.setdefault(place, []).append(lexeme)
    lexemes = sorted({lexeme for parts in found.values() for lexeme in parts})
    asked = {tuple(lexemes.index(lexeme) + 1 for lexeme in parts): None for parts in found.values()}
    known = {**values, "lexemes": lexemes, "limit": limit}
    many, usual = db.rows(WHOLE, known)[0]
    words_there = _counted(db, [_Word(parts) for parts in asked], many or 0.0, where, known)
    known |= {"weights": [word.most for word in words_there], "usual": max(usual or 1.0, 1.0)}
    rare = _rare(words_there)
    rows = _scored(db, words_there, rare, where, known)
    others = sum(word.most for word in words_there[rare:])
    if others and (len(rows) < limit or -rows[-1][1] < others):
        rows = _scored(db, words_there, len(words_there), where, known)
    return rows


def _counted(db: Session, words: Sequence[_Word], many: float, where: str, values: Values) -> list[_Word]:
    """The words that are there, the rarest of `many` moments first."""
    if not words:
        return []
    counting = []
    for number, word in enumerate(words):
        whole = f"{where} AND {word.times} > 0" if len(word.parts) > 1 else where
        having = HAVING.format(lexemes=f"{LEXEMES}[{word.parts[0]}:{word.parts[0]}]")
        counting.append(COUNTED.format(number=number, having=having, where=whole))
    found = [
        _Word(words[number].parts, count, (K1 + 1) * math.log(1 + (max(many - count, 0) + 0.5) / (count + 0.5)))
        for number, count in db.rows(" UNION ALL ".join(counting), values)
        if count
    ]
    return sorted(found, key=lambda word: (word.moments, word.parts))


def _rare(words: Sequence[_Word]) -> int:
    """How many of the words, the rarest first, no more than `RANKED` moments have."""
    sums = accumulate(word.moments for word in words)
    return sum(moments <= RANKED for moments in sums)


def _scored(db: Session, words: Sequence[_Word], first: int, where: str, values: Values) -> list[Row]:
    """The best of the moments that have any of the first words, scored by all of them."""
    if not first:
        return []
    times = ", ".join(f"{word.times} AS times{number}" for number, word in enumerate(words, 1))
    places = ", ".join(f"{LEXEMES}[{word.parts[0]}]" for word in words[:first])
    found = FOUND.format(times=times, having=HAVING.format(lexemes=f"ARRAY[{places}]"), where=where, most=MOST_RANKED)
    numbers = range(1, len(words) + 1)
    score = " + ".join(ADDED.format(number=number) for number in numbers)
    some = " OR ".join(f"times{number} > 0" for number in numbers)
    return db.rows(SCORED.format(score=score, found=found, some=some), values)
