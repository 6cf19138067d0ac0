"""The bus over a real broker that speaks the Kafka protocol."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import NotLeaderForPartitionError
from structlog.typing import EventDict

from pipeline.bus import Assigned, Bus, Progress, Revoked, StreamProgress, Subscription, codec, kafka_reading
from pipeline.bus.broker import Broker
from pipeline.bus.kafka import KafkaBus
from pipeline.bus.kafka_cluster import Cluster
from pipeline.bus.kafka_reading import KafkaSubscription, Reading
from pipeline.errors import BrokerRenewed, BrokerUnavailable, RecordInvalid, SettingInvalid
from tests.pipeline.bus_suite import PARTITIONS, TIMEOUT_S, BusSuite, assignments, by_stream, chunk, read

pytestmark = pytest.mark.connected


@asynccontextmanager
async def connected(address: str, prefix: str, **options: object) -> AsyncIterator[KafkaBus]:
    bus = KafkaBus(address, prefix=prefix, partitions=PARTITIONS, **options)  # type: ignore[arg-type]
    await bus.start()
    try:
        yield bus
    finally:
        await bus.close()


def append(address: str, topic: str, key: bytes | None, body: bytes | None, headers: codec.Headers | None = None) -> None:
    """As any Kafka client does."""
    producer = KafkaProducer(bootstrap_servers=address, max_request_size=60_000_000)
    try:
        producer.send(topic, body, key=key, headers=headers).get(10)
    finally:
        producer.close()


class TestKafkaBus(BusSuite):
    @pytest.fixture(autouse=True)
    def _own_topics(self, broker_address: str, prefix: str) -> None:
        self.address, self.prefix = broker_address, prefix

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Bus]:
        async with connected(self.address, self.prefix) as bus:
            yield bus

    async def append(self, bus: KafkaBus, topic: str, key: bytes | None, body: bytes, headers: codec.Headers | None) -> None:
        await asyncio.to_thread(append, self.address, self.prefix + topic, key, body, headers)


def test_any_kafka_client_may_publish_even_a_tombstone_or_a_50_mb_record(broker_address: str, prefix: str) -> None:
    async def flow() -> None:
        async with connected(broker_address, prefix) as bus:
            for sequence, body in enumerate(
                [None, chunk("s", 1).SerializeToString(), bytes(50_000_000), chunk("s", 3).SerializeToString()]
            ):
                append(broker_address, f"{prefix}audio", b"s", body, [("other", bytes(sequence))])
            values = [record.value for record in await read(await bus.follow("audio"), 4)]
            assert [values[1], values[3]] == [chunk("s", 1), chunk("s", 3)]
            assert "empty record" in str(values[0])
            assert "50,000,000 bytes" in str(values[2])

    asyncio.run(flow())


def _until_held_back(reader: KafkaSubscription) -> None:
    while reader._line.has_room:
        threading.Event().wait(0.01)


def test_what_waits_for_a_slow_reader_is_bounded(broker_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(kafka_reading._READING, "max_poll_records", 5)

    async def flow() -> None:
        async with connected(broker_address, prefix) as bus:
            for sequence in range(100):
                await bus.publish("audio", "s", chunk("s", sequence))
            reader = KafkaSubscription(bus._cluster, bus._connected, Reading(bus._topics["audio"], f"{prefix}audio", None), max_records=10)
            try:
                records = await read(reader, 1)
                async with asyncio.timeout(TIMEOUT_S):
                    await asyncio.to_thread(_until_held_back, reader)
                records += await read(reader, 99)
            finally:
                await reader.close()
            assert by_stream(records) == {"s": list(range(100))}
            assert reader._line.peak < 10 + 5

    asyncio.run(flow())


async def until_owned(
    subscription: Subscription, wanted: int, owned: dict[int, Progress], progress: dict[int, Progress]
) -> dict[int, Progress]:
    """Take part in a group, as a step that owns `owned`, until exactly `wanted` partitions are owned; what each began with."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            match await subscription.next():
                case Assigned(partition, begins):
                    assert partition not in owned
                    owned[partition] = begins
                case Revoked(partitions):
                    for partition in partitions:
                        del owned[partition]
                    await subscription.release({partition: progress[partition] for partition in partitions})
                case other:
                    pytest.fail(f"nothing was published, and {other} came")
            if len(owned) == wanted:
                return owned


