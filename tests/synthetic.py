"""Clips made on the spot, so that what they hold is known: shots, sound, codecs, times, and damage.

    path = clip(Spec(seconds=4, cuts=(50,), audio="libopus", container="mkv"))

A clip is made once a session for each `Spec` and must not be changed; `truncated` and `garbage` make new files.
`published` and `chunks` give what `watchword publish` sends of a source.
"""

import asyncio
import atexit
import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray
from watchword.v1.media_pb2 import MediaChunk

from bench.priority import ordinary_priority
from pipeline.bus import Context, Origin, codec
from pipeline.errors import WatchwordError
from pipeline.graph import TOPICS
from pipeline.media.publish import publish

Sound = Literal["tone", "speech", "silence", "chirp"]


@dataclass(frozen=True)
class Spec:
    """What a clip is made of."""

    seconds: float = 3.0
    container: str = "mp4"
    video: str | None = "libx264"
    """FFmpeg's name of the encoder, or `None` for no video track."""
    audio: str | None = "aac"
    """FFmpeg's name of the encoder, or `None` for no audio track."""
    width: int = 160
    height: int = 96
    frame_rate: int = 25
    times: tuple[float, ...] = ()
    """Seconds at which the frames are shown, where the frame rate varies; replaces `frame_rate`."""
    cuts: tuple[int, ...] = ()
    """Numbers of the frames that open a new shot."""
    fades: tuple[tuple[int, int], ...] = ()
    """For each dissolve the numbers of its first frame and of the first frame of the new shot alone."""
    still: bool = False
    """Whether nothing moves within a shot."""
    moves: tuple[int, ...] = ()
    """The only shots, counted from 0, within which something moves, where there are any."""
    gop: int = 25
    """Frames from one keyframe to the next; there are none at cuts unless they fall on one."""
    b_frames: int = 2
    b_pyramid: bool = True
    """Whether of three frames that lie between two others the middle one is referred to as well."""
    sound: Sound = "tone"
    sample_rate: int = 48_000
    layout: str = "mono"

    @property
    def frame_times(self) -> tuple[Fraction, ...]:
        """Seconds at which the frames are shown."""
        if self.times:
            return tuple(Fraction(time).limit_denominator(1000) for time in self.times)
        return tuple(Fraction(n, self.frame_rate) for n in range(round(self.seconds * self.frame_rate)))


@functools.cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="watchword-clips-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def clip(spec: Spec = Spec()) -> Path:
    """The path of the clip."""
    import av

    path = _folder() / f"{clip.cache_info().misses}.{spec.container}"
    with ordinary_priority(), av.open(str(path), "w") as container:
        video = _video_track(container, spec) if spec.video else None
        audio = _audio_track(container, spec) if spec.audio else None
        times = spec.frame_times if video is not None else ()
        sound = samples(spec) if audio is not None else np.zeros(0, np.float32)
        heard = 0
        for number, time in enumerate(times):
            until = min(round((time + 1) * spec.sample_rate), len(sound))
            heard = _encode_sound(container, audio, spec, sound, heard, until)
            frame = av.VideoFrame.from_ndarray(picture(spec, number), format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            if number % spec.gop == 0:
                frame.pict_type = av.video.frame.PictureType.I
            if video is not None:
                container.mux(video.encode(frame))
        _encode_sound(container, audio, spec, sound, heard, len(sound))
        for track in (video, audio):
            if track is not None:
                container.mux(track.encode(None))
    return path


def _video_track(container: Any, spec: Spec) -> Any:
    track = container.add_stream(spec.video, rate=spec.frame_rate)
    track.width, track.height = spec.width, spec.height
    track.pix_fmt = {"mjpeg": "yuvj420p", "ffv1": "yuv420p"}.get(str(spec.video), "yuv420p")
    context = track.codec_context
    context.time_base = Fraction(1, 1000) if spec.video not in ("mpeg4", "mpeg2video") else Fraction(1, spec.frame_rate)
    context.gop_size = spec.gop
    context.thread_count = 1
    name = str(spec.video)
    if name == "libx264":
        track.options = {"preset": "ultrafast", "crf": "28", "bf": str(spec.b_frames), "sc_threshold": "0", "forced-idr": "1"}
        track.options |= {} if spec.b_pyramid else {"b-pyramid": "none"}
    elif name == "libx265":
        track.options = {
            "preset": "ultrafast",
            "x265-params": f"log-level=none:bframes={spec.b_frames}:keyint={spec.gop}:pools=1:frame-threads=1",
        }
    elif name == "libsvtav1":
        track.options = {"preset": "12", "svtav1-params": "lp=1"}
    elif name.startswith("libvpx"):
        track.options = {"deadline": "realtime", "cpu-used": "8"}
    return track


def _audio_track(container: Any, spec: Spec) -> Any:
    track = container.add_stream(spec.audio, rate=spec.sample_rate, layout=spec.layout)
    if spec.audio == "vorbis":
        track.options = {"strict": "experimental"}
    return track


def _encode_sound(container: Any, track: Any, spec: Spec, sound: NDArray[np.float32], start: int, end: int) -> int:
    """Encode the samples from `start` to `end`; returns `end`."""
    import av

    if track is None or end <= start:
        return start
    context = track.codec_context
    part = sound[start:end]
    planes = np.repeat(part[None, :], context.layout.nb_channels, axis=0)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes), format="fltp", layout=context.layout.name)
    frame.sample_rate, frame.pts, frame.time_base = spec.sample_rate, start, Fraction(1, spec.sample_rate)
    resampler = av.AudioResampler(format=context.format, layout=context.layout, rate=spec.sample_rate)
    for converted in resampler.resample(frame):
        converted.pts, converted.time_base = start, Fraction(1, spec.sample_rate)
        container.mux(track.encode(converted))
    return end


