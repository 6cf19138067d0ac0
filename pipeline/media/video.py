"""Video packets into pictures in the order and at the times in which they are shown."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import structlog
from watchword.v1.media_pb2 import MediaChunk, VideoParameters

from pipeline.errors import MediaUndecodable, TimeReversed
from pipeline.media import chunks, codecs
from pipeline.media.continuity import Continuity, continuity
from pipeline.media.decoders.cpu import open_cpu
from pipeline.media.decoders.port import (
    CodedPacket,
    Decoder,
    DecoderFactory,
    DecoderFailed,
    DecoderLost,
    Frame,
    Interruptible,
    Skip,
    Surface,
    native,
)
from pipeline.timeline import ZERO, MediaTime

_log = structlog.get_logger(__name__)

_GONE = 2
"""Keyframes in a row that a device refuses before another decoder takes its place."""

MAX_REVERSAL = MediaTime.of(1)
"""How far behind what was already shown a chunk may start; further back is another clock, not reordering."""
MAX_DOUBT = MediaTime.of(5)
"""How long pictures that follow a damaged one are withheld where no keyframe comes: by then most have been painted over."""


@dataclass(frozen=True)
class DecodedFrame:
    """One picture."""

    time: MediaTime
    """When it is shown; never negative, and later than the frame before."""
    surface: Surface
    """The picture as decoded: coded size and pixel format, wherever its pixels are."""
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as it is meant to be shown."""
    rotation: int = 0
    """Degrees counter-clockwise by which it is to be turned before it is shown."""

    @property
    def frame(self) -> Any:
        """The decoding library's own frame: an `av.VideoFrame` where FFmpeg decoded it."""
        return native(self.surface)


