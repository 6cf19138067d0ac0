"""Where there is no key: this machine alone is answered, under its own name, and of all pages those of this very origin.

A page of another origin may read nothing of what comes, but could make things begin: an image's address starts a standing query.
Browsers say where a request comes from (W3C Fetch Metadata, `Sec-Fetch-Site`); whatever is no browser says nothing, and is answered.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OWN = ("same-origin", "none")
"""A page of this origin, or somebody who typed the address."""
LEAVE = "watchword.leave"
"""Set in the scope of a request by who gives a page of another origin leave to read its answer (Fetch standard, "CORS protocol")."""


class OwnPages:
    """Refuses requests under another name, and of pages that are not of this origin but for `open_to_all`."""

    def __init__(self, app: ASGIApp, names: Sequence[str], open_to_all: str) -> None:
        """`names` are hosts without their port. The root and what is below `open_to_all` may be led to from anywhere."""
        self._app, self._names, self._open = app, frozenset(name.lower() for name in names), open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        headers = Headers(scope=scope)
        site = OWN[0] if scope.get(LEAVE) else headers.get("sec-fetch-site", OWN[1])
        told = self._refusal(host_of(headers.get("host", "")), site, scope["path"])
        answer = JSONResponse({"reason": "REQUEST_INVALID", "message": told[1]}, told[0]) if told else self._app
        await answer(scope, receive, send)

    def _refusal(self, host: str, site: str, path: str) -> tuple[int, str] | None:
        if host not in self._names:
            return 400, f"without a key this server answers to {', '.join(sorted(self._names))} alone, not to {host[:100]!r}"
        if site not in OWN and path != "/" and not path.startswith(self._open):
            return 403, "a page of another origin asks: without a key this server answers its own pages, and programs that are no browser"
        return None


def host_of(header: str) -> str:
    """The host that a `Host` header names, without its port; the address of IPv6 keeps its brackets (RFC 9110, section 7.2)."""
    host, colon, port = header.rpartition(":")
    return (host if colon and port.isdecimal() else header).lower()
