"""Whether a moment answers a question: a few signs, weighed."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from pipeline.memory.store import Moment
from pipeline.qa.question import Question, contains
from pipeline.qa.words import content, stem, tokens

Similarity = Callable[[str, str], float]
"""How near two words are in meaning, at most 1."""

FROM_CONTEXT = 0.9
"""What a question's word counts that stands not in the moment but in what the moment refers to."""
POINTS_BACK = frozenset(["it", "they", "he", "she", "this", "that", "these", "those", "his", "her", "its", "their", "there"])
FOCUS = re.compile(r"\b(?:how (?:many|much)|which|what)\s+(\w+)")


@dataclass(frozen=True)
class Candidate:
    """A moment that may answer a question."""

    moment: Moment
    context: str
    """What the moment needs to be understood, such as the sentence before "It opens on Monday."; may be empty."""
    cosine: float
    """Of the question and the moment, alone or with its context, whichever is nearer."""


@dataclass(frozen=True)
class Signs:
    """What speaks for and against a candidate, each about 0 to 1, `hint` -1 to 1."""

    cosine: float
    """How near it is to the question in meaning."""
    coverage: float
    """How well the question's words are met by its words, on average."""
    least: float
    """How well the question's worst met word is met: a train is not a bus."""
    focus: float
    """How well the word right after "how many", "what" or "which" is met; without one, the coverage."""
    has: float
    """1 where it contains what the question wants: a time for "when", a name for "who"."""
    lacks: float
    """1 where it does not contain that."""
    hint: float
    """1 where it is of a kind that the question names ("what does the sign say"), -1 where of another, 0 where none is named."""


WEIGHTS = Signs(cosine=4.45, coverage=2.36, least=0.43, focus=1.99, has=0.99, lacks=-2.63, hint=0.76)
BIAS = -5.90
"""Fitted by `python -m pipeline.qa.calibrate`; docs/decisions/0004-scene-memory.md says on what and how well they do."""

SUPPORTED = 0.5
"""From this score on a moment answers the question."""


def points_back(text: str) -> bool:
    """Whether a sentence begins with a word that stands for something said before."""
    return next(iter(tokens(text)), "") in POINTS_BACK


def vocabulary(question: Question, candidates: Sequence[Candidate]) -> list[str]:
    """Every word whose likeness to another will be asked for, each once."""
    texts = (f"{candidate.moment.text} {candidate.context}" for candidate in candidates)
    return list(dict.fromkeys([*question.words, *(word for text in texts for word in content(text))]))


def signs(question: Question, candidate: Candidate, similarity: Similarity) -> Signs:
    """Read the signs; `similarity` is asked only for pairs of words of `vocabulary`."""
    own, context = content(candidate.moment.text), content(candidate.context)
    met = {
        word: max(_met(word, own, similarity), FROM_CONTEXT * _met(word, context, similarity)) if context else _met(word, own, similarity)
        for word in question.words
    }
    coverage = sum(met.values()) / max(len(met), 1)
    asked = FOCUS.search(question.text.lower())
    has = contains(candidate.moment.text, question)
    hint = 0.0 if not question.kinds else 1.0 if candidate.moment.kind in question.kinds else -1.0
    return Signs(
        cosine=candidate.cosine,
        coverage=coverage,
        least=min(met.values(), default=0.0),
        focus=met.get(asked.group(1), coverage) if asked else coverage,
        has=float(has is True),
        lacks=float(has is False),
        hint=hint,
    )


def score(read: Signs) -> float:
    """How sure it is that a moment with these signs answers the question, 0 to 1."""
    return 1 / (1 + math.exp(-BIAS - sum(weight * sign for weight, sign in zip(astuple(WEIGHTS), astuple(read), strict=True))))


def _met(word: str, by: Sequence[str], similarity: Similarity) -> float:
    if any(stem(word) == stem(other) for other in by):
        return 1.0
    return max((max(0.0, similarity(word, other)) for other in by), default=0.0)
