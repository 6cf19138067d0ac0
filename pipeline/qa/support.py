"""Whether a moment answers a question: a few signs, weighed."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass

from pipeline.memory.store import Moment
from pipeline.qa.classes import is_kind_of
from pipeline.qa.question import COLOURS, Question, Want, contains
from pipeline.qa.words import content, stem, tokens

Similarity = Callable[[str, str], float]
"""How near two words are in meaning, at most 1."""

FROM_CONTEXT = 0.9
"""What a question's word counts that stands not in the moment but in what the moment refers to."""
POINTS_BACK = frozenset(["it", "they", "he", "she", "this", "that", "these", "those", "his", "her", "its", "their", "there"])
TAGS = "Tags:"
MANNER = re.compile(r"^\s*(?:dark, |bright, )?mostly |movement|still picture|nothing recognised|changing view")
ONE_OF_THEM = 0.95
"""What a general word counts that is met by one of its kinds: "animal" by "cat"."""
UNCOLOURED = 0.5
"""What the focus of a question about a colour is worth at most where the colour is another thing's."""
BESIDE = 3
"""So many words further a colour belongs to a thing."""
IS = frozenset(["is", "are", "was", "were"])
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


WEIGHTS = Signs(cosine=5.22, coverage=2.62, least=-0.07, focus=1.85, has=0.49, lacks=-2.41, hint=0.82)
BIAS = -6.20
"""Fitted by `python -m bench.qa.calibrate`; docs/decisions/0004-scene-memory.md says on what and how well they do."""

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
    # How sure a description is of itself ("0.95") counts nothing.
    has = contains(essence(candidate.moment.text), question)
    hint = 0.0 if not question.kinds else 1.0 if candidate.moment.kind in question.kinds else -1.0
    focus = met.get(asked.group(1), coverage) if asked else coverage
    if question.ask is not None and question.ask.want is Want.COLOUR:
        focus = 1.0 if coloured(candidate.moment.text, question.stems) else min(coverage, UNCOLOURED)
    return Signs(
        cosine=candidate.cosine,
        coverage=coverage,
        least=min(met.values(), default=0.0),
        focus=focus,
        has=float(has is True),
        lacks=float(has is False),
        hint=hint,
    )


def essence(description: str) -> str:
    """What a description made of tags (pipeline.caption.compose) recognises, without how sure it is, colours and motion."""
    if not description.startswith(TAGS):
        return description
    clauses = [clause for clause in description.removeprefix(TAGS).rstrip(".").split(";") if not MANNER.search(clause)]
    return re.sub(r"\bprobably |\bperhaps |\d\.\d+(?:, )?|[()]", "", ", ".join(clauses)).strip() or description


def coloured(text: str, stems: frozenset[str]) -> bool:
    """Whether a colour stands just before one of the words asked about, as in "an orange space suit", or after it: "the suit is orange"."""
    words = tokens(text)
    places = [place for place, word in enumerate(words) if word in COLOURS]
    named = [place for place, word in enumerate(words) if stem(word) in stems]
    pairs = [(place, name) for place in places for name in named]
    return any(0 < name - place <= BESIDE or (0 < place - name <= BESIDE and IS & set(words[name:place])) for place, name in pairs)


def score(read: Signs) -> float:
    """How sure it is that a moment with these signs answers the question, 0 to 1."""
    return 1 / (1 + math.exp(-BIAS - sum(weight * sign for weight, sign in zip(astuple(WEIGHTS), astuple(read), strict=True))))


def _met(word: str, by: Sequence[str], similarity: Similarity) -> float:
    if any(stem(word) == stem(other) for other in by):
        return 1.0
    if any(is_kind_of(other, word) for other in by):
        return ONE_OF_THEM
    return max((max(0.0, similarity(word, other)) for other in by), default=0.0)
