"""Which words of a growing hypothesis are promised.

Two things tell that a word will not be taken back: that hypotheses of more and more audio go on having it (LocalAgreement:
Liu, Spanakis, Niehues, "Low-latency sequence-to-sequence speech recognition and translation by partial hypothesis
selection", Interspeech 2020, section 3), and that it lies well before the end of the audio (AlignAtt: Papi, Turchi, Negri,
Interspeech 2023, section 2). Neither is enough alone: a small model agrees with itself on half a word at the edge, and is
wrong about an unlikely word however long it waits. So how far a word must lie from the edge depends on how probable it is
and on how many hypotheses in a row had it. The distances were read off what became of 1,600 words (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from pipeline.timeline import MediaTime
from pipeline.transcribe.words import HeardWord, ends_sentence

Distances = tuple[tuple[float, float], ...]
"""From the highest probability down: the least probability, and how many seconds before the audio does a word must end."""


@dataclass(frozen=True)
class Trust:
    """When a word is promised; times are in seconds of audio."""

    new: Distances = ((0.9, 0.15), (0.8, 0.2), (0.7, 0.4), (0.6, 0.6), (0.4, 1.0))
    """For a word that no hypothesis had before."""
    repeated: Distances = ((0.8, 0.15), (0.6, 0.3), (0.4, 0.45), (0.2, 0.65), (0.0, 0.9))
    """For one that the hypothesis before had too."""
    confirmed: Distances = ((0.6, 0.15), (0.4, 0.3), (0.2, 0.5), (0.0, 0.8))
    """For one that at least two had before."""
    overdue: float = 1.6
    """A word that ended this long ago is promised whatever it is, unless it is the last one."""
    sentence: float = 0.8
    """How long what follows the end of a sentence is kept back, at most, while the segment may be closed there."""

    def distance(self, word: HeardWord, seen: int) -> float | None:
        """How far it must end before the audio does; `None` if it is not to be promised yet, however far."""
        rows = (self.new, self.repeated, self.confirmed)[min(seen, 2)]
        return next((distance for probability, distance in rows if word.probability >= probability), None)


TRUST = Trust()
"""What the stage goes by unless it is told otherwise."""


@dataclass(frozen=True)
class Tentative:
    """A word that is not promised yet."""

    word: HeardWord
    seen: int
    """How many hypotheses in a row, before the latest, had it and everything before it."""


@dataclass(frozen=True)
class Standing:
    """What is promised of a segment, and what the latest hypothesis goes on with."""

    stable: tuple[HeardWord, ...] = ()
    tentative: tuple[Tentative, ...] = ()

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """The stable words and, after them, the tentative ones."""
        return self.stable + tuple(entry.word for entry in self.tentative)


def take(before: Standing, following: Sequence[HeardWord], now: MediaTime, trust: Trust = TRUST, *, may_close: bool = False) -> Standing:
    """Take in the next hypothesis: the words that follow the stable ones in the audio up to `now`.

    `may_close` tells that the segment may soon be closed at the end of a sentence: what follows one is kept back for a while,
    so that the final that closes it has all words that were promised.
    """
    known = [(entry.word.spoken, entry.seen) for entry in before.tentative]
    tentative: list[Tentative] = []
    agreed = True
    for index, word in enumerate(following):
        agreed = agreed and index < len(known) and known[index][0] == word.spoken
        tentative.append(Tentative(word, known[index][1] + 1 if agreed else 0))
    count = 0
    for index, entry in enumerate(tentative):
        margin = (now - entry.word.end).seconds
        distance = trust.distance(entry.word, entry.seen)
        overdue = margin >= trust.overdue and index < len(tentative) - 1
        if not overdue and (distance is None or margin < distance):
            break
        promised = (*before.stable, *(earlier.word for earlier in tentative[:index]))
        if may_close and ends_sentence(promised) and (now - promised[-1].end).seconds < trust.sentence:
            break
        count = index + 1
    return Standing(before.stable + tuple(entry.word for entry in tentative[:count]), tuple(tentative[count:]))


def continuation(stable: Sequence[HeardWord], hypothesis: Sequence[HeardWord]) -> int:
    """How many leading words of `hypothesis` say what `stable` says, so that neither a word is repeated nor one lost.

    That is the prefix of `hypothesis` with the fewest word edits from `stable`; among equals the one nearest to the same
    number of words, then the longer one, for a repeated word reads worse than a missing one.
    """
    heard = [word.spoken for word in hypothesis]
    edits = list(range(len(heard) + 1))
    for row, word in enumerate(stable, start=1):
        spoken = word.spoken
        diagonal, edits[0] = edits[0], row
        for column, other in enumerate(heard, start=1):
            substituted = diagonal + (spoken != other)
            diagonal = edits[column]
            edits[column] = min(substituted, edits[column] + 1, edits[column - 1] + 1)
    return min(range(len(edits)), key=lambda count: (edits[count], abs(count - len(stable)), -count))


def corrects(stable: Sequence[HeardWord], final: Sequence[HeardWord]) -> bool:
    """Whether a final changes words that were called stable, other than in case and punctuation."""
    return [word.spoken for word in stable] != [word.spoken for word in final[: len(stable)]]


def corrections(stable: Sequence[HeardWord], final: Sequence[HeardWord]) -> list[int]:
    """Which words of a final stand for others that had been called stable; where one was left out, the word beside it."""
    before = [word.spoken for word in stable]
    after = [word.spoken for word in final[: continuation(stable, final)]]
    changed: set[int] = set()
    for kind, _, _, start, end in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "delete":
            changed.add(min(start, len(after) - 1))
        elif kind != "equal":
            changed.update(range(start, end))
    return sorted(index for index in changed if index >= 0)
