"""Audio as a client sends it, piece by piece, into chunks: bare samples, or the bytes of a file as they come."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from watchword.v1.media_pb2 import AudioParameters, MediaChunk, Packet, Rational
from watchword.v1.transcribe_service_pb2 import Pcm, SampleFormat

from pipeline.errors import RequestInvalid, SourceInvalid, SourceTruncated, WatchwordError
from pipeline.media.chunks import MAX_BYTES
from pipeline.media.source import AvSource
from pipeline.media.tracks import Kind
from services.incoming.sound import Sound, chunks

T = TypeVar("T")

FORMATS = ("wav", "ogg", "flac", "mp3", "aac", "matroska", "webm", "mov", "mp4")
"""What bytes may be, by FFmpeg's names. A playlist must never be among them: FFmpeg would open what it names, here."""
_PROBE_BYTES = 1_000_000
"""Bytes by which the format must be known; garbage is read no further. Cover pictures come before the sound in MP3."""
_PROBE_MICROS = 100_000
"""Sound that may be looked at, at most, before the first of it is handed on; in WAV FFmpeg always looks at 64 kB."""
_PROBE_PACKETS = "2"
"""Packets of bare samples that are searched for a codec in disguise, such as DTS in WAV."""
_BUFFER_BYTES = 4096
"""Bytes that are asked for at a time: FFmpeg waits until it has as many, or the client has sent less."""

RATES = range(8_000, 192_001)
"""Samples per second that bare samples may have."""
CHANNELS = range(1, 9)
"""Channels that bare samples may have."""
_SPANS_PER_S = 10
"""A chunk of bare samples lasts a tenth of a second, since its length is part of every delay."""


@dataclass(frozen=True)
class _Format:
    codec: str
    """FFmpeg's name."""
    width: int
    """Bytes of a sample."""


_SAMPLES = {
    SampleFormat.SAMPLE_FORMAT_S16LE: _Format("pcm_s16le", 2),
    SampleFormat.SAMPLE_FORMAT_F32LE: _Format("pcm_f32le", 4),
    SampleFormat.SAMPLE_FORMAT_MULAW: _Format("pcm_mulaw", 1),
}


