"""Who speaks when in one stream, and where segments begin.

In silence the detector hears the latest audio from a fresh state, so that nothing older matters. From where someone speaks it
goes on, with one state and one amplification, until everything is forgotten.
"""

from dataclasses import dataclass

from pipeline.transcribe import segmentation
from pipeline.transcribe.audio import Run
from pipeline.transcribe.level import gain, is_silent
from pipeline.transcribe.segmentation import FRAME, RATE, Rules, Speech, Stretch
from pipeline.transcribe.vad import SpeechDetector, VadState

_GRID = RATE // 50
"""Segments start on multiples of 20 ms: where a container rounds its times, a stage that starts late hears everything up to
half a millisecond shifted, and should call a segment the same all the same."""


def on_grid(sample: int) -> int:
    """The last multiple of 20 ms that is not behind the sample."""
    return sample // _GRID * _GRID


@dataclass
class Memory:
    """What is known since everything was forgotten last; positions are absolute sample numbers."""

    since: int
    """Where it begins."""
    speech: Speech
    closed: int
    """Up to where finals reach."""
    vad: VadState
    gain: float
    """By what the sound is multiplied for the detector."""

    @property
    def now(self) -> int:
        """Up to where the detector has heard."""
        return self.speech.heard


class Listener:
    """One stream's detector of speech, with what it remembers."""

    def __init__(self, vad: SpeechDetector, rules: Rules) -> None:
        """`vad` may be shared between streams."""
        self._vad = vad
        self._rules = rules
        self.memory: Memory | None = None
        self.voiced = 0
        """Samples of speech that were heard so far."""

    def forget(self) -> None:
        """Nobody has spoken."""
        self.memory = None

    async def begin(self, run: Run) -> int | None:
        """Hear the run from a fresh state, and remember it if a segment starts in it: where that is."""
        samples = run.samples(run.start, run.end)
        if is_silent(samples):
            return None
        factor = gain(samples)
        probabilities, vad = await self._vad.probabilities((samples * factor)[: len(samples) // FRAME * FRAME], None)
        speech = Speech(run.start, self._rules)
        voiced = speech.hear(probabilities)
        start = segmentation.segment_start(speech.after(run.start), run.start, self._rules)
        if start is None:
            return None
        self.voiced += voiced
        self.memory = Memory(run.start, speech, run.start, vad, factor)
        return on_grid(start) if on_grid(start) >= run.start else on_grid(start) + _GRID

    async def go_on(self, run: Run) -> Memory:
        """Hear what the run has that was not heard."""
        memory = self.memory
        assert memory is not None
        start = memory.now
        samples = run.samples(start, start + (run.end - start) // FRAME * FRAME)
        probabilities, memory.vad = await self._vad.probabilities(samples if memory.gain == 1 else samples * memory.gain, memory.vad)
        self.voiced += memory.speech.hear(probabilities)
        return memory

    def next_start(self) -> int | None:
        """Where the segment starts that follows what is closed, if one does."""
        assert self.memory is not None
        return segmentation.segment_start(self.memory.speech.after(self.memory.closed), self.memory.closed, self._rules)

    def is_over(self) -> bool:
        """Whether it has been silent for so long, or so much is remembered, that all is forgotten."""
        memory = self.memory
        assert memory is not None
        latest = max([memory.closed, *(stretch.end for stretch in memory.speech.after(memory.closed))])
        return memory.now - latest >= self._rules.hold or memory.now - memory.since >= self._rules.remember_at_most

    def speech(self, start: int) -> list[Stretch]:
        """Where there is speech behind a sample."""
        assert self.memory is not None
        return self.memory.speech.after(start)
