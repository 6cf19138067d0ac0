"""The gateway's HTTP face: one server with one set of guards, for the routes that are given.

Whoever has no key is told nothing of any stream, but for a player that was given a grant of its captions; where there is no key, only
this machine is answered to. No page of another origin may read what comes, unless it is captions and the settings name that origin.
"""

import asyncio
import hmac
import socket
from collections.abc import Sequence
from typing import Protocol

import structlog
import uvicorn
from google.rpc import code_pb2
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.errors import SettingInvalid, WatchwordError, reason_name
from services.gateway import sse
from services.gateway.grants import is_granted
from services.gateway.origins import Origins
from services.gateway.punctual import Punctual
from services.rpc import CODES, bearer
from services.settings import Settings

log = structlog.get_logger(__name__)

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
PAGE = "/page/"
"""Below this, and at the root, no key is asked for: that is the page, which holds nothing of any stream and asks for the key itself."""
HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin", "Referrer-Policy": "no-referrer"}
"""What every answer says: it is what it says it is, and for our own pages alone."""


class Part(Protocol):
    """Some routes of the face."""

    @property
    def routes(self) -> Sequence[Route]:
        """Where it answers."""
        ...

    def close(self) -> None:
        """The face stops: let everybody go who is being told something."""
        ...


class HttpFace:
    """An HTTP server on a socket that is bound already; `run` serves."""

    def __init__(self, parts: Sequence[Part], settings: Settings) -> None:
        """Raises `SettingInvalid` where nobody can listen there."""
        self._parts = parts
        self._socket = _bound(settings.http)
        host = settings.http.rpartition(":")[0]
        self.address = f"{host}:{self._socket.getsockname()[1]}"
        tls = settings.tls
        self._server = _Server(
            uvicorn.Config(
                Starlette(
                    routes=[route for part in parts for route in part.routes],
                    middleware=_guards(settings.api_key, host, settings.hls_origins),
                    exception_handlers={WatchwordError: _refused, HTTPException: _unknown},
                ),
                log_config=None,
                access_log=False,
                lifespan="off",
                http=Punctual,
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
            for part in self._parts:
                part.close()
            self._server.should_exit = True
            await serving


def refusal(error: WatchwordError) -> JSONResponse:
    """An error as it is answered."""
    status = STATUSES.get(CODES.get(error.reason, code_pb2.INVALID_ARGUMENT), 500)
    return JSONResponse({"reason": reason_name(error.reason), "message": str(error)}, status)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, WatchwordError)
    return refusal(error)


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    """There is no such place, or it cannot be called so."""
    assert isinstance(error, HTTPException)
    told = {"reason": "REQUEST_INVALID", "message": f"{request.method} {request.url.path[:200]}: {error.detail}"}
    return JSONResponse(told, error.status_code, error.headers)


def _guards(key: str, host: str, origins: Sequence[str]) -> list[Middleware]:
    first = Middleware(_Key, key=key) if key else Middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, host], www_redirect=False)
    return [Middleware(Origins, allowed=origins), Middleware(_Headers), first]


class _Key:
    """Refuses who shows neither the key nor a grant of what is asked for."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key, self._expected = app, key, bearer(key).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        shown = dict(scope["headers"]).get(b"authorization", b"")
        is_page = scope["path"] == "/" or scope["path"].startswith(PAGE)
        if is_page or hmac.compare_digest(shown, self._expected) or is_granted(self._key, scope):
            await self._app(scope, receive, send)
            return
        told = {"reason": "UNAUTHENTICATED", "message": "the request must show this server's key: 'Authorization: Bearer KEY'"}
        await JSONResponse(told, 401, {"WWW-Authenticate": "Bearer"})(scope, receive, send)


class _Headers:
    """Says with every answer what `HEADERS` has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, sending)


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
                bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(sse.STALLED_S * 1000))
            bound.bind(place)
            bound.listen()
        except OSError:
            bound.close()
            raise
    except OSError as error:
        raise SettingInvalid(f"cannot listen on {address}: {error.strerror or error}; set WATCHWORD_HTTP to another host:port") from error
    return bound
