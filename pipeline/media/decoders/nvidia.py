"""NVIDIA's own decoder through PyNvVideoCodec (2.1 and later): packets in, NV12 frames that stay on the GPU.

The core decoder is fed, not the file reader that the package has too, for a live stream has no file. It takes Annex B, and
with `LOW` latency gives each frame with its packet, in the order of showing. What it gives is valid only until the next
call, so it is copied, on the GPU.
"""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import CodecUnsupported
from pipeline.media.decoders.annexb import AnnexB
from pipeline.media.decoders.cpu import open_cpu
from pipeline.media.decoders.port import CodedPacket, Decoder, DecoderFailed, Frame, Skip, native
from pipeline.media.decoders.tensor import Nv12Surface, as_tensor, torch_has_cuda

_CODECS = {
    "h264": "H264",
    "hevc": "HEVC",
    "vp8": "VP8",
    "vp9": "VP9",
    "av1": "AV1",
    "mpeg2video": "MPEG2",
    "mpeg4": "MPEG4",
    "mjpeg": "JPEG",
}


def open_nvidia(stream_id: str, parameters: VideoParameters) -> "NvidiaDecoder":
    """A decoder on the first GPU; raises `CodecUnsupported` that says why there is none."""
    codec = _CODECS.get(parameters.codec)
    if codec is None:
        raise CodecUnsupported(f"stream {stream_id}: NVDEC does not decode {parameters.codec}")
    try:
        # Without a driver the package fails when it is imported, in several ways.
        import PyNvVideoCodec
    except (ImportError, RuntimeError, OSError) as error:
        raise CodecUnsupported(f"PyNvVideoCodec cannot be used: {str(error).splitlines()[0]}") from error
    if not torch_has_cuda():
        raise CodecUnsupported("PyNvVideoCodec is here, but torch has no CUDA")
    annexb = AnnexB(parameters.codec, parameters.extradata)
    return NvidiaDecoder(PyNvVideoCodec, codec, annexb, lambda packet: colours(open_cpu(stream_id, parameters), packet))


@dataclass(frozen=True)
class Colours:
    """What NVDEC does not tell of the frames that it gives."""

    full_range: bool = False
    bt709: bool = False
    pixel_aspect: Fraction = Fraction(1)
    rotation: int = 0


def colours(decoder: Decoder, packet: CodedPacket) -> Colours:
    """What a keyframe says of itself when FFmpeg decodes it; what is usual where it cannot."""
    try:
        frame = next(iter(decoder.decode(packet) + decoder.drain()), None)
    except DecoderFailed:
        frame = None
    decoder.close()
    if frame is None:
        return Colours()
    picture = native(frame.surface)
    full = int(picture.color_range) == 2 or picture.format.name.startswith("yuvj")
    return Colours(full, int(picture.colorspace) == 1, frame.pixel_aspect, frame.rotation)


class NvidiaDecoder:
    """One session of NVDEC."""

    name = "pynvvideocodec"

    def __init__(
        self,
        library: Any,
        codec: str,
        annexb: AnnexB,
        look: Callable[[CodedPacket], Colours],
        take: Callable[[Any], Any] = as_tensor,
    ) -> None:
        """`library` is PyNvVideoCodec, `codec` the name of its `cudaVideoCodec`; `take` makes a tensor of a frame.

        `look` tells what the first keyframe says of itself.
        """
        self._look = look
        self._colours: Colours | None = None
        self._library = library
        self._codec = codec
        self._annexb = annexb
        self._take = take
        self._keyframes: set[int] = set()
        self._decoder = self._create()

    def _create(self) -> Any:
        try:
            return self._library.CreateDecoder(
                gpuid=0,
                codec=getattr(self._library.cudaVideoCodec, self._codec),
                usedevicememory=True,
                latency=self._library.DisplayDecodeLatencyType.LOW,
            )
        except Exception as error:  # its exceptions have no common base of their own
            raise CodecUnsupported(f"NVDEC does not open for {self._codec}: {error}") from error

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """See `Decoder.decode`. NVDEC skips nothing: it decodes faster than anyone looks."""
        data = self._annexb.rewrite(packet.data, keyframe=packet.keyframe)
        buffer = ctypes.create_string_buffer(data, len(data))
        given = self._library.PacketData()
        given.bsl_data, given.bsl = ctypes.addressof(buffer), len(data)
        given.pts, given.dts, given.key = packet.pts, packet.dts, packet.keyframe
        given.decode_flag = self._library.VideoPacketFlag.ENDOFPICTURE
        if packet.keyframe:
            self._keyframes.add(packet.pts)
            self._colours = self._colours or self._look(packet)
        try:
            return self._frames(given, packet.dts)
        except DecoderFailed:
            if not packet.keyframe:
                raise
        # A session keeps the largest size that it began with: pictures that grow need another.
        self._decoder = self._create()
        return self._frames(given, packet.dts)

    def drain(self) -> list[Frame]:
        """See `Decoder.drain`. A packet without bytes ends the stream; the next one needs a new session."""
        given = self._library.PacketData()
        given.bsl_data, given.bsl = 0, 0
        given.decode_flag = self._library.VideoPacketFlag.ENDOFSTREAM
        try:
            frames = self._frames(given, None)
        except DecoderFailed:
            frames = []
        self._keyframes.clear()
        self._decoder = self._create()
        return frames

    def close(self) -> None:
        """End the session."""
        self._decoder = None

    def _frames(self, given: Any, dts: int | None) -> list[Frame]:
        try:
            decoded = self._decoder.Decode(given)
        except Exception as error:  # see `_create`
            raise DecoderFailed(f"{self.name}: {error}") from error
        frames = []
        for each in decoded:
            pts = int(each.getPTS())
            keyframe = pts in self._keyframes
            self._keyframes.discard(pts)
            said = self._colours or Colours()
            surface = self._surface(each, said)
            frames.append(Frame(pts, dts, keyframe, corrupt=False, surface=surface, pixel_aspect=said.pixel_aspect, rotation=said.rotation))
        return frames

    def _surface(self, frame: Any, said: Colours) -> Nv12Surface:
        """A copy of the frame: a picture of luma and below it half as many rows of chroma."""
        both = self._take(frame).clone()
        both = both.reshape(both.shape[-2], both.shape[-1]) if both.ndim > 2 else both
        height = both.shape[0] * 2 // 3
        return Nv12Surface(both[:height], both[height:], full_range=said.full_range, bt709=said.bt709)
