"""Questions about streams, answered from the scene memory."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message
from watchword.v1 import answer_pb2, qa_service_pb2, qa_service_pb2_grpc

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.memory.store import Span
from pipeline.qa.answer import Answerer
from pipeline.timeline import MediaTime
from services.rpc import ServicerContext, abort


class QaServicer(qa_service_pb2_grpc.QaServiceServicer):
    """One question per call."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer

    async def Ask(self, request: qa_service_pb2.AskRequest, context: ServicerContext) -> AsyncIterator[qa_service_pb2.AskResponse]:
        """The answer's words as they are found, then the whole of it."""
        try:
            async for part in self._answerer.ask(request.stream_id, request.question, _span(request)):
                if isinstance(part, answer_pb2.Answer):
                    yield qa_service_pb2.AskResponse(answer=part)
                else:
                    yield qa_service_pb2.AskResponse(text=part)
        except WatchwordError as error:
            await abort(context, error)


def _span(request: qa_service_pb2.AskRequest) -> Span:
    start, end = (_time(request, name) for name in ("media_start", "media_end"))
    if start is not None and end is not None and end <= start:
        raise RequestInvalid(f"stream {request.stream_id}: the span asked about ends before it starts")
    return Span(start, end)


def _time(request: Message, name: str) -> MediaTime | None:
    return MediaTime.from_proto(getattr(request, name)) if request.HasField(name) else None
