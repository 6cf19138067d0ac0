"""Judging as a call."""

import asyncio
from collections.abc import AsyncIterator

from watchword.v1 import safety_service_pb2, safety_service_pb2_grpc
from watchword.v1.safety_pb2 import Verdict
from watchword.v1.safety_service_pb2 import ScreenSubject

from pipeline.bus.codec import STREAM_ID
from pipeline.errors import RequestInvalid, WatchwordError, reason_name
from pipeline.safety.audit import Auditor, Item, Keep
from pipeline.safety.judge import Judge
from pipeline.safety.policy import Kind, Subject
from services.rpc import ServicerContext, abort

TEXT_CHARACTERS = 10_000
"""The longest text that is judged in one call."""
AT_ONCE = 16
"""How many items of one stream of requests are judged at the same time; a client that is ahead waits."""

_SUBJECTS = {
    ScreenSubject.SCREEN_SUBJECT_FRAME: Subject.FRAME,
    ScreenSubject.SCREEN_SUBJECT_SPEECH: Subject.SPEECH,
    ScreenSubject.SCREEN_SUBJECT_DESCRIPTION: Subject.DESCRIPTION,
    ScreenSubject.SCREEN_SUBJECT_QUESTION: Subject.QUESTION,
    ScreenSubject.SCREEN_SUBJECT_ANSWER: Subject.ANSWER,
}


class SafetyServicer(safety_service_pb2_grpc.SafetyServiceServicer):
    """Judges items one by one or many at once."""

    def __init__(self, judge: Judge, *, auditor: Auditor | None = None, keep: Keep | None = None) -> None:
        """With an auditor and `keep`, verdicts that are not to allow are kept."""
        self._judge = judge
        self._auditor = auditor
        self._keep = keep

    async def Screen(self, request: safety_service_pb2.ScreenRequest, context: ServicerContext) -> safety_service_pb2.ScreenResponse:
        """The verdict, and what may pass."""
        try:
            return await self._screened(request)
        except WatchwordError as error:
            await abort(context, error)

    async def ScreenStream(
        self, requests: AsyncIterator[safety_service_pb2.ScreenStreamRequest], context: ServicerContext
    ) -> AsyncIterator[safety_service_pb2.ScreenStreamResponse]:
        """The verdicts in the order of the requests; one that cannot be judged is told, and the others go on."""
        waiting: asyncio.Queue[asyncio.Task[safety_service_pb2.ScreenStreamResponse] | None] = asyncio.Queue(AT_ONCE)

        async def take() -> None:
            number = 0
            async for request in requests:
                await waiting.put(group.create_task(self._numbered(request.item, number)))
                number += 1
            await waiting.put(None)

        async with asyncio.TaskGroup() as group:
            group.create_task(take())
            while (judging := await waiting.get()) is not None:
                yield await judging

    async def _numbered(self, item: safety_service_pb2.ScreenRequest, number: int) -> safety_service_pb2.ScreenStreamResponse:
        try:
            return safety_service_pb2.ScreenStreamResponse(screened=await self._screened(item), number=number)
        except WatchwordError as error:
            failure = safety_service_pb2.ScreenFailure(reason=reason_name(error.reason), message=str(error))
            return safety_service_pb2.ScreenStreamResponse(failure=failure, number=number)

    async def _screened(self, request: safety_service_pb2.ScreenRequest) -> safety_service_pb2.ScreenResponse:
        if request.stream_id and not STREAM_ID.fullmatch(request.stream_id):
            raise RequestInvalid(
                f"{request.stream_id[:50]!r} is no stream id: 1 to 200 letters, digits, '.', '_', '-' and ':', or none for no stream"
            )
        match request.WhichOneof("subject"):
            case "text" if len(request.text) > TEXT_CHARACTERS:
                raise RequestInvalid(
                    f"a text of {len(request.text):,} characters is over the limit of {TEXT_CHARACTERS:,}; send it in parts"
                )
            case "text":
                subject = _subject(request, Kind.TEXT)
                judged = await self._judge.whole_text(request.text, stream_id=request.stream_id, subject=subject)
                await self._audit(Item(request.stream_id, "", subject, request.text, judged.text), judged.verdict)
                return safety_service_pb2.ScreenResponse(verdict=judged.verdict, text=judged.text)
            case "jpeg":
                _subject(request, Kind.PICTURE)
                picture = await self._judge.picture(request.jpeg, stream_id=request.stream_id)
                await self._audit(Item(request.stream_id, "", Subject.FRAME, request.jpeg, picture.jpeg), picture.verdict)
                changed = picture.jpeg if picture.jpeg != request.jpeg else b""
                return safety_service_pb2.ScreenResponse(verdict=picture.verdict, jpeg=changed)
            case _:
                raise RequestInvalid("there is nothing to judge: send a text or a JPEG")

    async def _audit(self, item: Item, verdict: Verdict) -> None:
        record = self._auditor.record(item, verdict) if self._auditor is not None else None
        if record is not None and self._keep is not None:
            await self._keep(record)


def _subject(request: safety_service_pb2.ScreenRequest, kind: Kind) -> Subject:
    default = Subject.FRAME if kind is Kind.PICTURE else Subject.SPEECH
    subject = _SUBJECTS.get(request.judged_as, default)
    if subject.kind is not kind:
        raise RequestInvalid(f"a {kind.value} cannot be judged as a {subject.value}")
    return subject
