"""Audio packets into mono sound at 16 kHz on an absolute grid of samples.

Stages start anew after a crash in the middle of a stream and must then hear exactly what they heard before. Three things
make the sound a function of the chunks alone, wherever decoding began:

- the decoder is opened anew for every chunk and warmed with the packets just before it, so that no codec's memory
  (overlap, bit reservoir, noise generator) reaches further back than `WARM_UP`;
- the resampler starts on a multiple of `in_rate / gcd(in_rate, 16000)` input samples, where its phases repeat;
- sample numbers follow from the packets' pts, and small deviations are bridged by counting (`pipeline.media.grid`).

The first chunk after a start lacks the warm-up, and differs; all later ones are the same to the bit, provided that the
publisher's pts are exact to the sample. Where they are rounded, to milliseconds say, a late start is off by as much.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray
from watchword.v1.media_pb2 import AudioParameters, MediaChunk

from pipeline.errors import MediaUndecodable, TimeReversed
from pipeline.media import chunks, codecs
from pipeline.media.grid import SampleGrid
from pipeline.media.resample import Mixer, Resampler
from pipeline.timeline import NANOS

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_log = structlog.get_logger(__name__)

Samples = NDArray[np.float32]

WARM_UP = Fraction(12, 100)
"""Seconds of packets with which a decoder is warmed: 80 ms are recommended for Opus (RFC 7845, 4.6), and the MP3 bit
reservoir reaches back four frames of 26 ms at low bit rates."""


@dataclass(frozen=True)
class AudioBlock:
    """A run of sound."""

    start: int
    """Absolute number of the first sample at 16 kHz: its media time is `start / 16000` seconds. Never negative."""
    samples: Samples
    """Mono, -1 to 1, float32, shape (n,)."""


class AudioDecoder:
    """Decodes one stream's audio in the calling thread.

    Blocks follow one another without a hole or an overlap unless there is a real gap in the stream. Media before time
    zero, which is how containers state an encoder's run-in, is decoded but not handed out.
    """

    def __init__(self, stream_id: str) -> None:
        """`stream_id` is the stream whose chunks are decoded; it is named in what is raised."""
        self.damaged = 0
        """Packets that could not be decoded so far."""
        self._stream_id = stream_id
        self._warm_up: deque[tuple[int, bytes]] = deque()
        self._parameters: AudioParameters | None = None
        self._place: tuple[int, int] | None = None
        self._mixer = Mixer()
        self._grid: SampleGrid | None = None
        self._resampler: Resampler | None = None

    def decode(self, chunk: MediaChunk) -> list[AudioBlock]:
        """The sound that is complete after this chunk; the resampler holds back about a millisecond for the next.

        Raises `MessageInvalid`, `CodecUnsupported`, `TimeReversed`, or `MediaUndecodable` if no packet could be decoded.
        """
        codecs.require(chunk, "audio")
        chunks.validate(chunk, self._stream_id)
        if self._grid and self._grid.is_reversed(_position(chunk, chunk.packets[0].pts, self._grid.rate)):
            raise TimeReversed(
                f"stream {self._stream_id}: a chunk at {chunks.media_start(chunk).seconds:.3f} s came after sound up to "
                f"{self._grid.next / self._grid.rate:.3f} s; media time must not go backwards (chunk {chunk.epoch}/{chunk.sequence})"
            )
        context = self._open(chunk)
        blocks: list[AudioBlock] = []
        failed = heard = 0
        for index, packet in enumerate(chunk.packets):
            frames = _frames(context, packet.data, packet.pts)
            if index == len(chunk.packets) - 1 and context.delay:
                frames = (frames or []) + (_frames(context, None, None) or [])
            if frames is None:
                failed += 1
                if self._grid:
                    self._grid.lose()
                continue
            for frame in frames:
                heard += 1
                blocks += self._place_frame(chunk, frame)
        self._remember(chunk)
        self.damaged += failed
        if failed:
            _log.warning("audio packets damaged", stream=self._stream_id, epoch=chunk.epoch, sequence=chunk.sequence, packets=failed)
        if failed and not heard:
            self._warm_up.clear()
            raise MediaUndecodable(
                f"stream {self._stream_id}: none of {failed} {chunk.audio.codec} packets could be decoded "
                f"at {chunks.media_start(chunk).seconds:.3f} s (chunk {chunk.epoch}/{chunk.sequence}); their bytes are damaged"
            )
        return _joined(blocks)

    def flush(self) -> list[AudioBlock]:
        """The sound that the resampler still held back; what follows starts a new block."""
        blocks = self._resampler.finish() if self._resampler else []
        self._resampler = None
        return _joined([AudioBlock(start, samples) for start, samples in blocks])

    def close(self) -> None:
        """Release the decoder."""
        self._resampler = None
        self._warm_up.clear()

    def _open(self, chunk: MediaChunk) -> "AudioCodecContext":
        """A decoder in the state that it has just before the chunk."""
        place, self._place = self._place, (chunk.epoch, chunk.sequence)
        if self._parameters != chunk.audio or place != (chunk.epoch, chunk.sequence - 1):
            self._warm_up.clear()
            self._parameters = AudioParameters()
            self._parameters.CopyFrom(chunk.audio)
        context = codecs.open_audio(self._stream_id, chunk.audio)
        for _, data in self._warm_up:
            _frames(context, data, None)
        return context

    def _remember(self, chunk: MediaChunk) -> None:
        """Keep the packets with which the next chunk's decoder is warmed."""
        reach = WARM_UP / chunks.time_base(chunk)
        self._warm_up.extend((packet.pts, packet.data) for packet in chunk.packets)
        while self._warm_up and self._warm_up[0][0] < chunk.packets[-1].pts - reach:
            self._warm_up.popleft()

    def _place_frame(self, chunk: MediaChunk, frame: Any) -> list[AudioBlock]:
        """Sound that the frame completes."""
        rate: int = frame.sample_rate
        if self._grid is None or self._grid.rate != rate:
            self._grid = SampleGrid(rate)
        stated = None if frame.pts is None else _position(chunk, frame.pts, rate)
        if stated is None and self._grid.is_new:
            return []
        samples = self._mixer.mono(frame)
        start, skip = self._grid.place(stated, len(samples), rounding=int(chunks.time_base(chunk) * rate))
        samples = samples[skip:]
        if not len(samples):
            return []
        blocks: list[tuple[int, Samples]] = []
        if self._resampler is None or not self._resampler.follows(start, rate):
            blocks += self._resampler.finish() if self._resampler else []
            self._resampler = Resampler(start, rate)
        blocks += self._resampler.push(samples)
        return [AudioBlock(first, block) for first, block in blocks]


