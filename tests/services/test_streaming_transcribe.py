"""`StreamingTranscribe` over real channels: every kind of audio, what is promised, how calls are refused, left and ended.

The words are heard by the real stage and models. What a call does around them is tried with a stage that answers each chunk
with a partial, and its end with one final.
"""

import asyncio
import functools
import io
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

import grpc
import jiwer
import numpy as np
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health
from numpy.typing import NDArray
from prometheus_client import REGISTRY
from watchword.v1 import transcribe_service_pb2_grpc
from watchword.v1.events_pb2 import AudioEvent, TranscriptEvent
from watchword.v1.media_pb2 import MediaChunk
from watchword.v1.transcribe_service_pb2 import (
    Pcm,
    SampleFormat,
    StreamingTranscribeConfig,
    StreamingTranscribeRequest,
    StreamingTranscribeResponse,
)
from watchword.v1.transcript_pb2 import TranscriptSegment, TranscriptStatistics

from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid
from pipeline.media.chunks import media_start
from pipeline.timeline import MediaTime
from pipeline.transcribe.options import Options
from services.incoming.pieces import Samples
from services.rpc import MESSAGE_OPTIONS, reason_of
from services.serve import Face, face_of, start_server
from services.settings import Settings
from services.transcriber import main
from services.transcriber.servicer import TranscribeServicer
from tests import synthetic
from tests.processes import DEMO
from tests.synthetic import Spec, clip

pytestmark = [pytest.mark.connected, pytest.mark.timeout(240)]

STREAM = "streaming"
S16, F32, MULAW = SampleFormat.SAMPLE_FORMAT_S16LE, SampleFormat.SAMPLE_FORMAT_F32LE, SampleFormat.SAMPLE_FORMAT_MULAW
INVALID, EXHAUSTED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
T = TypeVar("T")


class Echo:
    """Answers each chunk with a partial that tells its number, and the end with a final that tells how many there were."""

    def __init__(self, stream_id: str, options: Options) -> None:
        self.options = options
        self.closed = asyncio.Event()
        self.heard = 0
        self._stream_id = stream_id

    @property
    def held(self) -> int:
        return 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        assert isinstance(item, AudioEvent)
        self.heard += 1
        yield TranscriptEvent(segment=TranscriptSegment(stream_id=self._stream_id, id="segment-0", text=str(self.heard)))

    async def flush(self) -> AsyncIterator[Message]:
        said = TranscriptSegment(stream_id=self._stream_id, id="segment-0", text=str(self.heard), is_final=True)
        yield TranscriptEvent(segment=said)
        yield TranscriptEvent(stats=TranscriptStatistics(stream_id=self._stream_id, id="statistics-0", words=self.heard))

    def close(self) -> None:
        self.closed.set()


CALLS = 8
"""So many at once, and one more is too many."""


