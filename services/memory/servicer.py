"""Questions about streams, answered from the scene memory, and standing queries over what comes."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing

from google.protobuf.message import Message
from watchword.v1 import qa_service_pb2, qa_service_pb2_grpc
from watchword.v1.answer_pb2 import Answer, Claim, Retrieved

from pipeline.errors import Overloaded, RequestInvalid, ServiceUnavailable, WatchwordError
from pipeline.memory.store import Span
from pipeline.qa.answer import Answerer, Part, Turn
from pipeline.qa.conversation import Conversations
from pipeline.qa.standing import COOL_DOWN, THRESHOLD, Standing, stand
from pipeline.timeline import MediaTime
from services.alerts import to_proto
from services.memory.standing import Ended, StandingQueries
from services.rpc import ServicerContext, abort, accept


class Asking:
    """Questions to the answerers that are set up, each with what was asked before it in its conversation."""

    def __init__(self, answerers: Mapping[str, Answerer]) -> None:
        """The first answerer is asked where a question names none."""
        self._answerers = answerers
        self._conversations = Conversations()

    async def ask(self, request: qa_service_pb2.AskRequest) -> AsyncGenerator[qa_service_pb2.AskResponse, None]:
        """What was found, the answer's words and claims as they come, then the whole of it; raises as `Answerer.ask` does."""
        answerer = self._answerer(request.answerer)
        stream_id, *beside = _streams(request)
        history = self._conversations.turns(request.conversation_id, [stream_id, *beside])
        parts = answerer.ask(stream_id, request.question, _span(request), beside=beside, history=history)
        async with aclosing(parts):  # type: ignore[type-var]
            async for part in parts:
                if isinstance(part, Answer):
                    turn = Turn(part.question, part.text)
                    part.conversation_id = self._conversations.add(request.conversation_id, [stream_id, *beside], turn)
                yield _response(part)

    def _answerer(self, name: str) -> Answerer:
        if not name:
            return next(iter(self._answerers.values()))
        if name not in self._answerers:
            raise RequestInvalid(f"the answerer {name[:50]!r} is not set up here: {', '.join(self._answerers)} can be asked")
        return self._answerers[name]


class QaServicer(qa_service_pb2_grpc.QaServiceServicer):
    """One question, or one standing query, per call."""

    def __init__(self, answerers: Mapping[str, Answerer], standing: StandingQueries | None = None) -> None:
        """The first answerer is asked where a question names none."""
        self._asking = Asking(answerers)
        self._standing = standing

    async def Ask(self, request: qa_service_pb2.AskRequest, context: ServicerContext) -> AsyncIterator[qa_service_pb2.AskResponse]:
        """What was found, the answer's words and claims as they come, then the whole of it."""
        try:
            async with aclosing(self._asking.ask(request)) as parts:
                async for part in parts:
                    yield part
        except WatchwordError as error:
            await abort(context, error)

    async def Stand(self, request: qa_service_pb2.StandRequest, context: ServicerContext) -> AsyncIterator[qa_service_pb2.StandResponse]:
        """An alert each time that the query holds, until the caller hangs up or every stream that is named has ended."""
        try:
            if self._standing is None:
                raise ServiceUnavailable("standing queries are kept by the memory service over a bus; there is none here")
            async with self._standing.listening(_read_standing(request)) as alerts:
                await accept(context)
                while not isinstance(alert := await alerts.get(), Ended):
                    if isinstance(alert, Overloaded):
                        raise alert
                    yield to_proto(alert)
        except WatchwordError as error:
            await abort(context, error)


def _response(part: Part) -> qa_service_pb2.AskResponse:
    match part:
        case Answer():
            return qa_service_pb2.AskResponse(answer=part)
        case Retrieved():
            return qa_service_pb2.AskResponse(retrieved=part)
        case Claim():
            return qa_service_pb2.AskResponse(claim=part)
        case _:
            return qa_service_pb2.AskResponse(text=part)


def _streams(request: qa_service_pb2.AskRequest) -> list[str]:
    """The streams that are asked about, each once; one empty name where there is none, which is refused where questions are checked."""
    return list(dict.fromkeys(filter(None, [request.stream_id, *request.stream_ids]))) or [""]


def _read_standing(request: qa_service_pb2.StandRequest) -> Standing:
    return stand(
        request.query,
        streams=list(request.streams),
        threshold=request.threshold if request.HasField("threshold") else THRESHOLD,
        hits=request.hits,
        of=request.of,
        cool_down=MediaTime.from_proto(request.cool_down) if request.HasField("cool_down") else COOL_DOWN,
    )


def _span(request: qa_service_pb2.AskRequest) -> Span:
    """The stretch that is asked about; whether it can be is said where questions are checked."""
    return Span(_time(request, "media_start"), _time(request, "media_end"))


def _time(request: Message, name: str) -> MediaTime | None:
    return MediaTime.from_proto(getattr(request, name)) if request.HasField(name) else None
