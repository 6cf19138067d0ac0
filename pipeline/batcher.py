"""Work of many streams done together: what may be batched meets for a moment, and streams take turns.

`Gathering` is the rule: which of the waiting items start now. `Batcher` runs it: async callers, worker threads.

A worker that becomes free takes at once whatever waits and goes together, so that batches grow with the load and nobody
waits for company while the machine is idle: an item waits for others only if it finds a free worker while another stream is
being worked for, and then no longer than `patience`.
"""

import asyncio
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.errors import InternalError, Overloaded
from pipeline.loops import Promise

Item = TypeVar("Item")
Result = TypeVar("Result")

LONGEST_PATIENCE = 0.05
"""Seconds that nobody is kept waiting for company beyond: half of what a viewer would notice in a caption."""


@dataclass(eq=False)
class Waiting(Generic[Item]):
    """An item that nobody works on yet."""

    item: Item
    key: Hashable
    stream: Hashable
    until: float
    """When it starts even without company, in seconds of the clock that `Gathering` is told."""


class Gathering(Generic[Item]):
    """Which items start, and with whom; a pure rule, told the time.

    Streams take turns: the stream that was served longest ago comes first, and a batch is filled with one item of each
    stream before it takes a second one of any. What waits is shared among the workers, so that none is idle while another
    one works for all.
    """

    def __init__(self, *, most: int = 8, patience: float = 0.0, workers: int = 1) -> None:
        """Batches of at most `most` items; `patience` in seconds, 0 to `LONGEST_PATIENCE`. Raises `ValueError`."""
        if most < 1 or not 0 <= patience <= LONGEST_PATIENCE:
            raise ValueError(f"batches of {most} after {patience} s; 1 or more and 0 to {LONGEST_PATIENCE} s are possible")
        self._most, self._patience, self._workers = most, patience, workers
        self._streams: OrderedDict[Hashable, list[Waiting[Item]]] = OrderedDict()

    def __len__(self) -> int:
        return sum(len(items) for items in self._streams.values())

    def add(self, item: Item, *, key: Hashable, stream: Hashable, now: float, idle: bool) -> Waiting[Item]:
        """Let an item wait; items of equal keys go together. `idle` tells whether a worker is free, so that company is worth a wait."""
        waiting = Waiting(item, key, stream, now + self._patience if idle else now)
        self._streams.setdefault(stream, []).append(waiting)
        return waiting

    def remove(self, waiting: Waiting[Item]) -> bool:
        """Forget an item; false if it has started."""
        items = self._streams.get(waiting.stream, [])
        if waiting not in items:
            return False
        items.remove(waiting)
        if not items:
            del self._streams[waiting.stream]
        return True

    def take(self, now: float, active: Collection[Hashable] = ()) -> list[Waiting[Item]]:
        """The items that start now, of one key; empty if none does yet. `active` are the streams that are being worked for."""
        share = min(self._most, -(-len(self) // self._workers))
        for stream, items in self._streams.items():
            group = list(self._group(items[0], share))
            alone = all(other == stream for other in (*self._streams, *active))
            if alone or len(group) >= self._most or items[0].until <= now:
                for waiting in group:
                    self.remove(waiting)
                    if waiting.stream in self._streams:
                        self._streams.move_to_end(waiting.stream)
                return group
        return []

    def next_start(self) -> float | None:
        """When an item starts at the latest; `None` if none waits."""
        return min((items[0].until for items in self._streams.values()), default=None)

    def _group(self, first: Waiting[Item], most: int) -> Iterator[Waiting[Item]]:
        """Up to `most` items of the key, the first one's stream in front, then in turns."""
        order = [first.stream, *(stream for stream in self._streams if stream != first.stream)]
        fitting = [[waiting for waiting in self._streams[stream] if waiting.key == first.key] for stream in order]
        taken = 0
        for turn in range(max(map(len, fitting))):
            for items in fitting:
                if turn < len(items) and taken < most:
                    taken += 1
                    yield items[turn]


@dataclass(eq=False)
class _Call(Generic[Item, Result]):
    """An item and who waits for its result."""

    item: Item
    result: Promise[Result] = field(default_factory=Promise)

    def settle(self, result: Result | Exception) -> None:
        """Answer from any thread."""
        if isinstance(result, Exception):
            self.result.fail(result)
        else:
            self.result.keep(result)


@dataclass
class _State(Generic[Item, Result]):
    """What the callers and the workers share, under one lock."""

    gathering: Gathering[_Call[Item, Result]]
    changed: threading.Condition = field(default_factory=threading.Condition)
    drains: int = 0
    """Worker threads that look for items, or work on some."""
    busy: int = 0
    active: Counter[Hashable] = field(default_factory=Counter)
    closed: bool = False


class Batcher(Generic[Item, Result]):
    """Runs `run` over batches of what async callers bring, on threads of its own; may be used from any event loop."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        *,
        name: str,
        workers: int = 1,
        most: int = 8,
        patience: float = 0.0,
        waiting: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`run` blocks, is called by up to `workers` threads at once, and answers each item with a result or with its error.

        If it raises instead, each item of the batch is run again alone, so that only those that cannot be done fail.
        `most` and `patience` are those of `Gathering`; `waiting` is how many items may wait.
        """
        self._run, self._workers, self._limit, self._clock = run, workers, waiting, clock
        self._state: _State[Item, Result] = _State(Gathering(most=most, patience=patience, workers=workers))
        self._executor = ThreadPoolExecutor(max_workers=workers, thread_name_prefix=name)

    async def submit(self, item: Item, *, key: Hashable, stream: Hashable = None) -> Result:
        """The item's result. Items of equal keys may be batched; `stream` is whose turn it uses up, `None` is nobody's else.

        A caller that is cancelled gives its place up, or, if its item is being worked on, leaves the others of the batch alone.
        Raises what `run` says of this item; `Overloaded` if too many items wait; `RuntimeError` after `close`.
        """
        call: _Call[Item, Result] = _Call(item)
        state = self._state
        with state.changed:
            if state.closed:
                raise RuntimeError("the batcher is closed")
            if len(state.gathering) >= self._limit:
                raise Overloaded(f"{self._limit} items wait for the model; give it more cores or fewer streams")
            idle = state.busy < self._workers
            waiting = state.gathering.add(call, key=key, stream=call if stream is None else stream, now=self._clock(), idle=idle)
            if state.drains < self._workers:
                state.drains += 1
                self._executor.submit(self._drain)
            state.changed.notify()
        try:
            return await call.result
        except asyncio.CancelledError:
            with state.changed:
                state.gathering.remove(waiting)
            raise

    def close(self) -> None:
        """Take no more items; what waits is still worked on, then the threads end. Does not block."""
        with self._state.changed:
            self._state.closed = True
        self._executor.shutdown(wait=False)

    def _drain(self) -> None:
        """Work until nothing waits; on a worker thread."""
        state = self._state
        while True:
            with state.changed:
                batch = self._next()
                if not batch:
                    state.drains -= 1
                    return
                streams = [waiting.stream for waiting in batch]
                state.busy += 1
                state.active.update(streams)
            try:
                self._work([waiting.item for waiting in batch])
            finally:
                del batch
                with state.changed:
                    state.busy -= 1
                    state.active -= Counter(streams)
                    state.changed.notify()

    def _next(self) -> list[Waiting[_Call[Item, Result]]]:
        """The next batch, when it may start; empty when nothing waits. Called under the lock."""
        state = self._state
        while True:
            now = self._clock()
            batch = state.gathering.take(now, state.active)
            start = state.gathering.next_start()
            if batch or start is None:
                return batch
            state.changed.wait(max(0.0, start - now))

    def _work(self, calls: Sequence[_Call[Item, Result]]) -> None:
        for call, result in zip(calls, self._results([call.item for call in calls]), strict=True):
            call.settle(result)

    def _results(self, items: Sequence[Item]) -> Sequence[Result | Exception]:
        try:
            results = self._run(items)
        except Exception as error:
            if len(items) == 1:
                return [error]
            return [self._results([item])[0] for item in items]
        if len(results) != len(items):
            return [InternalError(f"{len(items)} items were run together and {len(results)} results came back") for _ in items]
        return results
