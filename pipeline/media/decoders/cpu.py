"""FFmpeg's software decoders through PyAV, in the calling thread."""

from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from watchword.v1.media_pb2 import VideoParameters

from pipeline.media import codecs
from pipeline.media.av1 import Av1Headers
from pipeline.media.decoders.port import CodedPacket, DecoderFailed, Frame, Pixels, Skip, Small, Surface
from pipeline.timeline import NANOS

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

_UNIT = Fraction(1, NANOS)
"""Packets are given to the decoder in media time, so that frames come back in it whatever the chunk's time base."""
_SKIP: dict[Skip, Literal["DEFAULT", "NONREF"]] = {Skip.NOTHING: "DEFAULT", Skip.UNREFERENCED: "NONREF"}


class Scaler:
    """Scales while converting, with swscale. It is prepared once for each size and pixel format of a stream."""

    def __init__(self) -> None:
        from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

        self._fast, self._fine = Interpolation.FAST_BILINEAR, Interpolation.AREA
        self._full_range = ColorRange.JPEG
        self._small = VideoReformatter()
        self._rgb = VideoReformatter()

    def small(self, frame: "VideoFrame", width: int, height: int) -> Small:
        """See `Surface.small`; scaled in one go, 16 microseconds a 720p frame where brightness alone would take 9."""
        small = self._small.reformat(
            frame,
            width=width,
            height=height,
            format="yuv420p",
            dst_color_range=self._full_range,
            interpolation=self._fast,
            threads=1,
        )
        first, blue, red = (_plane(plane) for plane in small.planes)
        colours = np.empty((2, *blue.shape), np.uint8)
        colours[0], colours[1] = blue, red
        return Small(first, colours)

    def rgb(self, frame: "VideoFrame", width: int, height: int) -> Pixels:
        """See `Surface.rgb`."""
        small = self._rgb.reformat(frame, width=width, height=height, format="rgb24", interpolation=self._fine, threads=1)
        return np.asarray(small.to_ndarray())


def _plane(plane: Any) -> Pixels:
    """A plane of eight bits as it lies in FFmpeg's memory, which the array keeps."""
    lines: Pixels = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return lines[: plane.height, : plane.width]


class AvSurface:
    """A frame in FFmpeg's memory."""

    def __init__(self, frame: "VideoFrame", scaler: Scaler) -> None:
        self.frame = frame
        self._scaler = scaler

    @property
    def width(self) -> int:
        """Coded width in pixels."""
        return self.frame.width

    @property
    def height(self) -> int:
        """Coded height in pixels."""
        return self.frame.height

    def small(self, width: int, height: int) -> Small:
        """See `Surface.small`."""
        return self._scaler.small(self.frame, width, height)

    def rgb(self, width: int, height: int) -> Pixels:
        """See `Surface.rgb`."""
        return self._scaler.rgb(self.frame, width, height)


class AvDecoder:
    """A decoder of FFmpeg's."""

    def __init__(self, context: "VideoCodecContext", name: str = "cpu", headers: Av1Headers | None = None) -> None:
        """`context` is open, or opens by itself with the first packet. `headers` tell what may be left out where it cannot."""
        self._context = context
        self._headers = headers
        self._scaler = Scaler()
        self._skip = Skip.NOTHING
        self._aspect, self._rotation = Fraction(1), 0
        self.name = name

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """See `Decoder.decode`."""
        import av

        if skip is not self._skip:
            self._context.skip_frame, self._skip = _SKIP[skip], skip
        whole = packet.data
        if self._headers is not None and (packet.keyframe or skip is Skip.UNREFERENCED):
            thinned = self._headers.thinned(whole)
            whole = thinned if skip is Skip.UNREFERENCED else whole
            if not whole:
                return []
        data = codecs.packet(whole)
        data.time_base = _UNIT
        data.pts, data.dts = packet.pts, packet.dts
        data.is_keyframe = packet.keyframe
        try:
            return [self._frame(frame) for frame in self._context.decode(data)]
        except av.FFmpegError as error:
            raise DecoderFailed(str(error)) from error

    def drain(self) -> list[Frame]:
        """See `Decoder.drain`."""
        import av

        if not self._context.is_open:
            return []
        try:
            frames = [self._frame(frame) for frame in self._context.decode(None)]
        except av.FFmpegError:
            frames = []
        self._context.flush_buffers()
        return frames

    def close(self) -> None:
        """Nothing to do: the context is freed with the last reference."""

    def _frame(self, frame: "VideoFrame") -> Frame:
        if frame.key_frame:
            # Both change with what is coded, if at all, and asking each frame costs as much as its thumbnail.
            self._aspect = self._context.sample_aspect_ratio or Fraction(1)
            self._rotation = frame.rotation
        return Frame(
            pts=frame.pts,
            dts=frame.dts,
            keyframe=bool(frame.key_frame),
            corrupt=bool(frame.is_corrupt),
            surface=self._surface(frame),
            pixel_aspect=self._aspect,
            rotation=self._rotation,
        )

    def _surface(self, frame: "VideoFrame") -> Surface:
        """Where the frame's pixels are."""
        return AvSurface(frame, self._scaler)


def open_cpu(stream_id: str, parameters: VideoParameters) -> AvDecoder:
    """A software decoder; raises `CodecUnsupported` or `MessageInvalid`."""
    headers = Av1Headers(parameters.extradata) if parameters.codec == "av1" else None
    return AvDecoder(codecs.open_video(stream_id, parameters), headers=headers)
