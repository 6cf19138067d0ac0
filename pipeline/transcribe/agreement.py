"""Which words of a growing hypothesis will not be taken back: LocalAgreement-2.

A word is stable when two hypotheses in a row, the later one of more audio, begin with it and everything before it; words
are compared without case and punctuation. Stable words are append-only. Source: Liu, Spanakis, Niehues, "Low-latency
sequence-to-sequence speech recognition and translation by partial hypothesis selection", Interspeech 2020, section 3;
Machacek, Dabre, Bojar, "Turning Whisper into real-time transcription system", 2023.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.transcribe.words import HeardWord


@dataclass(frozen=True)
class Agreement:
    """What is settled, and what the latest hypothesis goes on with."""

    stable: tuple[HeardWord, ...] = ()
    tentative: tuple[HeardWord, ...] = ()

    @property
    def words(self) -> tuple[HeardWord, ...]:
        """The stable words and, after them, the tentative ones."""
        return self.stable + self.tentative


def agree(before: Agreement, hypothesis: Sequence[HeardWord]) -> Agreement:
    """Take in the next hypothesis, which is of the whole segment so far."""
    rest = tuple(hypothesis[continuation(before.stable, hypothesis) :])
    count = 0
    for old, new in zip(before.tentative, rest, strict=False):
        if old.spoken != new.spoken:
            break
        count += 1
    return Agreement(before.stable + rest[:count], rest[count:])


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
