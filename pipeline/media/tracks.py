"""Which tracks of a container are published, and what is said about them."""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from watchword.v1.media_pb2 import AudioParameters, Rational, VideoParameters

from pipeline.errors import CodecUnsupported
from pipeline.media.stamps import Demuxed, Shifts, TrackStamps

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.video.stream import VideoStream

Kind = Literal["audio", "video"]
KINDS: tuple[Kind, ...] = ("audio", "video")
"""The kinds of track, which are the names of their topics too."""

_OPUS_UNIT = Fraction(1, 400)
"""Every Opus packet lasts a multiple of 2.5 ms."""
_STATES_ROTATION = {"mp4", "matroska"}
"""Containers that say how pictures are to be turned."""


@dataclass(frozen=True)
class Track:
    """One track of a source."""

    kind: Kind
    parameters: AudioParameters | VideoParameters
    unit: Fraction
    """Seconds per unit of the packets' times."""


def audio_stream(container: "InputContainer") -> "AudioStream | None":
    """The default sound track, else the first."""
    from av.stream import Disposition

    default = [stream for stream in container.streams.audio if stream.disposition & Disposition.default]
    return default[0] if default else next(iter(container.streams.audio), None)


def video_stream(container: "InputContainer") -> "VideoStream | None":
    """The track of moving pictures that FFmpeg holds to be the best; a cover picture is none."""
    from av.stream import Disposition

    moving = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    best = container.streams.best("video")
    return next((stream for stream in moving if stream is best), next(iter(moving), None))


def require_codec(source: str, name: str, kind: Kind, stream: Any) -> None:
    """Raise `CodecUnsupported` unless the track's codec is known well enough to be decoded from what a chunk carries."""
    context = stream.codec_context
    if context is None:
        raise CodecUnsupported(f"{name}: no decoder here knows the {kind} codec {_codec_name(source, stream.index)}; re-encode it")
    codec = context.codec.canonical_name
    if codec == "rawvideo":
        raise CodecUnsupported(f"{name} sends uncompressed pictures (rawvideo), which are too large to publish; encode them as H.264 first")
    if kind == "audio" and not (context.sample_rate and context.channels):
        raise CodecUnsupported(f"{name}: the sample rate and channels of its {codec} track cannot be told; its header may be damaged")


def _codec_name(source: str, index: int) -> str:
    """The name or tag of a codec that FFmpeg has no decoder for, which it tells in its log only."""
    import av
    import av.logging

    if not Path(source).is_file():
        return "in it"
    level, skips = av.logging.get_level(), av.logging.get_skip_repeated()
    av.logging.set_level(av.logging.INFO)
    av.logging.set_skip_repeated(False)  # the same line as for the last source of the codec must be told again
    try:
        with av.logging.Capture() as lines, av.open(f"file:{source}", metadata_errors="replace"):
            pass
    finally:
        av.logging.set_level(level)
        av.logging.set_skip_repeated(skips)
    told = "\n".join(text for _, _, text in lines)
    # Matroska names its codecs in words, elsewhere they have a tag.
    found = re.search(rf"stream {index} \(\w+: (?:none \(|(?!none))(\w+)", told) or re.search(r"AVCodecID (\S+?)\.?$", told, re.MULTILINE)
    return found[1] if found else "in it"


def parameters(kind: Kind, stream: Any) -> AudioParameters | VideoParameters:
    """What a decoder must know of the track."""
    context = stream.codec_context
    codec = context.codec.canonical_name
    extradata = bytes(context.extradata or b"")
    if kind == "audio":
        return AudioParameters(codec=codec, extradata=extradata, sample_rate=context.sample_rate, channels=context.channels)
    video = VideoParameters(codec=codec, extradata=extradata, width=context.width, height=context.height)
    if stream.average_rate:
        video.frame_rate.CopyFrom(Rational(numerator=stream.average_rate.numerator, denominator=stream.average_rate.denominator))
    return video


def stated_rotation(container: "InputContainer", index: int, *, timeout_s: float) -> int:
    """The degrees counter-clockwise by which pictures of a track are to be turned, as a recording states; 0 where it does not.

    PyAV tells this with a decoded picture only, so the recording is opened again, by its path or address, and its first keyframe decoded:
    what is demuxed to be published stays where it is.
    """
    import av

    if not _STATES_ROTATION & set(container.format.name.split(",")):
        return 0
    try:
        with av.open(container.name, metadata_errors="replace", timeout=timeout_s) as again:
            stream: Any = again.streams[index]
            stream.codec_context.thread_count = 1
            packet = next(packet for packet in again.demux(stream) if packet.is_keyframe and packet.size)
            frames = stream.decode(packet) or stream.decode(None)
            return round(frames[0].rotation / 90) * 90 if frames else 0
    except (av.FFmpegError, StopIteration, ValueError, OSError):
        return 0


def stamps(kind: Kind, stream: Any, shifts: Shifts) -> TrackStamps:
    """What puts the track's packets on the source's clock."""
    unit: Fraction = stream.time_base
    if kind == "video":
        return TrackStamps(unit, shifts, frame_seconds=1 / stream.average_rate if stream.average_rate else Fraction(1, 25))
    context = stream.codec_context
    rate: int = context.sample_rate
    size: int = context.frame_size
    codec = context.codec.canonical_name

    def samples(packet: Demuxed) -> int:
        """How many samples the packet holds; 0 unless the codec tells and the container's rounded duration agrees."""
        seconds = packet.duration * unit
        if codec == "opus":
            return round(round(seconds / _OPUS_UNIT) * _OPUS_UNIT * rate)
        return size if size and abs(Fraction(size, rate) - seconds) <= unit else 0

    known = codec == "opus" or bool(size)
    return TrackStamps(unit, shifts, sample_rate=rate, samples=samples if known else None, frame_seconds=Fraction(size or 1024, rate))
