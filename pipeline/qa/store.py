"""The scene memory: moments of streams, found by words, by meaning and by time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.timeline import MediaTime

Vectors = npt.NDArray[np.float32]
"""Rows of unit length."""

DIMENSIONS = 384
"""Length of a moment's vector."""


class Kind(Enum):
    """What a moment is."""

    SPEECH = "speech"
    DESCRIPTION = "description"
    ON_SCREEN_TEXT = "on-screen text"


@dataclass(frozen=True)
class Moment:
    """One thing that was said or shown: a sentence, a scene's description, or a line read in the picture."""

    stream_id: str
    source_id: str
    """The segment or scene it comes from."""
    kind: Kind
    part: int
    """Which sentence of the segment or which line of the picture it is, from 0."""
    text: str
    start: MediaTime
    end: MediaTime
    model: str
    """Catalog name of what heard, described or read it."""

    @property
    def id(self) -> str:
        """Unique in the stream, such as "segment-900/speech/2"."""
        return f"{self.source_id}/{self.kind.value}/{self.part}"


@dataclass(frozen=True)
class Span:
    """A stretch of a stream: what overlaps it counts, its end excluded. `None` means that it is open on that side."""

    start: MediaTime | None = None
    end: MediaTime | None = None

    def __contains__(self, moment: Moment) -> bool:
        starts_before = self.end is None or moment.start < self.end
        return starts_before and (self.start is None or moment.end > self.start or moment.start >= self.start)


EVERYTHING = Span()
"""The whole stream."""


@dataclass(frozen=True)
class Found:
    """A moment and the cosine of its vector and the question's, -1 to 1."""

    moment: Moment
    cosine: float


@dataclass(frozen=True)
class Hits:
    """What a search found, the best first; a moment may stand in both lists."""

    by_words: tuple[Found, ...]
    """By bm25."""
    by_vector: tuple[Found, ...]
    """By cosine."""


@dataclass(frozen=True)
class StreamState:
    """What the memory knows of a stream as a whole."""

    stream_id: str
    first_seen: float
    """Unix time in seconds at which its first event was taken in."""
    latest: MediaTime
    """The furthest media time of anything taken in."""
    ended: bool
    """Whether every branch of the stream has ended."""
    moments: int
    """How many are stored."""
    dropped: int
    """How many were dropped as the oldest, because the stream had too many."""


class SceneStore(Protocol):
    """A memory that outlives the process. Every call is one transaction; a failing one changes nothing.

    A call that fails for a cause outside (a full disk, a damaged file) raises `InternalError` with that cause.
    """

    async def see(self, stream_id: str, latest: MediaTime) -> None:
        """Take note that the stream exists and has come as far as `latest`."""
        ...

    async def put(self, stream_id: str, source_id: str, moments: Sequence[Moment], vectors: Vectors) -> None:
        """Store these moments as all that is known under `source_id`; a repeat is harmless. `vectors` is [n, 384]."""
        ...

    async def remove(self, stream_id: str, source_id: str) -> int:
        """Forget what is stored under `source_id`; says how many moments that were."""
        ...

    async def end(self, stream_id: str) -> None:
        """Take note that the stream has ended."""
        ...

    async def stream(self, stream_id: str) -> StreamState | None:
        """The stream's state; `None` where it was never seen."""
        ...

    async def streams(self) -> list[StreamState]:
        """All streams, the last seen first, at most 1,000."""
        ...

    async def search(self, stream_id: str, words: Iterable[str], vector: Vectors, *, span: Span = EVERYTHING, limit: int = 24) -> Hits:
        """The moments of one stream nearest to `vector` ([384]), and those that contain any of `words`, stemmed.

        A word is taken literally, whatever signs it contains.
        """
        ...

    async def between(self, stream_id: str, kind: Kind, *, span: Span = EVERYTHING, limit: int = 24) -> list[Moment]:
        """The first moments of one kind in the span, in order of time."""
        ...

    async def close(self) -> None:
        """Let go of the memory."""
        ...
