"""Scene description as a call."""

from collections.abc import AsyncIterator

from google.protobuf.message import Message
from watchword.v1 import caption_service_pb2, caption_service_pb2_grpc, events_pb2

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.stage import StageFactory
from services.rpc import ServicerContext, abort, after_config, through


class CaptionServicer(caption_service_pb2_grpc.CaptionServiceServicer):
    """One stage per call."""

    def __init__(self, make_stage: StageFactory) -> None:
        self._make_stage = make_stage

    async def Caption(
        self, request_iterator: AsyncIterator[caption_service_pb2.CaptionRequest], context: ServicerContext
    ) -> AsyncIterator[caption_service_pb2.CaptionResponse]:
        """A description for each scene that closes."""
        try:
            config, requests = await after_config(request_iterator, "CaptionRequest")
            async for said in through(self._make_stage(config.stream_id), _events(requests)):
                if isinstance(said, events_pb2.CaptionEvent):
                    yield caption_service_pb2.CaptionResponse(caption=said.caption)
        except WatchwordError as error:
            await abort(context, error)


async def _events(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        assert isinstance(request, caption_service_pb2.CaptionRequest)
        match request.WhichOneof("request"):
            case "keyframe":
                yield events_pb2.KeyframeEvent(keyframe=request.keyframe)
            case "scene":
                yield events_pb2.KeyframeEvent(scene=request.scene)
            case _:
                raise RequestInvalid("after the config only keyframes and scene boundaries may follow")
