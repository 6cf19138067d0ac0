"""From marks to measures: accuracy, abstention, citations, retrieval, word error rate, latency."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.evaluation.marking import Given, Mark
from pipeline.evaluation.questions import Question

CONSIDERED = 5
"""The rank that recall is measured at."""


@dataclass(frozen=True)
class Asked:
    """One question, its answer and the mark for it."""

    question: Question
    given: Given
    mark: Mark
    ranks: tuple[tuple[str, int | None], ...] = ()
    """For each way of retrieving the rank of the first right moment, from 1; `None` where it was not among the first 24."""


@dataclass(frozen=True)
class Share:
    """So many of so many."""

    part: int
    whole: int

    @property
    def value(self) -> float | None:
        """The share, 0 to 1; `None` of nothing."""
        return self.part / self.whole if self.whole else None

    def __str__(self) -> str:
        return "-" if self.value is None else f"{self.value:.0%} ({self.part}/{self.whole})"


@dataclass(frozen=True)
class Abstention:
    """How well "not shown" is said: precision of those said, recall of those due."""

    precision: Share
    recall: Share


def accuracy(asked: Iterable[Asked]) -> Share:
    """How many are right; a trap is right when it is not answered."""
    marks = [each.mark for each in asked]
    return Share(sum(each.right for each in marks), len(marks))


def abstention(asked: Iterable[Asked]) -> Abstention:
    """Precision and recall of not answering."""
    rows = list(asked)
    silent = [each for each in rows if not each.mark.answered]
    due = [each for each in rows if not each.question.answerable]
    both = sum(not each.question.answerable for each in silent)
    return Abstention(Share(both, len(silent)), Share(both, len(due)))


def citations(asked: Iterable[Asked]) -> Share:
    """How many citations of answers to answerable questions stand where and what they should; those of answered traps are all wrong."""
    marks = [each.mark for each in asked if each.mark.answered]
    return Share(sum(each.cited_right for each in marks), sum(each.cited for each in marks))


def time_errors(asked: Iterable[Asked]) -> list[float]:
    """How far the first citation of each answer is from where the answer stands, in seconds."""
    return [each.mark.time_error_s for each in asked if each.mark.answered and each.mark.time_error_s is not None]


def recall_at(asked: Iterable[Asked], way: str, considered: int = CONSIDERED) -> Share:
    """How often a right moment is among the first; only questions whose evidence is known to be in the memory count."""
    ranks = [rank for each in asked for name, rank in each.ranks if name == way]
    return Share(sum(rank is not None and rank <= considered for rank in ranks), len(ranks))


def reciprocal_rank(asked: Iterable[Asked], way: str) -> float | None:
    """Mean reciprocal rank of the first right moment."""
    ranks = [rank for each in asked for name, rank in each.ranks if name == way]
    return sum(1 / rank for rank in ranks if rank) / len(ranks) if ranks else None


def percentile(values: Iterable[float | None], percent: float) -> float | None:
    """The smallest value that so many percent do not exceed; `None` of nothing."""
    known = sorted(value for value in values if value is not None)
    return known[min(len(known) - 1, max(0, math.ceil(percent / 100 * len(known)) - 1))] if known else None


def word_errors(said: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """Substituted, left out and added words by the smallest count (Levenshtein 1966), and how many were said."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, start=1):
        diagonal, row[0] = row[0], number
        for place, other in enumerate(heard, start=1):
            diagonal, row[place] = row[place], min(row[place] + 1, row[place - 1] + 1, diagonal + (word != other))
    return row[-1], len(said)
