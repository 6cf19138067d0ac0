"""A model server with OpenAI's API: its address checked, JSON asked of it, and streams of server-sent events read from it.

The one HTTP client for such servers, shared by all that ask them; everything that comes from one is bounded and may be wrong.
"""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from pipeline.errors import ModelMismatch, ServiceUnavailable, SettingInvalid

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
"""The statuses of a server that is busy or not up; another one means that it refuses what it is asked."""
TIMEOUT_S = 30.0
"""How long a server may take to connect, and between two signs of life."""
MOST_BYTES = 5_000_000
LONGEST_LINE = 1_000_000
DONE = "[DONE]"
"""What ends a stream of OpenAI's API."""


def require_url(url: str, what: str) -> str:
    """The URL without a slash at its end; raises `SettingInvalid` for something that is none, and says `what` it was to be."""
    import httpx2

    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL as error:
        raise SettingInvalid(f'{what} "{url}": it is no URL ({error})') from error
    if parsed.userinfo:
        raise SettingInvalid(f"{what}: its URL holds a password; give the key by itself")
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SettingInvalid(f'{what} "{url}": it must begin with http:// or https:// and name a host')
    return url.rstrip("/")


class Endpoint:
    """One server. Nothing is sent before it is asked; connections belong to the event loop that asks first."""

    def __init__(self, url: str, *, key: str = "", what: str = "model endpoint", timeout_s: float = TIMEOUT_S) -> None:
        """Raises `SettingInvalid` for something that is no URL; `what` it is called in errors."""
        self.url = require_url(url, what)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._timeout_s = timeout_s
        self._client: Any = None

    async def post(self, path: str, body: Mapping[str, object]) -> Mapping[str, Any]:
        """The server's JSON object.

        Raises `ServiceUnavailable` where it is not up or too busy, `SettingInvalid` where it refuses what it is asked, and
        `ModelMismatch` where it answers something else.
        """
        import httpx2

        try:
            response = await self._opened().post(f"{self.url}/{path}", json=body)
        except httpx2.TransportError as error:
            raise ServiceUnavailable(f"{self.url}: no answer ({type(error).__name__}: {error})") from error
        self._require_success(response.status_code)
        if len(response.content) > MOST_BYTES:
            raise ModelMismatch(f"{self.url} answers with {len(response.content):,} bytes")
        try:
            answer = response.json()
        except ValueError as error:
            raise ModelMismatch(f"{self.url} answers no JSON") from error
        if not isinstance(answer, dict):
            raise ModelMismatch(f"{self.url} answers no JSON object")
        return answer

    async def words(self, body: Mapping[str, object]) -> AsyncIterator[str]:
        """What a chat model writes, piece by piece; `body` is as for /chat/completions. Raises as `post` does."""
        async for event in self.events("chat/completions", {**body, "stream": True}):
            choices = event.get("choices")
            try:
                piece = choices[0]["delta"].get("content") if choices else None
            except (KeyError, TypeError, IndexError, AttributeError) as error:
                raise ModelMismatch(f"{self.url} streams what is no part of a chat ({error!r})") from error
            if isinstance(piece, str) and piece:
                yield piece

    async def events(self, path: str, body: Mapping[str, object]) -> AsyncIterator[Mapping[str, Any]]:
        """The JSON objects of a stream of server-sent events, to its end. Raises as `post` does, in the middle too."""
        import httpx2

        try:
            async with self._opened().stream("POST", f"{self.url}/{path}", json=body) as response:
                self._require_success(response.status_code)
                async for data in _data(response.aiter_bytes(), self.url):
                    if data == DONE:
                        return
                    yield _object(data, self.url)
        except httpx2.TransportError as error:
            raise ServiceUnavailable(f"{self.url}: the answer broke off ({type(error).__name__}: {error})") from error

    def close(self) -> None:
        """What is being asked is dropped with the process; connections close with their loop."""
        self._client = None

    def _opened(self) -> Any:
        import httpx2

        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._timeout_s, headers=self._headers)
        return self._client

    def _require_success(self, status: int) -> None:
        if status in RETRYABLE:
            raise ServiceUnavailable(f"{self.url}: status {status}; is the server up and not too busy?")
        if not 200 <= status < 300:
            raise SettingInvalid(f"{self.url}: the server refuses what it is asked (status {status})")


async def _data(blocks: AsyncIterator[bytes], url: str) -> AsyncIterator[str]:
    """The data of each event (WHATWG HTML, 9.2.6), one line each as OpenAI's API sends them; comments are passed over."""
    rest, read = b"", 0
    async for block in blocks:
        read += len(block)
        *lines, rest = (rest + block).split(b"\n")
        if read > MOST_BYTES or len(rest) > LONGEST_LINE:
            raise ModelMismatch(f"{url} streams without end: {read:,} bytes, a line of {len(rest):,}")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").decode(errors="replace").strip()
            elif line.strip() and not line.startswith((b":", b"event:", b"id:", b"retry:")):
                raise ModelMismatch(f"{url} streams no server-sent events: {line[:80]!r}")


def _object(data: str, url: str) -> Mapping[str, Any]:
    try:
        event = json.loads(data)
    except ValueError as error:
        raise ModelMismatch(f"{url} streams no JSON: {data[:80]!r}") from error
    if not isinstance(event, dict):
        raise ModelMismatch(f"{url} streams no JSON objects: {data[:80]!r}")
    if "error" in event:
        raise ServiceUnavailable(f"{url}: {str(event['error'])[:200]}")
    return event
