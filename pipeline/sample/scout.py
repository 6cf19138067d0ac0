"""A second decoder, which decodes a keyframe packet by itself and leaves the first as it is.

The same bytes have the same picture: of a slide that stays, what an encoder sends as a new picture each two seconds is not
decoded again.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from watchword.v1.media_pb2 import VideoParameters

from pipeline.media.decoders import CodedPacket, Decoder, DecoderFactory, DecoderFailed, Interruptible, Small
from pipeline.media.video import DecodedFrame
from pipeline.timeline import MediaTime

_KNOWN = 2
"""Packets that are remembered: encoders number keyframes 0 and 1 by turns, so that every second one of a slide is the same."""


@dataclass(frozen=True)
class Picture:
    """A picture that is looked at."""

    frame: DecodedFrame
    small: Small
    due: bool = False
    """Whether it must be chosen because no later one comes in time for the longest gap."""
    passed: int = 0
    """How many pictures between the one before and this were not looked at."""
    held: bool = False
    """Whether it was not decoded: it is the picture before it, for nothing was sent since but that it stays, and corrections of it."""

    def at(self, time: int) -> "Picture":
        """The same picture at another time, in nanoseconds."""
        return replace(self, frame=replace(self.frame, time=MediaTime(time)))


@dataclass
class _Known:
    """A keyframe packet that was decoded."""

    data: bytes
    small: Small
    picture: Picture | None = None
    """Kept once the same packet has come again: full pictures take memory."""


class Scout:
    """Looks at keyframe packets of one stream."""

    def __init__(self, stream_id: str, open_decoder: DecoderFactory, small: Callable[[DecodedFrame], Small]) -> None:
        """`small` makes a frame's thumbnails."""
        self.probes = 0
        """Packets that were decoded so far."""
        self._stream_id = stream_id
        self._open = open_decoder
        self._small = small
        self._decoder: Decoder | None = None
        self._known: deque[_Known] = deque(maxlen=_KNOWN)

    def look(self, packet: CodedPacket, parameters: VideoParameters, shown: Picture | None) -> Picture | None:
        """The keyframe's picture; `None` where it cannot be had by itself. `shown` is the latest picture that was shown, which is kept."""
        again = next((each for each in self._known if each.data == packet.data), None)
        if again is not None:
            picture = shown if shown is not None and shown.small is again.small else again.picture
            if picture is not None:
                return replace(picture.at(packet.pts), due=False, passed=0, held=False)
        frame = self._decoded(packet, parameters)
        if frame is None:
            return None
        picture = Picture(frame, self._small(frame))
        if again is None:
            self._known.append(_Known(packet.data, picture.small))
        else:
            again.small, again.picture = picture.small, picture
        return picture

    def _decoded(self, packet: CodedPacket, parameters: VideoParameters) -> DecodedFrame | None:
        self.probes += 1
        try:
            self._decoder = self._decoder or self._open(self._stream_id, parameters)
            frames = self._decoder.decode(packet) + self._decoder.drain()
        except (DecoderFailed, OSError):
            self.close()
            return None
        frame = next((frame for frame in frames if frame.pts == packet.pts and not frame.corrupt), None)
        return None if frame is None else DecodedFrame(MediaTime(packet.pts), frame.surface, frame.pixel_aspect, frame.rotation)

    def interrupt(self) -> None:
        """Break off what is being decoded, where that is possible; from any thread."""
        decoder = self._decoder
        if isinstance(decoder, Interruptible):
            decoder.interrupt()

    def forget(self) -> None:
        """Packets of another stretch follow, perhaps with other parameters."""
        self.close()
        self._known.clear()

    def close(self) -> None:
        """Release the decoder."""
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None
