"""The bus over a broker that speaks the Kafka protocol: Apache Kafka in a cluster, Tansu on one machine.

Topics are `watchword.<name>`, keyed by stream id. A record is published when every replica has it. Reading, and how far it
has got, is `pipeline.bus.kafka_reading`.
"""

import asyncio
import functools
import logging
import weakref
from collections.abc import Mapping
from typing import Any

import structlog
from google.protobuf.message import Message
from kafka import KafkaProducer
from kafka.errors import KafkaConfigurationError, KafkaError, MessageSizeTooLargeError

from pipeline.bus import MAX_MESSAGE_BYTES, Context, Origin, Subscription, codec
from pipeline.bus.in_turn import InTurn
from pipeline.bus.kafka_cluster import HEADROOM_BYTES, Cluster
from pipeline.bus.kafka_reading import KafkaSubscription, Reading
from pipeline.errors import BrokerUnavailable, MessageTooLarge, SettingInvalid
from pipeline.graph import RETENTION_S, TOPICS, Topic
from pipeline.loops import Promise

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
        self._producer: KafkaProducer | None = None
        self._sender = InTurn("watchword-send")
        self._subscriptions: weakref.WeakSet[KafkaSubscription] = weakref.WeakSet()

    async def start(self) -> None:
        """Connect and create the topics that are missing.

        Raises `BrokerUnavailable` when no broker answers in time, and `SettingInvalid` where the address or a setting
        makes no sense.
        """
        try:
            self._producer = await asyncio.to_thread(self._connect)
        except (KafkaConfigurationError, ValueError) as error:
            raise SettingInvalid(f"the broker's address {self._cluster.address!r} or its security settings are wrong: {error}") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(
                f"no broker answers at {self._cluster.address} within {self._connect_timeout_s:g} s ({error}): is it running?"
            ) from error

    def _connect(self) -> KafkaProducer:
        self._cluster.wait(self._connect_timeout_s)
        kept = {"retention.ms": str(RETENTION_S * 1000)}
        self._cluster.create_missing({self._prefix + name: self._partitions for name in self._topics}, kept)
        patience_ms = int(self._cluster.patience_s * 1000)
        return KafkaProducer(
            **self._cluster.options,
            metrics_enabled=False,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES + HEADROOM_BYTES,
            max_block_ms=patience_ms,
            delivery_timeout_ms=patience_ms,
            request_timeout_ms=min(10_000, patience_ms),
        )

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        """Append a message; returns when every replica has it; raises as `pipeline.bus.Bus` says."""
        body, headers = codec.encode(self._topics[topic], stream_id, value, origin, context)
        await self._append(f"stream {stream_id}", self._prefix + topic, stream_id.encode(), body, headers)

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """Read a topic as a member of the group `watchword.<group>`."""
        name = self._prefix + topic
        await asyncio.to_thread(self._prepare_progress, name)
        return self._open(topic, self._prefix + group)

    async def follow(self, topic: str) -> Subscription:
        """Read all partitions of a topic from the oldest kept record, outside any group."""
        return self._open(topic, None)

    async def close(self) -> None:
        """Send what is waiting, leave the groups and disconnect; bounded in time."""
        await asyncio.gather(*(subscription.close() for subscription in list(self._subscriptions)))
        self._sender.close()
        if self._producer is not None:
            try:
                await asyncio.to_thread(self._producer.close, await self._cluster.closing_s())
            except KafkaError as error:
                log.warning("closed_without_broker", address=self._cluster.address, cause=str(error))

    def _open(self, topic: str, group: str | None) -> KafkaSubscription:
        reading = Reading(self._topics[topic], self._prefix + topic, group)
        subscription = KafkaSubscription(self._cluster, self._append, reading)
        self._subscriptions.add(subscription)
        return subscription

    def _prepare_progress(self, name: str) -> None:
        assert self._producer is not None, "not started"
        try:
            partitions = len(self._producer.partitions_for(name))
            self._cluster.create_missing({f"{name}.progress": partitions}, {"cleanup.policy": "compact"})
        except KafkaError as error:
            raise self._cluster.unavailable(f"{name} cannot be read", error) from error

    async def _append(self, whose: str, name: str, key: bytes, body: bytes, headers: codec.Headers, partition: int | None = None) -> int:
        """Append a record and return its offset; `whose` it is, is told when it fails."""
        assert self._producer is not None, "not started"
        settled: Promise[int] = Promise()
        # In a thread because `send` waits for the topic's metadata now and then; in one, because it must keep the order.
        send = functools.partial(self._producer.send, name, body, key=key, headers=headers, partition=partition)
        try:
            sent = await self._sender.do(send)
            sent.add_callback(lambda metadata: settled.keep(metadata.offset))
            sent.add_errback(settled.fail)
            return await settled
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(
                f"{whose}: the broker at {self._cluster.address} refuses a record of {len(body):,} bytes on {name}; "
                f"let the topic's max.message.bytes be at least {MAX_MESSAGE_BYTES + HEADROOM_BYTES:,}"
            ) from error
        except KafkaError as error:
            raise self._cluster.unavailable(f"{whose}: nothing can be sent to {name}", error) from error
