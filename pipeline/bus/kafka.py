"""The bus over a broker that speaks the Kafka protocol: Apache Kafka in a cluster, Tansu on one machine.

Topics are `watchword.<name>`, keyed by stream id. A group's progress stands in a compacted topic beside the one it reads,
`watchword.<name>.progress`, keyed by the group; not in the metadata of its commits, which Tansu does not keep and Kafka
limits to 4 kB. The group also commits offsets in Kafka's own way: of the topic, for whoever measures lag, and of the
progress topic, so that only its end has to be read again.

A record is published when every replica has it. Each subscription has a thread that owns a `KafkaConsumer`, and hands
over what it reads (`pipeline.bus.handover`). Partitions are shared cooperatively: at a change of members only those that
move are interrupted, after `Revoked` has been answered.
"""

import asyncio
import contextlib
import functools
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

import structlog
from google.protobuf.message import Message
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    KafkaConfigurationError,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NoError,
    TopicAlreadyExistsError,
    for_code,
)
from kafka.net.selector import KernelEvent
from kafka.structs import OffsetAndMetadata, TopicPartition

from pipeline.bus import MAX_MESSAGE_BYTES, Assigned, Context, Origin, Progress, Record, Revoked, Subscription, codec
from pipeline.bus import progress as progress_form
from pipeline.bus.handover import Handover
from pipeline.bus.in_turn import InTurn
from pipeline.errors import BrokerUnavailable, MessageTooLarge, RecordInvalid, SettingInvalid, WatchwordError
from pipeline.graph import RETENTION_S, TOPICS, Topic

log = structlog.get_logger(__name__)
logging.getLogger("kafka").addHandler(logging.NullHandler())  # else it writes to stderr where nobody has set up logging

PREFIX = "watchword."
PARTITIONS = 6
"""Of a topic that does not exist yet: the most processes that can share a step."""
CONNECT_TIMEOUT_S = 10.0
PATIENCE_S = 30.0
"""How long a broker that was there may stay away before publishers and readers give up."""

