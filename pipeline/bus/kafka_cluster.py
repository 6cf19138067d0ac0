"""A cluster of brokers as both directions see it: where it is, how it is spoken to, and whether it is there."""

import asyncio
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.cluster import ClusterMetadata
from kafka.errors import NoError, TopicAlreadyExistsError, for_code

from pipeline.errors import BrokerRenewed, BrokerUnavailable

HEADROOM_BYTES = 64_000
"""For the key and the headers of a record."""
CALL_TIMEOUT_MS = 3_000
METADATA_MAX_AGE_MS = 2_000
"""How often a client asks what the topics are: within this time it notices that one is not the one it was."""
_CLOSE_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_GONE_S = 0.5
"""The same where the broker is gone."""


@dataclass(frozen=True)
class Cluster:
    """A cluster: `options` are kafka-python's, for every client, and `patience_s` is how long it may stay away."""

    address: str
    options: Mapping[str, Any]
    patience_s: float

    def unavailable(self, what: str, error: BaseException) -> BrokerUnavailable:
        """The error to raise: what cannot be done, and why."""
        return BrokerUnavailable(f"{what}: the broker at {self.address} does not serve ({type(error).__name__}: {error})")

    def renewed(self, what: str, sign: str) -> BrokerRenewed:
        """The error to raise where a topic is not the one it was."""
        return BrokerRenewed(f"{what}: the broker at {self.address} is not what it was ({sign}); it may have been started empty")

    def consumer(self, **options: Any) -> KafkaConsumer:
        """A consumer that has no topics made."""
        consumer = KafkaConsumer(**self.options, metadata_max_age_ms=METADATA_MAX_AGE_MS, **options)
        _make_no_topics(consumer._cluster)
        return consumer

    def producer(self, **options: Any) -> KafkaProducer:
        """A producer that has no topics made."""
        producer = KafkaProducer(**self.options, metadata_max_age_ms=METADATA_MAX_AGE_MS, **options)
        _make_no_topics(producer._metadata)
        return producer

    async def closing_s(self) -> float:
        """How long what has to be said to the broker may take now: next to nothing where nobody listens."""
        try:
            await asyncio.to_thread(self.wait, 0.0)
        except (OSError, ValueError):
            return _CLOSE_TIMEOUT_GONE_S
        return _CLOSE_TIMEOUT_S

    def wait(self, timeout_s: float) -> None:
        """Return as soon as one of the addresses takes a connection; each is tried at least once. Raises `OSError` or `ValueError`."""
        addresses = [one.strip().rpartition(":") for one in self.address.split(",")]
        each_s = max(timeout_s / len(addresses), _CLOSE_TIMEOUT_GONE_S)
        deadline = time.monotonic() + timeout_s
        while True:
            for host, _, port in addresses:
                try:
                    socket.create_connection((host.strip("[]"), int(port)), each_s).close()
                    return
                except OSError as error:
                    failure = error
            if time.monotonic() > deadline:
                raise failure
            time.sleep(0.1)

    def create_missing(self, partitions: Mapping[str, int], settings: Mapping[str, str]) -> None:
        """Create the topics that are missing; one replica is all that one machine has, clusters declare their topics beforehand."""
        admin = KafkaAdminClient(**self.options)
        try:
            missing = sorted(set(partitions) - set(admin.list_topics()))
            wanted = {name: {"num_partitions": partitions[name], "replication_factor": -1, "configs": dict(settings)} for name in missing}
            if not wanted:
                return
            for topic in admin.create_topics(wanted, raise_errors=False)["topics"]:
                if topic["error_code"] not in (NoError.errno, TopicAlreadyExistsError.errno):
                    raise for_code(topic["error_code"])(f"{topic['name']} cannot be created: {topic['error_message']}")
            admin.wait_for_topics(missing)
        finally:
            admin.close()


def id_at(client: KafkaConsumer | KafkaProducer, topic: str) -> str:
    """What the broker called the topic when the client asked last; empty where it is not there, or has no id (before Kafka 2.8).

    A topic keeps its id for life, and one made anew under its name has another (KIP-516).
    """
    metadata: ClusterMetadata = client._cluster if isinstance(client, KafkaConsumer) else client._metadata
    topic_id = metadata.topic_id(topic)
    return topic_id.hex if topic_id else ""


def ask_again(client: KafkaConsumer, timeout_s: float) -> None:
    """Have the client ask what the topics are now; returns when that is known, or the time is over."""
    known = threading.Event()
    client._cluster.request_update().add_both(lambda _: known.set())
    known.wait(timeout_s)


def has(client: KafkaConsumer, topic: str) -> bool:
    """Whether the topic was there when the client asked last."""
    return client._cluster.partitions_for_topic(topic) is not None


def _make_no_topics(metadata: ClusterMetadata) -> None:
    """Without this a broker that came back empty makes each topic that is asked for, with a number of partitions of its own.

    Both clients take `allow_auto_create_topics`, and kafka-python 3.0.12 loses it on the way to where it counts.
    """
    metadata.config["allow_auto_create_topics"] = False
