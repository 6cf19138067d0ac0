"""Asking a speech model, with what is known: the words and the text before, the language, the guards."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe import context, guards, segmentation
from pipeline.transcribe.audio import Run, media_time, sample_at
from pipeline.transcribe.guards import Admitted, Span
from pipeline.transcribe.level import raised
from pipeline.transcribe.model import LONGEST, Passage, Task, Transcriber
from pipeline.transcribe.options import Options
from pipeline.transcribe.segmentation import RATE, Rules, Stretch
from pipeline.transcribe.stability import continuation
from pipeline.transcribe.words import HeardWord, Hypothesis


@dataclass(frozen=True)
class Manner:
    """How a passage is heard."""

    beam: int
    """Hypotheses at once."""
    silence: int
    """Samples of silence that are heard anew behind the audio."""


QUICK = Manner(5, RATE * 2)
"""Greedy partials erred three points more often and were taken back twice as much."""
CAREFUL = Manner(5, RATE * 5)
"""8 erred as often, corrected a quarter less of what was promised, and cost a tenth more; with less silence they erred more."""
_ALONE = Manner(5, RATE * 15)
"""What led the model astray is left away, and nothing else is spared."""
_BEFORE = MediaTime(NANOS // 10)
"""How long before a known word hearing begins: its first sound may be earlier than its alignment says."""
_SHORT_REACH = context.Reach(MediaTime.of(2), MediaTime.of(4))
"""What is heard again where a segment leaves no room for more."""
_HEARINGS = 4
"""How often one stretch of audio is heard, at most, when the model stops early."""
_KEPT = 2 * context.PROMPT_WORDS
"""Words of finals that are kept: more than are heard again and prompted with."""


class Hearing:
    """What is remembered of one stream's finals, and how a segment is heard in their light."""

    def __init__(self, stream_id: str, model: Transcriber, options: Options, rules: Rules) -> None:
        self._stream_id = stream_id
        self._model = model
        self._options = options
        self._rules = rules
        self._reach = context.Reach(*(media_time(samples) for samples in rules.known))
        self.forget()

    def forget(self) -> None:
        """Nothing was said before."""
        self._said: tuple[HeardWord, ...] = ()
        self._quick_from: MediaTime | None = None
        self._whole_from: MediaTime | None = None
        self._prompted = True

    def keep(self, words: Sequence[HeardWord]) -> None:
        """A final has these words."""
        self._said = (*self._said, *words)[-_KEPT:]

    @property
    def needed_from(self) -> int | None:
        """The sample from which audio may be heard again; `None` if only what is open is."""
        begins = [
            context.beginning(self._said, self._quick_from, self._reach),
            context.beginning(self._said, self._whole_from, self._reach),
        ]
        return min((sample_at(begin - _BEFORE) for begin in begins if begin is not None), default=None)

    async def quickly(
        self,
        run: Run,
        start: int,
        end: int,
        stable: Sequence[HeardWord],
        speech: Sequence[Stretch],
        language: str,
        tentative: Sequence[HeardWord] = (),
    ) -> Admitted:
        """The words behind the `stable` ones of the segment from sample `start` to `end`; for a partial.

        They are the `tentative` ones, which are on the screen, where these are as likely as others.
        """
        known = (*self._said, *stable) if self._model.continues else ()
        self._quick_from = context.beginning(known, self._quick_from, self._reach)
        first, prefix = self._opening(run, start, known, self._quick_from)
        prompt = self._prompt(known or self._said, prefix)
        hypothesis = await self._ask(run, first, end, prefix, prompt, QUICK, language, expected=tuple(tentative))
        if len(prefix) > len(stable) and self._is_deaf(hypothesis, prefix, speech):
            alone = await self._ask(run, start, end, tuple(stable), "", QUICK, language)
            if _is_better(alone, hypothesis):
                first, prefix, hypothesis = start, tuple(stable), alone
        if not self._model.continues:
            hypothesis = replace(hypothesis, words=hypothesis.words[continuation(stable, hypothesis.words) :])
        return _admitted(hypothesis, _known_to(prefix, first), end, speech)

    async def whole(
        self, run: Run, start: int, end: int, stable: Sequence[HeardWord], speech: Sequence[Stretch], language: str, *, manner: Manner
    ) -> Admitted:
        """All words of the segment from sample `start` to `end`, preferably with the `stable` ones.

        `CAREFUL` for a final; `QUICK` on trial, to see if the segment can be closed.

        A hypothesis that goes round in circles, or says next to nothing although someone speaks, is heard once more by itself,
        and what was said before is forgotten, so that it leads no other one astray. What the model leaves out because it stops
        early is heard again.
        """
        known = self._said if self._model.continues else ()
        begin = self._whole_from = context.beginning(known, self._whole_from, self._reach)
        if begin is not None and end - sample_at(begin - _BEFORE) > LONGEST:
            begin = context.beginning(known, None, _SHORT_REACH)
        first, prefix = self._opening(run, start, known, begin)
        prompt = self._prompt(self._said, prefix)
        hypothesis = await self._ask(run, first, end, prefix, prompt, manner, language, expected=tuple(stable))
        admitted = _admitted(hypothesis, _known_to(prefix, first), end, speech)
        self._prompted = not guards.is_looping(hypothesis) and "too_fast" not in admitted.refused
        refused = Counter(admitted.refused)
        if not self._prompted or self._is_deaf(hypothesis, prefix, speech):
            alone = await self._ask(run, start, end, (), None, _ALONE, language)
            found = _admitted(alone, start, end, speech)
            loops = not self._prompted
            if _is_better(alone, hypothesis) or (loops and (not guards.is_looping(alone) or len(found.words) > len(admitted.words))):
                self.forget()
                admitted = found
                refused += Counter(found.refused)
        words = admitted.words
        for _ in range(_HEARINGS - 1):
            again = segmentation.unheard_from(sample_at(words[-1].end), speech, self._rules) if words else None
            if again is None or end - again < self._rules.minimum_speech:
                break
            more = _admitted(await self._ask(run, again, end, (), None, manner, language), again, end, speech)
            refused += Counter(more.refused)
            if not more.words:
                break
            words += more.words
        return Admitted(words, dict(refused))

    async def translated(self, run: Run, start: int, end: int, speech: Sequence[Stretch], language: str) -> Admitted:
        """What is said from sample `start` to `end`, in English."""
        hypothesis = await self._ask(run, start, end, (), None, CAREFUL, language, Task.TRANSLATE)
        return _admitted(hypothesis, start, end, speech)

    def _opening(self, run: Run, start: int, known: Sequence[HeardWord], begin: MediaTime | None) -> tuple[int, tuple[HeardWord, ...]]:
        """The first sample to hear, and the words that are known from there on."""
        if begin is None:
            return start, ()
        prefix = tuple(word for word in known if word.start >= begin)
        return max(run.start, sample_at(begin - _BEFORE)), prefix

    def _prompt(self, said: Sequence[HeardWord], prefix: Sequence[HeardWord]) -> str:
        """What was said before the prefix, unless that led a final astray the last time."""
        return context.prompt(said if self._prompted else (), prefix[0].start if prefix else None)

    def _is_deaf(self, hypothesis: Hypothesis, prefix: Sequence[HeardWord], speech: Sequence[Stretch]) -> bool:
        """Whether next to nothing is heard behind the prefix, though someone speaks there.

        A decoder that was led to the end of a sentence takes another voice behind it for the end of all.
        """
        known = sample_at(prefix[-1].end) if prefix else 0
        spoken = sum(stretch.end - max(stretch.start, known) for stretch in speech if stretch.end > known)
        return spoken >= self._rules.unheard and guards.amount(hypothesis.words) < guards.SLOWEST * spoken / RATE

    async def _ask(
        self,
        run: Run,
        start: int,
        end: int,
        prefix: tuple[HeardWord, ...],
        prompt: str | None,
        manner: Manner,
        language: str,
        task: Task = Task.TRANSCRIBE,
        expected: tuple[HeardWord, ...] = (),
    ) -> Hypothesis:
        """What the model makes of the audio from sample `start` to `end`; without a prompt no term of the glossary leads it either."""
        if end - start > LONGEST:
            start, prefix = end - LONGEST, ()
        samples = raised(run.samples(start, end))
        start_time = media_time(start)
        return await self._model.transcribe(
            Passage(
                samples,
                start_time,
                prefix,
                expected,
                "" if prompt is None else context.terms(self._options.glossary),
                prompt or "",
                language,
                task,
                manner.beam,
                silence=manner.silence,
                stream=self._stream_id,
            )
        )


def _is_better(alone: Hypothesis, led: Hypothesis) -> bool:
    """Whether what is heard without being led says more, and is no mere guess."""
    return len(alone.words) > len(led.words) and alone.average_log_probability > guards.POOR and not guards.is_looping(alone)


def _known_to(prefix: Sequence[HeardWord], first: int) -> int:
    """The sample from which words are asked for, in a passage that begins with sample `first`."""
    return max(first, sample_at(prefix[-1].end)) if prefix else first


def _admitted(hypothesis: Hypothesis, start: int, end: int, speech: Sequence[Stretch]) -> Admitted:
    heard = Span(media_time(start), media_time(end))
    spans = [Span(media_time(stretch.start), media_time(min(stretch.end, end))) for stretch in speech if stretch.start < end]
    return guards.admit(hypothesis, heard, [span for span in spans if span.end > heard.start])
