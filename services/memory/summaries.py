"""The summaries of the scene memory, over gRPC."""

from itertools import groupby

from watchword.v1 import memory_service_pb2 as messages
from watchword.v1 import memory_service_pb2_grpc

from pipeline.errors import RequestInvalid, StreamUnknown, WatchwordError
from pipeline.memory.store import MAX_LIMIT, Level, Moment, SceneStore, Span
from pipeline.timeline import MediaTime
from services.rpc import ServicerContext, abort

LEVELS = {
    messages.SUMMARY_LEVEL_UNSPECIFIED: Level.FIVE_MINUTES,
    messages.SUMMARY_LEVEL_SCENE: Level.SCENE,
    messages.SUMMARY_LEVEL_FIVE_MINUTES: Level.FIVE_MINUTES,
    messages.SUMMARY_LEVEL_HOUR: Level.HOUR,
}


class MemoryServicer(memory_service_pb2_grpc.MemoryServiceServicer):
    """One listing per call."""

    def __init__(self, store: SceneStore) -> None:
        self._store = store

    async def ListSummaries(  # noqa: N802
        self, request: messages.ListSummariesRequest, context: ServicerContext
    ) -> messages.ListSummariesResponse:
        """The summaries of a stream; NOT_FOUND for one that is not known."""
        try:
            return await self._list(request)
        except WatchwordError as error:
            await abort(context, error)

    async def _list(self, request: messages.ListSummariesRequest) -> messages.ListSummariesResponse:
        about = f"Listing summaries of stream {request.stream_id!r}"
        level = LEVELS.get(request.level)
        if level is None:
            raise RequestInvalid(f"{about}: there is no level {request.level}.")
        span = Span(
            MediaTime.from_proto(request.media_start) if request.HasField("media_start") else None,
            MediaTime.from_proto(request.media_end) if request.HasField("media_end") else None,
        )
        if span.start is not None and span.end is not None and span.end <= span.start:
            raise RequestInvalid(f"{about}: the span ends before it starts.")
        if await self._store.stream(request.stream_id) is None:
            raise StreamUnknown(f"{about}: no such stream is known.")
        lines = await self._store.summaries(request.stream_id, level, span=span, limit=MAX_LIMIT)
        return messages.ListSummariesResponse(
            summaries=[
                messages.Summary(id=name, lines=[_line(line) for line in own]) for name, own in groupby(lines, lambda line: line.source_id)
            ]
        )


def _line(line: Moment) -> messages.SummaryLine:
    return messages.SummaryLine(
        id=line.id,
        text=line.text,
        media_start=line.start.to_proto(),
        media_end=line.end.to_proto(),
        cites=line.cites[0] if line.cites else "",
    )
