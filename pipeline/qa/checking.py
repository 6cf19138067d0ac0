"""Whether evidence supports a sentence: its numbers, names and negations stand there, and enough of its words, or its meaning."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from watchword.v1.answer_pb2 import Evidence

from pipeline.qa.model import Embedder
from pipeline.qa.numbers import NUMERALS, joined_thousands, with_digits
from pipeline.qa.question import NAME, NOT_NAMES
from pipeline.qa.words import FUNCTION_WORDS, content, stem, tokens
from pipeline.timeline import MediaTime

ENOUGH = 0.5
"""This part of a sentence's words with meaning stands in what supports it,"""
LEAST, MEANT = 0.25, 0.6
"""or this part where the cosine of the two is so high."""
CONTRIBUTES = 0.2
"""A citation beside others holds this part of the sentence's words."""
PASSIVE = re.compile(r"\b(?:is|are|was|were|been|being|be)\b(?: \w+){1,3} by\b")
TOGETHER = frozenset(["and", "or", "with"])
NEGATIONS = frozenset(
    [
        "not",
        "no",
        "never",
        "nobody",
        "nothing",
        "none",
        "without",
        "cannot",
        "can't",
        "don't",
        "doesn't",
        "didn't",
        "isn't",
        "wasn't",
        "won't",
    ]
)
ABOUT_ITSELF = frozenset(map(stem, ("question", "answer", "evidence")))
"""What a sentence that only repeats its question says besides."""
ASKS_FOR = re.compile(r"\W*(?:(?:in|on|at|by|for|from|to|of|and) )?(?:what|who|whom|whose|where|when|why|how|which)\b", re.IGNORECASE)
"""Questions that yes or no does not answer."""
OFFERS = re.compile(r"\bor\b|\bwhich (?:one |ones )?of\b", re.IGNORECASE)
"""Questions that name what may answer them: "Who won, Ann or Bob?"."""
SPEAKS_OF_IT = frozenset(
    [
        "speaker",
        "narrator",
        "video",
        "stream",
        "picture",
        "screen",
        "scene",
        "clip",
        "text",
        "slide",
        "sign",
        "caption",
        "says",
        "said",
        "shown",
        "shows",
    ]
)
"""What an answer says about the stream itself."""


@dataclass(frozen=True)
class Statement:
    """What a sentence claims."""

    words: frozenset[str]
    """Stems of its words with meaning."""
    exact: frozenset[str]
    """Numbers, and stems of names: all of them must stand in what supports it."""
    negated: bool
    order: tuple[str, ...] = ()
    """Stems of its names in the order in which they are told, each once."""
    passive: bool = False
    """Whether something is done by somebody: "was paid by Bob"."""


def statement(text: str) -> Statement:
    """What a sentence claims, without what it says about the stream itself.

    Days and months count as names, and so does a word with meaning that a sentence begins with: it may be one.
    """
    spelled = tokens(joined_thousands(text))
    digits = {word for word in with_digits(spelled) if word.isdigit()}
    first = [word for word in spelled[:1] if not word.isdigit() and text.lstrip("\"'“‘ ")[:1].isupper()]
    named = {*(name.lower() for name in NAME.findall(text)), *first, *(word for word in spelled if word in NOT_NAMES)}
    names = {stem(name) for name in named - FUNCTION_WORDS - SPEAKS_OF_IT - set(NUMERALS)}
    words = frozenset(stem(word) for word in content(text) if word not in SPEAKS_OF_IT)
    order = tuple(dict.fromkeys(stem(word) for word in spelled if stem(word) in names))
    return Statement(words, frozenset(digits | names), bool(NEGATIONS & set(spelled)), order, PASSIVE.search(text.lower()) is not None)


def echoes(sentence: str, question: str) -> bool:
    """Whether a sentence says no more than a question that asks for something: "The question is who makes the cakes".

    Of a question that offers alternatives it says one, which answers it.
    """
    if ASKS_FOR.match(question) is None or OFFERS.search(question) is not None:
        return False
    return statement(sentence).words - ABOUT_ITSELF <= statement(question).words


async def supporting(sentence: str, cited: Sequence[Evidence], embedder: Embedder) -> list[Evidence]:
    """Those of the cited moments that support the sentence; none where they do not, even together."""
    if not cited:
        return []
    claim = statement(sentence)
    texts = [evidence.text for evidence in cited]
    vectors = np.asarray(await embedder.embed([sentence, *texts]))
    cosines = vectors[1:] @ vectors[0]
    alone = [
        _supports(claim, _held([evidence]), float(cosine)) and not turned_around(claim, evidence.text)
        for evidence, cosine in zip(cited, cosines, strict=True)
    ]
    if any(alone):
        return [evidence for evidence, supports in zip(cited, alone, strict=True) if supports]
    together = _held(cited)
    if any(turned_around(claim, text) for text in texts) or not _supports(claim, together, float(cosines.max())):
        return []
    return [evidence for evidence in cited if _part(claim.words, _held([evidence]).words) >= CONTRIBUTES]


def turned_around(claim: Statement, text: str) -> bool:
    """Whether a sentence tells two names the other way around than its evidence.

    "Ann paid Bob" is not "Bob paid Ann", but is "Bob was paid by Ann". Names told together ("Ann and Bob came") have no such order.
    """
    held = statement(text)
    plain = tokens(text)
    places = {name: [place for place, word in enumerate(plain) if stem(word) == name] for name in claim.order}
    for one, other in pairwise([name for name in claim.order if len(places[name]) == 1]):
        first, second = sorted((places[one][0], places[other][0]))
        between = plain[first + 1 : second]
        if not between or TOGETHER & set(between) or all(word in FUNCTION_WORDS for word in between):
            continue
        if (places[one][0] > places[other][0]) != (claim.passive != held.passive):
            return True
    return False


def _supports(claim: Statement, held: Statement, cosine: float) -> bool:
    if not claim.words and not claim.exact:
        return False
    if claim.exact - held.exact - held.words or claim.negated != held.negated:
        return False
    part = _part(claim.words, held.words)
    return part >= ENOUGH or (part >= LEAST and cosine >= MEANT)


def _held(evidence: Sequence[Evidence]) -> Statement:
    """What the moments say; when they are told counts as said, since an answer may tell it."""
    said = [statement(each.text) for each in evidence]
    clocks = {number for each in evidence for number in _clock(each)}
    return Statement(
        frozenset().union(*(each.words for each in said)),
        frozenset(clocks).union(*(each.exact for each in said)),
        any(each.negated for each in said),
    )


def _clock(evidence: Evidence) -> list[str]:
    times = [MediaTime.from_proto(each).clock() for each in (evidence.media_start, evidence.media_end)]
    return [number for time in times for number in tokens(time)]


def _part(words: frozenset[str], held: frozenset[str]) -> float:
    return len(words & held) / len(words) if words else 0.0