def _position(chunk: MediaChunk, pts: int, rate: int) -> int:
    """The absolute number at `rate` of the sample at `pts`; exact where the time base is."""
    offset = chunk.media_offset.seconds * NANOS + chunk.media_offset.nanos
    seconds = pts * chunks.time_base(chunk) + Fraction(offset, NANOS)
    return int((seconds * rate + Fraction(1, 2)).__floor__())


def _frames(context: "AudioCodecContext", data: bytes | None, pts: int | None) -> list[Any] | None:
    """The frames in a packet, or held back where `data` is `None`; `None` where the packet is damaged."""
    import av

    packet = None
    if data is not None:
        packet = codecs.packet(data)
        packet.pts = packet.dts = pts
    try:
        return [frame for frame in context.decode(packet) if frame.samples]
    except (av.FFmpegError, ValueError):
        return None


def _joined(blocks: list[AudioBlock]) -> list[AudioBlock]:
    """The blocks with those that touch made one, and without what lies before zero."""
    runs: list[tuple[int, list[Samples], int]] = []
    for block in blocks:
        start, samples = block.start, block.samples
        if start < 0:
            start, samples = 0, samples[-start:]
        if not len(samples):
            continue
        if runs and runs[-1][2] == start:
            first, parts, end = runs.pop()
            runs.append((first, [*parts, samples], end + len(samples)))
        else:
            runs.append((start, [samples], start + len(samples)))
    return [AudioBlock(first, np.concatenate(parts)) for first, parts, _ in runs]
