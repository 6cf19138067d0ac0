"""Which pages of other origins may read what is there for players (Fetch standard, "CORS protocol")."""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.gateway.grants import FILE
from services.gateway.own_pages import LEAVE

ANY = "*"
_ASKED_FIRST = {
    "Access-Control-Allow-Methods": "GET, HEAD",
    "Access-Control-Allow-Headers": "Authorization, Range",
    "Access-Control-Max-Age": "86400",
}


class Origins:
    """Lets pages of the given origins read HLS, and nothing else. A browser asks before it shows a key, so it asks without one."""

    def __init__(self, app: ASGIApp, allowed: Sequence[str]) -> None:
        self._app, self._allowed = app, frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say so with the answer."""
        if not self._allowed or not FILE.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin", "")
        told = {"Vary": "Origin"}
        if self._allowed.intersection((ANY, origin)):
            told |= {"Access-Control-Allow-Origin": ANY if ANY in self._allowed else origin, "Cross-Origin-Resource-Policy": "cross-origin"}
            scope[LEAVE] = True
            if scope["method"] == "OPTIONS" and origin:
                await Response(status_code=204, headers=told | _ASKED_FIRST)(scope, receive, send)
                return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(told)
            await send(message)

        await self._app(scope, receive, sending)
