"""Streams over HTTP: which there are, what happens on them, their pictures, and the recording where one is known.

GET /v1/streams
GET /v1/streams/{stream}/events                     server-sent events, as docs/events.md has them
GET /v1/streams/{stream}/keyframes/{keyframe}.jpg
GET /v1/streams/{stream}/recording                  with ranges
"""

import hashlib
import mimetypes
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from watchword.v1.live_service_pb2 import StreamInfo, WatchResponse

from pipeline.errors import Overloaded, RequestInvalid, ServiceUnavailable
from pipeline.timeline import MediaTime
from services import events as json_events
from services.gateway.hub import Hub, Viewer
from services.gateway.last_event import LastEvent
from services.gateway.recording import Recording
from services.gateway.sse import ENDED, HEARTBEAT_S, Event, EventStream

VIEWERS = 512
"""How many clients may be told events at a time."""
REVALIDATE = {"Cache-Control": "private, no-cache"}
"""A picture that was taken back, or one of another stream of the same id, is not shown out of a cache."""


class Streams:
    """The routes of what the hub keeps."""

    def __init__(self, hub: Hub, *, recordings: Mapping[str, Path] | None = None, heartbeat_s: float = HEARTBEAT_S) -> None:
        """`recordings` are the files that some streams, which may not have begun yet, are read from."""
        self._hub, self._recordings, self._heartbeat_s = hub, dict(recordings or {}), heartbeat_s
        self._viewers: set[Viewer] = set()
        self.routes = [
            Route("/v1/streams", self._list, methods=["GET"]),
            Route("/v1/streams/{stream}/events", self._events, methods=["GET"]),
            Route("/v1/streams/{stream}/keyframes/{keyframe}.jpg", self._keyframe, methods=["GET"]),
            Route("/v1/streams/{stream}/recording", self._recording, methods=["GET"]),
        ]

    def close(self) -> None:
        """Tell all viewers that this is the end for now."""
        for viewer in self._viewers:
            viewer.cut(ServiceUnavailable("this gateway is stopped: come back with the id of the last event"))

    async def _list(self, _: Request) -> Response:
        known = {info.stream_id: info for info in self._hub.streams()}
        waited_for = {stream_id: StreamInfo(stream_id=stream_id) for stream_id in self._recordings}
        streams = sorted((waited_for | known).items())
        return JSONResponse({"streams": [self._info(info) for _, info in streams]}, headers={"Cache-Control": "no-store"})

    def _info(self, info: StreamInfo) -> json_events.Event:
        return {
            "stream": info.stream_id,
            "ended": info.ended,
            "media_end": MediaTime.from_proto(info.media_end).seconds,
            "started_at": info.started_at.ToNanoseconds() / 1e9 if info.HasField("started_at") else None,
            "recording": info.stream_id in self._recordings,
        }

    async def _events(self, request: Request) -> Response:
        stream_id = request.path_params["stream"]
        last = LastEvent.read(request.headers.get("last-event-id", ""))
        token = last.seen_of(self._hub.started_at(stream_id))
        if token == ENDED:
            return Response(status_code=204)
        if len(self._viewers) >= VIEWERS:
            raise Overloaded(f"{VIEWERS} clients are told events already: try again later")
        viewer, missed = self._watch(stream_id, token)
        held = AsyncExitStack()
        held.callback(self._leave, viewer)
        self._viewers.add(viewer)
        return EventStream(told(viewer, missed), held, self._heartbeat_s)

    def _watch(self, stream_id: str, token: str) -> tuple[Viewer, str]:
        """A place behind the last event; where what followed it is not kept any more, before all that is, and what to say of it."""
        try:
            return self._hub.watch(stream_id, token), ""
        except RequestInvalid as error:
            return self._hub.watch(stream_id, ""), str(error)

    def _leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)
        self._hub.leave(viewer)

    async def _keyframe(self, request: Request) -> Response:
        stream_id, keyframe_id = request.path_params["stream"], request.path_params["keyframe"]
        keyframe = self._hub.keyframe(stream_id, keyframe_id)
        if keyframe is None or not keyframe.jpeg:
            raise HTTPException(404, "no such picture is kept, or it is withheld", REVALIDATE)
        tag = f'"{hashlib.sha256(keyframe.jpeg).hexdigest()[:32]}"'
        headers = {"ETag": tag, **REVALIDATE}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(keyframe.jpeg, media_type="image/jpeg", headers=headers)

    async def _recording(self, request: Request) -> Response:
        path = self._recordings.get(request.path_params["stream"])
        if path is None or not path.is_file():
            raise HTTPException(404, "no recording of this stream is here")
        kind = mimetypes.guess_type(path.name)[0] or ""
        playable = kind if kind.startswith(("video/", "audio/")) else "application/octet-stream"
        return Recording(path, media_type=playable, headers=REVALIDATE)


async def told(viewer: Viewer, missed: str = "") -> AsyncGenerator[Event, None]:
    """What a viewer is shown, as events; of several that one update gives, the last has the id, so that none is missed."""
    if missed:
        yield Event("", "missed", {"message": missed})
    async for update in viewer.updates():
        started_at = update.started_at.ToNanoseconds() / 1e9 if update.HasField("started_at") else None
        if update.HasField("end"):
            end = {"stream": viewer.stream_id, "media_end": MediaTime.from_proto(update.end.media_end).seconds, "cause": update.end.cause}
            yield Event(LastEvent.of(ENDED, started_at).text, "end", end)
            return
        objects = _objects(update, time.time() - started_at if started_at is not None else 0.0)
        for number, each in enumerate(objects, 1):
            yield Event(LastEvent.of(update.resume_token, started_at).text if number == len(objects) else "", "", each)


def _objects(update: WatchResponse, emitted_s: float) -> list[json_events.Event]:
    if update.HasField("error"):
        return [json_events.of_error(update.error, emitted_s)]
    return json_events.of_cleared(update.event, emitted_s)
