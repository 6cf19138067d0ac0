"""What it costs to see what happens in a stream, against decoding all of it, by what the stream shows and its codec.

    python -m bench.decoding                      # clips made on the spot: 720p25 in H.264, and other sizes and codecs
    python -m bench.decoding --only head,lively --seconds 40
    python -m bench.decoding clips/a.mp4 clips/b.webm
    python -m bench.decoding --streams 40 --only "head 720p x264 gop 50"

For each clip, in one process of its own: CPU time of decoding every packet with PyAV on one thread and nothing else; CPU
time of the whole sampling stage over the same packets in chunks of a quarter of a second (packets looked at, decoded where
needed, thumbnails, choice, JPEGs of the keyframes); their ratio; the share of a core that the stage takes in real time;
the packets that were decoded, probes and wakes; keyframes and the longest time between two; and the peak of the process's
memory, less what it had before the first packet. With `--streams` so many streams of the same clip are sampled side by side
in one process, a chunk of each in turn: the share of a core that each takes, how many one core carries, and memory a stream.
The clips are made with numpy and FFmpeg's encoders in `--folder`, once.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from watchword.v1 import events_pb2, media_pb2

from bench.priority import ordinary_priority
from pipeline.timeline import MediaTime

Image_ = NDArray[np.float32]


@dataclass(frozen=True)
class Clip:
    """What is shown and how it is coded."""

    shows: str
    codec: str = "libx264"
    width: int = 1280
    height: int = 720
    gop: int = 50
    noise: float = 2.0
    """Standard deviation of the sensor's noise, in levels of 255."""
    camera: bool = False
    """Whether it is coded as cameras do: constant bit rate, no B-frames."""

    @property
    def name(self) -> str:
        """What it is called in the table."""
        rate = " constant bit rate" if self.camera else ""
        return f"{self.shows} {self.height}p {self.codec.removeprefix('lib')} gop {self.gop}{rate}"


CLIPS = [
    Clip("corridor"),
    Clip("head"),
    Clip("slides"),
    Clip("lively"),
    Clip("pan"),
    Clip("walk"),
    Clip("corridor", gop=25),
    Clip("head", gop=25),
    Clip("head", gop=100),
    Clip("head", gop=250),
    Clip("head", gop=100_000),
    Clip("corridor", camera=True, noise=3.0),
    Clip("head", camera=True, noise=3.0),
    Clip("head", width=1920, height=1080),
    Clip("lively", width=1920, height=1080),
    Clip("head", codec="libx265"),
    Clip("lively", codec="libx265"),
    Clip("head", codec="libvpx-vp9"),
    Clip("lively", codec="libvpx-vp9"),
    Clip("head", codec="libsvtav1"),
    Clip("lively", codec="libsvtav1"),
    Clip("head", width=3840, height=2160),
    Clip("lively", width=3840, height=2160),
]


def _texture(rng: np.random.Generator, height: int, width: int, cell: int) -> Image_:
    small = rng.integers(30, 225, size=(height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)).astype(np.float32)


def _room(seed: int, height: int, width: int) -> Image_:
    rng = np.random.default_rng(seed)
    return 0.6 * _texture(rng, height, width, 160) + 0.25 * _texture(rng, height, width, 40) + 0.15 * _texture(rng, height, width, 8)


