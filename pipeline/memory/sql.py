"""The scene memory over a database: what is the same in SQLite and in PostgreSQL, which is nearly all of it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from itertools import islice

import structlog

from pipeline.errors import InternalError, RequestInvalid, StreamUnknown
from pipeline.memory import filling, forgetting, reading, searching, summing
from pipeline.memory.database import Database, Session
from pipeline.memory.store import (
    DIMENSIONS,
    EVERYTHING,
    MAX_LIMIT,
    MAX_WORDS,
    NO_FACTS,
    Age,
    Entry,
    Facts,
    Forgotten,
    Hits,
    Judgement,
    Kind,
    Level,
    Moment,
    Picture,
    Scope,
    Span,
    StreamState,
    Vectors,
    Word,
    Work,
)
from pipeline.telemetry import RECORDS_DROPPED
from pipeline.timeline import MediaTime

log = structlog.get_logger(__name__)

MAX_VECTORS = 2000
"""The most vectors that one call gives."""


class SqlStore:
    """A `SceneStore` in a database."""

    def __init__(
        self,
        database: Database,
        *,
        max_moments: int = 100_000,
        max_pictures: int = 5_000,
        max_ended: int = 1_000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """A stream keeps at most `max_moments` and `max_pictures`, and of the streams that have ended the latest `max_ended` are kept.

        What was there first goes first, and is counted.
        """
        self.database = database
        self._limits = forgetting.Limits(max_moments, max_pictures, max_ended)
        self._clock = clock

    async def put_all(self, entries: Sequence[Entry]) -> None:
        """See `SceneStore`; raises `InternalError` where vectors do not fit the moments."""
        for entry in entries:
            if entry.vectors.shape != (len(entry.moments), DIMENSIONS):
                about = f"Storing {len(entry.moments)} moments of stream {entry.stream_id}"
                raise InternalError(f"{about}: their vectors have the shape {entry.vectors.shape}.")
        now = self._clock()

        def put(db: Session) -> int:
            numbers = filling.put_all(db, self.database, entries, now=now)
            return sum(forgetting.drop_oldest(db, number, self._limits) for number in numbers)

        streams = ", ".join(sorted({entry.stream_id for entry in entries})[:3])
        _count_dropped(await self.database.write(f"storing what stream {streams} said and showed", put))

    async def put(self, stream_id: str, source_id: str, moments: Sequence[Moment], vectors: Vectors) -> None:
        """See `SceneStore`."""
        await self.put_all([Entry(stream_id, source_id, tuple(moments), vectors)])

    async def see(self, stream_id: str, latest: MediaTime, facts: Facts = NO_FACTS) -> None:
        """See `SceneStore`."""
        now = self._clock()
        await self.database.write(f"seeing stream {stream_id}", lambda db: filling.see(db, stream_id, latest, facts, now=now))

    async def remove(self, stream_id: str, source_id: str, judgement: Judgement | None = None) -> int:
        """See `SceneStore`."""
        now = self._clock()
        return await self.database.write(
            f"removing {source_id} of stream {stream_id}",
            lambda db: filling.remove(db, self.database, stream_id, source_id, judgement, now=now),
        )

    async def end(self, stream_id: str) -> None:
        """See `SceneStore`."""
        now = self._clock()

        def end(db: Session) -> int:
            filling.end(db, stream_id, now=now)
            return forgetting.drop_ended(db, self._limits)

        _count_dropped(await self.database.write(f"ending stream {stream_id}", end))

    async def stream(self, stream_id: str) -> StreamState | None:
        """See `SceneStore`."""
        return await self.database.read(f"reading the state of stream {stream_id}", lambda db: reading.stream(db, stream_id))

    async def kept_times(self, stream_id: str, times: Sequence[MediaTime]) -> list[MediaTime]:
        """See `SceneStore`."""
        return await self.database.read(f"reading stream {stream_id}", lambda db: filling.kept_times(db, stream_id, times))

    async def search(self, scope: Scope, words: Iterable[str], vector: Vectors, *, limit: int = 24) -> Hits:
        """See `SceneStore`."""
        _check(limit, "moments")
        matched = self.database.match(islice(words, MAX_WORDS))
        return await self.database.read(
            f"searching {_named(scope)}", lambda db: searching.search(db, self.database, scope, matched, vector, limit)
        )

    async def between(self, stream_id: str, kind: Kind, *, span: Span = EVERYTHING, limit: int = 24, last: bool = False) -> list[Moment]:
        """See `SceneStore`."""
        _check(limit, f"moments of stream {stream_id}")
        return await self.database.read(
            f"reading stream {stream_id}", lambda db: searching.between(db, stream_id, kind, span, limit, last=last)
        )

    async def summaries(self, stream_id: str, level: Level, *, span: Span = EVERYTHING, limit: int = 24) -> list[Moment]:
        """See `SceneStore`."""
        _check(limit, f"moments of stream {stream_id}")
        return await self.database.read(f"reading stream {stream_id}", lambda db: searching.summaries(db, stream_id, level, span, limit))

    async def neighbours(self, moment: Moment, *, before: int = 2, after: int = 2) -> list[Moment]:
        """See `SceneStore`."""
        _check(before + after + 1, f"moments of stream {moment.stream_id}")
        return await self.database.read(f"reading stream {moment.stream_id}", lambda db: searching.neighbours(db, moment, before, after))

    async def vectors(self, moments: Sequence[Moment]) -> Vectors:
        """See `SceneStore`."""
        _check(max(len(moments), 1), "vectors", MAX_VECTORS)
        return await self.database.read("reading vectors", lambda db: searching.vectors_of(db, self.database, moments))

    async def words(self, stream_id: str, ids: Sequence[str]) -> dict[str, tuple[Word, ...]]:
        """See `SceneStore`."""
        _check(max(len(ids), 1), f"moments of stream {stream_id}")
        return await self.database.read(f"reading stream {stream_id}", lambda db: searching.words_of(db, self.database, stream_id, ids))

    async def pictures(self, stream_id: str, *, span: Span = EVERYTHING, limit: int = 24) -> list[Picture]:
        """See `SceneStore`."""
        _check(limit, f"pictures of stream {stream_id}")
        return await self.database.read(f"reading stream {stream_id}", lambda db: reading.pictures(db, stream_id, span, limit))

    async def judgements(self, stream_id: str, *, span: Span = EVERYTHING, limit: int = 24) -> list[Judgement]:
        """See `SceneStore`."""
        _check(limit, f"judgements of stream {stream_id}")
        return await self.database.read(f"reading stream {stream_id}", lambda db: reading.judgements(db, stream_id, span, limit))

    async def count(self, scope: Scope) -> dict[Kind, int]:
        """See `SceneStore`."""
        return await self.database.read(f"counting {_named(scope)}", lambda db: searching.count(db, scope))

    async def ages(self) -> list[Age]:
        """All streams, in no particular order."""
        return await self.database.read("listing the streams", reading.ages)

    async def expire(self, stream_id: str, before: MediaTime, *, limit: int) -> int | None:
        """Remove up to `limit` items of a stream that ended before a time; says how many moments they had, `None` where none is left.

        A stream that has ended goes with its last item.
        """
        return await self.database.write(f"expiring stream {stream_id}", lambda db: forgetting.expire(db, stream_id, before.nanos, limit))

    async def claim(self, now: float) -> Work | None:
        """A stretch to summarise that nobody else works on, of what is complete; `None` where there is none."""
        return await self.database.write("looking for what is to be summarised", lambda db: summing.claim(db, now))

    async def summarised(self, work: Work, entries: Sequence[Entry]) -> bool:
        """Store the summaries of a stretch in place of those that are there; False, and nothing done, where it has changed since."""
        doing = f"storing summaries of stream {work.stream_id}"
        return await self.database.write(doing, lambda db: summing.store(db, self.database, work, entries))

    async def forget(
        self, stream_id: str, span: Span = EVERYTHING, *, noted: Callable[[Session, Mapping[str, int]], None] | None = None
    ) -> Forgotten:
        """See `SceneStore`; `noted` is called in the same transaction with what was removed, counted."""
        now = self._clock()

        def forget(db: Session) -> Forgotten | None:
            gone = forgetting.forget(db, stream_id, span, now=now)
            if gone is not None and noted is not None:
                noted(db, asdict(gone))
            return gone

        gone = await self.database.write(f"forgetting stream {stream_id}", forget)
        if gone is None:
            raise StreamUnknown(f"Forgetting stream {stream_id!r}: no such stream is known; list the streams to see which are.")
        await self.database.scrub()
        log.info("stream_forgotten", stream=stream_id, **asdict(gone))
        return gone

    async def close(self) -> None:
        """See `SceneStore`."""
        await self.database.close()


def _check(limit: int, what: str, most: int = MAX_LIMIT) -> None:
    if not 1 <= limit <= most:
        raise RequestInvalid(f"A query for {limit} {what}: ask for 1 to {most}.")


def _named(scope: Scope) -> str:
    if not scope.streams:
        return "all streams"
    more = f" and {len(scope.streams) - 3} more" if len(scope.streams) > 3 else ""
    return f"stream {', '.join(scope.streams[:3])}{more}"


def _count_dropped(dropped: int) -> None:
    if dropped:
        RECORDS_DROPPED.labels(step="index", policy="drop-oldest").inc(dropped)
