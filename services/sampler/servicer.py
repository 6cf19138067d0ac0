"""Keyframe selection as a call."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from google.protobuf.message import Message
from watchword.v1 import events_pb2, sample_service_pb2, sample_service_pb2_grpc

from pipeline.errors import RequestInvalid, WatchwordError
from pipeline.sample.options import Options
from pipeline.stage import Stage
from pipeline.timeline import MediaTime
from services.rpc import ServicerContext, abort, after_config, through
from services.settings import KEYFRAME_GAP, KEYFRAMES_PER_MINUTE


class SampleServicer(sample_service_pb2_grpc.SampleServiceServicer):
    """One stage per call."""

    def __init__(self, make_stage: Callable[[str, Options], Stage], options: Options) -> None:
        """`options` hold where a call's config says nothing else."""
        self._make_stage = make_stage
        self._options = options

    async def Sample(
        self, request_iterator: AsyncIterator[sample_service_pb2.SampleRequest], context: ServicerContext
    ) -> AsyncIterator[sample_service_pb2.SampleResponse]:
        """Keyframes and closed scenes while the video comes in."""
        try:
            config, requests = await after_config(request_iterator, "SampleRequest")
            async for said in through(self._make_stage(config.stream_id, _asked(config, self._options)), _events(requests)):
                if isinstance(said, events_pb2.KeyframeEvent):
                    yield _response(said)
        except WatchwordError as error:
            await abort(context, error)


def _asked(config: sample_service_pb2.SampleConfig, options: Options) -> Options:
    """What the config asks for; raises `RequestInvalid`."""
    if config.HasField("keyframes_per_minute"):
        rate = config.keyframes_per_minute
        if not KEYFRAMES_PER_MINUTE[0] <= rate <= KEYFRAMES_PER_MINUTE[1]:
            raise RequestInvalid(
                f"keyframes_per_minute is {rate:g}; {KEYFRAMES_PER_MINUTE[0]:g} to {KEYFRAMES_PER_MINUTE[1]:g} can be asked for"
            )
        options = replace(options, keyframes_a_minute=rate)
    if config.HasField("keyframe_gap"):
        gap = MediaTime.from_proto(config.keyframe_gap)
        if not KEYFRAME_GAP[0] <= gap.seconds <= KEYFRAME_GAP[1]:
            raise RequestInvalid(f"keyframe_gap is {gap.seconds:g} s; {KEYFRAME_GAP[0]:g} to {KEYFRAME_GAP[1]:g} s can be asked for")
        options = replace(options, maximum_gap=gap)
    return options


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
