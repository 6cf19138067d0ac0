"""Keyframe selection as a call."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message
from watchword.v1 import events_pb2, sample_service_pb2, sample_service_pb2_grpc

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.stage import StageFactory
from services.rpc import ServicerContext, abort, after_config, through


class SampleServicer(sample_service_pb2_grpc.SampleServiceServicer):
    """One stage per call."""

    def __init__(self, make_stage: StageFactory) -> None:
        self._make_stage = make_stage

    async def Sample(
        self, request_iterator: AsyncIterator[sample_service_pb2.SampleRequest], context: ServicerContext
    ) -> AsyncIterator[sample_service_pb2.SampleResponse]:
        """Keyframes and closed scenes while the video comes in."""
        try:
            config, requests = await after_config(request_iterator, "SampleRequest")
            async for said in through(self._make_stage(config.stream_id), _events(requests)):
                if isinstance(said, events_pb2.KeyframeEvent):
                    yield _response(said)
        except WatchwordError as error:
            await abort(context, error)


async def _events(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        assert isinstance(request, sample_service_pb2.SampleRequest)
        if request.WhichOneof("request") != "chunk":
            raise RequestInvalid("after the config only chunks may follow")
        yield events_pb2.VideoEvent(chunk=request.chunk)


def _response(event: events_pb2.KeyframeEvent) -> sample_service_pb2.SampleResponse:
    if event.HasField("keyframe"):
        return sample_service_pb2.SampleResponse(keyframe=event.keyframe)
    return sample_service_pb2.SampleResponse(scene=event.scene)
