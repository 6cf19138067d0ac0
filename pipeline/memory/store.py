"""The port to the scene memory: what was said and shown, found by words, by meaning and by time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
import numpy.typing as npt
from watchword.v1.safety_pb2 import Verdict

from pipeline.timeline import ZERO, MediaTime

Vectors = npt.NDArray[np.float32]
"""Rows of unit length."""

DIMENSIONS = 384
"""Length of a moment's vector."""
MAX_LIMIT = 200
"""The most that one query gives."""
MAX_WORDS = 64
"""The most words that one query looks for."""


class Kind(Enum):
    """What a moment is."""

    SPEECH = "speech"
    DESCRIPTION = "description"
    ON_SCREEN_TEXT = "on-screen text"
    SUMMARY = "summary"
    """A sentence of another moment that stands for a stretch of the stream; it is no evidence by itself, what it cites is."""
    PICTURE = "picture"
    """A keyframe by what it looks like (`pipeline.qa.visual`); its text is no description, and it is found only where it is asked for."""
    IN_VIEW = "in view"
    """The things that keyframes show, counted (`pipeline.memory.inview`); found only where it is asked for: a list tells no story."""


EVIDENCE = frozenset([Kind.SPEECH, Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT])
"""What was said and shown, without what was made of it."""


class Level(Enum):
    """What a summary is of."""

    SCENE = "scene"
    """A scene, or the part of one that lies in five minutes of the clock."""
    FIVE_MINUTES = "5m"
    HOUR = "1h"


@dataclass(frozen=True)
class Word:
    """A word with the time at which it was said."""

    text: str
    start: MediaTime
    end: MediaTime


@dataclass(frozen=True)
class Moment:
    """One thing that was said or shown: a sentence, a scene's description, a line read in the picture, or one line of a summary."""

    stream_id: str
    source_id: str
    """The segment, scene or summary it comes from."""
    kind: Kind
    part: int
    """Which sentence of the segment or which line of the picture it is, from 0."""
    text: str
    start: MediaTime
    end: MediaTime
    model: str
    """Catalog name of what heard, described or read it."""
    cites: tuple[str, ...] = ()
    """Ids of the moments that a line of a summary stands for; of the same stream."""

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
class Scope:
    """Where to look: all three must hold."""

    streams: tuple[str, ...] = ()
    """Empty means every stream; one that is not known has nothing."""
    kinds: frozenset[Kind] = EVIDENCE
    span: Span = EVERYTHING
    """In each stream's own media time."""


@dataclass(frozen=True)
class Found:
    """A moment and the cosine of its vector and the question's, -1 to 1."""

    moment: Moment
    cosine: float


@dataclass(frozen=True)
class Hits:
    """What a search found, the best first; a moment may stand in both lists."""

    by_words: tuple[Found, ...]
    """By BM25."""
    by_vector: tuple[Found, ...]
    """By cosine."""


@dataclass(frozen=True)
class Picture:
    """A keyframe that may be shown, as a thumbnail."""

    stream_id: str
    id: str
    at: MediaTime
    scene_id: str
    width: int
    height: int
    """Of the JPEG, in pixels."""
    jpeg: bytes
    score: float = 0.0
    """How new the picture was, 0 to 1."""


@dataclass(frozen=True)
class Judgement:
    """What the safety filter said of an item, whether it passed or not."""

    stream_id: str
    item_id: str
    kind: str
    """"transcript", "keyframe" or "scene"."""
    start: MediaTime
    end: MediaTime
    verdict: Verdict


@dataclass(frozen=True)
class Facts:
    """What is known of a stream beside its moments; `None` and empty mean not known."""

    started_at: float | None = None
    """Unix time in seconds at which its first packet was sent: the wall clock of media time zero."""
    language: str = ""
    """The BCP 47 language that most of its speech is in."""
    width: int = 0
    height: int = 0
    """Of its keyframes, in pixels."""


NO_FACTS = Facts()


@dataclass(frozen=True)
class StreamState:
    """What the memory knows of a stream as a whole."""

    stream_id: str
    first_seen: float
    """Unix time in seconds at which its first event was taken in."""
    latest: MediaTime
    """The furthest media time of anything taken in: its duration once it has ended."""
    ended: bool
    """Whether every branch of the stream has ended."""
    moments: int
    """How many are stored, summaries not counted."""
    dropped: int
    """How many were dropped as the oldest, because the stream had too many."""
    facts: Facts = NO_FACTS
    pictures: int = 0
    """How many thumbnails are stored."""


@dataclass(frozen=True)
class Entry:
    """All that is known of one item of the stream: a segment, a scene or a keyframe."""

    stream_id: str
    source_id: str
    moments: tuple[Moment, ...] = ()
    vectors: Vectors = field(default_factory=lambda: np.empty((0, DIMENSIONS), np.float32))
    """One row for each moment."""
    words: Mapping[str, tuple[Word, ...]] = field(default_factory=dict)
    """Of moments that were said, by their ids."""
    revision: int = 0
    """Of two entries of one source the one with the higher revision holds, of two with the same the later."""
    picture: Picture | None = None
    judgement: Judgement | None = None
    latest: MediaTime = ZERO
    """How far the stream has come with it, where that is further than its moments."""
    facts: Facts = NO_FACTS


