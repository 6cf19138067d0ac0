"""Whether an answer is right, and whether what it cites stands where it says."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline.evaluation.questions import Question
from pipeline.qa.numbers import joined_thousands, with_digits
from pipeline.qa.words import content, stem, tokens

ARTICLES = frozenset(["a", "an", "the"])
SAME = {"mister": "mr", "missis": "mrs", "doctor": "dr", "okay": "ok", "percent": "%", "colour": "color", "grey": "gray"}
LOOSE_FROM = 3
"""Accepted answers of so many words with meaning are looked for word by word."""
TOLERANCE_S = 0.5
"""Times are compared to within this: word times are not better known."""


@dataclass(frozen=True)
class Citation:
    """What an answer rests on."""

    kind: str
    """ "speech", "description" or "on-screen text"; "keyframe" for a picture that was looked at."""
    text: str
    start: float
    end: float
    """In seconds of media time."""


@dataclass(frozen=True)
class Given:
    """An answer as it was given."""

    text: str
    supported: bool
    citations: tuple[Citation, ...] = ()
    confidence: float = 0.0
    first_evidence_s: float | None = None
    """Seconds from the question to the first evidence; `None` where none came."""
    first_word_s: float | None = None
    whole_s: float = 0.0
    failure: str = ""
    """Why there is no answer, where the system failed."""


@dataclass(frozen=True)
class Mark:
    """What is to be said about one answer."""

    right: bool
    """Answered with an accepted answer; for a trap: not answered."""
    answered: bool
    cited: int
    """How many citations it has."""
    cited_right: int
    """How many of them overlap the true time and hold an accepted answer or, for pictures, are of the kind asked for."""
    time_error_s: float | None
    """How far the first citation begins from the true stretch; 0 within it, `None` where either is not known."""


def normal(text: str) -> list[str]:
    """The words as they are compared: small, without articles and endings, numbers as digits."""
    words = with_digits([SAME.get(word, word) for word in tokens(joined_thousands(text)) if word not in ARTICLES])
    return [word if word.isdigit() else stem(word) for word in words]


def holds(text: str, accepted: Iterable[Sequence[str]]) -> bool:
    """Whether a text contains all parts of one of the accepted answers.

    A part is contained as it stands, or, where it has three words with meaning or more, when two thirds of these are there in any
    order: a name that was half misheard is the right name.
    """
    words = normal(text)
    return any(all(_holds(words, part) for part in parts) for parts in accepted)


def mark(question: Question, given: Given) -> Mark:
    """Mark one answer."""
    if not question.answerable:
        return Mark(not given.supported, given.supported, len(given.citations), 0, None)
    right = given.supported and holds(given.text, question.accepted)
    cited_right = sum(_cites(question, citation) for citation in given.citations)
    first = given.citations[0] if given.citations else None
    error = min((_apart(first, span) for span in question.times), default=None) if first else None
    return Mark(right, given.supported, len(given.citations), cited_right, error)


def overlaps(start: float, end: float, times: Iterable[tuple[float, float]]) -> bool:
    """Whether a stretch overlaps one of the true ones; true as well where none is known."""
    known = list(times)
    return not known or any(start < until + TOLERANCE_S and end > since - TOLERANCE_S for since, until in known)


def _cites(question: Question, citation: Citation) -> bool:
    if not overlaps(citation.start, citation.end, question.times):
        return False
    return holds(citation.text, question.accepted) or citation.kind == "keyframe"


def _apart(citation: Citation, span: tuple[float, float]) -> float:
    since, until = span
    return max(0.0, since - citation.end if citation.end < since else 0.0, citation.start - until)


def _holds(words: Sequence[str], part: str) -> bool:
    if _contains(words, normal(part)):
        return True
    meant = normal(" ".join(content(part)))
    return len(meant) >= LOOSE_FROM and sum(word in words for word in meant) >= len(meant) * 2 / 3


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    return bool(part) and any(list(words[at : at + len(part)]) == list(part) for at in range(len(words) - len(part) + 1))
