"""Models behind servers with OpenAI's API, asked over HTTP: what may be retried is, within limits, and what fails is said exactly.

A server that is down is not asked again and again: retries are a share of all calls, and after some failures in a row nothing is sent for a
while (`Breaker`). Answers are bounded, and are taken as they come where a server streams them (server-sent events).
"""

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from pipeline.errors import ModelMismatch, Overloaded, ServiceUnavailable, SettingInvalid

RETRYABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
MOST_BYTES = 5_000_000
"""Of an answer; a description takes some kilobytes."""
LONGEST_PAUSE_S = 8.0
FIRST_PAUSE_S = 0.5
RETRY_SHARE = 0.2
"""How many retries a call earns: with more, a server that is overloaded gets twice the load."""
SPARE_RETRIES = 10.0
"""How many retries may be saved up."""

Value = TypeVar("Value")
Event = Mapping[str, Any]


class Breaker:
    """Stops asking a server that does not answer; a pure rule, told the time in seconds.

    After `failures` in a row nothing is let through for `rest_s`; then one call is, and what becomes of it decides.
    """

    def __init__(self, *, failures: int = 5, rest_s: float = 15.0) -> None:
        self._most, self._rest_s = failures, rest_s
        self._failed = 0
        self._until = 0.0

    def allows(self, now: float) -> bool:
        """Whether a call may be made; if it is the one that tries, the next has to wait for it."""
        if self._failed < self._most:
            return True
        if now < self._until:
            return False
        self._until = now + self._rest_s
        return True

    def note(self, *, answered: bool, now: float) -> None:
        """What became of a call."""
        self._failed = 0 if answered else self._failed + 1
        if self._failed >= self._most:
            self._until = now + self._rest_s


@dataclass(frozen=True)
class Patience:
    """How long and how often a server is asked."""

    timeout_s: float = 30.0
    """To connect, and between two signs of life."""
    whole_s: float = 120.0
    """For a whole answer, retries included; and, before that, to wait for one of the places."""
    attempts: int = 1
    together: int = 64
    """Requests under way at once; more wait for a place."""


