"""Opening FFmpeg decoders for the parameters that a chunk carries."""

from typing import TYPE_CHECKING, Any, Literal

from watchword.v1.media_pb2 import AudioParameters, MediaChunk, VideoParameters

from pipeline.errors import CodecUnsupported, MessageInvalid

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.codec.context import CodecContext
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext

_BETTER_DECODERS = {"av1": "libdav1d"}
"""Codecs whose decoder of the same name needs a GPU, and the one that does not."""
_PADDING = 64
"""AV_INPUT_BUFFER_PADDING_SIZE of FFmpeg."""
_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Channel layouts by number of channels, for codecs that do not say themselves."""


def open_audio(stream_id: str, parameters: AudioParameters) -> "AudioCodecContext":
    """An opened decoder; raises `CodecUnsupported` or `MessageInvalid`."""
    from av.audio.codeccontext import AudioCodecContext
    from av.codec.context import Flags2

    context = _create(stream_id, parameters.codec, "audio")
    assert isinstance(context, AudioCodecContext)
    context.sample_rate = parameters.sample_rate
    context.layout = _LAYOUTS.get(parameters.channels, f"{parameters.channels} channels")
    # The run-in that a codec's header states has its place in media time like any other sound: nothing is cut off here.
    context.flags2 |= Flags2.skip_manual
    _open(stream_id, context, parameters.codec, parameters.extradata)
    return context


def open_video(stream_id: str, parameters: VideoParameters) -> "VideoCodecContext":
    """An opened decoder that works in the calling thread; raises `CodecUnsupported` or `MessageInvalid`."""
    from av.video.codeccontext import VideoCodecContext

    context = _create(stream_id, parameters.codec, "video")
    assert isinstance(context, VideoCodecContext)
    if parameters.width and parameters.height:
        context.width, context.height = parameters.width, parameters.height
    _open(stream_id, context, parameters.codec, parameters.extradata)
    return context


def packet(data: bytes) -> "Packet[Any]":
    """The bytes as a packet for a decoder.

    Decoders read up to 64 bytes beyond a packet and want zeros there. `av.Packet(data)` refers to the bytes as they are,
    without them (PyAV 18): what follows in memory then decides whether the end of a picture is called damaged.
    """
    from av import Packet

    padded: Packet[Any] = Packet(len(data))
    padded.update(data)
    return padded


def require(chunk: MediaChunk, kind: Literal["audio", "video"]) -> None:
    """Raise `MessageInvalid` unless the chunk's packets are of this kind."""
    said = chunk.WhichOneof("parameters")
    if said != kind:
        raise MessageInvalid(f"stream {chunk.stream_id}: {said} packets came where {kind} is expected; each track has its own topic")


def _create(stream_id: str, codec: str, kind: str) -> "CodecContext":
    import av
    from av.codec.codec import UnknownCodecError

    for name in (_BETTER_DECODERS.get(codec, codec), codec):
        try:
            context = av.CodecContext.create(name, "r")
        except (UnknownCodecError, RuntimeError, UnicodeEncodeError):
            continue
        if context.type != kind:
            raise MessageInvalid(f"stream {stream_id}: {codec} is a codec for {context.type}, not for {kind}")
        return context
    raise CodecUnsupported(
        f"stream {stream_id}: no decoder here knows the {kind} codec {codec[:50]!r}; `watchword doctor` lists those that are known"
    )


def _open(stream_id: str, context: "CodecContext", codec: str, extradata: bytes) -> None:
    import av

    context.thread_count = 1
    if extradata:
        # PyAV leaves the padding behind the header as it finds it. Set twice, it holds the zeros that decoders want there.
        context.extradata = extradata + bytes(_PADDING)
        context.extradata = extradata
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        raise CodecUnsupported(f"stream {stream_id}: the {codec} decoder refuses the codec's parameters: {error}") from error
