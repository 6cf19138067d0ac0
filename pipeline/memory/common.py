"""Words that many moments have, left out of a search by words that has rarer ones.

FTS5 counts a word in the whole file before it ranks one moment by it, which takes the longer the more common the word is,
while BM25 gives a word that a quarter of all moments have next to nothing. How common words are is told by a sample, taken
anew whenever there is twice as much as at the last, or half. What is common in one stream may be rare in another: where too
little is found without such words, moments that have them fill up the list.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate

from pipeline.memory.database import Session
from pipeline.memory.filling import STREAM_BITS
from pipeline.memory.folding import folded

FEW = 50_000
"""With so many moments or fewer every word is counted fast enough."""
SAMPLE = 512
COMMON = 0.25
"""The share of moments from which on a word is common: in BM25 it weighs 1.1 there, where a rare one weighs 10."""


class CommonWords:
    """What is known about the words of one file; for use by several threads."""

    def __init__(self, *, few: int = FEW) -> None:
        """`few` moments are too few to leave anything out."""
        self._few = few
        self._known: tuple[int, dict[str, int]] = (0, {})

    def is_few(self, db: Session) -> bool:
        """Whether there are so few moments that all of them can be looked at."""
        return _moments(db) <= self._few

    def without(self, db: Session, words: Sequence[str]) -> list[str]:
        """The words, each once, but for the common ones; where all are common, the rarest of them."""
        once = list(dict.fromkeys(words))
        moments = _moments(db)
        if moments <= self._few or len(once) < 2:
            return once
        if not self._known[0] < 2 * moments < 4 * self._known[0]:
            self._known = (moments, _sampled(db))
        common = self._known[1]
        return [word for word in once if folded(word) not in common] or [min(once, key=lambda word: common[folded(word)])]


def _moments(db: Session) -> int:
    return int(db.rows("SELECT coalesce(sum(moments), 0) FROM streams")[0][0])


def _sampled(db: Session) -> dict[str, int]:
    """The words that are in many of `SAMPLE` moments, spread evenly over all, and in how many."""
    streams = [row for row in db.rows("SELECT no, moments, handed_out FROM streams ORDER BY no") if row[1]]
    ends = list(accumulate(moments for _, moments, _ in streams))
    seen: Counter[str] = Counter()
    for place in range(SAMPLE):
        rank = place * ends[-1] // SAMPLE
        index = bisect_right(ends, rank)
        no, moments, handed_out = streams[index]
        # Ids are handed out in turn, and some of them are gone.
        at = (no << STREAM_BITS) + (rank - ends[index] + moments) * handed_out // moments
        values = {"at": at, "end": (no + 1) << STREAM_BITS}
        for (text,) in db.rows("SELECT text FROM moments WHERE id >= :at AND id < :end ORDER BY id LIMIT 1", values):
            seen.update(set(folded(text).split()))
    return {word: many for word, many in seen.items() if many >= COMMON * SAMPLE}
