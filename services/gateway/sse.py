"""Server-sent events (HTML standard, section 9.2), to a client that may go, or take nothing."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from pipeline.errors import WatchwordError, reason_name

log = structlog.get_logger(__name__)

HEARTBEAT_S = 15.0
"""So often a comment is sent where nothing happens: proxies drop a connection that is still."""
STALLED_S = 30.0
"""How long a client may take nothing; then it is let go."""
RETRY_MS = 2_000
"""How long a browser waits before it comes back."""
ENDED = "end"
"""The id of the event that all has been told: who comes back with it is answered with 204, at which a browser stops."""


@dataclass(frozen=True)
class Event:
    """What is sent: its id, what it is, and its content. Without an id who comes back is told it again, without a name it is a message."""

    id: str
    name: str
    data: dict[str, Any]


def failed(error: WatchwordError) -> Event:
    """The event that tells a failure; it comes last."""
    return Event("", "error", {"reason": reason_name(error.reason), "message": str(error)})


def encoded(event: Event) -> bytes:
    """An event as it is sent."""
    identity = f"id: {event.id}\n" if event.id else ""
    name = f"event: {event.name}\n" if event.name else ""
    return f"{identity}{name}data: {json.dumps(event.data, ensure_ascii=False)}\n\n".encode()


class EventStream(Response):
    """One client's events, until it goes, takes nothing, or all is told. What `events` raises is told as the last one."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Event, None], held: AsyncExitStack, heartbeat_s: float = HEARTBEAT_S) -> None:
        """`held` is let go of in the end."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._held, self._heartbeat_s = events, held, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell them."""
        gone = asyncio.create_task(_gone(receive))
        coming: asyncio.Task[Event | None] | None = None
        try:
            await _in_time(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _in_time(send, _part(f"retry: {RETRY_MS}\n\n".encode()))
            while not gone.done() and scope.get("method") != "HEAD":
                coming = coming or asyncio.create_task(self._next())
                await asyncio.wait({coming, gone}, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    await _in_time(send, _part(b": still here\n\n"))
                    continue
                event, coming = coming.result(), None
                if event is None:
                    break
                await _in_time(send, _part(encoded(event)))
            await _in_time(send, {"type": "http.response.body"})
        except TimeoutError:
            log.info("http.client_slow", waited_s=STALLED_S)
        finally:
            await self._let_go(gone, coming)

    async def _next(self) -> Event | None:
        try:
            return await anext(self._events, None)
        except WatchwordError as error:
            return failed(error)

    async def _let_go(self, *tasks: asyncio.Task[Any] | None) -> None:
        open_tasks = [task for task in tasks if task is not None]
        for task in open_tasks:
            task.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)
        await self._events.aclose()
        await self._held.aclose()


async def _in_time(send: Send, message: Message) -> None:
    async with asyncio.timeout(STALLED_S):
        await send(message)


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
