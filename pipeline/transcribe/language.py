"""Which language a stream is taken to be in: identified from its first speech, kept, and changed only on good evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.transcribe.model import LanguageGuess
from pipeline.transcribe.segmentation import RATE

FIRST = RATE * 3 // 2
"""Samples of speech after which the language is identified for the first time."""
ENOUGH = RATE * 4
"""Samples of speech that it is identified from, at least, to be kept at once; from less, two guesses must agree."""
AGAIN = RATE * 12
"""Samples of speech after which it is identified again."""
SURE = 0.8
"""Probability from which one guess is enough to keep a language, or to speak for another one."""


@dataclass(frozen=True)
class Belief:
    """What is known of a stream's language."""

    language: str
    """BCP 47."""
    probability: float = 0.0
    """That it is the language spoken, 0 to 1; 0 while nothing was identified."""
    kept: bool = False
    """Whether it takes two sure guesses in a row for another language to change it; until then one guess does."""
    rival: str | None = None
    """The language that the latest guess spoke for instead."""

    def due(self, speech: int, identified: int | None) -> bool:
        """Whether to identify, with `speech` samples of it heard, the latest time after `identified` of them."""
        if identified is None:
            return speech >= FIRST
        if not self.kept:
            return identified < ENOUGH <= speech or speech - identified >= ENOUGH
        return speech - identified >= (ENOUGH if self.rival else AGAIN)

    def hear(self, guesses: Sequence[LanguageGuess], speech: int) -> "Belief":
        """What is believed after guesses, the likeliest first, from the latest of `speech` samples."""
        if not guesses:
            return self
        best = guesses[0]
        enough = speech >= ENOUGH
        if not self.kept:
            again = self.probability > 0 and best.language == self.language
            return Belief(best.language, best.probability, kept=again or (enough and best.probability >= SURE))
        if best.language == self.language:
            return replace(self, probability=best.probability, rival=None)
        if best.probability < SURE:
            return replace(self, rival=None)
        if best.language == self.rival:
            return Belief(best.language, best.probability, kept=True)
        return replace(self, rival=best.language)
