"""Where steps meet: topics of messages, in order for each stream, read by groups that remember their progress."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from google.protobuf.message import Message

from pipeline.errors import WatchwordError

MAX_MESSAGE_BYTES = 1_000_000
"""The largest encoded message that any bus carries; Kafka's own default is 1,048,576 bytes with its overhead."""


@dataclass(frozen=True, order=True)
class Position:
    """Orders what one step says about one stream.

    For an output it is the offset of the input record that led to it and its index among that record's outputs; for a
    chunk it is the publisher's epoch and sequence. A reader that has seen a position drops what is not beyond it.
    """

    major: int
    minor: int


@dataclass(frozen=True)
class Origin:
    """Which step a message comes from, and where it stands among what that step says about the stream."""

    step: str
    position: Position


@dataclass(frozen=True)
class Context:
    """What travels along with a stream through every step."""

    started_at: float | None = None
    """Unix time in seconds at which the stream's first packet was sent."""
    live: bool = False
    """Whether the source cannot wait."""
    clock: int | None = None
    """What the source's own clock said at media time 0, in 1/90,000 s as MPEG-2 counts; another after it has begun anew."""


@dataclass(frozen=True)
class Record:
    """One message as read from a topic."""

    topic: str
    partition: int
    offset: int
    stream_id: str
    value: Message | WatchwordError
    """The message, or why the bytes that stood there are none."""
    origin: Origin
    context: Context

    @property
    def where(self) -> str:
        """The record's place, as "topic/partition/offset"."""
        return f"{self.topic}/{self.partition}/{self.offset}"


@dataclass(frozen=True)
class StreamProgress:
    """Where one stream goes on."""

    needed: int
    """The first offset that must be read again."""
    seen: Mapping[str, Position] = field(default_factory=dict)
    """For each step that writes the topic, the last position taken in before `needed`."""
    ended: frozenset[str] = frozenset()
    """The steps that write the topic and have ended the stream before `needed`; what such a step says later is refused."""


@dataclass(frozen=True)
class Progress:
    """Where a group goes on in one partition after a crash."""

    offset: int = 0
    """The first offset that any stream still needs."""
    streams: Mapping[str, StreamProgress] = field(default_factory=dict)
    """The live streams, and the latest ended ones."""


@dataclass(frozen=True)
class Assigned:
    """The subscription now reads this partition, from the group's progress on."""

    partition: int
    progress: Progress


@dataclass(frozen=True)
class Revoked:
    """The subscription is about to lose these partitions; it waits for `Subscription.release` before they go."""

    partitions: tuple[int, ...]


class Subscription(Protocol):
    """A group's reading of one topic. One task calls `next`; another may commit meanwhile."""

    async def next(self) -> Record | Assigned | Revoked:
        """The next thing that happens; waits for it. Raises `BrokerUnavailable` when the broker stays away."""
        ...

    async def commit(self, progress: Mapping[int, Progress]) -> None:
        """Remember the progress of these partitions for the group; returns when it is safe."""
        ...

    async def release(self, progress: Mapping[int, Progress]) -> None:
        """Answer a `Revoked`: commit the last progress of its partitions and let them go."""
        ...

    async def close(self) -> None:
        """Stop reading and leave the group."""
        ...


class Bus(Protocol):
    """A place to publish messages and to read them back in order per stream."""

    async def publish(
        self, topic: str, stream_id: str, value: Message, *, origin: Origin | None = None, context: Context = Context()
    ) -> None:
        """Append a message; returns when the bus has it. `None` as origin: the message itself tells (a chunk, a gap).

        Raises `MessageTooLarge` and, when the broker stays away, `BrokerUnavailable`.
        """
        ...

    async def subscribe(self, topic: str, group: str) -> Subscription:
        """Read a topic as a member of a group, which shares the partitions and remembers progress."""
        ...

    async def follow(self, topic: str) -> Subscription:
        """Read all partitions of a topic from the oldest kept record, as no one's group; `commit` does nothing."""
        ...

    async def close(self) -> None:
        """Send what is waiting and let go of the connection."""
        ...
