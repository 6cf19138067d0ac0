"""Audio packets into mono sound at 16 kHz on an absolute grid of samples.

Stages start anew after a crash in the middle of a stream and must then hear exactly what they heard before. Four things
make the sound a function of the chunks alone, wherever decoding began:

- the decoder is opened anew for every chunk and warmed with the packets just before it, so that no codec's memory
  (overlap, bit reservoir, noise generator) reaches further back than `WARM_UP`;
- channels are mixed by what they held in the tenth of a second before (`pipeline.media.mix`);
- the resampler starts on a multiple of `in_rate / gcd(in_rate, 16000)` input samples, where its phases repeat;
- sample numbers follow from the packets' pts, and small deviations are bridged by counting (`pipeline.media.grid`).

The first chunk of a connection (sequence number 0), and what follows a `flush`, depend on nothing before them. Anywhere
else, what is heard within `RUN_IN` and a packet of a start lacks some of that, and differs; all that follows is the same to the
bit, provided that the publisher's pts are exact to the sample. Where they are rounded, to milliseconds say, a late start is
off by as much.
"""

from collections import deque
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import structlog
from numpy.typing import NDArray
from watchword.v1.media_pb2 import AudioParameters, MediaChunk

from pipeline.errors import MediaUndecodable, TimeReversed
from pipeline.media import chunks, codecs
from pipeline.media.grid import SampleGrid
from pipeline.media.mix import RUN_IN as MIX_RUN_IN
from pipeline.media.mix import Mixer
from pipeline.media.resample import Resampler
from pipeline.timeline import NANOS

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext

_log = structlog.get_logger(__name__)

Samples = NDArray[np.float32]

WARM_UP = Fraction(12, 100)
"""Seconds of packets with which a decoder is warmed: 80 ms are recommended for Opus (RFC 7845, 4.6), and the MP3 bit
reservoir reaches back four frames of 26 ms at low bit rates."""
RUN_IN = WARM_UP + MIX_RUN_IN
"""Seconds, and a packet, after which the sound depends no more on where decoding began; with one channel `WARM_UP` is enough."""
_OVERLONG_S = 0.05
"""A frame that lasts longer than twice what is stated of its packet and this is damage: it would drown out what follows."""
_SHORT_S = 0.001
"""A packet whose sound is shorter than stated by more than this, and by more than rounding explains, lost some of it."""


@dataclass(frozen=True)
class AudioBlock:
    """A run of sound."""

    start: int
    """Absolute number of the first sample at 16 kHz: its media time is `start / 16000` seconds. Never negative."""
    samples: Samples
    """Mono, -1 to 1, float32, shape (n,), all finite."""


@dataclass
class _Stated:
    """What is stated of the packet that was decoded last, and what came out of it."""

    start: float
    """Seconds."""
    duration: float
    """Seconds; 0 if unknown."""
    longest: float
    """Seconds that it can be meant to last, by its duration or by the packets beside it; 0 if nothing is known."""
    heard: float = 0.0
    """Seconds of sound in it."""


class _Run:
    """Frames that were decoded and follow one another."""

    def __init__(self, start: int, rate: int, layout: str) -> None:
        self.start = self.end = start
        """Absolute numbers of the first sample, and of the one after the last, at `rate`."""
        self.rate = rate
        self.layout = layout
        self.parts: list[Samples] = []
        """Shape (n, channels) each."""


