"""Audio that comes piece by piece, into chunks: bare samples, and the bytes of every kind of file."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest
from watchword.v1.media_pb2 import MediaChunk
from watchword.v1.transcribe_service_pb2 import Pcm, SampleFormat

from pipeline.errors import RequestInvalid, SourceError, SourceInvalid, SourceTruncated, TrackMissing
from pipeline.media.chunks import MAX_BYTES, media_end, media_start, validate
from pipeline.media.source import open_source
from services.incoming.pieces import Samples, of_container, of_samples
from services.incoming.sound import Sound, chunks, length
from tests import synthetic
from tests.processes import DEMO
from tests.synthetic import Spec, clip

pytestmark = pytest.mark.unit

SECONDS = 3.0
FILES = {
    "wav": Spec(seconds=SECONDS, video=None, audio="pcm_s16le", container="wav", sound="chirp"),
    "ogg": Spec(seconds=SECONDS, video=None, audio="libopus", container="ogg", sound="chirp"),
    "flac": Spec(seconds=SECONDS, video=None, audio="flac", container="flac", sound="chirp"),
    "mp3": Spec(seconds=SECONDS, video=None, audio="libmp3lame", container="mp3", sound="chirp"),
    "adts": Spec(seconds=SECONDS, video=None, audio="aac", container="aac", sound="chirp"),
    "webm": Spec(seconds=SECONDS, video=None, audio="libopus", container="webm", sound="chirp"),
    "matroska with pictures": Spec(seconds=SECONDS, audio="libopus", container="mkv", sound="chirp"),
}


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


class Sender:
    """Gives pieces when they are asked for, and counts them."""

    def __init__(self, pieces: Iterable[bytes], failure: Exception | None = None) -> None:
        self.bytes = 0
        self._pieces = pieces
        self._failure = failure

    async def send(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            yield piece
        if self._failure is not None:
            raise self._failure


def received(pieces: Iterable[bytes]) -> list[MediaChunk]:
    async def receive() -> list[MediaChunk]:
        async with asyncio.timeout(60), aclosing(of_container("s", Sender(pieces).send())) as found:
            return [chunk async for chunk in found]

    return asyncio.run(receive())


def sampled(pcm: Pcm, pieces: Iterable[bytes]) -> list[MediaChunk]:
    async def receive() -> list[MediaChunk]:
        return [chunk async for chunk in of_samples("s", pcm, Sender(pieces).send())]

    return asyncio.run(receive())


def of_file(path: Path) -> list[MediaChunk]:
    sound = Sound(open_source(str(path)), str(path))
    try:
        return list(chunks(sound, "s"))
    finally:
        sound.close()


def bodies(found: Iterable[MediaChunk]) -> list[bytes]:
    return [packet.data for chunk in found for packet in chunk.packets]


def no_thread_is_left() -> bool:
    for thread in threading.enumerate():
        if thread.name.startswith("incoming"):
            thread.join(10)
            if thread.is_alive():
                return False
    return True


def test_a_files_sound_is_cut_as_it_is_published() -> None:
    published = synthetic.chunks(DEMO, "audio")
    for chunk in published:
        chunk.epoch = 1
        chunk.ClearField("sent_at")
    assert of_file(DEMO) == published


@pytest.mark.parametrize("size", [97, 1_000_000])
@pytest.mark.parametrize("name", FILES)
def test_bytes_become_the_packets_of_the_file_however_they_are_cut(name: str, size: int) -> None:
    path = clip(FILES[name])
    found = received(pieces_of(path.read_bytes(), size))
    assert bodies(found) == bodies(of_file(path))
    assert [chunk.sequence for chunk in found] == [*range(len(found))]
    for chunk in found:
        validate(chunk, "s")
        assert (media_end(chunk) - media_start(chunk)).seconds <= 0.3
    assert media_end(found[-1]).seconds == pytest.approx(SECONDS, abs=0.1)
    assert no_thread_is_left()


def test_mp4_that_is_made_for_it_is_read_too() -> None:
    assert bodies(received(pieces_of(DEMO.read_bytes(), 50_000))) == bodies(synthetic.chunks(DEMO, "audio"))


def test_no_more_is_taken_in_than_is_needed_for_the_next_chunk() -> None:
    body = clip(Spec(seconds=60, video=None, audio="pcm_s16le", container="wav", sound="tone")).read_bytes()
    sender = Sender(pieces_of(body, 3200))

    async def take() -> list[int]:
        taken = []
        async with aclosing(of_container("s", sender.send())) as found:
            async for chunk in found:
                taken.append(sender.bytes)
                if chunk.sequence == 20:
                    break
        return taken

    taken = asyncio.run(take())
    assert taken[0] < 80_000
    assert taken[20] < 21 * 25_000
    assert len(body) > 5_000_000
    assert no_thread_is_left()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"RIFF",
        b"no media at all. " * 1000,
        np.random.default_rng(3).bytes(1_500_000),
        b"#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:" + str(DEMO).encode() + b"\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile " + str(DEMO).encode() + b"\n",
        b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\n",
    ],
    ids=["nothing", "a beginning", "text", "garbage", "a playlist", "a list of files", "a session description"],
)
def test_what_is_no_sound_is_refused_and_opens_nothing(body: bytes) -> None:
    with pytest.raises(SourceInvalid, match="stream s: the audio is none of WAV"):
        received(pieces_of(body, 4000))
    assert no_thread_is_left()


def test_a_file_without_sound_is_refused() -> None:
    with pytest.raises(TrackMissing, match="stream s: the audio has no audio track"):
        received(pieces_of(clip(Spec(seconds=1, audio=None, container="mkv")).read_bytes(), 4000))


@pytest.mark.parametrize("name", FILES)
def test_of_a_broken_file_what_came_is_given(name: str) -> None:
    body = clip(FILES[name]).read_bytes()
    found: list[MediaChunk] = []

    async def receive() -> None:
        async for chunk in of_container("s", Sender(pieces_of(body[: len(body) * 2 // 3], 1000)).send()):
            found.append(chunk)  # noqa: PERF401 - what came before a failure counts

    try:
        asyncio.run(receive())
    except SourceError as error:
        assert isinstance(error, SourceTruncated)  # noqa: PT017
    assert 1.0 < media_end(found[-1]).seconds < 2.6


def test_what_the_sender_did_wrong_is_raised_as_it_is() -> None:
    body = clip(FILES["webm"]).read_bytes()

    async def receive() -> None:
        async for _ in of_container("s", Sender(pieces_of(body, 1000)[:10], RequestInvalid("a second config")).send()):
            pass

    with pytest.raises(RequestInvalid, match="a second config"):
        asyncio.run(receive())
    assert no_thread_is_left()


def test_a_sender_that_falls_silent_is_left_at_once() -> None:
    body = clip(FILES["webm"]).read_bytes()

    async def silent() -> AsyncIterator[bytes]:
        yield body[:2000]
        await asyncio.Event().wait()

    async def receive() -> None:
        async with aclosing(of_container("s", silent())) as found:
            async for _ in found:
                pass

    async def leave() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await receive()
        assert await asyncio.to_thread(no_thread_is_left)

    asyncio.run(leave())


S16, F32, MULAW = SampleFormat.SAMPLE_FORMAT_S16LE, SampleFormat.SAMPLE_FORMAT_F32LE, SampleFormat.SAMPLE_FORMAT_MULAW


@pytest.mark.parametrize("size", [1, 7, 3200, 1_000_000])
@pytest.mark.parametrize(("form", "width"), [(S16, 2), (F32, 4), (MULAW, 1)])
def test_bare_samples_are_cut_into_tenths_of_a_second(form: SampleFormat, width: int, size: int) -> None:
    body = np.zeros(16_000 * 2 * width // 2 + width, np.uint8).tobytes()[: 16_050 * width]
    found = sampled(Pcm(format=form, sample_rate=16_000), pieces_of(body, size))
    assert b"".join(bodies(found)) == body
    assert [chunk.sequence for chunk in found] == [*range(len(found))]
    assert [media_start(chunk).millis for chunk in found] == [100 * n for n in range(len(found))]
    for chunk in found:
        validate(chunk, "s")
    assert media_end(found[-1]).seconds * 16_000 == pytest.approx(len(body) // width)


def test_samples_of_many_channels_make_no_chunk_too_large() -> None:
    found = sampled(Pcm(format=F32, sample_rate=192_000, channels=8), [bytes(192_000 * 8 * 4)])
    assert media_end(found[-1]).seconds == 1.0
    assert max(len(packet.data) for chunk in found for packet in chunk.packets) <= MAX_BYTES


def test_a_sample_that_is_not_whole_is_told_after_all_that_is() -> None:
    samples = Samples("s", Pcm(format=S16, sample_rate=8_000, channels=2))
    assert list(samples.add(bytes(1603))) == []
    rest = samples.rest()
    assert len(bodies([next(rest)])[0]) == 1600
    with pytest.raises(SourceTruncated, match="3 of 4 bytes"):
        next(rest)


@pytest.mark.parametrize(
    ("pcm", "cause"),
    [
        (Pcm(sample_rate=16_000), "S16LE, F32LE and MULAW"),
        (Pcm(format=S16), "0 samples per second"),
        (Pcm(format=S16, sample_rate=7_999), "7999 samples per second"),
        (Pcm(format=S16, sample_rate=16_000, channels=9), "9 channels"),
        (Pcm(format=S16, sample_rate=16_000, channels=-1), "-1 channels"),
    ],
    ids=["no format", "no rate", "a low rate", "many channels", "fewer than none"],
)
def test_samples_that_cannot_be_are_refused(pcm: Pcm, cause: str) -> None:
    with pytest.raises(RequestInvalid, match=cause):
        Samples("s", pcm)


def test_the_length_of_a_file_is_what_its_header_states(tmp_path: Path) -> None:
    stated = length(str(DEMO))
    assert stated is not None
    assert stated.seconds == pytest.approx(76.0, abs=0.1)
    assert length(str(tmp_path / "nosuch")) is None
    (tmp_path / "text").write_text("text")
    assert length(str(tmp_path / "text")) is None
