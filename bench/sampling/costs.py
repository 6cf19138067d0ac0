"""What sampling costs: processor time against plain decoding and against PySceneDetect, and memory, each in a fresh process."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import product
from pathlib import Path

import av
import numpy as np
from watchword.v1 import events_pb2

from bench.priority import ordinary_priority
from bench.sampling import synthetic
from bench.sampling.runs import PEERS, Run, peak_mib, record, sample
from pipeline.timeline import MediaTime

SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
CODECS = {
    "H.264": ("libx264", {"preset": "veryfast", "crf": "23"}),
    "HEVC": ("libx265", {"preset": "ultrafast", "crf": "26", "x265-params": "log-level=none:pools=1:frame-threads=1"}),
    "VP9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "34", "b": "0"}),
    "AV1": ("libsvtav1", {"preset": "12", "crf": "40", "svtav1-params": "lp=1"}),
}
SECONDS = {"720p": 12, "1080p": 8, "4K": 4}
RATE = 25


def clip(folder: Path, shows: str, codec: str, size: str) -> Path:
    """25 frames a second: `lively`, of shots that pan, zoom and hold things that move, or `still`, a head that speaks."""
    path = folder / f"{shows}-{synthetic.VERSION}-{codec}-{size}.mkv"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    encoder, options = CODECS[codec]
    rng = np.random.default_rng(5)
    small, made = (960, 540), synthetic.Plan(grain=2)
    if shows == "still":
        made.add(synthetic.speaker(rng, small), SECONDS[size])
    for camera in ("shake", "pan", "zoom", "rest") * (2 * (shows == "lively")):
        made.add(synthetic.shot(rng, small, 3, camera, 2), 3)
    made.seconds = SECONDS[size]
    with ordinary_priority(), av.open(str(path), "w") as container:
        track = container.add_stream(encoder, rate=RATE)
        track.width, track.height = SIZES[size]
        track.pix_fmt = "yuv420p"
        track.codec_context.thread_count = 1
        track.codec_context.gop_size = 2 * RATE
        track.options = options
        for picture in synthetic.frames(made, small, Fraction(RATE), rng):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(*SIZES[size], format="yuv420p")
            container.mux(track.encode(frame))
        container.mux(track.encode(None))
    return path


def measure(path: Path, what: str) -> dict[str, float]:
    """Processor time of all threads, time on the wall and peak memory of this process for one clip: `decode` or `ours`."""
    if what == "decode":
        frames = 0
        with av.open(str(path)) as container:
            packets = list(container.demux(video=0))
            context = container.streams.video[0].codec_context
            context.thread_type, context.thread_count = "NONE", 1
            begun, clock = time.process_time(), time.perf_counter()
            for packet in packets:
                frames += len(context.decode(packet))
            spent, wall = time.process_time() - begun, time.perf_counter() - clock
        return {"cpu_s": spent, "wall_s": wall, "frames": frames, "peak_mib": peak_mib()}
    run = asyncio.run(_sampled(path))
    return {"cpu_s": run.cpu_s, "wall_s": run.wall_s, "frames": run.frames, "peak_mib": run.peak_mib}


async def _sampled(path: Path) -> Run:
    return await sample(await record(path))


def _fresh(command: list[str], best_of: int) -> dict[str, float]:
    runs = []
    for _ in range(best_of):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        runs.append(json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith("{"))))
    return min(runs, key=lambda run: run["cpu_s"])


def table(folder: Path, peers: Path | None, best_of: int = 2) -> Iterator[str]:
    """Costs by codec and size, a line of Markdown at a time.

    Demuxing and publishing are counted for the peers only, which cannot be fed packets.
    """
    head = ["shows", "codec", "size", "decode ms", "ours ms", "ours / decode", "ours, wall", "decode MiB", "ours MiB"]
    head += ["adaptive ms", "content ms", "theirs, wall", "theirs MiB", "ours / their mean"]
    yield _line(head)
    yield _line(["---"] * len(head))
    for shows, size, codec in product(("still", "lively"), SIZES, CODECS):
        path = clip(folder, shows, codec, size)
        mine = {what: _fresh([sys.executable, "-m", "bench.sampling.costs", what, str(path)], best_of) for what in ("decode", "ours")}
        ms = {what: 1000 * run["cpu_s"] / run["frames"] for what, run in mine.items()}
        cells = [
            shows,
            codec,
            size,
            f"{ms['decode']:.2f}",
            f"{ms['ours']:.2f}",
            f"{ms['ours'] / ms['decode']:.2f}",
            f"{_wall(mine['ours']):.2f}",
            *(f"{mine[what]['peak_mib']:.0f}" for what in ("decode", "ours")),
        ]
        if peers is not None:
            others, walls, peaks = [], [], []
            for detector in ("adaptive", "content"):
                run = _fresh(
                    [str(peers / "bin" / "python"), str(PEERS / "pyscenedetect.py"), detector, "--defaults", str(path)], best_of - 1 or 1
                )
                if not run["frames"]:
                    break  # its OpenCV decodes no such thing
                others.append(1000 * run["cpu_s"] / run["frames"])
                walls.append(_wall(run))
                peaks.append(run["peak_mib"])
            if len(others) < 2:
                yield _line([*cells, *[""] * (len(head) - len(cells))])
                continue
            cells += [*(f"{other:.2f}" for other in others), f"{sum(walls) / 2:.2f}", f"{max(peaks):.0f}"]
            cells.append(f"{ms['ours'] / (sum(others) / 2):.2f}")
        yield _line(cells + [""] * (len(head) - len(cells)))


def _wall(run: dict[str, float]) -> float:
    """Milliseconds a frame."""
    return 1000 * run["wall_s"] / run["frames"]


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def still(folder: Path, seconds: float) -> str:
    """A still 720p picture for so long, fed chunk by chunk: twenty seconds of it, again and again at later times."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"still-{synthetic.VERSION}.mp4"
    if not path.exists():
        rng = np.random.default_rng(5)
        picture = np.asarray(synthetic.backdrop(rng, (1280, 720)))
        with av.open(str(path), "w") as container:
            track = container.add_stream("libx264", rate=RATE)
            track.width, track.height, track.pix_fmt = 1280, 720, "yuv420p"
            track.codec_context.gop_size = 10 * RATE
            track.options = {"preset": "veryfast", "crf": "23", "bf": "0"}
            for _ in range(20 * RATE):
                container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(track.encode(None))
    once = asyncio.run(record(path))
    events = []
    for round_ in range(round(seconds / 20)):
        for event in once:
            later = events_pb2.VideoEvent()
            later.CopyFrom(event)
            later.chunk.media_offset.CopyFrom(MediaTime.of(20 * round_).to_proto())
            later.chunk.sequence = len(events)
            events.append(later)
    run = asyncio.run(sample(events))
    return (
        f"still, 720p25 H.264, {seconds:.0f} s: {run.cpu_s:.1f} s of processor time, {100 * run.cpu_s / seconds:.2f} % of a core; "
        f"{len(run.keyframes)} keyframes, {run.peak_mib:.0f} MiB with the stream in memory"
    )


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[2]), sys.argv[1])))
