"""Scene description as calls: keyframes of a stream, one scene, or a video."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing

from google.protobuf.message import Message
from watchword.v1 import caption_service_pb2, caption_service_pb2_grpc, events_pb2
from watchword.v1.caption_service_pb2 import (
    CaptionVideoConfig,
    CaptionVideoRequest,
    CaptionVideoResponse,
    DescribeSceneRequest,
    DescribeSceneResponse,
    SceneToDescribe,
    TellSceneRequest,
    TellSceneResponse,
)
from watchword.v1.scene_pb2 import SceneBoundary, SceneCaption

from pipeline.bus.codec import STREAM_ID
from pipeline.caption.messages import caption_of
from pipeline.caption.model import Captioner, Description, SceneView, Shot, telling
from pipeline.caption.style import Style
from pipeline.errors import RequestInvalid, SettingInvalid, WatchwordError
from pipeline.stage import Stage, StageFactory
from pipeline.timeline import MediaTime
from services.incoming.call import Places, Refused, Sent
from services.rpc import ServicerContext, abort, after_config, through

VIDEOS_AT_ONCE = 16
"""Videos under way in one process: each holds a decoder and a thread."""
MOST_KEYFRAMES = 200
MOST_BEFORE = 8

StyleOf = Callable[[str], Style]
"""How the stream with the given id is described where nothing else is asked for."""
MakeStage = Callable[[str, Style], Stage]


class CaptionServicer(caption_service_pb2_grpc.CaptionServiceServicer):
    """One stage, or one description, per call."""

    def __init__(self, captioner: Captioner, style_of: StyleOf, make_stage: MakeStage, make_sample: StageFactory) -> None:
        self._captioner = captioner
        self._style_of = style_of
        self._make_stage = make_stage
        self._make_sample = make_sample
        self._videos = Places(VIDEOS_AT_ONCE, "videos are being described")

    async def Caption(
        self, request_iterator: AsyncIterator[caption_service_pb2.CaptionRequest], context: ServicerContext
    ) -> AsyncIterator[caption_service_pb2.CaptionResponse]:
        """A description for each scene that closes."""
        try:
            config, requests = await after_config(request_iterator, "CaptionRequest")
            stage = self._make_stage(config.stream_id, self._style(config))
            async for said in through(stage, _events(requests)):
                if isinstance(said, events_pb2.CaptionEvent):
                    yield caption_service_pb2.CaptionResponse(caption=said.caption)
        except WatchwordError as error:
            await abort(context, error)

    async def DescribeScene(self, request: DescribeSceneRequest, context: ServicerContext) -> DescribeSceneResponse:
        """One scene in words."""
        try:
            view = self._view(request.scene)
            return DescribeSceneResponse(caption=self._caption(request.scene, await self._captioner.describe(view)))
        except WatchwordError as error:
            await abort(context, error)

    async def TellScene(self, request: TellSceneRequest, context: ServicerContext) -> None:
        """One scene, while its sentence is written."""
        # Responses are written, not yielded: a call that is cancelled then ends right here, and the model is free.
        try:
            async with aclosing(telling(self._captioner, self._view(request.scene))) as told:
                async for part in told:
                    if isinstance(part, Description):
                        await context.write(TellSceneResponse(caption=self._caption(request.scene, part)))
                    else:
                        await context.write(TellSceneResponse(text=part))
        except WatchwordError as error:
            await abort(context, error)

    async def CaptionVideo(self, request_iterator: AsyncIterator[CaptionVideoRequest], context: ServicerContext) -> None:
        """A description for each scene of a video."""
        try:
            with self._videos.one():
                await self._video(request_iterator, context)
        except WatchwordError as error:
            await abort(context, error)

    async def _video(self, request_iterator: AsyncIterator[CaptionVideoRequest], context: ServicerContext) -> None:
        config, requests = await after_config(request_iterator, "CaptionVideoRequest")
        stage = self._make_stage(config.stream_id, self._style(config))
        video, refused = Sent(config.stream_id, requests, "video"), Refused("sample")

        async def events() -> AsyncGenerator[Message, None]:
            async with aclosing(video.chunks()) as chunks:
                async for chunk in chunks:
                    yield events_pb2.VideoEvent(chunk=chunk)

        async def seen() -> AsyncGenerator[Message, None]:
            async with (
                aclosing(events()) as sent,
                aclosing(through(self._make_sample(config.stream_id), sent, refused.note)) as said,
            ):
                async for event in said:
                    if isinstance(event, events_pb2.KeyframeEvent):
                        if config.keyframes and event.HasField("keyframe"):
                            await context.write(CaptionVideoResponse(keyframe=event.keyframe))
                        yield event

        async with aclosing(seen()) as keyframes, aclosing(through(stage, keyframes)) as said:
            async for event in said:
                if isinstance(event, events_pb2.CaptionEvent):
                    await context.write(CaptionVideoResponse(caption=event.caption))
        if failure := video.failure or refused.first:
            raise failure

    def _style(self, asked: caption_service_pb2.CaptionConfig | CaptionVideoConfig | SceneToDescribe) -> Style:
        """What a call asks for, or what the settings say; raises `RequestInvalid`."""
        if not asked.HasField("style"):
            return self._style_of(asked.stream_id)
        style = asked.style
        try:
            return Style(style.structured, style.prompt, style.voice, style.language, style.words, tuple(style.forbidden))
        except SettingInvalid as error:
            raise RequestInvalid(f"stream {asked.stream_id}: {error}") from error

    def _view(self, scene: SceneToDescribe) -> SceneView:
        """The scene as captioners see it; raises `RequestInvalid`."""
        if not STREAM_ID.fullmatch(scene.stream_id):
            raise RequestInvalid("a scene must name its stream: 1 to 200 letters, digits, '.', '_', '-' and ':'")
        if not 1 <= len(scene.keyframes) <= MOST_KEYFRAMES or not all(keyframe.jpeg for keyframe in scene.keyframes):
            raise RequestInvalid(f"stream {scene.stream_id}: a scene has 1 to {MOST_KEYFRAMES} keyframes, each with its picture")
        if len(scene.before) > MOST_BEFORE:
            raise RequestInvalid(f"stream {scene.stream_id}: at most {MOST_BEFORE} descriptions of the scenes before can be told")
        shots = [Shot(MediaTime.from_proto(each.media_time), each.reason, each.score, each.motion, each.jpeg) for each in scene.keyframes]
        start, end = min(shot.time for shot in shots), max(shot.time for shot in shots)
        if scene.HasField("media_end"):
            end = max(end, MediaTime.from_proto(scene.media_end))
        return SceneView(start, end, tuple(shots), self._style(scene), tuple(scene.before))

    def _caption(self, scene: SceneToDescribe, description: Description) -> SceneCaption:
        times = [MediaTime.from_proto(keyframe.media_time) for keyframe in scene.keyframes]
        start, end = min(times), max(times)
        if scene.HasField("media_end"):
            end = max(end, MediaTime.from_proto(scene.media_end))
        name = scene.keyframes[0].scene_id or f"scene-{start.millis}"
        boundary = SceneBoundary(stream_id=scene.stream_id, scene_id=name, media_start=start.to_proto(), media_end=end.to_proto())
        return caption_of(boundary, description, scene.keyframes, model=self._captioner.name)


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