class VideoDecoder:
    """Decodes one stream's video in the calling thread.

    Decoding starts at a keyframe. After packets were lost, left out or damaged, nothing is handed out until the next
    keyframe, because pictures that refer to lost ones are not what was filmed; the same holds after a picture that the codec
    had to mend. Media before time zero is decoded but not shown.
    """

    def __init__(self, stream_id: str, open_decoder: DecoderFactory = open_cpu) -> None:
        """`stream_id` is the stream whose chunks are decoded; it is named in what is raised."""
        self.damaged = 0
        """Packets that could not be decoded so far."""
        self.skipped = 0
        """Packets left out so far because no keyframe had come before them."""
        self.missing = 0
        """How often pictures were missing so far that others refer to."""
        self.lost = 0
        """Decoders that had to be replaced so far."""
        self._stream_id = stream_id
        self._open = open_decoder
        self._decoder: Decoder | None = None
        self._continuity: Continuity | None = None
        self._parameters: VideoParameters | None = None
        self._place: tuple[int, int] | None = None
        self._await_keyframe = True
        self._from = ZERO
        self._last = MediaTime(-1)
        self._decoded_to = -1
        """The latest decoding time of a packet that could come, in nanoseconds."""
        self._doubted_from: MediaTime | None = None
        self._rescued: list[DecodedFrame] = []
        self._order = _Order()
        self._tried = self._failed = 0
        self._refused = 0

    @property
    def name(self) -> str:
        """What decodes at present; empty before the first chunk."""
        return self._decoder.name if self._decoder is not None else ""

    @property
    def knows_times(self) -> bool:
        """Whether packets say when their pictures are shown; else that is found by the order in which all of them come out."""
        return self._order.trusts_presentation

    def decode(self, chunk: MediaChunk) -> list[DecodedFrame]:
        """The frames that can be shown after this chunk; a codec may hold some back for the next.

        Of a thinned chunk each packet is decoded by itself and nothing is held back.
        Raises `MessageInvalid`, `CodecUnsupported`, `TimeReversed`, or `MediaUndecodable` if no packet could be decoded;
        frames of earlier chunks are then handed out with the next.
        """
        packets = self.require(chunk)
        frames = self.follow(chunk) + self.feed(packets, alone=chunk.thinned)
        return self.raise_if_lost(chunk, frames)

    def require(self, chunk: MediaChunk, latest: int = 0) -> list[CodedPacket]:
        """The chunk's packets; raises `MessageInvalid` or `TimeReversed` unless they can come now.

        `latest` is the time of a picture that was not shown, in nanoseconds: those that are decoded after it may be shown before it.
        """
        codecs.require(chunk, "video")
        packets = chunks.read(chunk, self._stream_id)
        last = MediaTime(max(self._last.nanos, min(latest, self._decoded_to)))
        if max([packet.pts + packet.duration for packet in packets]) < last.nanos - MAX_REVERSAL.nanos:
            raise TimeReversed(
                f"stream {self._stream_id}: a chunk at {chunks.media_start(chunk).seconds:.3f} s came after a frame at "
                f"{last.seconds:.3f} s was shown; media time must not go backwards (chunk {chunk.epoch}/{chunk.sequence})"
            )
        self._decoded_to = max(self._decoded_to, *(packet.dts for packet in packets))
        return packets

    def follows(self, chunk: MediaChunk) -> bool:
        """Whether the chunk goes on where the one before ended: the same codec parameters, nothing lost between."""
        return self._parameters == chunk.video and self._place == (chunk.epoch, chunk.sequence - 1)

    @property
    def is_settled(self) -> bool:
        """Whether a decoder is there, and nothing waits to be handed out with the next chunk."""
        return self._decoder is not None and not self._rescued

    def follow(self, chunk: MediaChunk) -> list[DecodedFrame]:
        """Make ready for the chunk's packets: the frames held back from before a loss or a change. Raises `CodecUnsupported`."""
        self._tried = self._failed = 0
        place, self._place = self._place, (chunk.epoch, chunk.sequence)
        frames, self._rescued = self._rescued, []
        if self._decoder is None or self._parameters != chunk.video:
            frames += self._drain()
            if self._decoder is not None:
                self._decoder.close()
                self._decoder = None
            self._parameters = VideoParameters()
            self._parameters.CopyFrom(chunk.video)
            self._decoder = self._opened()
            self._continuity = continuity(self._parameters)
            self._await_keyframe = True
            self._order = _Order()
        elif place is not None and place != (chunk.epoch, chunk.sequence - 1):
            frames += self._drain()
            self._await_keyframe = True
        return frames

    def feed(self, packets: Iterable[CodedPacket], skip: Skip = Skip.NOTHING, *, alone: bool = False) -> list[DecodedFrame]:
        """Decode packets that follow those before; with `alone` each by itself, so that nothing is held back.

        Raises nothing but `CodecUnsupported`: packets that cannot be decoded are counted, and so are decoders that are lost.
        """
        frames: list[DecodedFrame] = []
        for packet in packets:
            if self._await_keyframe and not packet.keyframe:
                self.skipped += 1
                continue
            problem = self._problem(packet)
            if problem == "missing":
                self.missing += 1
                _log.warning("pictures_missing", stream=self._stream_id, before=MediaTime(packet.pts).seconds)
                frames += self._drain()
                self._await_keyframe = True
                if not packet.keyframe:
                    self.skipped += 1
                    continue
            self._tried += 1
            if self._decoder is None:
                self._failed += 1
                continue
            try:
                if problem == "damaged":
                    raise DecoderFailed("no part of a picture is in it")
                frames += self._decode(packet, skip)
                if alone:
                    frames += self._drain()
                    self._await_keyframe = True
            except DecoderLost as error:
                self._failed += 1
                self._replace(error)
                continue
            except DecoderFailed as error:
                self._failed += 1
                frames += self._drain()
                self._await_keyframe = True
                self._doubt(packet, error)
                continue
            if packet.keyframe:
                self._refused = 0
        return frames

    def raise_if_lost(self, chunk: MediaChunk, frames: list[DecodedFrame]) -> list[DecodedFrame]:
        """The frames, unless every packet fed since the chunk began was damaged: then they are kept, and `MediaUndecodable` is raised."""
        tried, failed = self._tried, self._failed
        self.damaged += failed
        if failed:
            _log.warning("video_packets_damaged", stream=self._stream_id, epoch=chunk.epoch, sequence=chunk.sequence, packets=failed)
        if tried and failed == tried:
            self._rescued = frames
            raise MediaUndecodable(
                f"stream {self._stream_id}: none of {tried} {chunk.video.codec} packets could be decoded "
                f"at {chunks.media_start(chunk).seconds:.3f} s (chunk {chunk.epoch}/{chunk.sequence}); "
                f"{'their bytes are damaged' if self._decoder is not None else 'no decoder can be opened now'}"
            )
        return frames

    def leap(self) -> list[DecodedFrame]:
        """Packets are left out here: the frames that were held back; decoding goes on at the next keyframe."""
        frames = self._drain()
        self._await_keyframe = True
        return frames

    def reach(self, time: MediaTime) -> None:
        """A picture of this time was shown that another decoder made: none that is not later follows."""
        self._last = max(self._last, time)

    def flush(self) -> list[DecodedFrame]:
        """The frames that the codec still held back; decoding goes on at the next keyframe."""
        frames, self._rescued = self._rescued, []
        return frames + self.leap()

    def interrupt(self) -> None:
        """Break off what is being decoded, where that is possible; from any thread."""
        decoder = self._decoder
        if isinstance(decoder, Interruptible):
            decoder.interrupt()

    def close(self) -> None:
        """Release the decoder."""
        if self._decoder is not None:
            self._decoder.close()
        self._decoder = None

    def _problem(self, packet: CodedPacket) -> str | None:
        """What the bitstream says is wrong with the next packet: "missing", "damaged", or nothing."""
        if self._continuity is None:
            return None
        if self._await_keyframe:
            self._continuity.restart()
        return self._continuity.check(packet)

    def _decode(self, packet: CodedPacket, skip: Skip) -> list[DecodedFrame]:
        assert self._decoder is not None
        if self._await_keyframe:
            self._await_keyframe = False
            self._from = max(MediaTime(packet.pts), ZERO)
        return self._shown(self._decoder.decode(packet, skip))

    def _drain(self) -> list[DecodedFrame]:
        """What the codec holds back; it can be used afresh afterwards."""
        if self._decoder is None:
            return []
        try:
            return self._shown(self._decoder.drain())
        except DecoderLost as error:
            self._replace(error)
            return []

    def _doubt(self, packet: CodedPacket, error: DecoderFailed) -> None:
        """A device that takes one keyframe after another for damaged is gone, as a GPU that was lost: replace its decoder."""
        self._refused += packet.keyframe
        if self._refused >= _GONE and self._decoder is not None and not self._decoder.name.startswith("cpu"):
            self._refused = 0
            self._replace(DecoderLost(str(error)))

    def _replace(self, error: DecoderLost) -> None:
        """Open another decoder in the place of one that is gone; it goes on at the next keyframe."""
        assert self._decoder is not None
        assert self._parameters is not None
        self.lost += 1
        _log.warning("decoder_replaced", stream=self._stream_id, decoder=self._decoder.name, cause=str(error), replaced=self.lost)
        self._decoder.close()
        self._decoder = self._opened()
        self._await_keyframe = True
        self._order = _Order()

    def _opened(self) -> Decoder | None:
        """A new decoder; `None` where none can be had now: the next chunk tries again. Raises `CodecUnsupported`."""
        assert self._parameters is not None
        try:
            return self._open(self._stream_id, self._parameters)
        except (DecoderLost, OSError) as error:
            _log.warning("decoder_not_opened", stream=self._stream_id, cause=str(error))
            return None

    def _shown(self, frames: Iterable[Frame]) -> list[DecodedFrame]:
        """Those of the frames that may be shown."""
        stated = self._parameters.rotation if self._parameters else 0
        shown = []
        for frame in frames:
            time = self._order.time(frame)
            if time is None:
                continue
            if frame.corrupt:
                self._doubted_from = self._doubted_from or time
            elif frame.keyframe or (self._doubted_from and time - self._doubted_from > MAX_DOUBT):
                self._doubted_from = None
            if self._doubted_from or time < self._from or time <= self._last:
                continue
            self._last = time
            shown.append(DecodedFrame(time, frame.surface, frame.pixel_aspect, frame.rotation or stated))
        return shown


class _Order:
    """Finds the time of each frame, also where packets carry no true presentation times.

    Sources without times of their own, such as bare H.264, can only be stamped in decoding order. Frames then come
    out with times that go back and forth, while the decoding times of the packets that released them still rise. As
    FFmpeg does for its best-effort time stamp, the clock that has gone backwards less often is believed; once is a jump of
    the source's clock among reordered frames.
    """

    def __init__(self) -> None:
        self._faults = [0, 0]
        self._latest: list[int | None] = [None, None]

    @property
    def trusts_presentation(self) -> bool:
        """Whether the presentation times are believed."""
        return self._faults[0] <= self._faults[1] + 1

    def time(self, frame: Frame) -> MediaTime | None:
        """The frame's presentation time; `None` where it has none."""
        clocks = (frame.pts, frame.dts)
        for index, nanos in enumerate(clocks):
            latest = self._latest[index]
            if nanos is not None:
                self._faults[index] += latest is not None and nanos <= latest
                self._latest[index] = nanos
        nanos = frame.dts if frame.pts is None or (frame.dts is not None and not self.trusts_presentation) else frame.pts
        return None if nanos is None else MediaTime(nanos)
