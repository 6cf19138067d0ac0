"""Video packets into pictures in the order and at the times in which they are shown."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import structlog
from watchword.v1.media_pb2 import MediaChunk, Packet, VideoParameters

from pipeline.errors import MediaUndecodable, TimeReversed
from pipeline.media import chunks, codecs
from pipeline.timeline import NANOS, ZERO, MediaTime

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame

_log = structlog.get_logger(__name__)

MAX_REVERSAL = MediaTime.of(1)
"""How far behind what was already shown a chunk may start; further back is another clock, not reordering."""
MAX_DOUBT = MediaTime.of(5)
"""How long pictures that follow a damaged one are withheld where no keyframe comes: by then most have been painted over."""
_UNIT = Fraction(1, NANOS)
"""Packets are given to the decoder in media time, so that frames come back in it whatever the chunk's time base."""


@dataclass(frozen=True)
class DecodedFrame:
    """One picture."""

    time: MediaTime
    """When it is shown; never negative, and later than the frame before."""
    frame: "VideoFrame"
    """The picture as decoded: coded size and pixel format."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as it is meant to be shown."""


class VideoDecoder:
    """Decodes one stream's video in the calling thread.

    Decoding starts at a keyframe. After packets were lost or damaged, nothing is handed out until the next keyframe,
    because pictures that refer to lost ones are not what was filmed; the same holds after a picture that the codec had to
    mend. Media before time zero is decoded but not shown.
    """

    def __init__(self, stream_id: str) -> None:
        """`stream_id` is the stream whose chunks are decoded; it is named in what is raised."""
        self.damaged = 0
        """Packets that could not be decoded so far."""
        self.skipped = 0
        """Packets left out so far because no keyframe had come before them."""
        self._stream_id = stream_id
        self._context: VideoCodecContext | None = None
        self._parameters: VideoParameters | None = None
        self._place: tuple[int, int] | None = None
        self._await_keyframe = True
        self._from = ZERO
        self._last = MediaTime(-1)
        self._doubted_from: MediaTime | None = None
        self._rescued: list[DecodedFrame] = []
        self._order = _Order()

    def decode(self, chunk: MediaChunk) -> list[DecodedFrame]:
        """The frames that can be shown after this chunk; a codec may hold some back for the next.

        Of a thinned chunk each packet is decoded by itself and nothing is held back.
        Raises `MessageInvalid`, `CodecUnsupported`, `TimeReversed`, or `MediaUndecodable` if no packet could be decoded;
        frames of earlier chunks are then handed out with the next.
        """
        codecs.require(chunk, "video")
        chunks.validate(chunk, self._stream_id)
        if chunks.media_end(chunk) < self._last - MAX_REVERSAL:
            raise TimeReversed(
                f"stream {self._stream_id}: a chunk at {chunks.media_start(chunk).seconds:.3f} s came after a frame at "
                f"{self._last.seconds:.3f} s was shown; media time must not go backwards (chunk {chunk.epoch}/{chunk.sequence})"
            )
        frames, self._rescued = self._rescued, []
        frames += self._follow(chunk)
        tried = failed = 0
        for packet in chunk.packets:
            if self._await_keyframe and not packet.keyframe:
                self.skipped += 1
                continue
            tried += 1
            try:
                frames += self._decode(chunk, packet)
                if chunk.thinned:
                    frames += self._drain()
                    self._await_keyframe = True
            except MediaUndecodable:
                failed += 1
                frames += self._drain()
                self._await_keyframe = True
        self.damaged += failed
        if failed:
            _log.warning("video packets damaged", stream=self._stream_id, epoch=chunk.epoch, sequence=chunk.sequence, packets=failed)
        if tried and failed == tried:
            self._rescued = frames
            raise MediaUndecodable(
                f"stream {self._stream_id}: none of {tried} {chunk.video.codec} packets could be decoded "
                f"at {chunks.media_start(chunk).seconds:.3f} s (chunk {chunk.epoch}/{chunk.sequence}); their bytes are damaged"
            )
        return frames

    def flush(self) -> list[DecodedFrame]:
        """The frames that the codec still held back; decoding goes on at the next keyframe."""
        frames, self._rescued = self._rescued, []
        frames += self._drain()
        self._await_keyframe = True
        return frames

    def close(self) -> None:
        """Release the decoder."""
        self._context = None

    def _follow(self, chunk: MediaChunk) -> list[DecodedFrame]:
        """Make ready for the chunk: frames held back from before a loss or a change."""
        place, self._place = self._place, (chunk.epoch, chunk.sequence)
        frames: list[DecodedFrame] = []
        if self._context is None or self._parameters != chunk.video:
            frames = self._drain()
            self._context = codecs.open_video(self._stream_id, chunk.video)
            self._parameters = VideoParameters()
            self._parameters.CopyFrom(chunk.video)
            self._await_keyframe = True
            self._order = _Order()
        elif place is not None and place != (chunk.epoch, chunk.sequence - 1):
            frames = self._drain()
            self._await_keyframe = True
        return frames

    def _decode(self, chunk: MediaChunk, packet: Packet) -> list[DecodedFrame]:
        import av

        assert self._context is not None
        time = chunks.packet_time(chunk, packet)
        if self._await_keyframe:
            self._await_keyframe = False
            self._from = max(time, ZERO)
        data = codecs.packet(packet.data)
        data.time_base = _UNIT
        data.pts = time.nanos
        data.dts = chunks.decoding_time(chunk, packet).nanos
        data.is_keyframe = packet.keyframe
        try:
            return self._shown(self._context.decode(data))
        except av.FFmpegError as error:
            raise MediaUndecodable(str(error)) from error

    def _drain(self) -> list[DecodedFrame]:
        """What the codec holds back; it can be used afresh afterwards."""
        import av

        if self._context is None or not self._context.is_open:
            return []
        try:
            frames = self._shown(self._context.decode(None))
        except av.FFmpegError:
            frames = []
        self._context.flush_buffers()
        return frames

    def _shown(self, frames: "list[VideoFrame]") -> list[DecodedFrame]:
        """Those of the frames that may be shown."""
        shown = []
        for frame in frames:
            time = self._order.time(frame)
            if time is None:
                continue
            if frame.is_corrupt:
                self._doubted_from = self._doubted_from or time
            elif frame.key_frame or (self._doubted_from and time - self._doubted_from > MAX_DOUBT):
                self._doubted_from = None
            if self._doubted_from or time < self._from or time <= self._last:
                continue
            self._last = time
            shown.append(DecodedFrame(time, frame, self._pixel_aspect()))
        return shown

    def _pixel_aspect(self) -> Fraction:
        """What the codec says; square pixels where it says nothing."""
        aspect = self._context.sample_aspect_ratio if self._context is not None else None
        return aspect if aspect else Fraction(1)


class _Order:
    """Finds the time of each frame, also where packets carry no true presentation times.

    Sources without times of their own, such as bare H.264, can only be stamped in decoding order. Frames then come
    out with times that go back and forth, while the decoding times of the packets that released them still rise. As
    FFmpeg does for its best-effort time stamp, the clock that has gone backwards less often is believed.
    """

    def __init__(self) -> None:
        self._faults = [0, 0]
        self._latest: list[int | None] = [None, None]

    def time(self, frame: "VideoFrame") -> MediaTime | None:
        """The frame's presentation time; `None` where it has none."""
        clocks = (frame.pts, frame.dts)
        for index, nanos in enumerate(clocks):
            latest = self._latest[index]
            if nanos is not None:
                self._faults[index] += latest is not None and nanos <= latest
                self._latest[index] = nanos
        nanos = frame.dts if frame.pts is None or (frame.dts is not None and self._faults[0] > self._faults[1]) else frame.pts
        return None if nanos is None else MediaTime(nanos)
