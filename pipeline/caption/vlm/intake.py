"""What waits for the worker: it takes scenes between two tokens, as its seats allow, and answers each as soon as it is done."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipeline.errors import InternalError, Overloaded
from pipeline.loops import Promise

Scene = TypeVar("Scene")
Picture = TypeVar("Picture")


@dataclass(eq=False)
class _Call:
    item: object
    done: Promise[None] = field(default_factory=Promise)

    def settle(self, failure: BaseException | None) -> None:
        """Answer from any thread."""
        if failure is None:
            self.done.keep(None)
        else:
            self.done.fail(failure)


class Intake(Generic[Scene, Picture]):
    """Scenes and pictures from any event loop, and one thread that serves them; it runs only while there is something to do."""

    def __init__(self, serve: "Callable[[Intake[Scene, Picture]], None]", *, name: str, waiting: int = 256) -> None:
        """`serve` blocks on the thread until nothing is left to `take` and everything taken is settled; `waiting` is how many may wait."""
        self._serve, self._limit = serve, waiting
        self._scenes: deque[_Call] = deque()
        self._pictures: deque[_Call] = deque()
        self._taken: dict[int, _Call] = {}
        self._lock = threading.Lock()
        self._serving = self._closed = False
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def submit(self, item: Scene) -> None:
        """Return when a scene is done with. Raises what the worker says of it, `Overloaded` if too many wait, `RuntimeError` after `close`.

        A caller that is cancelled gives its place up; an item that is being worked on is worked on until the worker notices.
        """
        await self._submit(item, self._scenes)

    async def submit_picture(self, item: Picture) -> None:
        """As `submit`, for what takes no seat."""
        await self._submit(item, self._pictures)

    def take(self, seats: int, pictures: int, *, least: int = 1) -> tuple[list[Scene], list[Picture]]:
        """What waited longest: so many scenes at most, and so many pictures, or none where fewer than `least` wait. For `serve`."""
        with self._lock:
            return self._out_of(self._scenes, seats), self._out_of(self._pictures, pictures if len(self._pictures) >= least else 0)

    def settle(self, item: Scene | Picture, failure: BaseException | None) -> None:
        """Answer for something that was taken, once. For `serve`."""
        self._taken.pop(id(item)).settle(failure)

    def close(self) -> None:
        """Take no more; what waits is still worked on, then the thread ends. Does not block."""
        with self._lock:
            self._closed = True
        self._executor.shutdown(wait=False)

    async def _submit(self, item: object, queue: deque[_Call]) -> None:
        call = _Call(item)
        with self._lock:
            if self._closed:
                raise RuntimeError("the captioner is closed")
            if len(queue) >= self._limit:
                raise Overloaded(f"{self._limit} scenes wait for the model; give it a faster device or fewer streams")
            queue.append(call)
            if not self._serving:
                self._serving = True
                self._executor.submit(self._work)
        try:
            await call.done
        except asyncio.CancelledError:
            with self._lock:
                if call in queue:
                    queue.remove(call)
            raise

    def _out_of(self, queue: deque[_Call], most: int) -> list:  # type: ignore[type-arg]
        calls = [queue.popleft() for _ in range(min(most, len(queue)))]
        self._taken |= {id(call.item): call for call in calls}
        return [call.item for call in calls]

    def _work(self) -> None:
        while True:
            failure: BaseException = InternalError("the captioner lost track of a scene")
            try:
                self._serve(self)
            except Exception as error:
                failure = error
            for call in self._taken.values():
                call.settle(failure)
            self._taken.clear()
            with self._lock:
                if not self._scenes and not self._pictures:
                    self._serving = False
                    return
