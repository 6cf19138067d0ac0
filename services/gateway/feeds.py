"""Standing queries for those who come back: what held lately is kept for each query, whoever listens.

All who ask the same share one call to the memory. It goes on for a while after the last of them has left, so that who comes
back with the id of what was seen last misses nothing.
"""

import asyncio
import contextlib
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

import grpc
from watchword.v1.qa_service_pb2 import StandRequest, StandResponse

from pipeline import telemetry
from pipeline.errors import ClientSlow, Overloaded, ServiceUnavailable
from services.alerts import as_json
from services.gateway.sse import ENDED, Event, failed
from services.rpc import error_of, is_accepted

FEEDS = 32
"""How many queries are kept at a time; of those that nobody listens to the one that was left first goes."""
LISTENERS = 512
KEPT = 256
"""How many alerts of a query are kept for who comes back."""
WAITING = 64
"""How many events wait for a listener; whoever takes none is let go."""
LINGER_S = 300.0
"""How long a query is kept that nobody listens to."""


class Stand(Protocol):
    """Begins a call of `QaService.Stand`."""

    def __call__(self, request: StandRequest) -> "grpc.aio.UnaryStreamCall[StandRequest, StandResponse]":
        """The call."""
        ...


@dataclass(eq=False)
class Listener:
    """Somebody's place in a feed."""

    feed: "_Feed"
    waiting: "asyncio.Queue[Event]" = field(default_factory=lambda: asyncio.Queue(WAITING + KEPT + 2))
    is_over: bool = False
    """Whether what waits is all that will come."""

    def offer(self, event: Event) -> None:
        """Take an event; who has too many is told so as the last one."""
        if self.is_over:
            return
        if self.waiting.qsize() >= WAITING and event.name == "alert":
            telemetry.WATCHERS_DROPPED.inc()
            event = failed(ClientSlow(f"{WAITING} alerts wait to be taken: come back with the id of the last one"))
        self.waiting.put_nowait(event)
        self.is_over = event.name in ("error", "end")


class _Feed:
    def __init__(self, request: StandRequest) -> None:
        self.request = request
        self.history: deque[Event] = deque(maxlen=KEPT)
        self.listeners: set[Listener] = set()
        self.call: asyncio.Task[None] | None = None
        self.has_ended = False
        self.asking = asyncio.Lock()
        self.left: asyncio.TimerHandle | None = None

    def listener(self, last_id: str) -> Listener:
        """A new place, behind the event of an id, with what was kept since."""
        listener = Listener(self)
        past = list(self.history) if last_id else []
        known = next((place for place, event in enumerate(past) if event.id == last_id), None)
        if last_id and known is None and last_id != ENDED:
            listener.waiting.put_nowait(Event("", "gap", {"message": f"what came after {last_id[:100]} is not known here any more"}))
        for event in past[known + 1 if known is not None else 0 :]:
            listener.waiting.put_nowait(event)
        if self.has_ended and last_id != ENDED:
            listener.offer(_END)
        self.listeners.add(listener)
        return listener

    def tell(self, event: Event) -> None:
        """Tell all who listen; an alert is kept for who comes back."""
        if event.name == "alert":
            self.history.append(event)
        for listener in self.listeners:
            listener.offer(event)


class Feeds:
    """All queries that are listened to over HTTP."""

    def __init__(self, stand: Stand, address: str) -> None:
        """`address` is where the memory is, for messages."""
        self._stand, self._address = stand, address
        self._feeds: OrderedDict[bytes, _Feed] = OrderedDict()

    @contextlib.asynccontextmanager
    async def listening(self, request: StandRequest, last_id: str = "") -> AsyncIterator[Listener]:
        """A place in the feed of a query; raises `RequestInvalid`, `Overloaded` and what keeps the memory from being asked."""
        key = request.SerializeToString(deterministic=True)
        if sum(len(feed.listeners) for feed in self._feeds.values()) >= LISTENERS:
            raise Overloaded(f"{LISTENERS} clients listen to standing queries already: try again later")
        feed = self._feed(key, request)
        # Taken before the call is begun: nothing that comes with it is missed.
        listener = feed.listener(last_id)
        try:
            await self._begin(feed)
            yield listener
        finally:
            feed.listeners.discard(listener)
            if not feed.listeners and self._feeds.get(key) is feed:
                linger = LINGER_S if feed.call is not None else 0.0
                feed.left = asyncio.get_running_loop().call_later(linger, self._drop, key)

    def close(self) -> None:
        """Tell all who listen that this is the end for now."""
        for key in list(self._feeds):
            self._drop(key)

    def _feed(self, key: bytes, request: StandRequest) -> _Feed:
        feed = self._feeds.get(key)
        if feed is None:
            if len(self._feeds) >= FEEDS:
                deserted = next((other for other, feed in self._feeds.items() if not feed.listeners), None)
                if deserted is None:
                    raise Overloaded(f"{FEEDS} standing queries are listened to already: try again later")
                self._drop(deserted)
            feed = self._feeds[key] = _Feed(request)
        self._feeds.move_to_end(key)
        if feed.left is not None:
            feed.left.cancel()
        return feed

    def _drop(self, key: bytes) -> None:
        feed = self._feeds.pop(key)
        if feed.left is not None:
            feed.left.cancel()
        if feed.call is not None:
            feed.call.cancel()
        feed.tell(failed(ServiceUnavailable("this gateway is stopped: come back with the id of the last event")))

    async def _begin(self, feed: _Feed) -> None:
        """Ask the memory, unless somebody else has by now."""
        async with feed.asking:
            if feed.has_ended or (feed.call is not None and not feed.call.done()):
                return
            call = self._stand(feed.request)
            try:
                if not await is_accepted(call):
                    await call.read()
            except grpc.aio.AioRpcError as error:
                raise error_of(error, self._address) from error
            feed.call = asyncio.create_task(self._follow(feed, call))

    async def _follow(self, feed: _Feed, call: "grpc.aio.UnaryStreamCall[StandRequest, StandResponse]") -> None:
        try:
            async for alert in call:
                feed.tell(Event(alert.id, "alert", as_json(alert)))
            feed.has_ended = True
            feed.tell(_END)
        except grpc.aio.AioRpcError as error:
            feed.tell(failed(error_of(error, self._address)))
        finally:
            call.cancel()


_END = Event(ENDED, "end", {"message": "every stream of the query has ended"})
