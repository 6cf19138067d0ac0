"""The gateway's HTTP face: standing queries as server-sent events, for browsers and whatever speaks HTTP.

    GET /v1/standing?query=tell+me+when+a+truck+appears&stream=gate-*

Events are as the HTML standard has them (section 9.2, "Server-sent events"): who comes back with `Last-Event-ID` is told first
what came after it, and a stream that is over is answered with 204, which tells a browser not to come back.
"""

import asyncio
import hmac
import json
import socket
from collections.abc import Iterable
from typing import Any

import structlog
import uvicorn
from google.rpc import code_pb2
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send
from watchword.v1.qa_service_pb2 import StandRequest

from pipeline.errors import RequestInvalid, SettingInvalid, WatchwordError, reason_name
from pipeline.qa.standing import COOL_DOWN, THRESHOLD, stand
from pipeline.timeline import MediaTime
from services.gateway.feeds import ENDED, Event, Feeds, Listener
from services.rpc import CODES, bearer
from services.setting_values import number
from services.settings import Settings

log = structlog.get_logger(__name__)

HEARTBEAT_S = 15.0
"""So often a comment is sent where nothing happens: proxies drop a connection that is still."""
STALLED_S = 30.0
"""How long a client may take nothing; then it is let go."""
RETRY_MS = 2_000
"""How long a browser waits before it comes back."""
CONNECTIONS = 1_024
STOPPING_S = 2

STATUSES = {
    code_pb2.INVALID_ARGUMENT: 400,
    code_pb2.NOT_FOUND: 404,
    code_pb2.RESOURCE_EXHAUSTED: 429,
    code_pb2.UNAVAILABLE: 503,
}
"""What each status of a call is in HTTP; the others are 500."""
LOOPBACK = ("127.0.0.1", "localhost")
"""The names by which a face without a key may be called: a page whose own name leads here is none of ours."""


class HttpFace:
    """An HTTP server on a socket that is bound already; `run` serves."""

    def __init__(self, feeds: Feeds, settings: Settings, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        """Raises `SettingInvalid` where nobody can listen there."""
        self._feeds = feeds
        self._key = settings.api_key
        self._heartbeat_s = heartbeat_s
        self._socket = _bound(settings.http)
        host = settings.http.rpartition(":")[0]
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        guards = [] if self._key else [Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, host], www_redirect=False)]
        app = Starlette(routes=[Route("/v1/standing", self._standing, methods=["GET"])], middleware=guards)
        tls = settings.tls
        self._server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                http="h11",
                ws="none",
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=STOPPING_S,
                ssl_certfile=tls.certificate if tls else None,
                ssl_keyfile=tls.private_key if tls else None,
            )
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        serving = asyncio.create_task(self._server.serve([self._socket]))
        log.info("http.serving", address=self.address)
        try:
            await asyncio.shield(serving)
        finally:
            self._feeds.close()
            self._server.should_exit = True
            await serving

    async def _standing(self, request: Request) -> Response:
        if self._key and not hmac.compare_digest(request.headers.get("authorization", "").encode(), bearer(self._key).encode()):
            told = {"reason": "UNAUTHENTICATED", "message": "the request must show this server's key: 'Authorization: Bearer KEY'"}
            return JSONResponse(told, 401, {"WWW-Authenticate": "Bearer"})
        last_id = request.headers.get("last-event-id", "")
        if last_id == ENDED:
            return Response(status_code=204)
        try:
            wanted = read_query(request.query_params.multi_items())
            listening = self._feeds.listening(wanted, last_id)
            listener = await listening.__aenter__()
        except WatchwordError as error:
            status = STATUSES.get(CODES.get(error.reason, code_pb2.INVALID_ARGUMENT), 500)
            return JSONResponse({"reason": reason_name(error.reason), "message": str(error)}, status)
        return _EventStream(listening, listener, self._heartbeat_s)


class _EventStream(Response):
    """One client's events, until it goes, takes nothing, or all is told."""

    media_type = "text/event-stream"

    def __init__(self, listening: Any, listener: Listener, heartbeat_s: float) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._listening, self._listener, self._heartbeat_s = listening, listener, heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_gone(receive))
        try:
            await _in_time(send, {"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await _in_time(send, _part(f"retry: {RETRY_MS}\n\n".encode()))
            while not gone.done() and not (self._listener.is_over and self._listener.waiting.empty()):
                coming = asyncio.create_task(self._listener.waiting.get())
                await asyncio.wait({coming, gone}, timeout=self._heartbeat_s, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    await _in_time(send, _part(encoded(coming.result())))
                else:
                    coming.cancel()
                    await _in_time(send, _part(b": still here\n\n"))
            await _in_time(send, {"type": "http.response.body"})
        except TimeoutError:
            log.info("http.client_slow", waited_s=STALLED_S)
        finally:
            gone.cancel()
            await self._listening.__aexit__(None, None, None)


async def _in_time(send: Send, message: Message) -> None:
    async with asyncio.timeout(STALLED_S):
        await send(message)


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def encoded(event: Event) -> bytes:
    """An event as it is sent."""
    identity = f"id: {event.id}\n" if event.id else ""
    return f"{identity}event: {event.name}\ndata: {json.dumps(event.data, ensure_ascii=False)}\n\n".encode()


def read_query(parameters: Iterable[tuple[str, str]]) -> StandRequest:
    """The standing query that an address asks for; raises `RequestInvalid`."""
    given: dict[str, list[str]] = {}
    for name, value in parameters:
        given.setdefault(name, []).append(value)
    known = {"query", "stream", "threshold", "hits", "of", "cool_down_s"}
    if unknown := sorted(given.keys() - known):
        raise RequestInvalid(f"{unknown[0][:50]!r} is not known here: {', '.join(sorted(known))} are")
    if repeated := [name for name, values in given.items() if len(values) > 1 and name != "stream"]:
        raise RequestInvalid(f"{repeated[0]!r} can be there once")
    one = {name: values[0] for name, values in given.items()}
    try:
        threshold = number(one.get("threshold", str(THRESHOLD)), 0, 1)
        cool_down = MediaTime.of(number(one.get("cool_down_s", str(COOL_DOWN.seconds)), 0, 86_400))
        hits, of = (int(number(one.get(name, "0"), 0, 100)) for name in ("hits", "of"))
    except ValueError as error:
        raise RequestInvalid(f"a standing query's numbers: {error}") from None
    streams = given.get("stream", [])
    stand(one.get("query", ""), streams=streams, threshold=threshold, hits=hits, of=of, cool_down=cool_down)
    return StandRequest(query=one["query"], streams=streams, threshold=threshold, hits=hits, of=of, cool_down=cool_down.to_proto())


class _Server(uvicorn.Server):
    """A server that leaves signals to the process."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets)


def _bound(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):
                # Connections have it from here: what a client does not take for so long is given up by the system.
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(STALLED_S * 1000))
            bound.bind(place)
            bound.listen()
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise SettingInvalid(f"cannot listen on {address}: {error.strerror or error}; set WATCHWORD_HTTP to another host:port") from error
    return bound