class Samples:
    """Cuts bare samples into chunks; messages may end anywhere, also within a sample."""

    def __init__(self, stream_id: str, pcm: Pcm) -> None:
        """Raises `RequestInvalid` unless format, rate and channels are possible."""
        form = _SAMPLES.get(pcm.format)
        if form is None:
            raise RequestInvalid(f"stream {stream_id}: the format of the samples must be one of S16LE, F32LE and MULAW")
        if pcm.sample_rate not in RATES:
            raise RequestInvalid(f"stream {stream_id}: {pcm.sample_rate} samples per second; {RATES[0]:,} to {RATES[-1]:,} are possible")
        channels = pcm.channels or 1
        if channels not in CHANNELS:
            raise RequestInvalid(f"stream {stream_id}: {channels} channels; {CHANNELS[0]} to {CHANNELS[-1]} are possible")
        self._stream_id = stream_id
        self._parameters = AudioParameters(codec=form.codec, sample_rate=pcm.sample_rate, channels=channels)
        self._frame = form.width * channels
        self._span = min(pcm.sample_rate // _SPANS_PER_S, MAX_BYTES // self._frame)
        self._waiting = bytearray()
        self._sent = 0
        self._sequence = 0

    def add(self, audio: bytes) -> Iterator[MediaChunk]:
        """The chunks that are complete with these bytes."""
        self._waiting += audio
        size = self._span * self._frame
        while len(self._waiting) >= size:
            yield self._chunk(bytes(self._waiting[:size]))
            del self._waiting[:size]

    def rest(self) -> Iterator[MediaChunk]:
        """What is left when nothing more comes; raises `SourceTruncated` after it where the last sample is not whole."""
        left_over = len(self._waiting) % self._frame
        whole = bytes(self._waiting[: len(self._waiting) - left_over])
        self._waiting.clear()
        if whole:
            yield self._chunk(whole)
        if left_over:
            raise SourceTruncated(
                f"stream {self._stream_id}: the audio ends within a sample, {left_over} of {self._frame} bytes are there; "
                "does the config name the format and the number of channels that were sent?"
            )

    def _chunk(self, data: bytes) -> MediaChunk:
        count = len(data) // self._frame
        chunk = MediaChunk(
            stream_id=self._stream_id,
            epoch=1,
            sequence=self._sequence,
            audio=self._parameters,
            time_base=Rational(numerator=1, denominator=self._parameters.sample_rate),
            packets=[Packet(pts=self._sent, duration=count, keyframe=True, data=data)],
        )
        self._sent += count
        self._sequence += 1
        return chunk


async def of_samples(stream_id: str, pcm: Pcm, audio: AsyncIterator[bytes]) -> AsyncGenerator[MediaChunk, None]:
    """The chunks of bare samples; raises as `Samples` does."""
    samples = Samples(stream_id, pcm)
    async for piece in audio:
        for chunk in samples.add(piece):
            yield chunk
    for chunk in samples.rest():
        yield chunk


async def of_container(stream_id: str, sent: AsyncIterator[bytes], kind: Kind = "audio") -> AsyncGenerator[MediaChunk, None]:
    """The chunks of one track of a file whose bytes come one after the other, each as soon as its last byte is there.

    A thread of its own demultiplexes, and stands still until the next chunk is asked for; only then are bytes taken in.
    Raises `SourceInvalid` for what is none of `FORMATS`, `SourceTruncated`, `TrackMissing`, `CodecUnsupported`, and what
    `sent` raises.
    """
    name = f"stream {stream_id}: the {kind}"
    thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="incoming")
    file = _Incoming(sent, asyncio.get_running_loop())
    sound: Sound | None = None

    async def do(work: Callable[[], T]) -> T:
        try:
            done = await asyncio.get_running_loop().run_in_executor(thread, work)
        except WatchwordError:
            if file.failure is None:
                raise
        if file.failure is not None:
            raise file.failure
        return done

    try:
        sound = await do(lambda: _open(file, name, kind))
        found = chunks(sound, stream_id)
        while (chunk := await do(lambda: next(found, None))) is not None:
            yield chunk
    finally:
        file.close()
        if sound is not None:
            thread.submit(sound.close)
        thread.shutdown(wait=False)


class _Incoming:
    """What a demultiplexer's thread reads from, while the bytes come in on an event loop; it cannot seek."""

    def __init__(self, audio: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._audio = audio
        self._loop = loop
        self._rest = b""
        self._ended = False
        self._reading: Future[bytes] | None = None
        self.failure: WatchwordError | None = None
        """What the client did wrong; the demultiplexer takes it for the end."""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, waiting for the first; nothing at the end. Called by the thread."""
        if not self._rest and not self._ended:
            self._reading = asyncio.run_coroutine_threadsafe(self._next(), self._loop)
            if self._ended:
                self._reading.cancel()
            with contextlib.suppress(CancelledError):
                self._rest = self._reading.result()
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        """Let the thread find the end. Called on the event loop."""
        self._ended = True
        if self._reading is not None:
            self._reading.cancel()

    async def _next(self) -> bytes:
        try:
            async for piece in self._audio:
                if piece:
                    return piece
        except WatchwordError as error:
            self.failure = error
        self._ended = True
        return b""


def _open(file: _Incoming, name: str, kind: Kind) -> Sound:
    import av

    options = {
        "format_whitelist": ",".join(FORMATS),
        "protocol_whitelist": "none",
        "probesize": str(_PROBE_BYTES),
        "analyzeduration": str(_PROBE_MICROS),
        "max_probe_packets": _PROBE_PACKETS,
    }
    try:
        container = av.open(file, mode="r", options=options, metadata_errors="replace", buffer_size=_BUFFER_BYTES)
    except (av.FFmpegError, ValueError, OSError):
        bare = "; for bare samples the config must say `pcm`" if kind == "audio" else ""
        raise SourceInvalid(
            f"{name} is none of WAV, Ogg, FLAC, MP3, AAC (ADTS), WebM, Matroska and MP4 that can be read from its beginning on{bare}"
        ) from None
    try:
        return Sound(AvSource(name, container, read_timeout_s=0), name, kind)
    except BaseException:
        container.close()
        raise