class Server:
    """A server by its address; may be used from one event loop after another."""

    def __init__(
        self,
        url: str,
        *,
        what: str,
        key: str = "",
        patience: Patience | None = None,
        breaker: Breaker | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`what` names the model's part in messages, `key` is shown as a bearer token. Raises `SettingInvalid` for what is no URL."""
        self.url = checked(url, what=what)
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._patience = patience or Patience()
        self._breaker = breaker
        self._clock, self._pause = clock, pause
        self._retries = SPARE_RETRIES
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: Any = None
        self._places = asyncio.Semaphore(self._patience.together)

    async def post(self, path: str, body: Mapping[str, object]) -> Event:
        """The server's answer; raises `ServiceUnavailable`, `Overloaded`, `SettingInvalid` or `ModelMismatch`."""

        async def once() -> Event:
            content = bytearray()
            async with aclosing(self._sent(path, body)) as parts:
                async for part in parts:
                    content += part
            return self._object(bytes(content))

        return await self._asked(once)

    async def stream(self, path: str, body: Mapping[str, object], take: Callable[[Event], None], begin: Callable[[], None]) -> None:
        """Give the events of the server's answer to `take`, each a JSON object, until it says that it is done; raises as `post`.

        `begin` is called before the first, and again where an attempt has failed and the answer begins anew.
        """

        async def once() -> None:
            begin()
            async with aclosing(events(self._sent(path, body))) as told:
                async for line in told:
                    if line == "[DONE]":
                        return
                    event = self._object(line.encode())
                    if event.get("error"):
                        raise _Again("it broke its answer off with an error")
                    take(event)
            raise _Again("its answer ended in the middle")

        await self._asked(once)

    async def words(self, body: Mapping[str, object]) -> AsyncGenerator[str, None]:
        """What a chat model writes, piece by piece; `body` is as for /chat/completions. Raises as `post` does, in the middle too.

        It is asked once: what was passed on cannot be taken back.
        """
        self._require_rested()
        async with self._place(), aclosing(self._words(body)) as words:
            async for piece in words:
                yield piece

    async def _words(self, body: Mapping[str, object]) -> AsyncGenerator[str, None]:
        begun, answered, spoke = self._clock(), False, False
        try:
            async with aclosing(events(self._sent("chat/completions", {**body, "stream": True}))) as told:
                async for line in told:
                    spoke = True
                    if line == "[DONE]":
                        answered = True
                        return
                    if self._clock() - begun > self._patience.whole_s:
                        raise self._too_slow()
                    piece = self._piece(self._object(line.encode()))
                    if piece:
                        yield piece
            if not spoke:
                raise ModelMismatch(f"{self.url} streams no server-sent events")
            raise _Again("its answer ended in the middle")
        except _Again as again:
            raise ServiceUnavailable(f"{self.url}: {again}; is the server up and not too busy?") from again.__cause__
        except (SettingInvalid, ModelMismatch, GeneratorExit):
            answered = True
            raise
        finally:
            self._note(answered=answered)

    def _piece(self, event: Event) -> str:
        """The words of one event of a chat."""
        if event.get("error"):
            raise _Again(f"it broke its answer off: {str(event['error'])[:200]}")
        choices = event.get("choices")
        try:
            piece = choices[0]["delta"].get("content") if choices else None
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise ModelMismatch(f"{self.url} streams what is no part of a chat ({error!r})") from error
        return piece if isinstance(piece, str) else ""

    def close(self) -> None:
        """What is being asked is dropped with the process; connections close with their loop."""
        self._client = None

    async def aclose(self) -> None:
        """Close the connections, on the loop that they belong to."""
        client, self._client = self._client, None
        if client is not None and self._loop is asyncio.get_running_loop():
            await client.aclose()

    async def _asked(self, once: Callable[[], Awaitable[Value]]) -> Value:
        """What an attempt gives, after as many as it takes and are allowed."""
        self._require_rested()
        self._retries = min(SPARE_RETRIES, self._retries + RETRY_SHARE)
        async with self._place():
            return await self._timed(once)

    async def _timed(self, once: Callable[[], Awaitable[Value]]) -> Value:
        """What the attempts give within the time for a whole answer; what becomes of them is noted."""
        try:
            async with asyncio.timeout(self._patience.whole_s):
                value = await self._attempts(once)
        except TimeoutError:
            self._note(answered=False)
            raise self._too_slow() from None
        except ServiceUnavailable:
            self._note(answered=False)
            raise
        except (SettingInvalid, ModelMismatch):
            self._note(answered=True)
            raise
        self._note(answered=True)
        return value

    async def _attempts(self, once: Callable[[], Awaitable[Value]]) -> Value:
        for attempt in range(1, self._patience.attempts + 1):
            try:
                return await once()
            except _Again as again:
                if attempt == self._patience.attempts or self._retries < 1:
                    times = f", in attempt {attempt}" if attempt > 1 else ""
                    raise ServiceUnavailable(f"{self.url}: {again}{times}; is the server up and not too busy?") from again.__cause__
                self._retries -= 1
                wait = again.after if again.after is not None else FIRST_PAUSE_S * 2 ** (attempt - 1) * random.uniform(0.5, 1)
                await self._pause(min(LONGEST_PAUSE_S, wait))
        raise AssertionError("an attempt answers or raises")

    async def _sent(self, path: str, body: Mapping[str, object]) -> AsyncGenerator[bytes, None]:
        """One request, and the parts of its answer."""
        import httpx2

        length = 0
        try:
            async with self._connections().stream("POST", f"{self.url}/{path}", json=body) as response:
                if not response.is_success:
                    raise await self._refusal(response)
                async for part in response.aiter_bytes():
                    length += len(part)
                    if length > MOST_BYTES:
                        raise ModelMismatch(f"{self.url} answers with more than {MOST_BYTES:,} bytes")
                    yield part
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _Again(f"no answer ({type(error).__name__}: {error})") from error

    async def _refusal(self, response: Any) -> Exception:
        status = int(response.status_code)
        if status in RETRYABLE:
            return _Again(f"status {status}", seconds(response.headers.get("Retry-After")))
        if status in (401, 403):
            return SettingInvalid(f"{self.url}: the server refuses the key (status {status}); set another one")
        refused = SettingInvalid(f"{self.url}: the server refuses what it is asked (status {status})")
        refused.__cause__ = Refusal(status)
        return refused

    def _object(self, content: bytes) -> Event:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise ModelMismatch(f"{self.url} answers no JSON") from error
        if not isinstance(answer, dict):
            raise ModelMismatch(f"{self.url} answers no JSON object")
        return answer

    def _require_rested(self) -> None:
        if self._breaker is not None and not self._breaker.allows(self._clock()):
            raise ServiceUnavailable(f"{self.url}: it did not answer several times in a row, so it is left alone for a while")

    def _too_slow(self) -> ServiceUnavailable:
        return ServiceUnavailable(f"{self.url}: no whole answer within {self._patience.whole_s:g} s; is the server too slow?")

    def _note(self, *, answered: bool) -> None:
        if self._breaker is not None:
            self._breaker.note(answered=answered, now=self._clock())

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """One of the places; raises `Overloaded` where none becomes free, which is not the server's failure."""
        self._connections()
        places = self._places
        try:
            async with asyncio.timeout(self._patience.whole_s):
                await places.acquire()
        except TimeoutError:
            waited = f"no place among {self._patience.together} requests within {self._patience.whole_s:g} s"
            raise Overloaded(f"{self.url}: {waited}; too much is asked at once") from None
        try:
            yield
        finally:
            places.release()

    def _connections(self) -> Any:
        """The client of the running loop; another loop's connections cannot be used."""
        import httpx2

        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._loop = loop
            self._places = asyncio.Semaphore(self._patience.together)
            self._client = httpx2.AsyncClient(timeout=self._patience.timeout_s, headers=self._headers)
        return self._client


class Refusal(Exception):
    """Why `SettingInvalid` is raised where a server does not do what it is asked, such as for a field that it does not know."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.status = status


class _Again(Exception):
    """An attempt failed in a way that the next one may not."""

    def __init__(self, what: str, after: float | None = None) -> None:
        super().__init__(what)
        self.after = after


def address(text: str) -> tuple[str, str]:
    """The URL of a server and its name of a model, of URL#NAME; the name is empty where none is given."""
    url, _, name = text.partition("#")
    return url, name


def checked(url: str, *, what: str) -> str:
    """The base of a server's URL without a slash at its end; raises `SettingInvalid`."""
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


def seconds(header: str | None) -> float | None:
    """What a server asks to wait for (Retry-After), if it says so in seconds."""
    return float(header) if header and header.strip().isdigit() else None


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    """The data of server-sent events (HTML Living Standard, section 9.2.6); lines may be cut anywhere and end in any way."""
    data: list[str] = []
    rest = b""
    async for part in parts:
        rest += part
        # A return at the end may be the first half of a line's end.
        whole, held = (rest[:-1], b"\r") if rest.endswith(b"\r") else (rest, b"")
        *lines, last = re.split(rb"\r\n|\n|\r", whole)
        rest = last + held
        for line in lines:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" ").decode("utf-8", "replace"))
            elif not line and data:
                yield "\n".join(data)
                data.clear()
    if rest.startswith(b"data:"):
        data.append(rest[5:].strip().decode("utf-8", "replace"))
    if data:
        yield "\n".join(data)
