"""The page: its files, served as they are."""

import hashlib
from importlib.resources import files
from pathlib import PurePath

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "media-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""What the page may load: nothing from elsewhere, no script or style that stands in it; pictures are blobs where a key is shown."""
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Page:
    """The routes of the page."""

    def __init__(self) -> None:
        folder = files("services.gateway") / "page"
        self._contents = {each.name: each.read_bytes() for each in folder.iterdir() if PurePath(each.name).suffix in TYPES}
        self.routes = [Route("/", self._file, methods=["GET"]), Route("/page/{name}", self._file, methods=["GET"])]

    def close(self) -> None:
        """Nothing is told for long."""

    async def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in self._contents:
            raise HTTPException(404, "the page has no such file")
        content = self._contents[name]
        headers = {
            "Content-Security-Policy": POLICY,
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(content).hexdigest()[:32]}"',
        }
        if headers["ETag"] in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(content, media_type=TYPES[PurePath(name).suffix], headers=headers)
