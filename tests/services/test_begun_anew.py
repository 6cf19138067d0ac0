"""A broker that comes back empty: who lives on takes what is new, whole and once, and says so."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from kafka import KafkaAdminClient
from structlog.typing import EventDict

from pipeline.bus.broker import Broker
from pipeline.bus.kafka import KafkaBus
from pipeline.errors import BrokerRenewed
from services.gateway.hub import Hub
from tests.pipeline.crashes import STREAMS, chunk, publish, viewing, work

pytestmark = [pytest.mark.connected, pytest.mark.timeout(240)]

PARTITIONS = 6
"""Tansu gives topics that it makes by itself 4."""
TIMEOUT_S = 100.0


def lengths(address: str, prefix: str) -> dict[str, int]:
    """The number of partitions of each topic that is there."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics() if topic["name"].startswith(prefix)}
    finally:
        admin.close()


async def finals(hub: Hub, stream_id: str, token: str) -> list[str]:
    """What the hub tells of a stream, to its end, to a viewer who comes back with `token`."""
    updates = [update async for update in hub.watch(stream_id, token).updates()]
    return [update.event.segment.text for update in updates if update.event.segment.is_final]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not condition():  # noqa: ASYNC110 (what is waited for has no event of its own)
            await asyncio.sleep(0.05)


def test_steps_and_gateways_that_live_on_take_what_is_new(prefix: str, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]) -> None:
    """The same streams are published again: nothing of their first life may hide the second."""
    monkeypatch.setattr("services.gateway.hub.BRANCHES", ("screen-transcripts",))
    monkeypatch.setattr("tests.pipeline.crashes.TIMEOUT_S", TIMEOUT_S)

    async def flow(broker: Broker, stack: ExitStack) -> None:
        service, publisher, again = [KafkaBus(broker.address, prefix=prefix, partitions=PARTITIONS) for _ in range(3)]
        await service.start()
        await publisher.start()
        hub = Hub(service)
        running = [asyncio.ensure_future(each) for each in (work(service, commit_interval_s=0.02), hub.run())]
        await publish(publisher)
        await until(lambda: all(hub.is_complete(stream_id) for stream_id in STREAMS))
        token = [update.resume_token async for update in hub.watch(STREAMS[0], "").updates()][-1]
        for sequence in range(3):
            await publisher.publish("audio", "broken-off", chunk("broken-off", sequence, size=2))
        broker.kill()
        stack.enter_context(Broker(port=broker.port))
        await again.start()
        async with viewing(again, "transcripts") as viewer:
            await publish(again)
        viewer.check()
        await until(lambda: all(hub.is_complete(stream_id) for stream_id in STREAMS))
        for stream_id in STREAMS:
            assert await finals(hub, stream_id, token) == viewer.finals[stream_id]
        with pytest.raises(BrokerRenewed, match=r"stream broken-off.*is not what it was"):
            await publisher.publish("audio", "broken-off", chunk("broken-off", 3, size=2))
        assert not any(task.done() for task in running), "nobody ended"
        assert set(lengths(broker.address, prefix).values()) == {PARTITIONS}, "the broker made no topic of its own"
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        with suppress(BrokerRenewed):
            await asyncio.gather(service.close(), publisher.close(), again.close())

    with ExitStack() as stack:
        asyncio.run(flow(stack.enter_context(Broker(port=0)), stack))
    assert {"transcribe", "gateway cleared"} <= {entry["reader"] for entry in logs if entry["event"] == "begun_anew"}
