"""A bus inside one process, which encodes and decodes like the real one."""

import asyncio
import zlib
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from google.protobuf.message import Message

from pipeline.bus import Assigned, Context, Origin, Progress, Record, Revoked, Subscription, codec
from pipeline.errors import WatchwordError
from pipeline.graph import TOPICS, Topic


@dataclass
class _Entry:
    """One record as it stands in the log."""

    key: bytes | None
    body: bytes
    headers: codec.Headers


@dataclass
class _Log:
    """One partition: the kept entries and the offset of the first of them."""

    entries: deque[_Entry] = field(default_factory=deque)
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.entries)


class MemoryBus:
    """Topics as bounded logs.

    A publisher waits while a reader of the topic is `Topic.capacity` records behind. What every group has committed and
    every follower has read is forgotten; a topic nobody reads keeps its latest `Topic.capacity` records. Progress outlives
    a subscription, so a group that subscribes again goes on where it stood.
    """

    def __init__(self, topics: Mapping[str, Topic] = TOPICS, *, partitions: int = 1) -> None:
        self._topics = topics
        self._logs = {name: [_Log() for _ in range(partitions)] for name in topics}
        self._progress: dict[tuple[str, str], dict[int, Progress]] = {}
        self._readers: dict[str, list[_MemorySubscription]] = {name: [] for name in topics}
        self._changed = asyncio.Condition()

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        """Append a message, after waiting for the readers of the topic; raises as `pipeline.bus.Bus` says."""
        body, headers = codec.encode(self._topics[topic], stream_id, value, origin, context)
        await self.publish_raw(topic, stream_id.encode(), body, headers)

    async def publish_raw(self, topic: str, key: bytes | None, body: bytes, headers: codec.Headers | None = None) -> None:
        """Append bytes as they are, as a foreign client could."""
        partition = zlib.crc32(key or b"") % len(self._logs[topic])
        log = self._logs[topic][partition]
        capacity = self._topics[topic].capacity
        async with self._changed:
            await self._changed.wait_for(lambda: self._behind(topic, partition) < capacity)
            log.entries.append(_Entry(key, body, headers or []))
            self._forget(topic, partition)
            self._changed.notify_all()

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """Read a topic for a group; one subscription of a group at a time."""
        progress = self._progress.setdefault((topic, group), {})
        return self._open(topic, progress)

    async def follow(self, topic: str) -> Subscription:
        """Read a topic from the oldest kept record, for no group."""
        return self._open(topic, None)

    async def close(self) -> None:
        """Nothing to let go of."""

    async def caught_up(self, topic: str) -> None:
        """Wait until every reader of the topic is done with what was published."""
        await self._wait(lambda: not any(self._behind(topic, partition) for partition in range(len(self._logs[topic]))))

    def holds(self, topic: str) -> bool:
        """Whether anything was ever published on the topic."""
        return any(log.end for log in self._logs[topic])

    def _open(self, topic: str, progress: dict[int, Progress] | None) -> "_MemorySubscription":
        subscription = _MemorySubscription(self, topic, progress)
        self._readers[topic].append(subscription)
        return subscription

    def _behind(self, topic: str, partition: int) -> int:
        end = self._logs[topic][partition].end
        return max((end - reader.positions[partition] for reader in self._readers[topic]), default=0)

    def _forget(self, topic: str, partition: int) -> None:
        log = self._logs[topic][partition]
        needed = [
            progress[partition].offset if partition in progress else 0 for (name, _), progress in self._progress.items() if name == topic
        ]
        needed += [reader.positions[partition] for reader in self._readers[topic] if reader.progress is None]
        keep_from = min(needed) if needed else log.end - self._topics[topic].capacity
        while log.entries and log.start < keep_from:
            log.entries.popleft()
            log.start += 1

    async def _wait(self, ready: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(ready)

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


class _MemorySubscription:
    """Reads all partitions; of those that hold something new, the one with the lowest number first."""

    def __init__(self, bus: MemoryBus, topic: str, progress: dict[int, Progress] | None) -> None:
        self._bus = bus
        self._topic = bus._topics[topic]
        self._logs = bus._logs[topic]
        self.progress = progress
        starts = [(progress or {}).get(partition, Progress(log.start)) for partition, log in enumerate(self._logs)]
        self.positions = [max(start.offset, log.start) for start, log in zip(starts, self._logs, strict=True)]
        self._taken: int | None = None
        """The partition of the record that was taken last; the reader is done with it when it asks for the next."""
        self._assignments = deque(Assigned(partition, start) for partition, start in enumerate(starts))

    async def next(self) -> Record | Assigned | Revoked:
        """The assignments first, then record after record; nothing is ever revoked."""
        if self._assignments:
            return self._assignments.popleft()
        if self._taken is not None:
            self.positions[self._taken] += 1
            self._taken = None
            await self._bus._notify()
        await self._bus._wait(lambda: self._ready() is not None)
        partition = self._ready()
        assert partition is not None
        offset = self.positions[partition]
        log = self._logs[partition]
        entry = log.entries[offset - log.start]
        self._taken = partition
        return self._record(partition, offset, entry)

    async def commit(self, progress: Mapping[int, Progress]) -> None:
        """Remember the progress; a follower remembers nothing."""
        if self.progress is not None:
            self.progress.update(progress)

    async def release(self, progress: Mapping[int, Progress]) -> None:
        """The same as a commit: no one else is waiting."""
        await self.commit(progress)

    async def close(self) -> None:
        """Stop holding publishers back."""
        self._bus._readers[self._topic.name].remove(self)
        await self._bus._notify()

    def _ready(self) -> int | None:
        return next((number for number, log in enumerate(self._logs) if self.positions[number] < log.end), None)

    def _record(self, partition: int, offset: int, entry: _Entry) -> Record:
        topic = self._topic
        try:
            stream_id, value, origin, context = codec.decode(topic, entry.key, entry.body, entry.headers)
        except WatchwordError as error:
            return codec.unreadable(topic, partition, offset, entry.key, error)
        return Record(topic.name, partition, offset, stream_id, value, origin, context)