class AudioDecoder:
    """Decodes one stream's audio in the calling thread.

    Blocks follow one another without a hole or an overlap unless there is a real gap in the stream. Media before time
    zero, which is how containers state an encoder's run-in, is decoded but not handed out.
    """

    def __init__(self, stream_id: str) -> None:
        """`stream_id` is the stream whose chunks are decoded; it is named in what is raised."""
        self.damaged = 0
        """Packets that could not be decoded so far, or only to much more sound than was stated."""
        self._stream_id = stream_id
        self._warm_up: deque[tuple[int, bytes]] = deque()
        self._parameters: AudioParameters | None = None
        self._place: tuple[int, int] | None = None
        self._mixer = Mixer()
        self._packet: _Stated | None = None
        self._run: _Run | None = None
        self._starts = True
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
        invalid = self._mixer.invalid
        for index, packet in enumerate(chunk.packets):
            frames = _frames(context, packet.data, None if _contradicted(chunk, index) else packet.pts)
            if index == len(chunk.packets) - 1 and context.delay:
                frames = (frames or []) + (_frames(context, None, None) or [])
            self._state(chunk, index)
            if frames is None:
                failed += 1
                if self._grid:
                    self._grid.lose()
                continue
            for frame in frames:
                heard += 1
                blocks += self._place_frame(chunk, frame)
        blocks += self._hear_run()
        self._remember(chunk)
        self.damaged += failed
        place = {"stream": self._stream_id, "epoch": chunk.epoch, "sequence": chunk.sequence}
        if failed:
            _log.warning("audio_packets_damaged", **place, packets=failed)
        if self._mixer.invalid > invalid:
            _log.warning("audio_samples_not_numbers", **place, samples=self._mixer.invalid - invalid)
        if failed and not heard:
            self._warm_up.clear()
            raise MediaUndecodable(
                f"stream {self._stream_id}: none of {failed} {chunk.audio.codec} packets could be decoded "
                f"at {chunks.media_start(chunk).seconds:.3f} s (chunk {chunk.epoch}/{chunk.sequence}); their bytes are damaged"
            )
        return _joined(blocks)

    def flush(self) -> list[AudioBlock]:
        """The sound that the resampler still held back; what follows starts a new block, and is heard as if nothing came before it."""
        blocks = self._resampler.finish() if self._resampler else []
        self._resampler = None
        self._place = None
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
            self._packet = None
            self._mixer.restart()
            if self._grid:
                self._grid.lose()
        if place is None or chunk.sequence == 0:
            # A stage may start anew here and then knows nothing of what came before.
            self._starts = True
            if self._grid:
                self._grid.restart()
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

    def _state(self, chunk: MediaChunk, index: int) -> None:
        """Note what is stated of a packet, and whether the one before it lost a part of its sound."""
        packets, unit = chunk.packets, chunk.time_base.numerator / chunk.time_base.denominator
        packet = packets[index]
        start = packet.pts * unit + chunk.media_offset.seconds + chunk.media_offset.nanos / NANOS
        before = self._packet
        if before and before.heard and self._grid:
            stated = min(before.duration, start - before.start)
            if before.heard < stated - max(_SHORT_S, unit):
                self._grid.lose()
        apart = max((later.pts - sooner.pts for sooner, later in pairwise(packets[max(index - 1, 0) : index + 2])), default=0)
        self._packet = _Stated(start, packet.duration * unit, max(packet.duration, apart) * unit)

    def _place_frame(self, chunk: MediaChunk, frame: Any) -> list[AudioBlock]:
        """Give the frame its place; the sound before it where it does not follow that."""
        rate: int = frame.sample_rate
        if self._grid is None:
            self._grid = SampleGrid(rate)
        elif self._grid.rate != rate:
            self._grid = self._grid.at(rate)
        stated = None if frame.pts is None else _position(chunk, frame.pts, rate)
        if stated is None and self._grid.is_new:
            return []
        length: int = frame.samples
        assert self._packet is not None
        longest = self._packet.longest
        if longest > 0 and length > (2 * longest + _OVERLONG_S) * rate:
            self.damaged += 1
            length = int(longest * rate)
            self._grid.lose()
        self._packet.heard += length / rate
        start, skip = self._grid.place(stated, length, rounding=int(chunks.time_base(chunk) * rate))
        if skip >= length:
            return []
        blocks: list[AudioBlock] = []
        run = self._run
        if run is None or (run.layout, run.rate, run.end) != (frame.layout.name, rate, start):
            blocks = self._hear_run()
            self._run = run = _Run(start, rate, frame.layout.name)
        run.parts.append(self._mixer.planes(frame)[skip:length])
        run.end += length - skip
        return blocks

    def _hear_run(self) -> list[AudioBlock]:
        """Sound that the frames that were placed complete."""
        run, self._run = self._run, None
        if run is None:
            return []
        samples = self._mixer.mono(np.concatenate(run.parts), run.start, run.layout, run.rate)
        blocks: list[tuple[int, Samples]] = []
        if self._resampler is None or self._starts or not self._resampler.follows(run.start, run.rate):
            blocks += self._resampler.finish() if self._resampler else []
            self._resampler = Resampler(run.start, run.rate)
            self._starts = False
        blocks += self._resampler.push(samples)
        return [AudioBlock(first, block) for first, block in blocks]


def _position(chunk: MediaChunk, pts: int, rate: int) -> int:
    """The absolute number at `rate` of the sample at `pts`; exact where the time base is."""
    offset = chunk.media_offset.seconds * NANOS + chunk.media_offset.nanos
    seconds = pts * chunks.time_base(chunk) + Fraction(offset, NANOS)
    return int((seconds * rate + Fraction(1, 2)).__floor__())


def _contradicted(chunk: MediaChunk, index: int) -> bool:
    """Whether a packet's time is wrong by those of the packets beside it, which fit together without it.

    Some muxers state Vorbis packets 11 ms late where long blocks become short ones, and are right again with the next.
    """
    if not 0 < index < len(chunk.packets) - 1:
        return False
    before, this, after = chunk.packets[index - 1 : index + 2]
    if before.pts <= after.pts and not before.pts <= this.pts <= after.pts:
        return True
    if not before.duration or not this.duration:
        return False
    due, slack = before.pts + before.duration, max(2, chunk.time_base.denominator // (1000 * chunk.time_base.numerator))
    return abs(this.pts - due) > slack >= abs(due + this.duration - after.pts)


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
