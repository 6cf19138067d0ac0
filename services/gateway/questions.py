"""Questions over HTTP, answered as server-sent events in the order in which `QaService.Ask` tells them.

    POST /v1/streams/{stream}/ask       {"question": "When does the conference open?", "conversation": "", "answerer": ""}

`evidence` comes first, then `words` and `claim`s, last the whole `answer`; or `error`, which comes last too.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, aclosing
from typing import Any

import grpc
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from watchword.v1.qa_service_pb2 import AskRequest, AskResponse

from pipeline.errors import Overloaded, RequestInvalid
from services import events as json_events
from services.gateway import sse
from services.gateway.sse import HEARTBEAT_S, Event, EventStream
from services.rpc import error_of

Ask = Callable[[AskRequest], AsyncGenerator[AskResponse, None]]
"""Answers a question part by part; raises what keeps it from being answered."""

ASKED_AT_ONCE = 64
LONGEST_BYTES = 16_384
"""The longest question of 2,000 characters fits, however it is escaped."""
REFUSED_S = 1.0
"""A question that cannot be answered is refused within this time, with a status; later it is told as an event."""
KNOWN = ("question", "conversation", "answerer")


def over(stub: Any, address: str) -> Ask:
    """Asks another process; `address` is where it is, for messages."""

    async def ask(request: AskRequest) -> AsyncGenerator[AskResponse, None]:
        call = stub.Ask(request)
        try:
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            raise error_of(error, address) from error
        finally:
            call.cancel()

    return ask


class Questions:
    """The route of questions."""

    def __init__(self, ask: Ask, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._ask, self._heartbeat_s = ask, heartbeat_s
        self._asked = 0
        self.routes = [Route("/v1/streams/{stream}/ask", self._answer, methods=["POST"])]

    def close(self) -> None:
        """What is being answered is answered, or cut off with its connection."""

    async def _answer(self, request: Request) -> Response:
        asked = read_question(request.path_params["stream"], request.headers.get("content-type", ""), await _body(request))
        if self._asked >= ASKED_AT_ONCE:
            raise Overloaded(f"{ASKED_AT_ONCE} questions are being answered already: try again later")
        self._asked += 1
        held = AsyncExitStack()
        held.callback(self._answered)
        parts = told(self._ask(asked), asked.stream_id)
        first = asyncio.create_task(_first(parts))
        try:
            await asyncio.wait({first}, timeout=REFUSED_S)
            if first.done():
                first.result()
        except BaseException:
            first.cancel()
            await held.aclose()
            raise
        return EventStream(_after(first, parts), held, self._heartbeat_s)

    def _answered(self) -> None:
        self._asked -= 1


async def _first(parts: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(parts, None)


async def _after(first: "asyncio.Task[Event | None]", parts: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    try:
        if (event := await first) is not None:
            yield event
            async for event in parts:
                yield event
    finally:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await parts.aclose()


async def told(parts: AsyncGenerator[AskResponse, None], stream_id: str) -> AsyncGenerator[Event, None]:
    """The parts of an answer as events."""
    async with aclosing(parts):
        async for part in parts:
            match part.WhichOneof("part"):
                case "retrieved":
                    found = [json_events.evidence(each, stream_id) for each in part.retrieved.evidence]
                    yield Event("", "evidence", {"evidence": found})
                case "text":
                    yield Event("", "words", {"text": part.text})
                case "claim":
                    yield Event("", "claim", json_events.claim(part.claim, stream_id))
                case "answer":
                    answer, *verdict = json_events.of_answer(part.answer, 0.0)
                    yield Event("", "answer", {**answer, "verdict": verdict[0] if verdict else None})


async def _body(request: Request) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(sse.STALLED_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LONGEST_BYTES:
                    raise RequestInvalid(f"a question's JSON may have {LONGEST_BYTES:,} bytes")
    except (ClientDisconnect, TimeoutError):
        raise RequestInvalid("the client went away, or stopped, in the middle of its question") from None
    return body


def read_question(stream_id: str, content_type: str, body: bytes) -> AskRequest:
    """What is asked; raises `RequestInvalid`.

    The type is demanded because a page of another origin cannot send it without asking first, which is refused.
    """
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise RequestInvalid("a question is sent as Content-Type: application/json")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestInvalid(f"the question is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise RequestInvalid('a question is a JSON object: {"question": "…"}')
    if unknown := sorted(given.keys() - set(KNOWN)):
        raise RequestInvalid(f"{unknown[0][:50]!r} is not known here: {', '.join(KNOWN)} are")
    if wrong := [name for name, value in given.items() if not isinstance(value, str)]:
        raise RequestInvalid(f"{wrong[0]!r} must be a text")
    try:
        return AskRequest(
            stream_id=stream_id,
            question=given.get("question", ""),
            conversation_id=given.get("conversation", ""),
            answerer=given.get("answerer", ""),
        )
    except ValueError as error:
        # A lone surrogate is JSON, and no text.
        raise RequestInvalid(f"the question is no text: {error}") from None
