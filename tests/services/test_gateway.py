"""The gateway over a real gRPC channel, on a memory bus."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health
from watchword.v1 import events_pb2, live_service_pb2, live_service_pb2_grpc, media_pb2, qa_service_pb2, qa_service_pb2_grpc, transcript_pb2

from pipeline.bus import Context, Origin, Position, Record
from pipeline.bus.memory import MemoryBus
from pipeline.errors import BrokerRenewed
from pipeline.graph import BRANCHES
from pipeline.timeline import MediaTime
from services.gateway import hub as hub_module
from services.gateway.hub import Hub
from services.gateway.servicer import LiveServicer, QaServicer
from services.rpc import MESSAGE_OPTIONS, reason_of
from services.serve import face_of, start_server
from services.settings import Settings

pytestmark = pytest.mark.connected

STREAM = "camera-1"


@dataclass
class Gateway:
    bus: MemoryBus
    live: Any
    qa: Any
    sent: int = 0

    async def say(
        self, event: events_pb2.ClearedEvent, *, step: str = "screen-transcripts", at: int | None = None, stream_id: str = STREAM
    ) -> None:
        """Publish on `cleared` as a step does, at the next position unless one is given."""
        self.sent += 1
        position = Position(self.sent if at is None else at, 0)
        await self.bus.publish("cleared", stream_id, event, origin=Origin(step, position), context=Context(started_at=1000.5))

    async def say_final(self, number: int, **options: Any) -> None:
        await self.say(segment(number, f"sentence {number}", is_final=True), **options)

    async def end(self) -> None:
        for step in BRANCHES:
            await self.say(events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=STREAM)), step=step)

    async def known(self, stream_id: str = STREAM) -> None:
        """Wait until the gateway lists the stream."""
        listed: list[str] = []
        while stream_id not in listed:
            answer = await self.live.ListStreams(live_service_pb2.ListStreamsRequest())
            listed = [info.stream_id for info in answer.streams]

    def watch(self, token: str = "", stream_id: str = STREAM) -> Any:
        return aiter(self.live.Watch(live_service_pb2.WatchRequest(stream_id=stream_id, resume_token=token)))


def segment(number: int, text: str, *, is_final: bool, padding: int = 0) -> events_pb2.ClearedEvent:
    return events_pb2.ClearedEvent(
        segment=transcript_pb2.TranscriptSegment(
            stream_id=STREAM,
            id=f"segment-{number}",
            text=text + "." * padding,
            is_final=is_final,
            media_end=MediaTime.of(number).to_proto(),
        )
    )


@asynccontextmanager
async def gateway(memory: Any = None) -> AsyncIterator[Gateway]:
    bus = MemoryBus()
    hub = Hub(bus)
    faces = [face_of(live_service_pb2_grpc, "LiveService", LiveServicer(bus, hub))]
    if memory is not None:
        faces.append(face_of(qa_service_pb2_grpc, "QaService", QaServicer(memory)))
    server, address = await start_server(faces, "127.0.0.1:0", Settings(), health.aio.HealthServicer())
    following = asyncio.create_task(hub.run())
    try:
        async with grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS) as channel:
            yield Gateway(bus, live_service_pb2_grpc.LiveServiceStub(channel), qa_service_pb2_grpc.QaServiceStub(channel))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await server.stop(None)


def in_gateway(work: Callable[[Gateway], Awaitable[None]]) -> None:
    async def main() -> None:
        async with gateway() as running, asyncio.timeout(30):
            await work(running)

    asyncio.run(main())


def texts(updates: list[live_service_pb2.WatchResponse]) -> list[str]:
    return [update.event.segment.text if update.WhichOneof("update") == "event" else "END" for update in updates]


def test_watch_tells_the_past_and_the_live_edge_to_the_end() -> None:
    async def work(running: Gateway) -> None:
        await running.say_final(1)
        await running.known()
        call = running.watch()
        first = await anext(call)
        assert first.started_at.ToNanoseconds() == 1_000_500_000_000
        await running.say_final(2)
        await running.end()
        assert texts([first] + [update async for update in call]) == ["sentence 1", "sentence 2", "END"]

    in_gateway(work)


def test_a_stream_ends_only_when_every_branch_has() -> None:
    async def work(running: Gateway) -> None:
        await running.say(events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=STREAM)), step=BRANCHES[0])
        await running.say_final(1, step=BRANCHES[1])
        await running.known()
        call = running.watch()
        assert texts([await anext(call)]) == ["sentence 1"]
        listed = await running.live.ListStreams(live_service_pb2.ListStreamsRequest())
        assert [(info.stream_id, info.ended) for info in listed.streams] == [(STREAM, False)]
        await running.end()
        assert texts([update async for update in call]) == ["END"]
        listed = await running.live.ListStreams(live_service_pb2.ListStreamsRequest())
        assert [(info.stream_id, info.ended, info.media_end.seconds) for info in listed.streams] == [(STREAM, True, 1)]

    in_gateway(work)


def test_a_resume_token_goes_on_right_after_it() -> None:
    async def work(running: Gateway) -> None:
        for number in range(5):
            await running.say_final(number)
        await running.end()
        await running.known()
        all_of_it = [update async for update in running.watch()]
        for number, update in enumerate(all_of_it):
            rest = [later async for later in running.watch(update.resume_token)] if number + 1 < len(all_of_it) else []
            assert texts(rest) == texts(all_of_it[number + 1 :])

    in_gateway(work)


def test_a_partial_that_was_overtaken_is_not_kept() -> None:
    async def work(running: Gateway) -> None:
        for text in ("the", "the cat", "the cat sat"):
            await running.say(segment(1, text, is_final=False))
        await running.say_final(1)
        await running.end()
        await running.known()
        assert texts([update async for update in running.watch()]) == ["sentence 1", "END"]

    in_gateway(work)


def test_what_a_restarted_step_repeats_is_not_told_twice() -> None:
    async def work(running: Gateway) -> None:
        await running.say_final(1, at=10)
        await running.say_final(2, at=12)
        await running.say_final(1, at=10)
        await running.say_final(2, at=12)
        await running.say_final(3, at=14)
        for step in BRANCHES:
            await running.say(events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=STREAM)), step=step, at=20)
        await running.known()
        assert texts([update async for update in running.watch()]) == ["sentence 1", "sentence 2", "sentence 3", "END"]

    in_gateway(work)


def test_a_slow_client_is_told_and_dropped_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "QUEUE_UPDATES", 8)

    async def work(running: Gateway) -> None:
        await running.say_final(0)
        await running.known()
        slow, quick = running.watch(), running.watch()
        first = await anext(slow)
        assert texts([first, await anext(quick)]) == ["sentence 0", "sentence 0"]
        count = 40
        for number in range(1, count):
            # Large enough to fill what the transport buffers for a client that does not read.
            await running.say(segment(number, f"sentence {number}", is_final=True, padding=400_000))
            assert (await anext(quick)).event.segment.id == f"segment-{number}"
        await running.end()
        assert texts([update async for update in quick]) == ["END"]
        got = [first]

        async def read_on() -> None:
            async for update in slow:
                got.append(update)  # noqa: PERF401  # the failure comes in the middle

        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await read_on()
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert reason_of(failed.value) == "CLIENT_SLOW"
        assert STREAM in failed.value.details()
        rest = [update async for update in running.watch(got[-1].resume_token)]
        ids = [update.event.segment.id for update in [*got, *rest] if update.HasField("event")]
        assert ids == [f"segment-{number}" for number in range(count)], "with its token it has missed nothing"

    in_gateway(work)


@pytest.mark.parametrize(
    ("stream_id", "token", "code", "reason"),
    [
        ("nobody", "", grpc.StatusCode.NOT_FOUND, "STREAM_UNKNOWN"),
        (STREAM, "yesterday", grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
    ],
)
def test_a_wrong_watch_is_refused_with_a_reason(stream_id: str, token: str, code: grpc.StatusCode, reason: str) -> None:
    async def work(running: Gateway) -> None:
        await running.say_final(1)
        await running.known()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await anext(running.watch(token, stream_id))
        assert failed.value.code() is code
        assert reason_of(failed.value) == reason

    in_gateway(work)


def chunk(sequence: int, *, stream_id: str = STREAM, video: bool = False) -> media_pb2.MediaChunk:
    parameters: dict[str, Any] = {"video": media_pb2.VideoParameters(codec="h264", width=64, height=36)}
    if not video:
        parameters = {"audio": media_pb2.AudioParameters(codec="pcm_s16le", sample_rate=16_000, channels=1)}
    return media_pb2.MediaChunk(
        stream_id=stream_id,
        epoch=7,
        sequence=sequence,
        time_base=media_pb2.Rational(numerator=1, denominator=16_000),
        packets=[media_pb2.Packet(pts=sequence * 1600, duration=1600, keyframe=True, data=bytes(3200))],
        **parameters,
    )


async def ingest(running: Gateway, *requests: live_service_pb2.IngestRequest) -> live_service_pb2.IngestResponse:
    return await running.live.Ingest(iter(requests))


async def published(running: Gateway, topic: str) -> list[str]:
    subscription = await running.bus.follow(topic)
    told: list[str] = []
    while not told or not told[-1].startswith("end"):
        record = await subscription.next()
        if isinstance(record, Record):
            assert isinstance(record.value, events_pb2.AudioEvent | events_pb2.VideoEvent)
            which = record.value.WhichOneof("event")
            told.append(f"end {record.value.end.cause}".strip() if which == "end" else f"{which} {record.value.chunk.sequence}")
    await subscription.close()
    return told


CONFIG = live_service_pb2.IngestRequest(config=live_service_pb2.IngestConfig(stream_id=STREAM))


def test_ingest_publishes_each_track_on_its_topic_and_ends_both() -> None:
    async def work(running: Gateway) -> None:
        requests = [live_service_pb2.IngestRequest(chunk=chunk(number, video=video)) for number in range(2) for video in (False, True)]
        gap = live_service_pb2.IngestRequest(gap=media_pb2.Gap(stream_id=STREAM, id="gap-200"))
        response = await ingest(running, CONFIG, *requests, gap)
        assert response.chunks == 4
        assert await published(running, "audio") == ["chunk 0", "chunk 1", "gap 0", "end"]
        assert await published(running, "video") == ["chunk 0", "chunk 1", "gap 0", "end"]

    in_gateway(work)


@pytest.mark.parametrize(
    ("requests", "reason"),
    [
        ([], "REQUEST_INVALID"),
        ([live_service_pb2.IngestRequest(chunk=chunk(0))], "REQUEST_INVALID"),
        ([live_service_pb2.IngestRequest(config=live_service_pb2.IngestConfig(stream_id="a b"))], "REQUEST_INVALID"),
        ([CONFIG, CONFIG], "REQUEST_INVALID"),
        ([CONFIG, live_service_pb2.IngestRequest(chunk=chunk(0, stream_id="another"))], "MESSAGE_INVALID"),
        ([CONFIG, live_service_pb2.IngestRequest(chunk=media_pb2.MediaChunk(stream_id=STREAM))], "MESSAGE_INVALID"),
    ],
)
def test_a_wrong_ingest_is_refused_with_a_reason(requests: list[live_service_pb2.IngestRequest], reason: str) -> None:
    async def work(running: Gateway) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ingest(running, *requests)
        assert reason_of(failed.value) == reason
        assert not running.bus.holds("audio"), "a stream of which nothing was taken has not begun, and so does not end"

    in_gateway(work)


def test_what_was_taken_before_a_wrong_chunk_is_ended_with_the_cause() -> None:
    async def work(running: Gateway) -> None:
        wrong = live_service_pb2.IngestRequest(chunk=chunk(1, stream_id="another"))
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ingest(running, CONFIG, live_service_pb2.IngestRequest(chunk=chunk(0)), wrong)
        assert await published(running, "audio") == ["chunk 0", f"end {failed.value.details()}"]

    in_gateway(work)


def test_a_stream_whose_beginning_the_broker_lost_can_be_sent_again() -> None:
    """No end of it is told to a broker that knows no more of it."""

    async def work(running: Gateway) -> None:
        publish = running.bus.publish

        async def renewed_once(topic: str, *arguments: Any, **more: Any) -> None:
            if running.bus.holds("audio"):
                running.bus.publish = publish  # type: ignore[method-assign]
                raise BrokerRenewed("the broker is not what it was")
            await publish(topic, *arguments, **more)

        running.bus.publish = renewed_once  # type: ignore[method-assign]
        requests = [live_service_pb2.IngestRequest(chunk=chunk(number)) for number in range(2)]
        with pytest.raises(grpc.aio.AioRpcError, match="not what it was"):
            await ingest(running, CONFIG, *requests)
        await ingest(running, CONFIG, *requests)
        assert await published(running, "audio") == ["chunk 0", "chunk 0", "chunk 1", "end"]

    in_gateway(work)


def test_a_stream_id_is_used_once() -> None:
    async def work(running: Gateway) -> None:
        await running.end()
        await running.known()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ingest(running, CONFIG, live_service_pb2.IngestRequest(chunk=chunk(0)))
        assert failed.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert reason_of(failed.value) == "STREAM_ENDED"

    in_gateway(work)


def test_a_message_of_50_mb_is_refused_and_the_server_goes_on() -> None:
    async def work(running: Gateway) -> None:
        huge = chunk(0)
        huge.packets[0].data = bytes(50_000_000)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await ingest(running, CONFIG, live_service_pb2.IngestRequest(chunk=huge))
        assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await running.live.ListStreams(live_service_pb2.ListStreamsRequest())).streams is not None

    in_gateway(work)


def test_a_question_without_a_memory_service_fails_clearly() -> None:
    async def main() -> None:
        async with grpc.aio.insecure_channel("127.0.0.1:1") as nobody, gateway(nobody) as running, asyncio.timeout(30):
            with pytest.raises(grpc.aio.AioRpcError) as failed:
                await running.qa.Ask(qa_service_pb2.AskRequest(stream_id=STREAM, question="who?")).read()
            assert failed.value.code() is grpc.StatusCode.UNAVAILABLE
            assert reason_of(failed.value) == "SERVICE_UNAVAILABLE"

    asyncio.run(main())
