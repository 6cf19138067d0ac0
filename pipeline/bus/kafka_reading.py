"""Reading topics of a broker that speaks the Kafka protocol, and how far a group has got.

A group's progress stands in a compacted topic beside the one it reads, `watchword.<name>.progress`, keyed by the group; not
in the metadata of its commits, which Tansu does not keep and Kafka limits to 4 kB. The group also commits offsets in
Kafka's own way: of the topic, for whoever measures lag, and of the progress topic, so that only its end has to be read again.

Each subscription has a thread that owns a `KafkaConsumer`, and hands over what it reads (`pipeline.bus.handover`).
Partitions are shared cooperatively: at a change of members only those that move are interrupted, after `Revoked` has been
answered.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from kafka import KafkaConsumer
from kafka.consumer.subscription_state import AsyncConsumerRebalanceListener
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import KafkaError, KafkaTimeoutError, UnknownTopicOrPartitionError
from kafka.net.selector import KernelEvent
from kafka.structs import MemberState, OffsetAndMetadata, TopicPartition

from pipeline.bus import MAX_MESSAGE_BYTES, Assigned, Progress, Record, Revoked, codec
from pipeline.bus import progress as progress_form
from pipeline.bus.handover import Handover
from pipeline.bus.kafka_cluster import CALL_TIMEOUT_MS, HEADROOM_BYTES, Cluster, ask_again, has, id_at
from pipeline.bus.kafka_writing import Writer
from pipeline.errors import BrokerRenewed, RecordInvalid, WatchwordError
from pipeline.graph import Topic

log = structlog.get_logger(__name__)

_POLL_MS = 100
_POLL_WHILE_FULL_MS = 10
_CHECK_EVERY_S = 2.0
_RETRY_S = 0.1
"""Between attempts to read that fail: some fail at once, and would keep a core busy."""
_GONE_S = 3.0
"""How long the broker may say that a topic is not there before it is believed; one that has just started may not know all it has."""
_ASK_TIMEOUT_S = 1.0
_JOIN_TIMEOUT_S = 3.5
"""How long a join that is under way is waited for before the group is left; Tansu takes 3 s, and `close` waits for both 5 s."""
_RELEASE_TIMEOUT_S = 10.0
"""How long a step may take to let go of revoked partitions; the next owner waits for it."""
_READING = {
    "metrics_enabled": False,
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    # Tansu answers a waiting fetch only when this is over. Measured on one core: 20 ms cost 12 % of it for each idle topic and
    # 10 ms of delay, 50 ms cost 6 % and 13 ms, 100 ms cost 3 % and 32 ms.
    "fetch_max_wait_ms": 50,
    "fetch_max_bytes": 16_000_000,
    "max_partition_fetch_bytes": MAX_MESSAGE_BYTES + HEADROOM_BYTES,
    "max_poll_records": 64,
}
_SHARING = {
    "heartbeat_interval_ms": 500,  # a member hears of a change of members with a heartbeat
    "session_timeout_ms": 6_000,
    "max_poll_interval_ms": 60_000,
    "partition_assignment_strategy": [CooperativeStickyAssignor],
}


@dataclass(frozen=True)
class Reading:
    """What a subscription reads: a topic, by its name on the broker, for a group or for no one."""

    topic: Topic
    name: str
    group: str | None


class _Listener(AsyncConsumerRebalanceListener):  # type: ignore[misc]
    """Is told by the consumer, on its network thread, while `poll` waits."""

    def __init__(self, subscription: "KafkaSubscription", consumer: KafkaConsumer) -> None:
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


class KafkaSubscription:
    """Reads one topic, for a group or for no one.

    Its thread and the task that uses it share the line between them, the set of owned partitions, which is replaced and
    never changed, two events, and, under a lock, the offsets to be committed.
    """

    def __init__(
        self,
        cluster: Cluster,
        writer: Writer,
        reading: Reading,
        *,
        max_records: int = 256,
        max_bytes: int = 16_000_000,
    ) -> None:
        """Begin to read; the writer is for the progress, and is stale where the topic is not the one it was."""
        self._cluster = cluster
        self._writer = writer
        self._topic, self._name, self._group = reading.topic, reading.name, reading.group
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
        self._gone_since: float | None = None
        self._was_there = False
        """Whether the topic was seen: a client that has just begun to ask knows of none."""
        self._topic_id = ""
        """What the broker calls the topic that is read."""
        self._turned_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"watchword-read-{reading.topic.name}", daemon=True)
        self._thread.start()

    async def next(self) -> Record | Assigned | Revoked:
        """The next event; raises `BrokerUnavailable` when the broker stays away, or the client does not come back from a call to it."""
        while True:
            try:
                async with asyncio.timeout(self._cluster.patience_s):
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

    @property
    def name(self) -> str:
        """The topic's name on the broker."""
        return self._name

    def renew(self, writer: Writer, topic_id: str) -> None:
        """Write progress with this writer from now on, and raise `BrokerRenewed` from `next` where the topic is another by its id."""
        self._writer = writer
        if topic_id and self._topic_id and topic_id != self._topic_id:
            self._closing.set()
            self._line.fail(self._cluster.renewed(f"{self._name} cannot be read on", "the topic was made anew"), at_once=True)

    async def close(self) -> None:
        """Stop the thread, which leaves the group."""
        self._closing.set()
        await asyncio.to_thread(self._thread.join, await self._cluster.closing_s())

    def _check_turning(self) -> None:
        """Raise `BrokerUnavailable` where the thread has been in one turn for longer than a turn's waits for the broker can last.

        A service that stands still unseen is worse than one that ends and is started again.
        """
        lasted = time.monotonic() - self._turned_at
        if lasted > 2 * self._cluster.patience_s:
            cause = KafkaTimeoutError(f"the client has been in one call for {lasted:.0f} s")
            raise self._cluster.unavailable(f"{self._name} cannot be read", cause) from cause

    async def _remember(self, partition: int, progress: Progress) -> None:
        assert self._group is not None
        body = progress_form.encode(progress, self._topic_id)
        if len(body) > MAX_MESSAGE_BYTES:
            # The older progress is as right as this one: it only means that more is read again.
            log.error("progress_too_large", topic=self._name, group=self._group, partition=partition, streams=len(progress.streams))
            return
        offset = await self._writer.append(f"group {self._group}", f"{self._name}.progress", self._group.encode(), body, [], partition)
        with self._offsets_lock:
            self._offsets[TopicPartition(self._name, partition)] = OffsetAndMetadata(progress.offset, "", -1)
            self._offsets[TopicPartition(f"{self._name}.progress", partition)] = OffsetAndMetadata(offset, "", -1)

    # What follows runs on the subscription's thread, or on the consumer's network thread while that one waits in `poll`.

    def _run(self) -> None:
        try:
            consumer = self._cluster.consumer(**_READING, **(_SHARING | {"group_id": self._group} if self._group is not None else {}))
            try:
                self._start(consumer)
                while not self._closing.is_set():
                    self._turn(consumer)
                self._commit_offsets_last(consumer)
            except BrokerRenewed as error:
                self._give_up(error)
            finally:
                self._finish_joining(consumer)
                consumer.close(autocommit=False, timeout_ms=CALL_TIMEOUT_MS)
        except KafkaError as error:
            self._line.fail(self._cluster.unavailable(f"{self._name} cannot be read", error))
        except BaseException as error:  # whoever awaits `next` handles it
            self._line.fail(error)

    def _give_up(self, error: BrokerRenewed) -> None:
        """Tell it at once: what waits is of a topic that is no more, and nobody is asked to let go of its partitions."""
        if not self._closing.is_set():
            self._closing.set()
            self._writer.stale = True
            self._line.fail(error, at_once=True)

    def _finish_joining(self, consumer: KafkaConsumer) -> None:
        """Let a join that is under way come to its end, before the group is left.

        Tansu 0.6 goes on waiting for a leader that left between joining and dividing the partitions, and nobody gets any from then on.
        """
        deadline = time.monotonic() + _JOIN_TIMEOUT_S
        with contextlib.suppress(KafkaError):
            while self._group and consumer.group_metadata().state is MemberState.REBALANCING and time.monotonic() < deadline:
                consumer.poll(timeout_ms=_POLL_MS)

    def _start(self, consumer: KafkaConsumer) -> None:
        if self._group is not None:
            consumer.subscribe([self._name], listener=_Listener(self, consumer))
            return
        deadline = time.monotonic() + _GONE_S
        while not (partitions := consumer.partitions_for_topic(self._name)):
            if time.monotonic() > deadline:
                raise self._cluster.renewed(f"{self._name} cannot be read", "the topic is not there")
            if self._closing.wait(_RETRY_S):
                return
        self.fresh = set(partitions)
        consumer.assign([TopicPartition(self._name, partition) for partition in self.fresh])

    def _turn(self, consumer: KafkaConsumer) -> None:
        self._turned_at = time.monotonic()
        batches = {}
        try:
            self._look_before_joining_again(consumer)
            batches = consumer.poll(timeout_ms=_POLL_WHILE_FULL_MS if consumer.paused() else _POLL_MS)
            self._check_topic(consumer)
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

    def _look_before_joining_again(self, consumer: KafkaConsumer) -> None:
        """A group that does not know its member any more may be one of another broker, whose topic is not the one that is read."""
        if self._group is not None and self._topic_id and consumer.group_metadata().state is MemberState.UNJOINED:
            ask_again(consumer, _ASK_TIMEOUT_S)
            self._check_topic(consumer)
            if self._gone_since is not None:
                raise UnknownTopicOrPartitionError(self._name)

    def _check_topic(self, consumer: KafkaConsumer) -> None:
        """Raise `BrokerRenewed` where the topic is another than the one that is read, or is not there."""
        now, topic_id = time.monotonic(), id_at(consumer, self._name)
        if topic_id and self._topic_id and topic_id != self._topic_id:
            raise self._cluster.renewed(f"{self._name} cannot be read on", "the topic was made anew")
        is_there = has(consumer, self._name)
        self._was_there |= is_there
        self._gone_since = None if is_there else self._gone_since or now
        borne_s = _GONE_S if self._was_there else self._cluster.patience_s
        if self._gone_since is not None and now - self._gone_since > borne_s:
            raise self._cluster.renewed(f"{self._name} cannot be read on", "the topic is not there any more")

    def _endure(self, error: KafkaError) -> None:
        """Wait a little before the next attempt; raise `BrokerUnavailable` where none has worked for as long as is borne."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            log.warning("reading_fails", topic=self._name, group=self._group, cause=repr(error))
        if now - self._failing_since > self._cluster.patience_s:
            raise self._cluster.unavailable(f"{self._name} cannot be read", error) from error
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
            consumer.end_offsets([TopicPartition(self._name, 0)], timeout_ms=CALL_TIMEOUT_MS)
            self._alive_at = self._checked_at = time.monotonic()
        except KafkaError as error:
            if time.monotonic() - self._alive_at > self._cluster.patience_s:
                raise self._cluster.unavailable(f"{self._name} cannot be read", error) from error

    def _begin(self, consumer: KafkaConsumer) -> None:
        """Find out where the fresh partitions go on, and say so before their first record."""
        begun = sorted(self.fresh)
        if not begun:
            return
        places = [TopicPartition(self._name, partition) for partition in begun]
        kept_from = consumer.beginning_offsets(places, timeout_ms=CALL_TIMEOUT_MS)
        self._topic_id = self._topic_id or id_at(consumer, self._name)
        known = self._recall(consumer, begun) if self._group is not None else {}
        self.fresh -= set(begun)
        self._owned |= set(begun)  # before it is said, because a commit may follow at once
        for place in places:
            progress = known.get(place.partition, Progress(kept_from[place]))
            if progress.offset < kept_from[place]:
                missing = kept_from[place] - progress.offset
                log.warning("records_expired", topic=self._name, group=self._group, partition=place.partition, missing=missing)
            consumer.seek(place, max(progress.offset, kept_from[place]))
            self._line.put(Assigned(place.partition, progress, self._topic_id))

    def _recall(self, consumer: KafkaConsumer, partitions: Collection[int]) -> dict[int, Progress]:
        """The group's latest progress: the last record with its key, read from the committed one to the end."""
        assert self._group is not None
        places = [TopicPartition(f"{self._name}.progress", partition) for partition in partitions]
        deadline = time.monotonic() + CALL_TIMEOUT_MS / 1000
        latest: dict[int, bytes] = {}
        others: set[int] = set()
        reader = self._cluster.consumer(**_READING)
        try:
            reader.assign(places)
            starts = reader.beginning_offsets(places, timeout_ms=CALL_TIMEOUT_MS)
            ends = reader.end_offsets(places, timeout_ms=CALL_TIMEOUT_MS)
            for place in places:
                committed = consumer.committed(place, timeout_ms=CALL_TIMEOUT_MS)
                reader.seek(place, min(max(committed or 0, starts[place]), ends[place]))
            while any(reader.position(place, timeout_ms=CALL_TIMEOUT_MS) < ends[place] for place in places):
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"{self._name}.progress was not read within {CALL_TIMEOUT_MS} ms")
                for place, records in reader.poll(timeout_ms=_POLL_MS).items():
                    for record in records:
                        if record.key != self._group.encode():
                            continue
                        if progress_form.is_of_another(record.value, self._topic_id):
                            others.add(place.partition)
                        else:
                            latest[place.partition] = record.value
        finally:
            reader.close(autocommit=False)
        if others - latest.keys():
            log.warning("progress_of_another_topic", topic=self._name, group=self._group, partitions=sorted(others - latest.keys()))
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
            consumer.commit(self._take_offsets(), timeout_ms=CALL_TIMEOUT_MS)
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
