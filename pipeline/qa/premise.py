"""What a question takes for granted: the names and numbers in it, which a moment must know that is to answer it."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from pipeline.qa.numbers import joined_thousands, with_digits
from pipeline.qa.question import NAME, NOT_NAMES
from pipeline.qa.words import FUNCTION_WORDS, tokens

MISHEARD = 0.75
"""Names so alike (Ratcliff and Obershelp's ratio) may be one that was heard wrongly."""
TITLES = frozenset(["mr", "mrs", "ms", "mister", "missis", "doctor", "dr", "professor", "sir", "lord", "lady", "king", "queen"])


@dataclass(frozen=True)
class Premise:
    """Names and numbers of a question."""

    names: frozenset[str]
    """In small letters, titles left out."""
    numbers: frozenset[str]
    """As digits."""


def premise(question: str) -> Premise:
    """Its capitalised words but the first, and its numbers of two digits and more: "one" and "3" are said of anything."""
    names = {name.lower() for name in NAME.findall(question)} - NOT_NAMES - FUNCTION_WORDS - TITLES
    first = next(iter(tokens(question)), "")
    numbers = {word for word in with_digits(tokens(joined_thousands(question))) if word.isdigit() and len(word) > 1}
    return Premise(frozenset(names - {first}), frozenset(numbers))


def knows(texts: Iterable[str], what: Premise) -> bool:
    """Whether all the names stand in the texts, perhaps misheard, and all the numbers."""
    words = [word for text in texts for word in tokens(joined_thousands(text))]
    numbers = set(with_digits(words))
    if not what.numbers <= numbers | set(words):
        return False
    return all(any(_alike(name, word) for word in words) for name in what.names)


def _alike(name: str, word: str) -> bool:
    return name == word or (len(word) > 2 and SequenceMatcher(None, name, word).ratio() >= MISHEARD)
