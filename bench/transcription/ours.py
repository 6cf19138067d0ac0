"""Watchword's transcribe step over a session as if it came live, on a virtual clock: how `bench.transcription` runs "ours".

Each audio chunk is there when its sound has been made, and the step is late by the processor time it takes.
"""

import asyncio
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import structlog
from watchword.v1 import events_pb2, transcript_pb2

from bench.transcription.metrics import Display, Run, Word
from bench.transcription.sessions import Session, write_wav
from pipeline.media import chunks
from pipeline.media.publish import publish
from pipeline.timeline import MediaTime
from pipeline.transcribe.model import load
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import load_detector


class Tape:
    """Takes what a publisher sends."""

    def __init__(self) -> None:
        self.audio: list[events_pb2.AudioEvent] = []

    async def publish(self, topic: str, stream_id: str, value: Any, **_: Any) -> None:
        """Keep the audio chunks."""
        if topic == "audio" and value.HasField("chunk"):
            self.audio.append(value)


class Ours:
    """The stage with the models that work out of the box."""

    name = "ours"

    def __init__(self) -> None:
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        self._model, self._vad = load(), load_detector()

    def run(self, session: Session) -> Run:
        """Hear one session with a fresh stage."""
        return asyncio.run(self._run(session))

    def close(self) -> None:
        """Let go of the models."""
        self._model.close()
        self._vad.close()

    async def _run(self, session: Session) -> Run:
        stage = Transcribe("bench", self._model, self._vad)
        displays: list[Display] = []
        clock = computed = 0.0
        for event in [*await record(session), None]:
            heard = clock if event is None else chunks.media_end(event.chunk).seconds
            clock = max(clock, heard)
            begun = time.process_time()
            displays += [
                display(output.segment, clock + time.process_time() - begun)
                async for output in (stage.flush() if event is None else stage.process(event))
                if isinstance(output, events_pb2.TranscriptEvent) and output.HasField("segment") and not output.segment.translation_of
            ]
            elapsed = time.process_time() - begun
            clock, computed = clock + elapsed, computed + elapsed
        stage.close()
        return Run(tuple(displays), computed, session.seconds)


def display(segment: transcript_pb2.TranscriptSegment, at_s: float) -> Display:
    """What a segment puts on the screen."""
    words = tuple(Word(word.text, _seconds(word.media_start), _seconds(word.media_end)) for word in segment.words)
    kept = len(words) if segment.is_final else segment.stable
    return Display(at_s, words[:kept], words[kept:], segment.is_final, segment.id)


async def record(session: Session) -> list[events_pb2.AudioEvent]:
    """The session's audio as a publisher sends it, in 16-bit samples."""
    tape = Tape()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.wav"
        write_wav(session, path)
        await publish(str(path), tape, stream_id="bench", speed=None)
    return tape.audio


def _seconds(duration: Any) -> float:
    return MediaTime.from_proto(duration).seconds