def test_members_of_a_group_share_the_partitions_and_hand_them_over(broker_address: str, prefix: str) -> None:
    done = {number: Progress(number + 1, {"s": StreamProgress(number + 2)}) for number in range(PARTITIONS)}
    later = {number: Progress(number + 100) for number in range(PARTITIONS)}

    async def flow() -> None:
        async with connected(broker_address, prefix) as bus, connected(broker_address, prefix) as other_bus:
            first = await bus.subscribe("audio", "step")
            assert await assignments(first) == dict.fromkeys(range(PARTITIONS), Progress(0))
            second = await other_bus.subscribe("audio", "step")
            nothing_known = dict.fromkeys(range(PARTITIONS), Progress(0))
            kept, given = await asyncio.gather(
                until_owned(first, PARTITIONS // 2, nothing_known, done), until_owned(second, PARTITIONS // 2, {}, done)
            )
            assert kept.keys() | given.keys() == set(range(PARTITIONS))
            assert given == {number: done[number] for number in given}
            taken = set(given)
            await second.commit({number: later[number] for number in range(PARTITIONS)})
            await second.close()
            async with asyncio.timeout(TIMEOUT_S):
                back = await assignments(first, len(taken))
            assert back == {number: later[number] for number in taken}
            await first.close()
            third = await bus.subscribe("audio", "step")
            # The partitions that the second did not own kept what was known of them: its commit of theirs counts for nothing.
            assert await assignments(third) == {number: later[number] if number in taken else Progress(0) for number in range(PARTITIONS)}

    asyncio.run(flow())


def test_no_broker_is_told_with_the_address() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    async def flow() -> None:
        bus = KafkaBus(address, connect_timeout_s=0.5)
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable, match=f"no broker answers at {address}"):
            await bus.start()
        assert time.monotonic() - started < 5
        await bus.close()

    asyncio.run(flow())


def test_a_cluster_is_there_as_soon_as_one_of_its_brokers_is() -> None:
    with socket.socket() as gone, socket.create_server(("127.0.0.1", 0)) as there:
        gone.bind(("127.0.0.1", 0))
        addresses = ",".join(f"127.0.0.1:{each.getsockname()[1]}" for each in (gone, there))
        Cluster(addresses, {}, 30.0).wait(0.0)


def test_an_address_that_is_none_is_told() -> None:
    async def flow() -> None:
        with pytest.raises(SettingInvalid, match="nonsense"):
            await KafkaBus("nonsense").start()

    asyncio.run(flow())


def test_a_broker_that_dies_is_told_to_publishers_and_readers(prefix: str) -> None:
    async def flow() -> None:
        with Broker(port=0) as broker:
            async with connected(broker.address, prefix, patience_s=2.0) as bus:
                follower = await bus.follow("audio")
                await bus.publish("audio", "cam-1", chunk("cam-1", 0))
                await read(follower, 1)
                member = await bus.subscribe("audio", "step")
                await assignments(member)
                broker.kill()

                async def read_on(subscription: Subscription) -> None:
                    while True:
                        match await subscription.next():
                            case Revoked():
                                await subscription.release({})

                async with asyncio.timeout(TIMEOUT_S):
                    outcomes = await asyncio.gather(
                        bus.publish("audio", "cam-1", chunk("cam-1", 1)), read_on(follower), read_on(member), return_exceptions=True
                    )
                for outcome in outcomes:
                    assert isinstance(outcome, BrokerUnavailable)
                    assert broker.address in str(outcome)
                assert "cam-1" in str(outcomes[0])

    asyncio.run(flow())