class Server:
    """A transcriber that is served, and a client of it, on an event loop that goes on from test to test."""

    def __init__(self) -> None:
        self.stages: list[Echo] = []
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()

    def run(self, work: Awaitable[T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(120):
                return await work

        return self._runner.run(bounded())

    async def serve(self, faces: Sequence[Face]) -> None:
        server, address = await start_server(faces, "127.0.0.1:0", Settings(), health.aio.HealthServicer())
        self._stack.push_async_callback(server.stop, None)
        link = await self._stack.enter_async_context(grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS))
        self.stub: Any = transcribe_service_pb2_grpc.TranscribeServiceStub(link)

    async def serve_models(self) -> None:
        parts = await main.build(Settings(), MemoryBus())
        if parts.close is not None:
            self._stack.push_async_callback(parts.close)
        await self.serve(parts.faces)

    async def serve_echo(self) -> None:
        def make(stream_id: str, options: Options) -> Echo:
            self.stages.append(Echo(stream_id, options))
            return self.stages[-1]

        def require(options: Options) -> None:
            if options.language == "xx":
                raise SettingInvalid("xx is not known")

        def options_of(stream_id: str) -> Options:
            return Options(language="de", glossary=("Watchword",))

        echo = TranscribeServicer(options_of, make, require, calls_at_once=CALLS)
        await self.serve([face_of(transcribe_service_pb2_grpc, "TranscribeService", echo)])

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def call(self, requests: Iterable[StreamingTranscribeRequest]) -> list[StreamingTranscribeResponse]:
        async def sent() -> AsyncIterator[StreamingTranscribeRequest]:
            for request in requests:
                yield request

        return [response async for response in self.stub.StreamingTranscribe(sent())]

    def transcribe(self, requests: Iterable[StreamingTranscribeRequest]) -> list[TranscriptSegment]:
        return [response.segment for response in self.run(self.call(requests)) if response.HasField("segment")]


@pytest.fixture(scope="module")
def real() -> Iterator[Server]:
    server = Server()
    server.run(server.serve_models())
    yield server
    server.close()


@pytest.fixture(scope="module")
def echo() -> Iterator[Server]:
    server = Server()
    server.run(server.serve_echo())
    yield server
    server.close()


def config(stream_id: str = STREAM, **more: Any) -> StreamingTranscribeRequest:
    return StreamingTranscribeRequest(config=StreamingTranscribeConfig(stream_id=stream_id, **more))


def audio(pieces: Iterable[bytes]) -> list[StreamingTranscribeRequest]:
    return [StreamingTranscribeRequest(audio=piece) for piece in pieces]


def pieces_of(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def chunks_of(seconds: float) -> list[StreamingTranscribeRequest]:
    found = [chunk for chunk in synthetic.chunks(DEMO, "audio", STREAM) if media_start(chunk) < MediaTime.of(seconds)]
    return [StreamingTranscribeRequest(chunk=chunk) for chunk in found]


@functools.cache
def sound(seconds: float, rate: int = 16_000, layout: str = "mono") -> NDArray[np.float32]:
    """The beginning of the sample clip, decoded; shape (n, channels)."""
    import av

    with av.open(str(DEMO)) as demo:
        resampler = av.AudioResampler(format="flt", layout=layout, rate=rate)
        frames = [frame for frame in demo.decode(audio=0) if frame.time is not None and frame.time < seconds]
        parts = [part.to_ndarray().reshape(-1) for frame in frames for part in resampler.resample(frame)]
    interleaved: NDArray[np.float32] = np.concatenate(parts)
    return interleaved.reshape(-1, 1 if layout == "mono" else 2)


def s16(samples: NDArray[np.float32]) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def with_holes(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples, a few of them no numbers."""
    broken = samples.copy()
    broken[20_000:20_100], broken[60_000], broken[100_000] = np.nan, np.inf, -np.inf
    return broken


def mulaw(samples: NDArray[np.float32]) -> bytes:
    """As ITU-T G.711 writes it: sign, exponent and mantissa, all bits turned over."""
    scaled = np.clip(np.abs(samples) * 32635, 0, 32635).astype(np.int64) + 132
    exponent = np.floor(np.log2(scaled)).astype(np.int64) - 7
    mantissa = (scaled >> (exponent + 3)) & 15
    sign = np.where(samples < 0, 0x80, 0)
    return (~(sign | (exponent << 4) | mantissa) & 0xFF).astype(np.uint8).tobytes()


def encoded(seconds: float, form: str, codec: str, rate: int) -> bytes:
    """The beginning of the sample clip's sound, as a file."""
    import av

    body = io.BytesIO()
    with av.open(body, "w", format=form) as container:
        track = container.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=track.format, layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound(seconds, rate).T), format="fltp", layout="mono")
        frame.sample_rate = rate
        for part in resampler.resample(frame):
            container.mux(track.encode(part))
        container.mux(track.encode(None))
    return body.getvalue()


def finals(said: Iterable[TranscriptSegment]) -> list[TranscriptSegment]:
    return [segment for segment in said if segment.is_final]


def words(said: Iterable[TranscriptSegment]) -> list[str]:
    """What the finals say, without case and punctuation."""
    return [re.sub(r"\W", "", word).lower() for segment in finals(said) for word in segment.text.split()]


SECONDS = 21.0


@pytest.fixture(scope="module")
def by_chunk(real: Server) -> list[TranscriptSegment]:
    """What is said of the beginning of the clip when it is sent as chunks of packets, without partials."""
    return real.transcribe([config(), *chunks_of(SECONDS)])


@pytest.fixture(scope="module")
def by_samples(real: Server) -> list[TranscriptSegment]:
    """The same, as bare samples in tenths of a second, with partials."""
    pcm = Pcm(format=S16, sample_rate=16_000)
    return real.transcribe([config(interim_results=True, pcm=pcm), *audio(pieces_of(s16(sound(SECONDS)), 3200))])


class TestWords:
    def test_without_partials_only_finals_are_said(self, by_chunk: list[TranscriptSegment]) -> None:
        assert all(segment.is_final for segment in by_chunk)
        text = " ".join(words(by_chunk))
        for said in ("welcome to the", "this tall tower looks over a wide lake", "the conference opens on monday"):
            assert said in text

    def test_bare_samples_are_understood_as_well_as_packets(
        self, by_chunk: list[TranscriptSegment], by_samples: list[TranscriptSegment]
    ) -> None:
        """Not word by word: packets end at other places, and so may segments."""
        assert jiwer.wer(" ".join(words(by_chunk)), " ".join(words(by_samples))) <= 0.1
        heard = [
            {word.text.strip(".,"): MediaTime.from_proto(word.media_start).seconds for s in finals(said) for word in s.words}
            for said in (by_chunk, by_samples)
        ]
        for word in ("tower", "wide", "conference", "Monday"):
            assert heard[0][word] == pytest.approx(heard[1][word], abs=0.3)

    def test_the_same_samples_are_the_same_words_however_they_are_sent(self, real: Server) -> None:
        body = s16(sound(9.0))
        sent = Samples(STREAM, PCM)
        chunks = [StreamingTranscribeRequest(chunk=chunk) for chunk in [*sent.add(body), *sent.rest()]]
        assert real.transcribe([config(), *chunks]) == real.transcribe([config(pcm=PCM), *audio(pieces_of(body, 1_777))])

    def test_partials_keep_what_they_promise(self, by_samples: list[TranscriptSegment]) -> None:
        assert len(by_samples) > len(finals(by_samples)), "words are told while they are spoken"
        promised: dict[str, list[str]] = {}
        closed: set[str] = set()
        for segment in by_samples:
            assert segment.id not in closed, "nothing is said of a segment after its final"
            said = [word.text for word in segment.words]
            kept = promised.get(segment.id, [])
            if segment.is_final:
                closed.add(segment.id)
                plain = [[re.sub(r"\W", "", word).lower() for word in each] for each in (kept, said[: len(kept)])]
                assert segment.corrected or plain[0] == plain[1]
                assert segment.stable == len(said)
            else:
                assert said[: len(kept)] == kept, "stable words are not taken back"
                assert segment.stable >= len(kept)
                promised[segment.id] = said[: segment.stable]
        assert set(promised) <= closed, "every segment is closed"

    @pytest.mark.parametrize(
        ("pcm", "body"),
        [
            (Pcm(format=F32, sample_rate=48_000, channels=2), lambda: sound(9.0, 48_000, "stereo").tobytes()),
            (Pcm(format=MULAW, sample_rate=8_000), lambda: mulaw(sound(9.0, 8_000))),
            (Pcm(format=F32, sample_rate=16_000), lambda: with_holes(sound(9.0)).tobytes()),
        ],
        ids=["float stereo at 48 kHz", "telephone", "some are no numbers"],
    )
    def test_samples_of_other_kinds_are_understood(self, real: Server, pcm: Pcm, body: Callable[[], bytes]) -> None:
        said = real.transcribe([config(pcm=pcm), *audio(pieces_of(body(), 5_001))])
        assert "tall tower looks over a wide lake" in " ".join(words(said))

    @pytest.mark.parametrize(
        ("form", "codec", "rate"),
        [("wav", "pcm_s16le", 16_000), ("webm", "libopus", 48_000)],
    )
    def test_the_bytes_of_a_file_are_understood_as_they_come(self, real: Server, form: str, codec: str, rate: int) -> None:
        said = real.transcribe([config(), *audio(pieces_of(encoded(9.0, form, codec, rate), 1_999))])
        assert "tall tower looks over a wide lake" in " ".join(words(said))
        assert {segment.stream_id for segment in said} == {STREAM}

    def test_words_come_while_the_client_still_speaks(self, real: Server) -> None:
        """The client sends the beginning, then nothing and no end, and is told what it has said."""

        async def speak() -> TranscriptSegment:
            call = real.stub.StreamingTranscribe()
            await call.write(config(interim_results=True, pcm=Pcm(format=S16, sample_rate=16_000)))
            for piece in pieces_of(s16(sound(9.0)), 3200):
                await call.write(StreamingTranscribeRequest(audio=piece))
            said = (await call.read()).segment
            call.cancel()
            return TranscriptSegment.FromString(said.SerializeToString())

        assert real.run(speak()).words

    def test_the_end_closes_what_is_open(self, real: Server) -> None:
        """The client ends in the middle of a sentence."""
        said = real.transcribe([config(pcm=Pcm(format=S16, sample_rate=16_000)), *audio(pieces_of(s16(sound(6.5)), 3200))])
        assert words(said)[:3] == ["welcome", "to", "the"]
        assert "tower" in words(said)

    def test_calls_at_once_do_not_mix(self, real: Server, by_chunk: list[TranscriptSegment]) -> None:
        pcm = Pcm(format=S16, sample_rate=16_000)

        async def together() -> list[list[StreamingTranscribeResponse]]:
            return await asyncio.gather(
                real.call([config("first", pcm=pcm), *audio(pieces_of(s16(sound(9.0)), 3200))]),
                real.call([config(STREAM), *chunks_of(SECONDS)]),
                real.call([config("third", pcm=pcm), *audio(pieces_of(s16(sound(9.0))[16_000 * 8 :], 3200))]),
            )

        said = [[response.segment for response in each if response.HasField("segment")] for each in real.run(together())]
        assert [{segment.stream_id for segment in each} for each in said] == [{"first"}, {STREAM}, {"third"}]
        assert words(said[1]) == words(by_chunk)
        assert "welcome" in words(said[0])
        assert "welcome" not in words(said[2])
        assert "lake" in words(said[2])

    @pytest.mark.parametrize(
        ("asked", "cause"),
        [
            ({"language": "de"}, "knows only English"),
            ({"translate": True}, "multilingual"),
        ],
    )
    def test_what_the_model_cannot_do_is_refused(self, real: Server, asked: dict[str, Any], cause: str) -> None:
        told = refused(real, [config(**asked)], INVALID, "REQUEST_INVALID")
        assert STREAM in told
        assert cause in told


def refused(server: Server, requests: Iterable[StreamingTranscribeRequest], code: grpc.StatusCode, reason: str) -> str:
    """That the call fails so; its message."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        server.transcribe(requests)
    assert (failed.value.code(), reason_of(failed.value)) == (code, reason), failed.value.details()
    return failed.value.details() or ""


SILENCE = bytes(32_000)
PCM = Pcm(format=S16, sample_rate=16_000)


def chunk(**changes: Any) -> StreamingTranscribeRequest:
    found: MediaChunk = synthetic.chunks(DEMO, "audio", STREAM)[0]
    for name, value in changes.items():
        setattr(found, name, value)
    return StreamingTranscribeRequest(chunk=found)


def video_only() -> list[StreamingTranscribeRequest]:
    return audio(pieces_of(clip(Spec(seconds=1, audio=None, container="mkv")).read_bytes(), 4000))


class TestRefusals:
    @pytest.mark.parametrize(
        ("requests", "reason", "cause"),
        [
            (list, "REQUEST_INVALID", "the first StreamingTranscribeRequest must be a config"),
            (lambda: audio([SILENCE]), "REQUEST_INVALID", "must be a config"),
            (lambda: [config("")], "REQUEST_INVALID", "must name the stream"),
            (lambda: [config("a b")], "REQUEST_INVALID", "must name the stream"),
            (lambda: [config(), config()], "REQUEST_INVALID", "config where only chunk may follow"),
            (lambda: [config(pcm=PCM), *audio([SILENCE]), config()], "REQUEST_INVALID", "config where only audio may follow"),
            (lambda: [config(), StreamingTranscribeRequest()], "REQUEST_INVALID", "nothing where only chunk may follow"),
            (lambda: [config(pcm=PCM), chunk()], "REQUEST_INVALID", "only bytes may follow"),
            (lambda: [config(), chunk(), *audio([SILENCE])], "REQUEST_INVALID", "audio where only chunk may follow"),
            (lambda: [config(pcm=Pcm(sample_rate=16_000)), *audio([SILENCE])], "REQUEST_INVALID", "S16LE, F32LE and MULAW"),
            (lambda: [config(pcm=Pcm(format=S16)), *audio([SILENCE])], "REQUEST_INVALID", "0 samples per second"),
            (lambda: [config(), *audio(pieces_of(b"no media. " * 9_000, 5_000))], "SOURCE_INVALID", "none of WAV"),
            (lambda: [config(), *audio([b""])], "SOURCE_INVALID", "none of WAV"),
            (lambda: [config(), *video_only()], "TRACK_MISSING", "no audio track"),
            (lambda: [config(language="klingon")], "REQUEST_INVALID", "BCP 47"),
            (lambda: [config(language="xx")], "REQUEST_INVALID", "xx is not known"),
            (lambda: [config(glossary=["x" * 101])], "REQUEST_INVALID", "101 characters"),
        ],
        ids=[
            "nothing",
            "no config",
            "no stream",
            "no stream id",
            "two configs",
            "a config in the middle",
            "an empty request",
            "a chunk among samples",
            "bytes among chunks",
            "no format",
            "no rate",
            "garbage",
            "no bytes",
            "no sound",
            "no language",
            "an unknown language",
            "a long term",
        ],
    )
    def test_what_breaks_a_rule_is_refused_with_a_reason(
        self, echo: Server, requests: Callable[[], list[StreamingTranscribeRequest]], reason: str, cause: str
    ) -> None:
        assert cause in refused(echo, requests(), INVALID, reason)
        assert all(stage.closed.is_set() for stage in echo.stages)
        assert [segment.text for segment in echo.transcribe([config(pcm=PCM), *audio([SILENCE])])] == ["10"], "the service goes on"

    def test_a_chunk_of_another_stream_is_refused(self, real: Server) -> None:
        assert STREAM in refused(real, [config(), chunk(stream_id="another")], INVALID, "MESSAGE_INVALID")

    def test_a_message_over_the_limit_is_refused(self, echo: Server) -> None:
        refused(echo, [config(pcm=PCM), *audio([bytes(1_200_000)])], EXHAUSTED, "")

    def test_a_sample_that_is_not_whole_is_told_after_the_finals(self, echo: Server) -> None:
        said: list[TranscriptSegment] = []

        async def listen() -> None:
            async def sent() -> AsyncIterator[StreamingTranscribeRequest]:
                for request in [config(pcm=PCM), *audio([SILENCE, b"\0"])]:
                    yield request

            async for response in echo.stub.StreamingTranscribe(sent()):
                said.append(response.segment)  # noqa: PERF401 - what came before the failure counts

        with pytest.raises(grpc.aio.AioRpcError, match="1 of 2 bytes") as failed:
            echo.run(listen())
        assert (failed.value.code(), reason_of(failed.value)) == (INVALID, "SOURCE_TRUNCATED")
        assert (said[0].is_final, said[0].text) == (True, "10")

    def test_chunks_that_cannot_be_decoded_are_counted_and_told_after_the_finals(self, real: Server) -> None:
        requests = [config(), *chunks_of(5.0)]
        for request in requests[1:3]:
            for packet in request.chunk.packets:
                packet.data = b"garbage"
        labels = {"step": "transcribe", "reason": "MEDIA_UNDECODABLE"}
        before = REGISTRY.get_sample_value("watchword_errors_total", labels) or 0
        said: list[TranscriptSegment] = []

        async def listen() -> None:
            async def sent() -> AsyncIterator[StreamingTranscribeRequest]:
                for request in requests:
                    yield request

            async for response in real.stub.StreamingTranscribe(sent()):
                said.append(response.segment)  # noqa: PERF401 - what came before the failure counts

        with pytest.raises(grpc.aio.AioRpcError) as failed:
            real.run(listen())
        assert reason_of(failed.value) == "MEDIA_UNDECODABLE"
        assert "demo" in words(said)
        assert REGISTRY.get_sample_value("watchword_errors_total", labels) == before + 2


class TestCalls:
    def test_the_config_goes_over_the_settings(self, echo: Server) -> None:
        echo.transcribe([config()])
        assert echo.stages[-1].options == Options(interim=False, language="de", glossary=("Watchword",))
        echo.transcribe([config(interim_results=True, language="pt-BR", translate=True, glossary=["Harbour"])])
        assert echo.stages[-1].options == Options(interim=True, language="pt", translate=True, glossary=("Harbour", "Watchword"))

    def test_partials_are_told_where_they_are_wanted_and_statistics_always(self, echo: Server) -> None:
        sent = audio([SILENCE[:6400]])
        wanted = echo.run(echo.call([config(pcm=PCM, interim_results=True), *sent]))
        assert [response.segment.is_final for response in wanted if response.HasField("segment")] == [False, False, True]
        unwanted = echo.run(echo.call([config(pcm=PCM), *sent]))
        assert [response.WhichOneof("response") for response in unwanted] == ["segment", "stats"]

    def test_no_audio_at_all_is_no_failure(self, echo: Server) -> None:
        assert [segment.text for segment in echo.transcribe([config()])] == ["0"]

    @pytest.mark.parametrize("kind", ["samples", "file"])
    @pytest.mark.parametrize("end", ["cancelled", "too late"])
    def test_a_call_that_is_left_lets_go_of_everything(self, echo: Server, kind: str, end: str) -> None:
        body = clip(Spec(seconds=3, video=None, audio="libopus", container="webm", sound="chirp")).read_bytes()

        async def leave() -> None:
            call = echo.stub.StreamingTranscribe(timeout=3.0 if end == "too late" else None)
            if kind == "samples":
                await call.write(config(pcm=PCM, interim_results=True))
                await call.write(StreamingTranscribeRequest(audio=SILENCE))
            else:
                await call.write(config(interim_results=True))
                await call.write(StreamingTranscribeRequest(audio=body[:10_000]))
            assert (await call.read()).segment.text == "1"
            stage = echo.stages[-1]
            if end == "cancelled":
                call.cancel()
                assert await call.code() is grpc.StatusCode.CANCELLED
            else:
                assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            await stage.closed.wait()
            assert await asyncio.to_thread(no_thread_is_left)

        echo.run(leave())
        assert [segment.text for segment in echo.transcribe([config()])] == ["0"], "the service goes on"

    def test_too_many_calls_are_told_so(self, echo: Server) -> None:
        async def crowd() -> None:
            calls = [echo.stub.StreamingTranscribe() for _ in range(CALLS)]
            for call in calls:
                await call.write(config(pcm=PCM, interim_results=True))
                await call.write(StreamingTranscribeRequest(audio=SILENCE))
                assert (await call.read()).segment.text == "1"
            first, *others = calls
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await echo.call([config()])
            assert (failed.value.code(), reason_of(failed.value)) == (EXHAUSTED, "OVERLOADED")
            await first.done_writing()
            while (response := await first.read()) is not grpc.aio.EOF:
                last = response
            assert last.stats.words == 10
            for call in others:
                call.cancel()

        echo.run(crowd())
        assert [segment.text for segment in echo.transcribe([config()])] == ["0"], "then there is room again"


def no_thread_is_left() -> bool:
    """Whether the threads that read files end."""
    for thread in threading.enumerate():
        if thread.name.startswith("incoming"):
            thread.join(10)
            if thread.is_alive():
                return False
    return True
