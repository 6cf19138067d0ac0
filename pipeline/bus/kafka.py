"""The bus over a broker that speaks the Kafka protocol: Apache Kafka in a cluster, Tansu on one machine.

Topics are `watchword.<name>`, keyed by stream id. Writing is `pipeline.bus.kafka_writing`; reading, and how far it has got, is
`pipeline.bus.kafka_reading`.
"""

import asyncio
import logging
import weakref
from collections.abc import Collection, Mapping
from typing import Any

import structlog
from google.protobuf.message import Message
from kafka.errors import KafkaConfigurationError, KafkaError

from pipeline.bus import Context, Origin, Subscription, codec
from pipeline.bus.in_turn import aside
from pipeline.bus.kafka_cluster import Cluster
from pipeline.bus.kafka_reading import KafkaSubscription, Reading
from pipeline.bus.kafka_writing import Writer
from pipeline.errors import BrokerRenewed, BrokerUnavailable, SettingInvalid
from pipeline.graph import RETENTION_S, TOPICS, Topic

log = structlog.get_logger(__name__)
logging.getLogger("kafka").addHandler(logging.NullHandler())  # else it writes to stderr where nobody has set up logging

PREFIX = "watchword."
PARTITIONS = 6
"""Of a topic that does not exist yet: the most processes that can share a step."""
CONNECT_TIMEOUT_S = 10.0
PATIENCE_S = 30.0
"""How long a broker that was there may stay away before publishers and readers give up."""


class KafkaBus:
    """Topics on a broker; `start` connects it."""

    def __init__(
        self,
        address: str,
        *,
        topics: Mapping[str, Topic] = TOPICS,
        prefix: str = PREFIX,
        partitions: int = PARTITIONS,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        security: Mapping[str, Any] | None = None,
    ) -> None:
        """The address is "host:port", or several with commas; `partitions` is for topics that have to be created.

        `patience_s` is how long a broker that was there may stay away. `security` holds kafka-python's own
        `security_protocol`, `ssl_*` and `sasl_*` settings.
        """
        self._topics = topics
        self._prefix = prefix
        self._partitions = partitions
        self._connect_timeout_s = connect_timeout_s
        options = {
            "bootstrap_servers": address.split(","),
            "bootstrap_timeout_ms": int(connect_timeout_s * 1000),
            "reconnect_backoff_max_ms": 1_000,
            **(security or {}),
        }
        self._cluster = Cluster(address, options, patience_s)
        self._writer: Writer | None = None
        self._renewing = asyncio.Lock()
        self._subscriptions: weakref.WeakSet[KafkaSubscription] = weakref.WeakSet()

    async def start(self) -> None:
        """Connect and create the topics that are missing.

        Raises `BrokerUnavailable` when no broker answers in time, and `SettingInvalid` where the address or a setting
        makes no sense.
        """
        try:
            self._writer = await aside("watchword-connect", lambda: self._connect(self._connect_timeout_s), let_go=Writer.abandon)
        except (KafkaConfigurationError, ValueError) as error:
            raise SettingInvalid(f"the broker's address {self._cluster.address!r} or its security settings are wrong: {error}") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(
                f"no broker answers at {self._cluster.address} within {self._connect_timeout_s:g} s ({error}): is it running?"
            ) from error

    def _connect(self, timeout_s: float) -> Writer:
        self._cluster.wait(timeout_s)
        kept = {"retention.ms": str(RETENTION_S * 1000)}
        self._cluster.create_missing({self._prefix + name: self._partitions for name in self._topics}, kept)
        return Writer(self._cluster)

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        """Append a message; returns when every replica has it; raises as `pipeline.bus.Bus` says."""
        body, headers = codec.encode(self._topics[topic], stream_id, value, origin, context)
        try:
            await self._connected.append(f"stream {stream_id}", self._prefix + topic, stream_id.encode(), body, headers)
        except BrokerRenewed:
            await self._renew()  # a process that only writes has nobody else to do it
            raise

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """Read a topic as a member of the group `watchword.<group>`."""
        await self._renew()
        name = self._prefix + topic
        await aside("watchword-prepare", lambda: self._prepare_progress(name))
        return self._open(topic, self._prefix + group)

    async def follow(self, topic: str) -> Subscription:
        """Read all partitions of a topic from the oldest kept record, outside any group."""
        await self._renew()
        return self._open(topic, None)

    async def close(self) -> None:
        """Send what is waiting, leave the groups and disconnect; bounded in time."""
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        if self._writer is not None:
            try:
                await self._writer.close()
            except KafkaError as error:
                log.warning("closed_without_broker", address=self._cluster.address, cause=str(error))

    @property
    def _connected(self) -> Writer:
        assert self._writer is not None, "not started"
        return self._writer

    async def _renew(self) -> None:
        """Where the broker is not what it was: make its topics, write as another producer, and tell those whose topic is another.

        Who reads a topic that is the one it was reads on.
        """
        async with self._renewing:
            stale = self._connected
            if not stale.stale:
                return
            names = {subscription.name for subscription in self._subscriptions}
            try:
                writer, ids = await aside("watchword-connect", lambda: self._reconnect(names), let_go=lambda made: made[0].abandon())
            except (KafkaError, OSError) as error:
                raise self._cluster.unavailable("nothing can be begun anew", error) from error
            self._writer = writer
            for subscription in list(self._subscriptions):
                subscription.renew(writer, ids.get(subscription.name, ""))
            stale.abandon()

    def _reconnect(self, names: Collection[str]) -> tuple[Writer, dict[str, str]]:
        """Another writer, and what the broker calls these topics now."""
        writer = self._connect(self._cluster.patience_s)
        try:
            return writer, {name: writer.topic_id(name) for name in names}
        except KafkaError:
            writer.abandon()
            raise

    def _open(self, topic: str, group: str | None) -> KafkaSubscription:
        reading = Reading(self._topics[topic], self._prefix + topic, group)
        subscription = KafkaSubscription(self._cluster, self._connected, reading)
        self._subscriptions.add(subscription)
        return subscription

    def _prepare_progress(self, name: str) -> None:
        try:
            partitions = self._connected.partitions(name)
            self._cluster.create_missing({f"{name}.progress": partitions}, {"cleanup.policy": "compact"})
        except KafkaError as error:
            raise self._cluster.unavailable(f"{name} cannot be read", error) from error
