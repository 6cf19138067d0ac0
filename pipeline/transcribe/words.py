"""What a speech model hears: words with times, and how they are compared and written."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline.timeline import MediaTime

_OPENING = re.compile(r"[\"'“‘(\[{¿¡]+")
_UNSPOKEN = re.compile(r"[^\w]+")


def spoken(text: str) -> str:
    """What of a written word is compared: letters and digits in lower case; empty for bare punctuation."""
    return _UNSPOKEN.sub("", text.lower())


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


def join_pieces(pieces: Iterable[Piece]) -> tuple[HeardWord, ...]:
    """Make words of a model's pieces: punctuation goes to the word it belongs to, and nothing stands alone.

    A piece without a leading space continues the word before it ("well" "-known"), an opening mark belongs to the word
    after it. A word's probability is the mean of its spoken pieces; its time is theirs, without the punctuation's.
    """
    words: list[HeardWord] = []
    opening = ""
    opening_tokens: tuple[int, ...] = ()
    open_word = False
    for piece in pieces:
        text = piece.text.strip()
        spaced = piece.text.startswith(" ")
        if not text:
            continue
        if not _UNSPOKEN.sub("", text):
            if _OPENING.fullmatch(text) and (spaced or not open_word):
                opening, opening_tokens = opening + text, opening_tokens + piece.tokens
                open_word = False
            elif words and not opening and (not spaced or text[0] in ".,!?;:…%"):
                last = words[-1]
                words[-1] = replace(last, text=last.text + text, tokens=last.tokens + piece.tokens)
            continue
        if words and open_word and not spaced and not opening:
            last = words[-1]
            probability = (last.probability + piece.probability) / 2
            words[-1] = HeardWord(last.text + text, last.start, piece.end, probability, last.tokens + piece.tokens)
        else:
            words.append(HeardWord(opening + text, piece.start, piece.end, piece.probability, opening_tokens + piece.tokens))
        opening, opening_tokens, open_word = "", (), True
    return tuple(words)


def common_start(one: Sequence[str], other: Sequence[str]) -> int:
    """How many words both begin with."""
    return next((index for index, (word, twin) in enumerate(zip(one, other, strict=False)) if word != twin), min(len(one), len(other)))


def written(words: Sequence[HeardWord]) -> str:
    """The words as readable text."""
    return " ".join(word.text for word in words)


def ends_sentence(words: Sequence[HeardWord]) -> bool:
    """Whether the last word closes a sentence."""
    return bool(words) and words[-1].text.rstrip("\"'”’)]").endswith((".", "?", "!", "…"))
