"""A stretch of speech to sentences, each with its own times, so that what is cited is short."""

from collections.abc import Sequence

from pipeline.memory.store import Word
from pipeline.qa.words import word_list
from pipeline.timeline import MediaTime

LONGEST = MediaTime.of(12)
"""A longer sentence is parted at its longest pause."""
FEWEST_WORDS = 4
"""A part of a parted sentence has at least this many words."""
ABBREVIATIONS = word_list("mr. mrs. ms. dr. prof. st. mt. no. vs. etc. e.g. i.e. a.m. p.m. u.s. u.k. jr. sr. approx. fig.")


Timed = Word
"""One word or several with the time at which they were said."""


def sentences(text: str, words: Sequence[Timed], start: MediaTime, end: MediaTime) -> list[Timed]:
    """Part a segment's text into sentences.

    The text is what counts. The words give the times where there is one for each word of the text; otherwise, as for a
    text in which several words were replaced by one mark, each sentence has the time of the whole segment.
    """
    written = text.split()
    if not written:
        return []
    if len(written) != len(words):
        return [Timed(" ".join(group), start, end) for group in _group(written)]
    timed = [Timed(word, heard.start, heard.end) for word, heard in zip(written, words, strict=True)]
    parts: list[Timed] = []
    for group in _group(written):
        parts += [_join(part) for part in _part(timed[: len(group)])]
        timed = timed[len(group) :]
    return parts


def parted(parts: Sequence[Timed], words: Sequence[Timed]) -> list[tuple[Timed, ...]]:
    """The words of each sentence, in order; none at all where the words are not those of the text, as of one that was masked."""
    bare = ["".join(part.text.split()) for part in parts]
    heard = ["".join(word.text.split()) for word in words]
    if "".join(bare) != "".join(heard):
        return [() for _ in parts]
    own: list[tuple[Timed, ...]] = []
    at = 0
    for text in bare:
        first, left = at, len(text)
        while left > 0 and at < len(heard):
            left -= len(heard[at])
            at += 1
        own.append(tuple(words[first:at]))
    return own


def _group(written: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = [[]]
    for index, word in enumerate(written):
        groups[-1].append(word)
        following = written[index + 1] if index + 1 < len(written) else ""
        if following and _ends_sentence(word) and not following[0].islower():
            groups.append([])
    return groups


def _ends_sentence(word: str) -> bool:
    bare = word.rstrip("\"”')]")
    is_initial = len(bare) == 2 and bare[0].isupper() and bare[1] == "."
    return bare.endswith((".", "!", "?", "…")) and bare.lower() not in ABBREVIATIONS and not is_initial


def _part(words: list[Timed]) -> list[list[Timed]]:
    if words[-1].end - words[0].start <= LONGEST or len(words) < 2 * FEWEST_WORDS:
        return [words]
    cuts = range(FEWEST_WORDS, len(words) - FEWEST_WORDS + 1)
    middle = len(words) / 2
    cut = max(cuts, key=lambda at: (words[at].start - words[at - 1].end, words[at - 1].text.endswith((",", ";", ":")), -abs(at - middle)))
    return _part(words[:cut]) + _part(words[cut:])


def _join(words: Sequence[Timed]) -> Timed:
    return Timed(" ".join(word.text for word in words), words[0].start, words[-1].end)