def _page(seed: int, height: int, width: int) -> Image_:
    rng = np.random.default_rng(seed)
    page = np.full((height, width, 3), 245, np.float32)
    for _ in range(60):
        top, left, length = rng.integers(20, height - 30), rng.integers(20, width // 2), rng.integers(40, width // 2)
        for column in range(0, length, 9):
            page[top : top + 12, left + column : left + column + rng.integers(2, 8)] = rng.integers(0, 80)
    return page


def pictures(clip: Clip, count: int) -> Iterator[NDArray[np.uint8]]:
    """The clip's pictures, RGB."""
    height, width = clip.height, clip.width
    rng = np.random.default_rng(9)
    bank = np.random.default_rng(3).normal(0, clip.noise, size=(height + 64, width + 64, 1)).astype(np.float32)
    room, wide = _room(1, height, width), _room(7, height, 2 * width)
    face, person, page = _room(5, height // 2, width // 5), _room(11, height // 2, width // 8), _page(100, height, width)
    at = np.zeros(2)
    for number in range(count):
        picture = room
        if clip.shows == "head":
            at = 0.95 * at + rng.normal(0, (0.0011 * height, 0.0007 * height))
            picture = room.copy()
            left, top = int(0.4 * width + at[0]), int(0.25 * height + at[1])
            picture[top : top + height // 2, left : left + width // 5] = face
            open_by = int(height * (0.01 + 0.03 * abs(np.sin(0.9 * number)) * (np.sin(0.05 * number) > -0.5)))
            mouth = top + int(0.35 * height)
            picture[mouth : mouth + open_by, left + width // 15 : left + 2 * width // 15] = (60, 20, 20)
        elif clip.shows == "slides":
            if number and number % 250 == 0:
                page = _page(100 + number, height, width)
            picture = page
        elif clip.shows == "lively":
            shift = int(width / 2 * (1 + np.sin(0.05 * number)))
            picture = np.roll(wide[:, shift : shift + width], int(0.2 * height * np.cos(0.037 * number)), axis=0)
            side = height // 4
            for k in range(6):
                left = int((width - side) * (0.5 + 0.5 * np.sin(0.08 * (k + 1) * number + k)))
                top = int((height - side) * (0.5 + 0.5 * np.cos(0.06 * (k + 1) * number + 2 * k)))
                picture[top : top + side, left : left + side] = room[top : top + side, :side]
        elif clip.shows == "pan":
            shift = 2 * number % width
            picture = wide[:, shift : shift + width]
        elif clip.shows == "walk" and 0 <= number % 500 - 300 < 100:
            picture = room.copy()
            left = (width - width // 8) * (number % 500 - 300) // 100
            picture[height // 3 : height // 3 + height // 2, left : left + width // 8] = person
        if clip.shows != "slides":
            row, column = rng.integers(0, 64, 2)
            picture = picture + bank[row : row + height, column : column + width]
        yield picture.clip(0, 255).astype(np.uint8)


def make(clip: Clip, seconds: int, path: Path) -> None:
    """Encode the clip at 25 pictures a second; it stands at `path` once it is whole."""
    unfinished = path.with_stem(f"{path.stem}.{os.getpid()}.part")
    try:
        _encode(clip, seconds, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(clip: Clip, seconds: int, path: Path) -> None:
    with ordinary_priority(), av.open(str(path), "w") as container:
        track: Any = container.add_stream(clip.codec, rate=25)
        track.width, track.height, track.pix_fmt = clip.width, clip.height, "yuv420p"
        track.codec_context.gop_size, track.codec_context.thread_count = clip.gop, 1
        track.options = {
            "libx264": {"preset": "veryfast", "crf": "23"},
            "libx265": {"preset": "ultrafast", "crf": "26", "x265-params": f"log-level=none:keyint={clip.gop}:bframes=3:pools=1"},
            "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "32", "b": "0"},
            "libsvtav1": {"preset": "11", "crf": "38", "svtav1-params": "lp=1"},
        }[clip.codec]
        if clip.camera:
            track.options = {
                "preset": "veryfast",
                "tune": "zerolatency",
                "x264-params": "bitrate=2000:vbv-maxrate=2000:vbv-bufsize=2000",
            }
        for number, picture in enumerate(pictures(clip, 25 * seconds)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(track.encode(frame))
        container.mux(track.encode(None))


def chunks_of(path: Path) -> list[media_pb2.MediaChunk]:
    """What `watchword publish` would send of the clip's pictures."""
    from pipeline.media.runs import Runs
    from pipeline.media.source import open_source

    source = open_source(str(path))
    found = []
    try:
        for run in Runs(source, "bench"):
            if not isinstance(run.track.parameters, media_pb2.VideoParameters):
                continue
            unit = media_pb2.Rational(numerator=run.track.unit.numerator, denominator=run.track.unit.denominator)
            offset = MediaTime.of(run.shift - (source.zero or 0)).to_proto()
            found.append(
                media_pb2.MediaChunk(
                    stream_id="bench",
                    sequence=len(found),
                    video=run.track.parameters,
                    time_base=unit,
                    media_offset=offset,
                    packets=run.packets,
                )
            )
    finally:
        source.close()
    return found


def peak_kb() -> int:
    """The most memory that the process has had, in kB."""
    # What `getrusage` says is inherited from the process that started this one.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1])


def plain(chunks: list[media_pb2.MediaChunk]) -> float:
    """CPU seconds of decoding every packet, best of two."""
    from pipeline.media import codecs

    spent = []
    for _ in range(2):
        context = codecs.open_video("bench", chunks[0].video)
        start = time.process_time()
        for chunk in chunks:
            for packet in chunk.packets:
                context.decode(codecs.packet(packet.data))
        context.decode(None)
        spent.append(time.process_time() - start)
    return min(spent)


def staged(chunks: list[media_pb2.MediaChunk]) -> dict[str, Any]:
    """CPU seconds of the stage, and what it did."""
    from pipeline.sample.stage import Sample

    said: list[events_pb2.KeyframeEvent] = []
    spent = 0.0

    async def go() -> Sample:
        # What a task returns is written out as text when the loop ends, pictures and all: that is not the stage's time.
        nonlocal spent
        start = time.process_time()
        stage = Sample("bench")
        for chunk in chunks:
            said.extend([event async for event in stage.process(events_pb2.VideoEvent(chunk=chunk))])
        said.extend([event async for event in stage.flush()])
        stage.close()
        spent = time.process_time() - start
        return stage

    stage = asyncio.run(go())
    times = [MediaTime.from_proto(event.keyframe.media_time).seconds for event in said if event.HasField("keyframe")]
    counts = stage.counts
    return {
        "spent": spent,
        "packets": counts.packets,
        "decoded": counts.decoded,
        "probes": counts.probes,
        "wakes": counts.wakes,
        "keyframes": len(times),
        "longest_gap": round(max(np.diff(times), default=0.0), 2),
    }


def measure(path: Path) -> dict[str, Any]:
    """The figures of one clip, in this process."""
    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    chunks = chunks_of(path)
    staged(chunks[:2])  # what is imported and prepared once
    base = peak_kb()
    found = staged(chunks)
    found["mb"] = (peak_kb() - base) / 1024
    found["rss_mb"] = peak_kb() / 1024
    again = staged(chunks)
    found["spent"] = min(found["spent"], again["spent"])
    found["plain"] = plain(chunks)
    packets = [packet.pts for chunk in chunks for packet in chunk.packets]
    unit = Fraction(chunks[0].time_base.numerator, chunks[0].time_base.denominator)
    found["seconds"] = float((max(packets) - min(packets)) * unit) + 0.04
    return found


def crowd(path: Path, count: int) -> dict[str, Any]:
    """So many streams of one clip in this process, a chunk of each in turn."""
    import structlog

    from pipeline.sample.stage import Sample

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    chunks = chunks_of(path)
    staged(chunks[:2])
    base = peak_kb()
    spent = 0.0

    async def go() -> None:
        nonlocal spent
        stages = [Sample("bench") for _ in range(count)]
        start = time.process_time()
        for chunk in chunks:
            event = events_pb2.VideoEvent(chunk=chunk)
            for stage in stages:
                async for _ in stage.process(event):
                    pass
        spent = time.process_time() - start
        for stage in stages:
            stage.close()

    asyncio.run(go())
    seconds = len(chunks) and sum(len(chunk.packets) for chunk in chunks) / 25
    share = spent / (count * seconds)
    return {"share": share, "carried": 1 / share, "mb": (peak_kb() - base) / 1024 / count, "rss_mb": peak_kb() / 1024}


def main() -> None:
    """Print a row for each clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "watchword-bench-decoding")
    parser.add_argument("--seconds", type=int, default=40)
    parser.add_argument("--only", default="", help="words of which each must be in a clip's name, between commas; several with '|'")
    parser.add_argument("--streams", type=int, help="so many at once")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        print(json.dumps(crowd(arguments.measure, arguments.streams) if arguments.streams else measure(arguments.measure)))
        return
    cpu = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    print(f"{cpu[0].split(':')[1].strip() if cpu else platform.machine()}, Python {platform.python_version()}, PyAV {av.__version__}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if arguments.streams:
        _crowds(arguments)
        return
    print(
        "| clip | plain, ms a frame | ours, ms a frame | ratio | of a core | decoded | probes | wakes | keyframes "
        "| longest gap | MB more | RSS |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, path in _paths(arguments):
        command = [sys.executable, "-m", "bench.decoding", "--measure", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        packets = found["packets"]
        print(
            f"| {name} | {1000 * found['plain'] / packets:.3f} | {1000 * found['spent'] / packets:.3f} "
            f"| {found['spent'] / found['plain']:.3f} | {100 * found['spent'] / found['seconds']:.2f} % "
            f"| {100 * found['decoded'] / packets:.0f} % | {found['probes']} | {found['wakes']} | {found['keyframes']} "
            f"| {found['longest_gap']} | {found['mb']:.0f} | {found['rss_mb']:.0f} |",
            flush=True,
        )


def _crowds(arguments: argparse.Namespace) -> None:
    print("| clip | streams | of a core each | one core carries | MB a stream | RSS |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, path in _paths(arguments):
        command = [sys.executable, "-m", "bench.decoding", "--streams", str(arguments.streams), "--measure", str(path)]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        print(
            f"| {name} | {arguments.streams} | {100 * found['share']:.2f} % | {found['carried']:.0f} "
            f"| {found['mb']:.1f} | {found['rss_mb']:.0f} |",
            flush=True,
        )


def _paths(arguments: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """The clips to measure, made where they are missing."""
    for file in arguments.files:
        yield file.name, file
    if arguments.files:
        return
    for clip in CLIPS:
        if arguments.only and not any(all(word in clip.name for word in each.split(",")) for each in arguments.only.split("|")):
            continue
        suffix = ".mp4" if clip.codec != "libvpx-vp9" else ".webm"
        path = arguments.folder / f"{clip.name.replace(' ', '_')}_{arguments.seconds}s{suffix}"
        if not path.exists():
            make(clip, arguments.seconds, path)
        yield clip.name, path


if __name__ == "__main__":
    main()
