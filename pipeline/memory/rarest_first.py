"""BM25 over the whole of a large SQLite memory, without ranking every moment that has a common word.

FTS5 looks up the length of each moment that it ranks, 0.4 µs of a core for each, and an ordinary word is in a fifth of a million.
So moments with two of the words or more are ranked first, word by word from the rarest: those that have it and any more common
one. Each is found with all its words where its rarest is asked for, and so has its true score. Moments with a single
one of the words are ranked for rare words, and for more common ones only while there are too few.
"""

from collections.abc import Sequence

from pipeline.memory.database import Session

CHEAP = 20_000
"""Of a word that so many moments have, or fewer, all are ranked, those too that have no other word."""
MOST = 50_000
"""So many moments are ranked at once: of a word that more have, which alone is asked for, the best of the first so many."""

COUNT = f"SELECT count(*) FROM (SELECT 1 FROM words WHERE words MATCH :words LIMIT {MOST})"
RANKED = f"""
SELECT id, score FROM (SELECT rowid AS id, bm25(words) AS score FROM words WHERE words MATCH :words LIMIT {MOST})
ORDER BY score, id LIMIT :limit
"""


def ranked(db: Session, words: Sequence[str], limit: int) -> dict[int, float]:
    """The scores of the best moments by their ids, at least `limit` where there are so many; `words` are quoted for FTS5."""
    counts = {word: int(db.rows(COUNT, {"words": word})[0][0]) for word in words}
    rarest_first = sorted(words, key=lambda word: counts[word])
    found: dict[int, float] = {}

    def take(match: str) -> None:
        for number, score in db.rows(RANKED, {"words": match, "limit": limit}):
            # A moment's score by some of its words is never better than by all of them.
            found[number] = min(score, found.get(number, 0.0))

    for place, word in enumerate(rarest_first[:-1]):
        take(f"{word} AND ({' OR '.join(rarest_first[place + 1 :])})")
    for word in rarest_first:
        if counts[word] > CHEAP and len(found) >= limit:
            break
        take(word)
    return found