def shot(spec: Spec, number: int) -> tuple[int, float]:
    """The index of the shot that frame `number` belongs to, and how much of the next one is dissolved into it, 0 to 1."""
    borders = sorted([*spec.cuts, *(end for _, end in spec.fades)])
    index = sum(number >= border for border in borders)
    for first, end in spec.fades:
        if first <= number < end:
            return index, (number - first + 1) / (end - first + 1)
    return index, 0.0


def picture(spec: Spec, number: int) -> NDArray[np.uint8]:
    """Frame `number` as RGB, shape (height, width, 3)."""
    index, mix = shot(spec, number)
    image = _scene(spec, index, number)
    if mix:
        image = (1 - mix) * image + mix * _scene(spec, index + 1, number)
    return image.astype(np.uint8)


def _scene(spec: Spec, index: int, number: int) -> NDArray[np.float64]:
    """A picture unlike that of any other index: its own colours, texture, and a moving square."""
    rng = np.random.default_rng(1000 + index)
    colours = rng.integers(20, 236, size=(4, 6, 3))
    rows = np.arange(spec.height) * 4 // spec.height
    columns = np.arange(spec.width) * 6 // spec.width
    image = colours[rows][:, columns].astype(np.float64)
    side = spec.height // 4
    step = 0 if spec.still or (spec.moves and index not in spec.moves) else number
    left = (7 * index + 2 * step) % max(spec.width - side, 1)
    top = (13 * index + step) % max(spec.height - side, 1)
    image[top : top + side, left : left + side] = 255 - colours[0, 0]
    return image


def samples(spec: Spec) -> NDArray[np.float32]:
    """The clip's sound before encoding, mono, shape (n,)."""
    time = np.arange(round(spec.seconds * spec.sample_rate)) / spec.sample_rate
    match spec.sound:
        case "silence":
            sound = np.zeros_like(time)
        case "tone":
            sound = 0.3 * np.sin(2 * np.pi * 440 * time)
        case "chirp":
            sound = 0.3 * np.sin(2 * np.pi * (200 * time + 400 * time**2 / max(spec.seconds, 1)))
        case "speech":
            sound = _murmur(time)
    return sound.astype(np.float32)


def _murmur(time: NDArray[np.float64]) -> NDArray[np.float64]:
    """Something with the rhythm and spectrum of a voice: syllables of harmonics of 120 Hz under two formants, with pauses."""
    pitch = 120 + 15 * np.sin(2 * np.pi * 0.7 * time)
    phase = 2 * np.pi * np.cumsum(pitch) / (1 / (time[1] - time[0]) if len(time) > 1 else 1)
    sound = np.zeros_like(time)
    for harmonic in range(1, 25):
        frequency = 120 * harmonic
        weight = np.exp(-(((frequency - 600) / 350) ** 2)) + 0.5 * np.exp(-(((frequency - 1500) / 400) ** 2))
        sound += weight * np.sin(harmonic * phase)
    syllables = np.clip(np.sin(2 * np.pi * 2.5 * time), 0, None)
    phrases = (time % 3.0) < 2.2
    return np.asarray(0.12 * sound * syllables * phrases)


