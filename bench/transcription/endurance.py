"""Hours of one stream: `PYTHONPATH=. python -m bench.transcription.endurance --media DIR [--hours 2]`.

A reader who says the same over and over, on the virtual clock of `ours.py`. Prints for each ten minutes how long after their end
words were promised and final, the processor time a second of audio, and how much memory the process holds: none may grow.
"""

import argparse
import asyncio
import logging
import platform
import resource
import time
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import structlog
from watchword.v1 import events_pb2, media_pb2

from bench.transcription import sessions
from bench.transcription.metrics import Display, Run, Truth, score
from bench.transcription.ours import display, record
from pipeline.media import chunks
from pipeline.transcribe.model import load
from pipeline.transcribe.stage import Transcribe
from pipeline.transcribe.vad import load_detector

WINDOW_S = 600.0


async def repeat(session: sessions.Session, seconds: float) -> AsyncIterator[events_pb2.AudioEvent]:
    """The session's chunks again and again, as one stream that goes on."""
    recorded = list(await record(session))
    length = sum(packet.duration for event in recorded for packet in event.chunk.packets)
    sequence = turn = 0
    while True:
        for event in recorded:
            chunk = media_pb2.MediaChunk()
            chunk.CopyFrom(event.chunk)
            for packet in chunk.packets:
                packet.pts += turn * length
                packet.dts += turn * length
            chunk.sequence = sequence
            sequence += 1
            if chunks.media_end(chunk).seconds > seconds:
                return
            yield events_pb2.AudioEvent(chunk=chunk)
        turn += 1


async def listen(session: sessions.Session, seconds: float) -> None:
    """Hear it all, and print a line for each ten minutes."""
    model, vad = load(), load_detector()
    stage = Transcribe("bench", model, vad)
    displays: list[Display] = []
    clock = computed = shown = 0.0
    window = 0
    async for event in repeat(session, seconds):
        heard = chunks.media_end(event.chunk).seconds
        clock = max(clock, heard)
        begun = time.process_time()
        displays += [
            display(output.segment, clock + time.process_time() - begun)
            async for output in stage.process(event)
            if isinstance(output, events_pb2.TranscriptEvent) and output.HasField("segment")
        ]
        elapsed = time.process_time() - begun
        clock, computed = clock + elapsed, computed + elapsed
        if heard >= (window + 1) * WINDOW_S:
            report(session, displays, window, computed - shown)
            shown, displays, window = computed, [], window + 1
    if displays:  # the last chunk ends a little before the end
        report(session, displays, window, computed - shown)
    stage.close()
    model.close()
    vad.close()


def report(session: sessions.Session, displays: list[Display], window: int, computed: float) -> None:
    """The line of one window."""
    # Before anything is scored, since that takes memory itself.
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc").is_dir() else 0
    memory = f"{pages * resource.getpagesize() / 2**20:.0f} MiB"
    start = window * WINDOW_S
    words = []
    for turn in range(int(start // session.seconds), int((start + WINDOW_S) // session.seconds) + 1):
        for word in session.truth.words:
            begin, end = (time_s + turn * session.seconds for time_s in (word.start_s or 0.0, word.end_s or 0.0))
            if start <= begin and end <= start + WINDOW_S:
                words.append(type(word)(word.text, begin, end))
    result = score(Run(tuple(displays), computed, start + WINDOW_S), Truth(" ".join(word.text for word in words), tuple(words)))
    delays = {tier: result.latencies[tier] for tier in ("promised", "final")}
    figures = ", ".join(f"{tier} {np.mean(times):.2f} / {np.percentile(times, 95):.2f} s" for tier, times in delays.items())
    print(f"to {(start + WINDOW_S) / 60:.0f} min: {figures}, {computed / WINDOW_S:.3f} processor seconds a second, {memory}", flush=True)


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--media", type=Path, required=True, help="a directory with a manifest.json")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--session", default="1688", help="the session that is repeated")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    versions = ", ".join(f"{name} {version(name)}" for name in ("ctranslate2", "onnxruntime", "av"))
    print(f"{platform.machine()}, Python {platform.python_version()}, {versions}")
    (session,) = sessions.load(arguments.media / "manifest.json", [arguments.session])
    asyncio.run(listen(session, arguments.hours * 3600))


if __name__ == "__main__":
    main()
