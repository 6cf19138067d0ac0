"""Many speakers at once, in real time: `PYTHONPATH=. python -m bench.transcription.load --media DIR [--streams 8] [--seconds 60]`.

Every stream is one reader of the manifest who speaks without end, fed chunk by chunk against the wall clock to a stage of its own;
all stages share one model, as in the transcriber. Prints how long after their end words were promised and final, by the wall clock,
how far the streams fell behind, and the processor time a second of audio.
"""

import argparse
import asyncio
import logging
import platform
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np
import structlog
from google.protobuf.message import Message
from watchword.v1 import events_pb2

from bench.transcription import sessions
from bench.transcription.endless import endless
from bench.transcription.metrics import Display, Run, Score, score
from bench.transcription.ours import display, record
from pipeline.media import chunks
from pipeline.transcribe.model import Transcriber, load
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import SpeechDetector, load_detector


@dataclass
class Stream:
    """One speaker, and what became of what was said."""

    session: sessions.Session
    audio: list[events_pb2.AudioEvent]
    behind: list[float] = field(default_factory=list)
    """Seconds from when a chunk was said until it had been dealt with."""


async def told(outputs: AsyncIterator[Message], begun: float) -> AsyncIterator[Display]:
    """What is shown, and when."""
    async for output in outputs:
        if isinstance(output, events_pb2.TranscriptEvent) and output.HasField("segment"):
            yield display(output.segment, time.monotonic() - begun)


async def speak(stream: Stream, model: Transcriber, vad: SpeechDetector, begun: float) -> Run:
    """Feed one stage as time goes by."""
    stage = Transcribe(stream.session.name, model, vad)
    displays: list[Display] = []
    for event in stream.audio:
        event.chunk.stream_id = stream.session.name
        said = chunks.media_end(event.chunk).seconds
        await asyncio.sleep(max(0.0, begun + said - time.monotonic()))
        displays += [shown async for shown in told(stage.process(event), begun)]
        stream.behind.append(time.monotonic() - begun - said)
    displays += [shown async for shown in told(stage.flush(), begun)]
    stage.close()
    return Run(tuple(displays), 0.0, stream.session.seconds)


async def measure(streams: list[Stream], model: Transcriber, vad: SpeechDetector) -> tuple[list[Run], float]:
    """Let all speak at once; what was shown, and the processor seconds that it took."""
    begun, computed = time.monotonic() + 0.5, time.process_time()
    runs = await asyncio.gather(*(speak(stream, model, vad, begun) for stream in streams))
    return list(runs), time.process_time() - computed


def pair(delays: list[float]) -> str:
    """Mean and 95th percentile."""
    return f"{np.mean(delays):.2f} / {np.percentile(delays, 95):.2f}"


def main() -> None:
    """Run, and print one line for each number of streams."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, required=True, help="a directory with a manifest.json")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--seconds", type=float, default=60)
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctranslate2", "faster-whisper", "onnxruntime", "av"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}")
    readers = sessions.load(arguments.media / "manifest.json", ["librispeech"])
    model, vad = load(), load_detector()
    for count in arguments.streams:
        # The same reader again is heard from another place on: no two streams are at the same word.
        heard = [endless(readers[n % len(readers)], arguments.seconds, first=40 * (n // len(readers))) for n in range(count)]
        streams = [Stream(session, asyncio.run(record(session))) for session in heard]
        runs, computed = asyncio.run(measure(streams, model, vad))
        total = sum((score(run, session.truth) for run, session in zip(runs, heard, strict=True)), Score())
        behind = np.concatenate([stream.behind for stream in streams])
        ends = [np.mean(stream.behind[-8:]) for stream in streams]
        print(
            f"{count} streams: {', '.join(f'{tier} {pair(total.latencies[tier])}' for tier in ('first', 'promised', 'final'))} s; "
            f"chunks dealt with after {np.mean(behind):.2f} / {np.percentile(behind, 95):.2f} s, at the end {max(ends):.2f} s; "
            f"{computed / sum(run.audio_s for run in runs):.3f} processor seconds a second of audio",
            flush=True,
        )
    model.close()
    vad.close()


if __name__ == "__main__":
    main()