def playlist(
    path: Path, folder: Path, change: Callable[[int, bytes], bytes] = lambda _, data: data, *, begins: int = 0, kind: str = "mpegts"
) -> Path:
    """The clip as an HLS playlist in the folder, with segments of 2 s called 0.ts, 1.ts and so on, `mpegts` or `fmp4`.

    `change` is given the number of each packet in its track, and its bytes, and says what is there instead. Its clock begins
    `begins` ticks of 1/90,000 s later than it would.
    """
    import av

    options = {"hls_time": "2", "hls_playlist_type": "vod", "hls_segment_type": kind}
    options["hls_segment_filename"] = str(folder / ("%d.ts" if kind == "mpegts" else "%d.m4s"))
    with av.open(str(path)) as source, av.open(str(folder / "list.m3u8"), "w", format="hls", options=options) as container:
        tracks = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        counts = dict.fromkeys(tracks, 0)
        for packet in source.demux():
            if packet.dts is None:
                continue
            number = counts[packet.stream_index]
            counts[packet.stream_index] += 1
            changed = av.Packet(change(number, bytes(packet)))
            later = round(begins / 90_000 / packet.time_base)
            changed.pts, changed.dts = packet.pts + later, packet.dts + later
            changed.duration, changed.time_base = packet.duration, packet.time_base
            changed.is_keyframe = packet.is_keyframe
            changed.stream = tracks[packet.stream_index]
            container.mux(changed)
    return folder / "list.m3u8"


def truncated(path: Path, share: float) -> Path:
    """A new file with the first `share` (0 to 1) of the file's bytes."""
    body = path.read_bytes()
    return _new(body[: int(len(body) * share)], path.suffix)


def garbage(suffix: str = ".ts", size: int = 20_000) -> Path:
    """A new file of random bytes."""
    return _new(np.random.default_rng(5).bytes(size), suffix)


def text(suffix: str = ".mp4") -> Path:
    """A new file with a line of text in it."""
    return _new(b"<html><body>404 Not Found</body></html>\n", suffix)


def with_bytes(path: Path, changes: dict[bytes, bytes]) -> Path:
    """A new file in which some bytes are replaced by others of the same length."""
    body = path.read_bytes()
    for old, new in changes.items():
        assert len(old) == len(new)
        body = body.replace(old, new)
    return _new(body, path.suffix)


def _new(body: bytes, suffix: str) -> Path:
    with tempfile.NamedTemporaryFile(dir=_folder(), suffix=suffix, delete=False) as file:
        file.write(body)
    return Path(file.name)


@dataclass(frozen=True)
class Sent:
    """One record, after it went through the real codec."""

    topic: str
    value: Any
    origin: Origin
    context: Context

    @property
    def kind(self) -> str:
        """What the event says: "chunk", "gap" or "end"; "error" of a failure."""
        return "error" if self.topic == "errors" else str(self.value.WhichOneof("event"))


class Tape:
    """The publishing half of a bus, which keeps everything."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        body, headers = codec.encode(TOPICS[topic], stream_id, value, origin, context)
        _, decoded, said, carried = codec.decode(TOPICS[topic], stream_id.encode(), body, headers)
        self.sent.append(Sent(topic, decoded, said, carried))

    def chunks(self, topic: str) -> list[MediaChunk]:
        """The chunks of one topic."""
        return [record.value.chunk for record in self.sent if record.topic == topic and record.kind == "chunk"]

    def of(self, kind: str) -> list[Sent]:
        """The records that say "chunk", "gap", "end" or "error"."""
        return [record for record in self.sent if record.kind == kind]


@functools.cache
def published(source: Path | str, stream_id: str = "s") -> tuple[Tape, WatchwordError | None]:
    """Everything that publishing the source sends, and how it failed, if it did."""
    tape = Tape()
    try:
        asyncio.run(publish(str(source), tape, stream_id=stream_id, speed=None))  # type: ignore[arg-type]
    except WatchwordError as error:
        return tape, error
    return tape, None


def chunks(source: Path | str, topic: str, stream_id: str = "s") -> list[MediaChunk]:
    """New copies of the chunks of one track, which may be changed."""
    copies = []
    for original in published(source, stream_id)[0].chunks(topic):
        copy = MediaChunk()
        copy.CopyFrom(original)
        copies.append(copy)
    return copies