_POLL_MS = 100
_POLL_WHILE_FULL_MS = 10
_CALL_TIMEOUT_MS = 3_000
_CHECK_EVERY_S = 2.0
_RETRY_S = 0.1
"""Between attempts to read that fail: some fail at once, and would keep a core busy."""
_RELEASE_TIMEOUT_S = 10.0
"""How long a step may take to let go of revoked partitions; the next owner waits for it."""
_CLOSE_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_GONE_S = 0.5
"""The same where the broker is gone."""
_HEADROOM_BYTES = 64_000
"""For the key and the headers of a record."""
_READING = {
    "metrics_enabled": False,
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    # Tansu answers a waiting fetch only when this is over. Measured on one core: 20 ms cost 12 % of it for each idle topic and
    # 10 ms of delay, 50 ms cost 6 % and 13 ms, 100 ms cost 3 % and 32 ms.
    "fetch_max_wait_ms": 50,
    "fetch_max_bytes": 16_000_000,
    "max_partition_fetch_bytes": MAX_MESSAGE_BYTES + _HEADROOM_BYTES,
    "max_poll_records": 64,
}
_SHARING = {
    "heartbeat_interval_ms": 500,  # a member hears of a change of members with a heartbeat
    "session_timeout_ms": 6_000,
    "max_poll_interval_ms": 60_000,
    "partition_assignment_strategy": [CooperativeStickyAssignor],
}


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
        self._address = address
        self._topics = topics
        self._prefix = prefix
        self._partitions = partitions
        self._connect_timeout_s = connect_timeout_s
        self._patience_s = patience_s
        self._options = {
            "bootstrap_servers": address.split(","),
            "bootstrap_timeout_ms": int(connect_timeout_s * 1000),
            "reconnect_backoff_max_ms": 1_000,
            **(security or {}),
        }
        self._producer: KafkaProducer | None = None
        self._sender = InTurn("watchword-send")
        self._subscriptions: list[_KafkaSubscription] = []

    async def start(self) -> None:
        """Connect and create the topics that are missing.

        Raises `BrokerUnavailable` when no broker answers in time, and `SettingInvalid` where the address or a setting
        makes no sense.
        """
        try:
            self._producer = await asyncio.to_thread(self._connect)
        except (KafkaConfigurationError, ValueError) as error:
            raise SettingInvalid(f"the broker's address {self._address!r} or its security settings are wrong: {error}") from error
        except (KafkaError, OSError) as error:
            raise BrokerUnavailable(
                f"no broker answers at {self._address} within {self._connect_timeout_s:g} s ({error}): is it running?"
            ) from error

    def _connect(self) -> KafkaProducer:
        _wait_for_listener(self._address, self._connect_timeout_s)
        kept = {"retention.ms": str(RETENTION_S * 1000)}
        _create_missing(self._options, {self._prefix + name: self._partitions for name in self._topics}, kept)
        patience_ms = int(self._patience_s * 1000)
        return KafkaProducer(
            **self._options,
            metrics_enabled=False,
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES + _HEADROOM_BYTES,
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
                await asyncio.to_thread(self._producer.close, await self.closing_s())
            except KafkaError as error:
                log.warning("closed_without_broker", address=self._address, cause=str(error))

    async def closing_s(self) -> float:
        """How long what has to be said to the broker may take now: next to nothing where nobody listens."""
        try:
            await asyncio.to_thread(_wait_for_listener, self._address, 0.0)
        except (OSError, ValueError):
            return _CLOSE_TIMEOUT_GONE_S
        return _CLOSE_TIMEOUT_S

    def _open(self, topic: str, group: str | None) -> "_KafkaSubscription":
        subscription = _KafkaSubscription(self, self._topics[topic], group)
        self._subscriptions.append(subscription)
        return subscription

    def _prepare_progress(self, name: str) -> None:
        assert self._producer is not None, "not started"
        try:
            partitions = len(self._producer.partitions_for(name))
            _create_missing(self._options, {f"{name}.progress": partitions}, {"cleanup.policy": "compact"})
        except KafkaError as error:
            raise self._unavailable(f"{name} cannot be read", error) from error

    async def _append(self, whose: str, name: str, key: bytes, body: bytes, headers: codec.Headers, partition: int | None = None) -> int:
        """Append a record and return its offset; `whose` it is, is told when it fails."""
        assert self._producer is not None, "not started"
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[int] = loop.create_future()

        def settle(action: Callable[[Any], None], outcome: object) -> None:
            def act() -> None:
                if not settled.done():
                    action(outcome)

            if not loop.is_closed():
                loop.call_soon_threadsafe(act)

        # In a thread because `send` waits for the topic's metadata now and then; in one, because it must keep the order.
        send = functools.partial(self._producer.send, name, body, key=key, headers=headers, partition=partition)
        try:
            sent = await self._sender.do(send)
            sent.add_callback(lambda metadata: settle(settled.set_result, metadata.offset))
            sent.add_errback(functools.partial(settle, settled.set_exception))
            return await settled
        except MessageSizeTooLargeError as error:
            raise MessageTooLarge(
                f"{whose}: the broker at {self._address} refuses a record of {len(body):,} bytes on {name}; "
                f"let the topic's max.message.bytes be at least {MAX_MESSAGE_BYTES + _HEADROOM_BYTES:,}"
            ) from error
        except KafkaError as error:
            raise self._unavailable(f"{whose}: nothing can be sent to {name}", error) from error

    def _unavailable(self, what: str, error: BaseException | None) -> BrokerUnavailable:
        cause = f"{type(error).__name__}: {error}" if error else f"no answer for {self._patience_s:g} s"
        return BrokerUnavailable(f"{what}: the broker at {self._address} does not serve ({cause})")


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Is told by the consumer, on its network thread, while `poll` waits."""

    def __init__(self, subscription: "_KafkaSubscription", consumer: KafkaConsumer) -> None:
        self._subscription = subscription
        self._consumer = consumer

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._subscription.fresh |= {place.partition for place in assigned}

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Wait for the release; also called for partitions that are lost already."""
        waiting = self._subscription.revoke({place.partition for place in revoked})
        while waiting():
            await KernelEvent("_sleep", 0.01)
        with contextlib.suppress(KafkaError):
            await self._subscription.commit_offsets(self._consumer)


class _KafkaSubscription:
    """Reads one topic, for a group or for no one.

    Its thread and the task that uses it share the line between them, the set of owned partitions, which is replaced and
    never changed, two events, and, under a lock, the offsets to be committed.
    """

    def __init__(self, bus: KafkaBus, topic: Topic, group: str | None, *, max_records: int = 256, max_bytes: int = 16_000_000) -> None:
        self._bus = bus
        self._topic = topic
        self._name = bus._prefix + topic.name
        self._group = group
        self._line = Handover(asyncio.get_running_loop(), max_records=max_records, max_bytes=max_bytes)
        self.fresh: set[int] = set()
        """Partitions that have been assigned and not begun."""
        self._owned: frozenset[int] = frozenset()
        self._offsets: dict[TopicPartition, OffsetAndMetadata] = {}
        self._offsets_lock = threading.Lock()
        self._released = threading.Event()
        self._closing = threading.Event()
        self._alive_at = self._checked_at = time.monotonic()
        self._failing_since: float | None = None
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"watchword-read-{topic.name}", daemon=True)
        self._thread.start()

    async def next(self) -> Record | Assigned | Revoked:
        """The next event; raises `BrokerUnavailable` when the broker stays away, or the client does not come back from a call to it."""
        while True:
            try:
                async with asyncio.timeout(self._bus._patience_s):
                    return await self._line.get()
            except TimeoutError:
                self._check_turning()

    async def commit(self, progress: Mapping[int, Progress]) -> None:
        """Append the progress to the progress topic. Of partitions that are not owned any more the older one stays."""
        if self._group is not None:
            await asyncio.gather(*(self._remember(number, one) for number, one in progress.items() if number in self._owned))

    async def release(self, progress: Mapping[int, Progress]) -> None:
        """Append the last progress and let the rebalance go on."""
        try:
            await self.commit(progress)
        finally:
            self._released.set()

    async def close(self) -> None:
        """Stop the thread, which leaves the group."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join, await self._bus.closing_s())
        if self in self._bus._subscriptions:
            self._bus._subscriptions.remove(self)

    def _check_turning(self) -> None:
        """Raise `BrokerUnavailable` where the thread has been in one turn for longer than a turn's waits for the broker can last.

        A service that stands still unseen is worse than one that ends and is started again.
        """
        lasted = time.monotonic() - self._turned_at
        if lasted > 2 * self._bus._patience_s:
            cause = KafkaTimeoutError(f"the client has been in one call for {lasted:.0f} s")
            raise self._bus._unavailable(f"{self._name} cannot be read", cause) from cause

    async def _remember(self, partition: int, progress: Progress) -> None:
        assert self._group is not None
        body = progress_form.encode(progress)
        if len(body) > MAX_MESSAGE_BYTES:
            # The older progress is as right as this one: it only means that more is read again.
            log.error("progress_too_large", topic=self._name, group=self._group, partition=partition, streams=len(progress.streams))
            return
        offset = await self._bus._append(f"group {self._group}", f"{self._name}.progress", self._group.encode(), body, [], partition)
        with self._offsets_lock:
            self._offsets[TopicPartition(self._name, partition)] = OffsetAndMetadata(progress.offset, "", -1)
            self._offsets[TopicPartition(f"{self._name}.progress", partition)] = OffsetAndMetadata(offset, "", -1)

    # What follows runs on the subscription's thread, or on the consumer's network thread while that one waits in `poll`.

    def _run(self) -> None:
        try:
            consumer = KafkaConsumer(
                **self._bus._options, **_READING, **(_SHARING | {"group_id": self._group} if self._group is not None else {})
            )
            try:
                self._start(consumer)
                while not self._closing.is_set():
                    self._turn(consumer)
                self._commit_offsets_last(consumer)
            finally:
                consumer.close(autocommit=False, timeout_ms=_CALL_TIMEOUT_MS)
        except KafkaError as error:
            self._line.fail(self._bus._unavailable(f"{self._name} cannot be read", error))
        except BaseException as error:  # whoever awaits `next` handles it
            self._line.fail(error)

    def _start(self, consumer: KafkaConsumer) -> None:
        if self._group is not None:
            consumer.subscribe([self._name], listener=_Listener(self, consumer))
            return
        self.fresh = set(consumer.partitions_for_topic(self._name))
        consumer.assign([TopicPartition(self._name, partition) for partition in self.fresh])

    def _turn(self, consumer: KafkaConsumer) -> None:
        self._turned_at = time.monotonic()
        batches = {}
        try:
            batches = consumer.poll(timeout_ms=_POLL_WHILE_FULL_MS if consumer.paused() else _POLL_MS)
            for place, records in batches.items():
                if place.partition in self._owned:  # else it was read from where it does not go on
                    for record in records:
                        self._line.put(self._decode(record), len(record.value or b""))
            self._begin(consumer)
            self._failing_since = None
        except KafkaError as error:
            if not error.retriable:
                raise
            self._endure(error)
        self._hold_back(consumer)
        if self._offsets:
            self.commit_offsets(consumer)
        self._check_alive(consumer, bool(batches))

    def _endure(self, error: KafkaError) -> None:
        """Wait a little before the next attempt; raise `BrokerUnavailable` where none has worked for as long as is borne."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("reading_fails", topic=self._name, group=self._group, cause=repr(error))
        if now - self._failing_since > self._bus._patience_s:
            raise self._bus._unavailable(f"{self._name} cannot be read", error) from error
        self._closing.wait(_RETRY_S)

    def _hold_back(self, consumer: KafkaConsumer) -> None:
        """Stop fetching while the line is full; `poll` goes on, so that the group does not take this member for dead."""
        if self._line.full:
            consumer.pause(*consumer.assignment())
        elif consumer.paused() and self._line.has_room:
            consumer.resume(*consumer.paused())

    def _check_alive(self, consumer: KafkaConsumer, got_records: bool) -> None:
        """`poll` keeps silent about a broker that is away, so a quiet topic is asked for its end now and then."""
        now = time.monotonic()
        if got_records:
            self._alive_at = now
        if now - max(self._alive_at, self._checked_at) < _CHECK_EVERY_S:
            return
        self._checked_at = now
        try:
            consumer.end_offsets([TopicPartition(self._name, 0)], timeout_ms=_CALL_TIMEOUT_MS)
            self._alive_at = self._checked_at = time.monotonic()
        except KafkaError as error:
            if time.monotonic() - self._alive_at > self._bus._patience_s:
                raise self._bus._unavailable(f"{self._name} cannot be read", error) from error

    def _begin(self, consumer: KafkaConsumer) -> None:
        """Find out where the fresh partitions go on, and say so before their first record."""
        begun = sorted(self.fresh)
        if not begun:
            return
        places = [TopicPartition(self._name, partition) for partition in begun]
        kept_from = consumer.beginning_offsets(places, timeout_ms=_CALL_TIMEOUT_MS)
        known = self._recall(consumer, begun) if self._group is not None else {}
        self.fresh -= set(begun)
        self._owned |= set(begun)  # before it is said, because a commit may follow at once
        for place in places:
            progress = known.get(place.partition, Progress(kept_from[place]))
            if progress.offset < kept_from[place]:
                missing = kept_from[place] - progress.offset
                log.warning("records_expired", topic=self._name, group=self._group, partition=place.partition, missing=missing)
            consumer.seek(place, max(progress.offset, kept_from[place]))
            self._line.put(Assigned(place.partition, progress))

    def _recall(self, consumer: KafkaConsumer, partitions: Collection[int]) -> dict[int, Progress]:
        """The group's latest progress: the last record with its key, read from the committed one to the end."""
        assert self._group is not None
        places = [TopicPartition(f"{self._name}.progress", partition) for partition in partitions]
        deadline = time.monotonic() + _CALL_TIMEOUT_MS / 1000
        latest: dict[int, bytes] = {}
        reader = KafkaConsumer(**self._bus._options, **_READING)
        try:
            reader.assign(places)
            starts = reader.beginning_offsets(places, timeout_ms=_CALL_TIMEOUT_MS)
            ends = reader.end_offsets(places, timeout_ms=_CALL_TIMEOUT_MS)
            for place in places:
                committed = consumer.committed(place, timeout_ms=_CALL_TIMEOUT_MS)
                reader.seek(place, min(max(committed or 0, starts[place]), ends[place]))
            while any(reader.position(place, timeout_ms=_CALL_TIMEOUT_MS) < ends[place] for place in places):
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"{self._name}.progress was not read within {_CALL_TIMEOUT_MS} ms")
                for place, records in reader.poll(timeout_ms=_POLL_MS).items():
                    for record in records:
                        if record.key == self._group.encode():
                            latest[place.partition] = record.value
        finally:
            reader.close(autocommit=False)
        try:
            return {partition: progress_form.decode(body) for partition, body in latest.items()}
        except RecordInvalid as error:
            raise RecordInvalid(f"group {self._group} cannot go on in {self._name}: {error}") from None

    def revoke(self, partitions: Collection[int]) -> Callable[[], bool]:
        """Say that the partitions are going; the result tells whether to wait still."""
        self.fresh -= set(partitions)
        leaving = self._owned & set(partitions)
        self._released.clear()
        told = () if self._closing.is_set() or not leaving else self._line.revoke(leaving)
        deadline = time.monotonic() + _RELEASE_TIMEOUT_S

        def waiting() -> bool:
            if told and not self._released.is_set() and not self._closing.is_set():
                if time.monotonic() < deadline:
                    return True
                log.warning("released_too_late", topic=self._name, group=self._group, partitions=told)
            self._owned -= leaving
            return False

        return waiting

    def commit_offsets(self, consumer: KafkaConsumer) -> Any:
        """Start to commit in Kafka's own way; where that fails an older commit stands, which is only less exact."""
        return consumer.commit_async(self._take_offsets())

    def _commit_offsets_last(self, consumer: KafkaConsumer) -> None:
        if not self._offsets:
            return
        try:
            consumer.commit(self._take_offsets(), timeout_ms=_CALL_TIMEOUT_MS)
        except KafkaError as error:
            log.debug("offsets_not_committed", topic=self._name, group=self._group, cause=repr(error))

    def _take_offsets(self) -> dict[TopicPartition, OffsetAndMetadata]:
        with self._offsets_lock:
            offsets, self._offsets = self._offsets, {}
        return offsets

    def _decode(self, record: Any) -> Record:
        headers = [(name, value or b"") for name, value in record.headers]
        try:
            stream_id, value, origin, context = codec.decode(self._topic, record.key, record.value, headers)
        except WatchwordError as error:
            return codec.unreadable(self._topic, record.partition, record.offset, record.key, error)
        return Record(self._topic.name, record.partition, record.offset, stream_id, value, origin, context)


def _wait_for_listener(address: str, timeout_s: float) -> None:
    """Return as soon as one of the addresses takes a connection; raises `OSError` or `ValueError`."""
    deadline = time.monotonic() + timeout_s
    while True:
        for one in address.split(","):
            host, _, port = one.strip().rpartition(":")
            try:
                socket.create_connection((host.strip("[]"), int(port)), max(timeout_s, _CLOSE_TIMEOUT_GONE_S)).close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise error
        time.sleep(0.1)


def _create_missing(options: Mapping[str, Any], partitions: Mapping[str, int], settings: Mapping[str, str]) -> None:
    """Create the topics that are missing; one replica is all that one machine has, clusters declare their topics beforehand."""
    admin = KafkaAdminClient(**options)
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
