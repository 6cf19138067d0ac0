"""Runs over clips: of the Sample stage and of the peers, in processes of their own."""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import structlog
from watchword.v1 import events_pb2, scene_pb2

from bench.sampling.truth import Clip
from pipeline.media.publish import publish
from pipeline.sample.stage import Sample
from pipeline.timeline import MediaTime

PEERS = Path(__file__).parent / "peers"
OPENING = (scene_pb2.KEYFRAME_REASON_CUT, scene_pb2.KEYFRAME_REASON_CHANGE)


@dataclass(frozen=True)
class Run:
    """What was found in one clip, and what it cost."""

    borders: list[float]
    """When shots begin, in seconds, the first left out."""
    cpu_s: float
    frames: int
    peak_mib: float
    """Largest resident memory of the process so far."""
    keyframes: list[tuple[float, str]] = field(default_factory=list)
    versions: Mapping[str, str] = field(default_factory=dict)
    wall_s: float = 0.0


class Tape:
    """Takes what a publisher sends."""

    def __init__(self) -> None:
        self.video: list[events_pb2.VideoEvent] = []

    async def publish(self, topic: str, stream_id: str, value: Any, **_: Any) -> None:
        """Keep the video chunks, and what is missing between them."""
        if topic == "video" and value.WhichOneof("event") in ("chunk", "gap"):
            self.video.append(value)


async def record(path: Path) -> list[events_pb2.VideoEvent]:
    """The file's video as a publisher sends it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    tape = Tape()
    await publish(str(path), tape, stream_id="bench", speed=None)
    return tape.video


async def sample(events: Sequence[events_pb2.VideoEvent]) -> Run:
    """The Sample stage over the chunks; its processor time is that of all threads of this process."""
    import PIL.JpegImagePlugin  # noqa: F401  Loaded once a process, not for each stream.

    stage = Sample("bench")
    told: list[events_pb2.KeyframeEvent] = []
    frames = sum(len(event.chunk.packets) for event in events)
    begun, clock = time.process_time(), time.perf_counter()
    for event in events:
        told += [each async for each in stage.process(event)]
    told += [each async for each in stage.flush()]
    spent, wall = time.process_time() - begun, time.perf_counter() - clock
    stage.close()
    found = [each.keyframe for each in told if each.WhichOneof("event") == "keyframe"]
    starts = {
        each.scene.scene_id: MediaTime.from_proto(each.scene.media_start).seconds for each in told if each.WhichOneof("event") == "scene"
    }
    times = [MediaTime.from_proto(each.media_time).seconds for each in found]
    borders = [at for at, each in zip(times, found, strict=True) if at == starts.get(each.scene_id) and each.reason in OPENING]
    reasons = [scene_pb2.KeyframeReason.Name(each.reason).removeprefix("KEYFRAME_REASON_").lower() for each in found]
    return Run(borders, spent, frames, peak_mib(), list(zip(times, reasons, strict=True)), wall_s=wall)


def peak_mib() -> float:
    """Largest resident memory of this process so far; `getrusage` would tell that of the parent where it was larger."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024


def ours(clips: Sequence[Clip]) -> list[Run]:
    """One process for all clips; publishing is not counted."""
    lines = _lines([sys.executable, "-m", "bench.sampling.runs", *(str(clip.path) for clip in clips)])
    return [Run(**{**line, "keyframes": [tuple(each) for each in line["keyframes"]]}) for line in lines]


def peers(environment: Path, program: str, clips: Sequence[Clip], *options: str, keep: Path | None = None) -> list[Run]:
    """A program of `peers/` over the clips, in its environment; what is in `keep` already is not run again."""
    runs = []
    for clip in clips:
        kept = None if keep is None else keep / f"{'-'.join((program, *options))}.{clip.path.parent.name}.{clip.path.name}.json"
        if kept is not None and kept.exists():
            line = json.loads(kept.read_text())
        else:
            (line,) = _lines([str(environment / "bin" / "python"), str(PEERS / f"{program}.py"), *options, str(clip.path)])
            if kept is not None:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(line))
        begin = _begin(clip.path)
        runs.append(Run([begin + at for at in line["borders"]], line["cpu_s"], line["frames"], line["peak_mib"], [], line["versions"]))
    return runs


def _begin(path: Path) -> float:
    """When the video begins, in seconds of its presentation times; the peers count from there."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        return float((stream.start_time or 0) * stream.time_base) if stream is not None and stream.time_base else 0.0


def _lines(command: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=os.environ)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


async def main(paths: Sequence[str]) -> None:
    """A JSON line a clip."""
    for path in paths:
        run = await sample(await record(Path(path)))
        print(json.dumps({name: getattr(run, name) for name in ("borders", "cpu_s", "frames", "peak_mib", "keyframes")}), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