@dataclass(frozen=True)
class Forgotten:
    """What was removed, counted."""

    moments: int = 0
    """With their vectors and words."""
    summaries: int = 0
    """Lines of summaries that cited any of it."""
    pictures: int = 0
    judgements: int = 0


@dataclass(frozen=True)
class Age:
    """What is needed to know how old something of a stream is."""

    stream_id: str
    began_at: float
    """Unix time in seconds of media time zero, or of when the stream was first seen."""


@dataclass(frozen=True)
class Work:
    """A stretch of which the summaries have to be made."""

    stream_id: str
    level: int
    """0 for five minutes and the scenes in them, 1 for an hour."""
    number: int
    """Counts the stretches of this level in the stream from 0."""
    generation: int
    """Rises with each change of what lies in the stretch."""


class SceneStore(Protocol):
    """A memory that outlives the process. Every call is one transaction; a failing one changes nothing.

    A call that fails for a cause outside (a full disk, a damaged file, a server that is gone) raises `StoreUnavailable`
    with that cause; a limit outside 1 to 200 raises `RequestInvalid`.
    """

    async def put_all(self, entries: Sequence[Entry]) -> None:
        """Store each entry as all that is known of its source; a repeat changes nothing.

        What belongs to a stream, or to a stretch of it, that was forgotten is left out.
        """
        ...

    async def put(self, stream_id: str, source_id: str, moments: Sequence[Moment], vectors: Vectors) -> None:
        """Store one entry that has nothing but moments. `vectors` is [n, 384]."""
        ...

    async def see(self, stream_id: str, latest: MediaTime, facts: Facts = Facts()) -> None:
        """Take note that the stream exists, has come as far as `latest`, and what is known of it."""
        ...

    async def remove(self, stream_id: str, source_id: str, judgement: Judgement | None = None) -> int:
        """Forget what is stored under `source_id`, and keep why; says how many moments that were."""
        ...

    async def end(self, stream_id: str) -> None:
        """Take note that the stream has ended."""
        ...

    async def stream(self, stream_id: str) -> StreamState | None:
        """The stream's state; `None` where it was never seen."""
        ...

    async def kept_times(self, stream_id: str, times: Sequence[MediaTime]) -> list[MediaTime]:
        """Those of the times that nothing says to forget: no deletion, no age, no limit. None of a stream that is not known."""
        ...

    async def search(self, scope: Scope, words: Iterable[str], vector: Vectors, *, limit: int = 24) -> Hits:
        """Of what is in scope the moments nearest to `vector` ([384]), and those that contain any of `words`, stemmed.

        A word is taken literally, whatever signs it contains; of more than 64 words the first count.
        """
        ...

    async def between(self, stream_id: str, kind: Kind, *, span: Span = EVERYTHING, limit: int = 24, last: bool = False) -> list[Moment]:
        """The first moments of one kind in the span, or the last, in order of time."""
        ...

    async def summaries(self, stream_id: str, level: Level, *, span: Span = EVERYTHING, limit: int = 24) -> list[Moment]:
        """The first lines of the summaries of one level in the span, in order of time."""
        ...

    async def neighbours(self, moment: Moment, *, before: int = 2, after: int = 2) -> list[Moment]:
        """The moments of the same kind around one, in order of time, itself among them."""
        ...

    async def vectors(self, moments: Sequence[Moment]) -> Vectors:
        """The vectors of stored moments: [n, 384], zeros for one that is not there; at most 2,000."""
        ...

    async def words(self, stream_id: str, ids: Sequence[str]) -> dict[str, tuple[Word, ...]]:
        """The words of spoken moments, by id, where they are known."""
        ...

    async def pictures(self, stream_id: str, *, span: Span = EVERYTHING, limit: int = 24) -> list[Picture]:
        """Thumbnails whose time is in the span, in order of time, spread over it evenly where there are more than `limit`."""
        ...

    async def judgements(self, stream_id: str, *, span: Span = EVERYTHING, limit: int = 24) -> list[Judgement]:
        """What the safety filter said of items in the span, in order of time."""
        ...

    async def count(self, scope: Scope) -> dict[Kind, int]:
        """How many moments of each kind are in scope; every kind of the scope is there."""
        ...

    async def forget(self, stream_id: str, span: Span = EVERYTHING) -> Forgotten:
        """Remove all that overlaps the span, and what was made of it; what belongs there is not taken in again.

        The whole span removes the stream itself. Raises `StreamUnknown` for a stream that was never seen.
        """
        ...

    async def close(self) -> None:
        """Let go of the memory."""
        ...
