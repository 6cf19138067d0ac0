"""What a speech model hears: words with times, and how they are compared and written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol
from unicodedata import category

from pipeline.timeline import MediaTime

UNSPACED = frozenset(["zh", "ja", "th", "lo", "my", "yue"])
"""Languages that put no spaces between words. Whisper's tokenizer cuts their text into single characters and short runs."""
_BRACKETS = frozenset("「『（《【")
"""Opening marks that need no space before them to be told from closing ones."""
CLOSING = "\"'”’)]」』）》】"
_OPENERS = "\"'“‘([{¿¡「『（《【"
_OPENING = re.compile(f"[{re.escape(_OPENERS)}]+")
_ENDS = (".", "?", "!", "…", "。", "？", "！")
_TITLES = frozenset(
    ["mr", "mrs", "ms", "dr", "prof", "st", "mt", "rev", "gen", "col", "capt", "lt", "sgt", "sen", "hon", "vs", "mme", "fr", "hr"]
)
_LATIN = re.compile(r"[a-z0-9]", re.IGNORECASE)


def spoken(text: str) -> str:
    """What of a written word is compared: letters with their marks, and digits, in lower case; empty for bare punctuation."""
    return "".join(character for character in text.lower() if character.isalnum() or category(character)[0] == "M")


def compared(text: str, *, apart: bool) -> list[str]:
    """What of a text is compared, in order: its words, or, where it has no spaces, its characters."""
    return list(spoken(text)) if apart else [word for word in map(spoken, text.split()) if word]


class Written(Protocol):
    """A word as it stands in a text."""

    @property
    def text(self) -> str:
        """With attached punctuation and no surrounding space."""
        ...

    @property
    def glued(self) -> bool:
        """Whether no space stands before it."""
        ...


@dataclass(frozen=True)
class HeardWord:
    """One word as a model heard it."""

    text: str
    """As written, with attached punctuation and no surrounding space."""
    start: MediaTime
    end: MediaTime
    probability: float
    """0 to 1."""
    tokens: tuple[int, ...] = ()
    """The tokens that the engine wrote it with, for `Passage.prefix`; empty where it does not tell."""
    glued: bool = False
    """Whether no space stands before it, as in languages that put none between words."""

    @property
    def spoken(self) -> str:
        """What is compared between hypotheses."""
        return spoken(self.text)


@dataclass(frozen=True)
class Hypothesis:
    """All the words of one stretch of audio, in order of time."""

    words: tuple[HeardWord, ...] = ()
    average_log_probability: float = 0.0
    """Mean natural log probability of the tokens; -1 is poor."""
    no_speech_probability: float = 0.0
    """The model's own probability that nobody speaks, 0 to 1."""
    ran_on: bool = False
    """The model was stopped at its limit of words for so much audio, which it seldom reaches but in a loop; false where an engine
    does not tell."""


@dataclass(frozen=True)
class Piece:
    """A run of tokens between two spaces, or a punctuation mark, with its surrounding space as the model wrote it."""

    text: str
    start: MediaTime
    end: MediaTime
    probability: float
    tokens: tuple[int, ...] = ()


def join_pieces(pieces: Iterable[Piece], *, language: str = "en") -> tuple[HeardWord, ...]:
    """Make words of a model's pieces: punctuation goes to the word it belongs to, and nothing stands alone.

    A piece without a leading space continues the word before it ("well" "-known"), but in a `language` without spaces it is a
    word, unless it goes on with Latin letters or digits, or with a vowel or tone mark. An opening mark belongs to the word after it.
    A word's probability is the mean of its spoken pieces; its time is theirs, without the punctuation's.
    """
    words: list[HeardWord] = []
    apart = language in UNSPACED
    opening, opening_spaced = "", False
    opening_tokens: tuple[int, ...] = ()
    open_word = False
    for piece in pieces:
        text = piece.text.strip()
        spaced = piece.text.startswith(" ")
        if not text:
            continue
        if not spoken(text):
            if _OPENING.fullmatch(text) and (spaced or not open_word or text[0] in _BRACKETS):
                opening_spaced = opening_spaced if opening else spaced
                opening, opening_tokens = opening + text, opening_tokens + piece.tokens
                open_word = False
            elif words and not opening and (not spaced or text[0] in ".,!?;:…%"):
                last = words[-1]
                words[-1] = replace(last, text=last.text + text, tokens=last.tokens + piece.tokens)
            continue
        goes_on = bool(words) and open_word and not spaced and not opening
        if goes_on and (not apart or category(text[0])[0] == "M" or (_LATIN.match(text) and _LATIN.match(words[-1].text[-1]))):
            last = words[-1]
            probability = (last.probability + piece.probability) / 2
            words[-1] = HeardWord(last.text + text, last.start, piece.end, probability, last.tokens + piece.tokens, last.glued)
        else:
            glued = apart and not (opening_spaced if opening else spaced)
            words.append(HeardWord(opening + text, piece.start, piece.end, piece.probability, opening_tokens + piece.tokens, glued))
        opening, opening_tokens, open_word = "", (), True
    return tuple(words)


def within(words: Iterable[HeardWord], start: MediaTime, end: MediaTime) -> tuple[HeardWord, ...]:
    """The words with their times cut to a span."""
    return tuple(
        word
        if start <= word.start and word.end <= end
        else replace(word, start=min(max(word.start, start), end), end=min(max(word.end, start), end))
        for word in words
    )


def common_start(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    return next((index for index, (word, twin) in enumerate(zip(one, other, strict=False)) if word != twin), min(len(one), len(other)))


def written(words: Iterable[Written]) -> str:
    """The words as readable text."""
    return "".join(word.text if word.glued else f" {word.text}" for word in words).strip()


def closes_sentence(text: str, following: str = "") -> bool:
    """Whether a written word closes a sentence; `following` is the next one, if it is known.

    A title or an initial does not ("Mr.", "J."), nor does what goes on in lower case ("Ask not… what").
    """
    bare = text.rstrip(CLOSING)
    if not bare.endswith(_ENDS) or following.lstrip(_OPENERS)[:1].islower():
        return False
    name = bare[:-1].lstrip(_OPENERS).lower()
    return not bare.endswith(".") or not (name in _TITLES or (len(name) == 1 and name.isalpha() and name.isascii() and name != "i"))


def ends_sentence(words: Sequence[HeardWord]) -> bool:
    """Whether the last word closes a sentence."""
    return bool(words) and closes_sentence(words[-1].text)
