"""Standing queries as server-sent events.

    GET /v1/standing?query=tell+me+when+a+truck+appears&stream=gate-*

Who comes back with `Last-Event-ID` is told first what came after it, and a stream that is over is answered with 204.
"""

from collections.abc import AsyncGenerator, Iterable
from contextlib import AsyncExitStack

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from watchword.v1.qa_service_pb2 import StandRequest

from pipeline.errors import RequestInvalid
from pipeline.qa.standing import COOL_DOWN, THRESHOLD, stand
from pipeline.timeline import MediaTime
from services.gateway.feeds import Feeds, Listener
from services.gateway.sse import ENDED, HEARTBEAT_S, Event, EventStream
from services.setting_values import number


class Standing:
    """The route of standing queries."""

    def __init__(self, feeds: Feeds, *, heartbeat_s: float = HEARTBEAT_S) -> None:
        self._feeds, self._heartbeat_s = feeds, heartbeat_s
        self.routes = [Route("/v1/standing", self._standing, methods=["GET"])]

    def close(self) -> None:
        """Tell all who listen that this is the end for now."""
        self._feeds.close()

    async def _standing(self, request: Request) -> Response:
        last_id = request.headers.get("last-event-id", "")
        if last_id == ENDED:
            return Response(status_code=204)
        wanted = read_query(request.query_params.multi_items())
        held = AsyncExitStack()
        listener = await held.enter_async_context(self._feeds.listening(wanted, last_id))
        return EventStream(heard(listener), held, self._heartbeat_s)


async def heard(listener: Listener) -> AsyncGenerator[Event, None]:
    """What comes for a listener, to the last."""
    while not (listener.is_over and listener.waiting.empty()):
        yield await listener.waiting.get()


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
