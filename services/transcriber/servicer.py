"""Transcription as a call."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message
from watchword.v1 import events_pb2, transcribe_service_pb2, transcribe_service_pb2_grpc

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.stage import StageFactory
from services.rpc import ServicerContext, abort, after_config, through


class TranscribeServicer(transcribe_service_pb2_grpc.TranscribeServiceServicer):
    """One stage per call."""

    def __init__(self, make_stage: StageFactory) -> None:
        self._make_stage = make_stage

    async def Transcribe(
        self, request_iterator: AsyncIterator[transcribe_service_pb2.TranscribeRequest], context: ServicerContext
    ) -> AsyncIterator[transcribe_service_pb2.TranscribeResponse]:
        """Partials and finals while the audio comes in."""
        try:
            config, requests = await after_config(request_iterator, "TranscribeRequest")
            async for said in through(self._make_stage(config.stream_id), _events(requests)):
                if isinstance(said, events_pb2.TranscriptEvent) and said.HasField("segment"):
                    yield transcribe_service_pb2.TranscribeResponse(segment=said.segment)
        except WatchwordError as error:
            await abort(context, error)


async def _events(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        assert isinstance(request, transcribe_service_pb2.TranscribeRequest)
        if request.WhichOneof("request") != "chunk":
            raise RequestInvalid("after the config only chunks may follow")
        yield events_pb2.AudioEvent(chunk=request.chunk)
