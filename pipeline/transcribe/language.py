"""Which language a stream is taken to be in: identified from its first speech, kept, and changed only on good evidence."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from pipeline.transcribe.audio import Samples
from pipeline.transcribe.model import LanguageGuess, Transcriber, check_language
from pipeline.transcribe.options import AUTO
from pipeline.transcribe.segmentation import RATE

_log = structlog.get_logger(__name__)

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
    """Whether it takes two sure guesses in a row for another language to change it; until then one does that is sure or likelier, and
    two of any kind."""
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
            sure = enough and best.probability >= SURE
            if best.language not in (self.language, self.rival) and best.probability < self.probability and not sure:
                return replace(self, rival=best.language)
            again = self.probability > 0 and best.language == self.language
            return Belief(best.language, best.probability, kept=again or sure)
        if best.language == self.language:
            return replace(self, probability=best.probability, rival=None)
        if best.probability < SURE:
            return replace(self, rival=None)
        if best.language == self.rival:
            return Belief(best.language, best.probability, kept=True)
        return replace(self, rival=best.language)


class Identifier:
    """What one stream's language is believed to be, and the asking."""

    def __init__(self, stream_id: str, model: Transcriber, language: str) -> None:
        """`language` is what is spoken, or `AUTO`; raises `SettingInvalid` for one that the model does not know."""
        self._stream_id = stream_id
        self._model = model
        self._identified: int | None = None
        self._asks = language == AUTO and len(model.languages) > 1
        if language != AUTO:
            check_language(model.name, language, model.languages)
        only = next(iter(model.languages)) if len(model.languages) == 1 else "en"
        self.belief = Belief(only if language == AUTO else language)

    def is_due(self, spoken: int, *, last: bool) -> bool:
        """Whether to identify now, after `spoken` samples of speech; `last` tells that what is open is closed with what is known now."""
        return self._asks and (self.belief.due(spoken, self._identified) or (last and self._identified is None))

    async def identify(self, samples: Samples, voiced: int, spoken: int) -> bool:
        """Identify the language of `samples`, of which `voiced` are speech, after `spoken` of all; whether another is believed now."""
        before = self.belief.language
        guesses = await self._model.identify(samples)
        # A server may guess a language that it cannot be asked to transcribe: that says nothing of the others.
        known = guesses if guesses and guesses[0].language in self._model.languages else ()
        self.belief = self.belief.hear(known, voiced)
        self._identified = spoken
        if self.belief.language == before:
            return False
        _log.info("language", stream=self._stream_id, language=self.belief.language, probability=round(self.belief.probability, 2))
        return True
