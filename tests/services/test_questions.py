"""Questions over a real channel: parts in order, conversations, failures with their reason, alerts while a caller listens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc
import pytest
from watchword.v1 import qa_service_pb2, qa_service_pb2_grpc
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.bus import Origin, Position
from pipeline.bus.memory import MemoryBus
from pipeline.errors import StoreUnavailable
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Kind, Moment
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.timeline import MediaTime
from services.gateway.servicer import QaServicer as GatewayServicer
from services.memory.servicer import QaServicer
from services.memory.standing import StandingQueries
from services.rpc import reason_of
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.connected

SAID = ("The harbour conference opens on Monday.", "It lasts for three days.", "The ferry carries two hundred passengers.")


@dataclass
class Place:
    """A memory's face behind a gateway's, and what they are made of."""

    qa: qa_service_pb2_grpc.QaServiceStub
    bus: MemoryBus
    store: SqliteStore

    async def ask(self, question: str, **fields: object) -> list[qa_service_pb2.AskResponse]:
        request = qa_service_pb2.AskRequest(stream_id="talk", question=question, **fields)
        return [response async for response in self.qa.Ask(request, timeout=30)]


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    store, embedder, bus = SqliteStore(), ScriptedEmbedder(), MemoryBus()
    for number, text in enumerate(SAID):
        moment = Moment("talk", f"segment-{number}", Kind.SPEECH, 0, text, MediaTime.of(5 * number), MediaTime.of(5 * number + 4), "m")
        await store.put("talk", moment.source_id, [moment], await embedder.embed([text]))
    standing = StandingQueries(bus, embedder)
    following = asyncio.create_task(standing.run())
    memory, gateway = grpc.aio.server(), grpc.aio.server()
    qa_service_pb2_grpc.add_QaServiceServicer_to_server(QaServicer({"extractive": ExtractiveAnswerer(store, embedder)}, standing), memory)
    address = f"127.0.0.1:{memory.add_insecure_port('127.0.0.1:0')}"
    await memory.start()
    async with grpc.aio.insecure_channel(address) as behind:
        qa_service_pb2_grpc.add_QaServiceServicer_to_server(GatewayServicer(behind), gateway)
        port = gateway.add_insecure_port("127.0.0.1:0")
        await gateway.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Place(qa_service_pb2_grpc.QaServiceStub(channel), bus, store)
        await gateway.stop(None)
    await memory.stop(None)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await store.close()


def run(work: Callable[[Place], Awaitable[None]]) -> None:
    async def within() -> None:
        async with place() as there:
            await work(there)

    asyncio.run(within())


def test_what_was_found_comes_first_then_words_claims_and_the_verdict():
    async def work(there: Place) -> None:
        told = await there.ask("When does the harbour conference open?")
        kinds = [response.WhichOneof("part") for response in told]
        assert (kinds[0], kinds[-1]) == ("retrieved", "answer")
        assert set(kinds[1:-1]) == {"text", "claim"}
        answer = told[-1].answer
        assert (answer.supported, answer.confidence > 0.5, answer.claims[0].citations[0].stream_id) == (True, True, "talk")
        assert answer.claims[0] in [response.claim for response in told]

    run(work)


def test_a_follow_up_names_the_conversation():
    async def work(there: Place) -> None:
        first = (await there.ask("When does the harbour conference open?"))[-1].answer
        again = (await there.ask("And when?", conversation_id=first.conversation_id))[-1].answer
        assert again.supported
        assert "Monday" in again.text
        assert again.conversation_id == first.conversation_id
        assert not (await there.ask("And when?"))[-1].answer.supported

    run(work)


@pytest.mark.parametrize(
    ("question", "fields", "code", "reason"),
    [
        ("", {}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        ("x" * 10_000, {}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        ("When?", {"answerer": "oracle"}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
        ("When?", {"conversation_id": "conversation-0"}, grpc.StatusCode.NOT_FOUND, "CONVERSATION_UNKNOWN"),
        ("When?", {"stream_ids": ["nowhere"]}, grpc.StatusCode.NOT_FOUND, "STREAM_UNKNOWN"),
        ("When?", {"stream_ids": [f"s{n}" for n in range(16)]}, grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_its_reason(question, fields, code, reason):
    async def work(there: Place) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await there.ask(question, **fields)
        assert (refused.value.code(), reason_of(refused.value)) == (code, reason)

    run(work)


def test_a_memory_that_goes_away_in_the_middle_ends_the_call_with_its_reason(monkeypatch):
    async def lost(*_: object, **__: object) -> None:
        raise StoreUnavailable("the memory is locked by another process")

    async def work(there: Place) -> None:
        monkeypatch.setattr(there.store, "between", lost)
        told: list[qa_service_pb2.AskResponse] = []

        async def take() -> None:
            request = qa_service_pb2.AskRequest(stream_id="talk", question="When does the harbour conference open?")
            async for response in there.qa.Ask(request):
                told.append(response)  # noqa: PERF401

        with pytest.raises(grpc.aio.AioRpcError, match="locked by another") as failed:
            await take()
        assert (failed.value.code(), reason_of(failed.value)) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert [response.WhichOneof("part") for response in told] == ["retrieved"]

    run(work)


def test_a_caller_is_told_when_its_standing_query_holds():
    async def work(there: Place) -> None:
        call = there.qa.Stand(qa_service_pb2.StandRequest(query="alert if someone says 'fire'", streams=["gate-*"]))
        await call.initial_metadata()
        for position, (stream, text) in enumerate((("hall", "Fire!"), ("gate-1", "Good morning."), ("gate-1", "Fire, get out!"))):
            segment = TranscriptSegment(stream_id=stream, id=f"segment-{position}", is_final=True, text=text)
            origin = Origin("screen-transcripts", Position(position, 0))
            await there.bus.publish("cleared", stream, ClearedEvent(segment=segment), origin=origin)
        alert = await asyncio.wait_for(call.read(), 20)
        assert (alert.stream_id, alert.score, alert.hits, alert.of) == ("gate-1", 1.0, 1, 1)
        assert alert.evidence[0].text == "Fire, get out!"
        assert "Fire, get out!" in alert.reason
        call.cancel()

    run(work)


def test_a_standing_query_that_cannot_be_kept_is_refused():
    async def work(there: Place) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            async for _ in there.qa.Stand(qa_service_pb2.StandRequest(query="tell me when it happens")):
                pass
        assert (refused.value.code(), reason_of(refused.value)) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")

    run(work)
