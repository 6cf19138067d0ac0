"""Writing to topics of a broker that speaks the Kafka protocol, as one producer that the broker knows.

It notices that a topic is not the one that it wrote to, or that the broker does not remember it; then it is stale, and another takes
its place. What it had not sent by then ends with it: that is of streams whose beginning is lost.
"""

import asyncio
import contextlib
import threading
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, MessageSizeTooLargeError, OutOfOrderSequenceNumberError, UnknownProducerIdError

from pipeline.bus import MAX_MESSAGE_BYTES, codec
from pipeline.bus.in_turn import Closed, InTurn
from pipeline.bus.kafka_cluster import HEADROOM_BYTES, Cluster, id_at
from pipeline.errors import BrokerRenewed, MessageTooLarge
from pipeline.loops import Promise

_OF_A_STRANGER = (UnknownProducerIdError, OutOfOrderSequenceNumberError)
"""What a broker answers to a producer that it does not remember."""


class Writer:
    """A producer, and what it knows of the topics it has written to. A record is appended when every replica has it."""

    def __init__(self, cluster: Cluster) -> None:
        """Connect; raises what `KafkaProducer` does."""
        self._cluster = cluster
        patience_ms = int(cluster.patience_s * 1000)
        self._producer: KafkaProducer = cluster.producer(
            metrics_enabled=False,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES + HEADROOM_BYTES,
            max_block_ms=patience_ms,
            delivery_timeout_ms=patience_ms,
            request_timeout_ms=min(10_000, patience_ms),
        )
        # In a thread because sending waits for the topic's metadata now and then; in one, because it must keep the order.
        self._sender = InTurn("watchword-send")
        self._ids: dict[str, str] = {}
        """What the broker called each topic that was written to."""
        self.stale = False
        """Whether the broker is not what it was when this was connected."""

    def partitions(self, name: str) -> int:
        """How many partitions a topic has; waits for the broker, and raises `KafkaError`."""
        return len(self._producer.partitions_for(name))

    def topic_id(self, name: str) -> str:
        """What the broker calls a topic; empty where it has no ids. Waits for the broker, and raises `KafkaError`."""
        self._producer.partitions_for(name)
        return id_at(self._producer, name)

    async def append(self, whose: str, name: str, key: bytes, body: bytes, headers: codec.Headers, partition: int | None = None) -> int:
        """Append a record and return its offset; `whose` it is, is told when it fails."""
        settled: Promise[int] = Promise()

        def send() -> Any:
            self._producer.partitions_for(name)  # waits for a topic that is not there
            self._require_the_same(whose, name)
            return self._producer.send(name, body, key=key, headers=headers, partition=partition)

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
        except (KafkaError, Closed) as error:
            self._require_the_same(whose, name)
            if self.stale or isinstance(error, _OF_A_STRANGER):
                raise self._found_stale(whose, name, "it does not know this producer") from error
            raise self._cluster.unavailable(f"{whose}: nothing can be sent to {name}", error) from error

    async def close(self) -> None:
        """Send what waits and disconnect; bounded in time, raises `KafkaError`."""
        self._sender.close()
        await asyncio.to_thread(self._producer.close, await self._cluster.closing_s())

    def abandon(self) -> None:
        """Disconnect when what it has under way is sent or has failed, which takes the patience and nobody waits for."""

        def end() -> None:
            self._sender.join()
            with contextlib.suppress(KafkaError):
                self._producer.close(2 * self._cluster.patience_s)

        self.stale = True
        self._sender.close()
        threading.Thread(target=end, name="watchword-abandon", daemon=True).start()

    def _require_the_same(self, whose: str, name: str) -> None:
        """Raise `BrokerRenewed` where the topic is another than the one that was written to."""
        topic_id = id_at(self._producer, name)
        if topic_id and self._ids.setdefault(name, topic_id) != topic_id:
            raise self._found_stale(whose, name, "the topic was made anew")

    def _found_stale(self, whose: str, name: str, sign: str) -> BrokerRenewed:
        self.stale = True
        return self._cluster.renewed(f"{whose}: nothing can be sent to {name}", sign)