def make_anew(address: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    try:
        admin.delete_topics([topic])
        admin.create_topics({topic: {"num_partitions": PARTITIONS, "replication_factor": -1}})
        admin.wait_for_topics([topic])
    finally:
        admin.close()


def test_a_topic_made_anew_is_begun_anew_alone(prefix: str) -> None:
    """Who reads another topic reads on and keeps its progress; who reads this one is told."""

    async def flow(address: str) -> None:
        async with connected(address, prefix) as bus:
            audio, transcripts, member = await bus.follow("audio"), await bus.follow("transcripts"), await bus.subscribe("audio", "step")
            await bus.publish("audio", "s", chunk("s", 0))
            assert by_stream(await read(audio, 1)) == {"s": [0]}
            await assignments(member)
            await assignments(transcripts)
            await asyncio.to_thread(make_anew, address, f"{prefix}transcripts")
            with pytest.raises(BrokerRenewed, match="made anew"):
                async with asyncio.timeout(TIMEOUT_S):
                    await transcripts.next()
            assert await assignments(await bus.follow("transcripts"))
            await bus.publish("audio", "s", chunk("s", 1))
            assert by_stream(await read(audio, 1)) == {"s": [1]}
            await member.commit({0: Progress(1)})
            await member.close()
            assert (await assignments(await bus.subscribe("audio", "step")))[0] == Progress(1)

    with Broker(port=0) as broker:
        asyncio.run(flow(broker.address))


def test_a_process_that_only_writes_goes_on_after_it_was_told_that_its_topic_was_made_anew(prefix: str) -> None:
    async def flow(address: str) -> None:
        async with connected(address, prefix) as bus:
            await bus.publish("audio", "s", chunk("s", 0))
            await asyncio.to_thread(make_anew, address, f"{prefix}audio")

            async def publish_on() -> None:
                while True:
                    await bus.publish("audio", "s", chunk("s", 1))

            with pytest.raises(BrokerRenewed, match=r"stream s: .*made anew"):
                await asyncio.wait_for(publish_on(), TIMEOUT_S)
            await bus.publish("audio", "t", chunk("t", 0))
            reader = await bus.follow("audio")
            async with asyncio.timeout(TIMEOUT_S):
                while "t" not in by_stream(await read(reader, 1)):
                    pass

    with Broker(port=0) as broker:
        asyncio.run(flow(broker.address))


def test_a_writer_that_another_has_taken_the_place_of_refuses(broker_address: str, prefix: str) -> None:
    """And does not keep a release, and with it a whole group, waiting."""

    async def flow() -> None:
        async with connected(broker_address, prefix) as bus:
            member = await bus.subscribe("audio", "step")
            await assignments(member)
            bus._connected.abandon()
            async with asyncio.timeout(TIMEOUT_S):
                with pytest.raises(BrokerRenewed, match=r"group .*step: nothing can be sent"):
                    await member.release({0: Progress(1)})

    asyncio.run(flow())


def test_progress_beyond_the_limit_leaves_the_older_one(
    broker_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch, logs: list[EventDict], errors_are_expected: None
) -> None:
    async def flow() -> None:
        async with connected(broker_address, prefix) as bus:
            member = await bus.subscribe("audio", "step")
            await assignments(member)
            await member.commit({0: Progress(3)})
            monkeypatch.setattr(kafka_reading, "MAX_MESSAGE_BYTES", 1000)
            await member.commit({0: Progress(9, {f"stream-{number}": StreamProgress(9) for number in range(100)})})
            await member.close()
            again = await assignments(await bus.subscribe("audio", "step"))
            assert again[0] == Progress(3)
            assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["progress_too_large"]

    asyncio.run(flow())


def test_progress_that_cannot_be_read_is_not_guessed(broker_address: str, prefix: str) -> None:
    async def flow() -> None:
        async with connected(broker_address, prefix) as bus:
            await (await bus.subscribe("audio", "step")).close()
            append(broker_address, f"{prefix}audio.progress", f"{prefix}step".encode(), b'{"version":99}')
            member = await bus.subscribe("audio", "step")
            with pytest.raises(RecordInvalid, match=r"group .*step cannot go on in .*audio: .*version 99"):
                await assignments(member)

    asyncio.run(flow())


def test_a_reader_that_fails_at_once_again_and_again_gives_up_and_does_not_spin(
    broker_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the leader of the progress topic is away while the broker answers all else."""
    attempts = 0

    def away(*_: object) -> None:
        nonlocal attempts
        attempts += 1
        raise NotLeaderForPartitionError("leaderless")

    monkeypatch.setattr(KafkaSubscription, "_recall", away)

    async def flow() -> None:
        async with connected(broker_address, prefix, patience_s=2.0) as bus:
            member = await bus.subscribe("audio", "step")
            with pytest.raises(BrokerUnavailable, match=r"audio cannot be read.*leaderless"):
                async with asyncio.timeout(TIMEOUT_S):
                    await assignments(member)

    asyncio.run(flow())
    assert 2 < attempts < 100


def test_a_reader_whose_client_does_not_come_back_is_told(broker_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the client's own thread goes round in circles and whoever closes it waits for ever."""
    free = threading.Event()

    def stuck(*_: object) -> None:
        free.wait(TIMEOUT_S)

    monkeypatch.setattr(KafkaSubscription, "_begin", stuck)

    async def flow() -> None:
        async with connected(broker_address, prefix, patience_s=0.5) as bus:
            member = await bus.subscribe("audio", "step")
            try:
                with pytest.raises(BrokerUnavailable, match=r"audio cannot be read.*in one call for \d+ s"):
                    async with asyncio.timeout(TIMEOUT_S):
                        await member.next()
            finally:
                free.set()

    asyncio.run(flow())
