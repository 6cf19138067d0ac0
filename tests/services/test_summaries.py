"""The summaries over a real channel."""

import asyncio

import grpc
import pytest
from grpc_health.v1 import health
from watchword.v1 import memory_service_pb2 as messages
from watchword.v1 import memory_service_pb2_grpc

from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.summarise import Summariser
from services.memory.summaries import MemoryServicer
from services.serve import face_of, start_server
from services.settings import Settings
from tests.pipeline.store_suite import at, entry, spoken

pytestmark = pytest.mark.connected


def test_summaries_are_told_with_what_they_cite_and_a_wrong_request_is_refused() -> None:
    async def test() -> None:
        store = SqliteStore()
        await store.put_all([await entry(spoken(f"topic {n // 30} sentence {n}", 10.0 * n)) for n in range(60)])
        await store.end("s")
        await Summariser(store).catch_up()
        face = face_of(memory_service_pb2_grpc, "MemoryService", MemoryServicer(store))
        server, address = await start_server([face], "127.0.0.1:0", Settings(), health.aio.HealthServicer())
        async with grpc.aio.insecure_channel(address) as channel:
            stub = memory_service_pb2_grpc.MemoryServiceStub(channel)

            async def listed(**request: object) -> messages.ListSummariesResponse:
                return await stub.ListSummaries(messages.ListSummariesRequest(**{"stream_id": "s", **request}))

            both = (await listed()).summaries
            assert [summary.id for summary in both] == ["summary-5m-0", "summary-5m-300000"]
            hour = (await listed(level=messages.SUMMARY_LEVEL_HOUR)).summaries[0]
            below = {line.id: line for summary in both for line in summary.lines}
            assert all(below[line.cites].text == line.text for line in hour.lines)
            assert below[hour.lines[0].cites].cites.startswith("summary-scene-")
            assert [summary.id for summary in (await listed(media_start=at(300).to_proto())).summaries] == ["summary-5m-300000"]
            for wrong, code in (
                ({"stream_id": "nobody"}, grpc.StatusCode.NOT_FOUND),
                ({"level": 9}, grpc.StatusCode.INVALID_ARGUMENT),
                ({"media_start": at(9).to_proto(), "media_end": at(9).to_proto()}, grpc.StatusCode.INVALID_ARGUMENT),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await listed(**wrong)
                assert refused.value.code() == code
        await server.stop(0)
        await store.close()

    asyncio.run(test())
