"""Scene description as calls: keyframes of a stream, one scene, or a video."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
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
from watchword.v1.scene_pb2 import Keyframe, SceneBoundary, SceneCaption

from pipeline.bus.codec import STREAM_ID
from pipeline.caption.messages import caption_of
from pipeline.caption.model import Captioner, Description, SceneView, Shot, require_adapter, telling
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
LONGEST_BEFORE = 2_000
"""Characters of a description of a scene before: all of them stand in the prompt."""

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
            view, keyframes = self._view(request.scene)
            description = await self._captioner.describe(view)
            return DescribeSceneResponse(caption=self._caption(request.scene.stream_id, view, keyframes, description))
        except WatchwordError as error:
            await abort(context, error)

    async def TellScene(self, request: TellSceneRequest, context: ServicerContext) -> None:
        """One scene, while its sentence is written."""
        # Responses are written, not yielded: a call that is cancelled then ends right here, and the model is free.
        try:
            view, keyframes = self._view(request.scene)
            async with aclosing(telling(self._captioner, view)) as told:
                async for part in told:
                    if isinstance(part, Description):
                        await context.write(TellSceneResponse(caption=self._caption(request.scene.stream_id, view, keyframes, part)))
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
            wanted = Style(style.structured, style.prompt, style.voice, style.language, style.words, tuple(style.forbidden), style.adapter)
            require_adapter(self._captioner, wanted)
            return wanted
        except (SettingInvalid, RequestInvalid) as error:
            raise RequestInvalid(f"stream {asked.stream_id}: {error}") from error

    def _view(self, scene: SceneToDescribe) -> tuple[SceneView, Sequence[Keyframe]]:
        """The scene as captioners see it, and its keyframes in the same order, that of time; raises `RequestInvalid`."""
        if not STREAM_ID.fullmatch(scene.stream_id):
            raise RequestInvalid("a scene must name its stream: 1 to 200 letters, digits, '.', '_', '-' and ':'")
        if not 1 <= len(scene.keyframes) <= MOST_KEYFRAMES or not all(keyframe.jpeg for keyframe in scene.keyframes):
            raise RequestInvalid(f"stream {scene.stream_id}: a scene has 1 to {MOST_KEYFRAMES} keyframes, each with its picture")
        if len(scene.before) > MOST_BEFORE:
            raise RequestInvalid(f"stream {scene.stream_id}: at most {MOST_BEFORE} descriptions of the scenes before can be told")
        if long := next((each for each in scene.before if len(each) > LONGEST_BEFORE), None):
            told = f"a description of a scene before has {len(long):,} characters"
            raise RequestInvalid(f"stream {scene.stream_id}: {told}; at most {LONGEST_BEFORE:,} are possible")
        keyframes = sorted(scene.keyframes, key=lambda keyframe: MediaTime.from_proto(keyframe.media_time))
        shots = tuple(Shot(MediaTime.from_proto(each.media_time), each.reason, each.score, each.motion, each.jpeg) for each in keyframes)
        end = shots[-1].time
        if scene.HasField("media_end"):
            end = max(end, MediaTime.from_proto(scene.media_end))
        return SceneView(shots[0].time, end, shots, self._style(scene), tuple(scene.before)), keyframes

    def _caption(self, stream_id: str, view: SceneView, keyframes: Sequence[Keyframe], description: Description) -> SceneCaption:
        name = keyframes[0].scene_id or f"scene-{view.start.millis}"
        boundary = SceneBoundary(stream_id=stream_id, scene_id=name, media_start=view.start.to_proto(), media_end=view.end.to_proto())
        return caption_of(boundary, description, keyframes, model=self._captioner.name)


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
