"""Summaries made in the background: of scenes, of five minutes, of hours, each citing what it was made of.

What has to be summarised is a table of the memory: whoever changes a stretch puts it there, and whoever has summarised it takes it
out in the same transaction, so that the work goes on after a restart and a summary never stands for what is no longer there.
"""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from pipeline.errors import StoreUnavailable
from pipeline.memory.filling import WINDOW_NS, WINDOWS_OF_HOUR
from pipeline.memory.sql import SqlStore
from pipeline.memory.store import DIMENSIONS, MAX_LIMIT, Entry, Kind, Level, Moment, Span, Work
from pipeline.memory.summary import Stretch, scenes, summarise
from pipeline.timeline import MediaTime

IDLE_S = 2.0
"""How long to wait when there is nothing to summarise."""
EVIDENCE = (Kind.SPEECH, Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT)


class Summariser:
    """Makes the summaries of one memory; several processes may do it at a time."""

    def __init__(self, store: SqlStore, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` is Unix time in seconds."""
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Make what is missing, for ever. While the memory cannot be used it waits: others say so."""
        while True:
            try:
                done = await self.step()
            except StoreUnavailable:
                done = False
            if not done:
                await asyncio.sleep(IDLE_S)

    async def catch_up(self) -> int:
        """Make all that is missing now; says how many stretches that were."""
        steps = 0
        while await self.step():
            steps += 1
        return steps

    async def step(self) -> bool:
        """Make the summaries of one stretch; False where there is nothing to do."""
        work = await self._store.claim(self._clock())
        if work is None:
            return False
        entries = await (self._hour(work) if work.level else self._five_minutes(work))
        await self._store.summarised(work, entries)
        return True

    async def _five_minutes(self, work: Work) -> list[Entry]:
        window = Stretch(Level.FIVE_MINUTES, MediaTime(work.number * WINDOW_NS), MediaTime((work.number + 1) * WINDOW_NS))
        span = Span(window.start, window.end)
        found = [await self._store.between(work.stream_id, kind, span=span, limit=MAX_LIMIT) for kind in EVIDENCE]
        own = [moment for moments in found for moment in moments if moment.start >= window.start]
        parts = [await self._entry(scene, work.stream_id, _within(own, scene)) for scene in scenes(window, found[1])]
        lines = [moment for part in parts for moment in part.moments]
        vectors = {moment.id: vector for part in parts for moment, vector in zip(part.moments, part.vectors, strict=True)}
        chosen, their_vectors = summarise(
            window, work.stream_id, lines, np.array([vectors[line.id] for line in lines], np.float32).reshape(-1, DIMENSIONS)
        )
        whole = Entry(work.stream_id, window.id, tuple(chosen), their_vectors)
        return [entry for entry in [*parts, whole] if entry.moments]

    async def _hour(self, work: Work) -> list[Entry]:
        width = WINDOW_NS * WINDOWS_OF_HOUR
        hour = Stretch(Level.HOUR, MediaTime(work.number * width), MediaTime((work.number + 1) * width))
        lines = await self._store.summaries(work.stream_id, Level.FIVE_MINUTES, span=Span(hour.start, hour.end), limit=MAX_LIMIT)
        entry = await self._entry(hour, work.stream_id, _within(lines, hour))
        return [entry] if entry.moments else []

    async def _entry(self, stretch: Stretch, stream_id: str, moments: list[Moment]) -> Entry:
        if not moments:
            return Entry(stream_id, stretch.id)
        lines, vectors = summarise(stretch, stream_id, moments, await self._store.vectors(moments))
        return Entry(stream_id, stretch.id, tuple(lines), vectors)


def _within(moments: list[Moment], stretch: Stretch) -> list[Moment]:
    return [moment for moment in moments if stretch.start <= moment.start < stretch.end]
