"""Describes each scene when it closes, from the keyframes that may be shown."""

import asyncio
from collections.abc import AsyncIterator

import structlog
from google.protobuf.message import Message
from watchword.v1.events_pb2 import CaptionEvent, KeyframeEvent
from watchword.v1.scene_pb2 import Keyframe, SceneBoundary, SceneCaption

from pipeline.caption.model import Captioner, SceneView, Shot
from pipeline.caption.pictures import decode
from pipeline.caption.selection import choose
from pipeline.errors import MessageInvalid, TimeReversed, WatchwordError
from pipeline.telemetry import SCENES_UNDESCRIBED
from pipeline.timeline import MediaTime

log = structlog.get_logger(__name__)


class Caption:
    """One stream's share of the step: keyframes and scene boundaries in, a caption for each scene out.

    A scene whose pictures were all withheld gets no caption; it is counted. What is said of a scene depends on that
    scene's keyframes only, so the stage comes to the same state from the first keyframe that no boundary has closed on.
    """

    def __init__(self, stream_id: str, model: Captioner, *, max_keyframes: int = 16) -> None:
        """`max_keyframes` (2 or more) is how many pictures of one scene are looked at and named in its caption."""
        self._stream_id = stream_id
        self._model = model
        self._max_keyframes = max_keyframes
        self._items = 0
        self._open: list[tuple[int, Keyframe]] = []
        """The shown keyframes of scenes that are not closed, each with its number among the items."""

    @property
    def held(self) -> int:
        """The items from the first keyframe of an open scene on."""
        return self._items - self._open[0][0] + 1 if self._open else 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """Take a keyframe or a boundary. Raises `MessageInvalid` and `MediaUndecodable`, which refuse one item."""
        assert isinstance(item, KeyframeEvent)
        self._items += 1
        match item.WhichOneof("event"):
            case "keyframe":
                await self._keep(item.keyframe)
            case "scene":
                caption = await self._describe(item.scene, self._take(item.scene))
                if caption:
                    yield CaptionEvent(caption=caption)
            case event:
                raise MessageInvalid(f"stream {self._stream_id}: a keyframe event must carry a keyframe or a scene, not {event}")

    async def flush(self) -> AsyncIterator[Message]:
        """Describe what was never closed, up to its last keyframe."""
        while self._open:
            first = self._open[0][1]
            last = next(each for _, each in reversed(self._open) if each.scene_id == first.scene_id)
            boundary = SceneBoundary(
                stream_id=self._stream_id, scene_id=first.scene_id, media_start=first.media_time, media_end=last.media_time
            )
            caption = await self._describe(boundary, self._take(boundary))
            if caption:
                yield CaptionEvent(caption=caption)

    def close(self) -> None:
        """Nothing is held outside Python's memory."""

    async def _keep(self, keyframe: Keyframe) -> None:
        self._require(keyframe.stream_id, f"keyframe {keyframe.id}")
        if not keyframe.scene_id:
            raise MessageInvalid(f"stream {self._stream_id}: keyframe {keyframe.id} names no scene")
        if self._open and _time(keyframe) < _time(self._open[-1][1]):
            raise TimeReversed(f"stream {self._stream_id}: keyframe {keyframe.id} is earlier than {self._open[-1][1].id} before it")
        if keyframe.jpeg:
            number = self._items
            await asyncio.to_thread(decode, keyframe.jpeg, what=f"stream {self._stream_id}, keyframe {keyframe.id}")
            self._open.append((number, keyframe))

    def _take(self, scene: SceneBoundary) -> list[Keyframe]:
        """The scene's keyframes; what stays are those of a later scene."""
        self._require(scene.stream_id, f"scene {scene.scene_id}")
        end = MediaTime.from_proto(scene.media_end)
        taken = [keyframe for _, keyframe in self._open if keyframe.scene_id == scene.scene_id]
        self._open = [(number, each) for number, each in self._open if each.scene_id != scene.scene_id and _time(each) >= end]
        return taken

    async def _describe(self, scene: SceneBoundary, keyframes: list[Keyframe]) -> SceneCaption | None:
        shown = choose(keyframes, self._max_keyframes)
        if not shown:
            self._count_undescribed(scene, "withheld")
            return None
        view = SceneView(
            start=MediaTime.from_proto(scene.media_start),
            end=MediaTime.from_proto(scene.media_end),
            shots=tuple(Shot(_time(each), each.reason, each.score, each.motion, each.jpeg) for each in shown),
        )
        try:
            description = await self._model.describe(view)
        except WatchwordError as error:
            raise type(error)(f"stream {self._stream_id}: describing scene {scene.scene_id}: {error}") from error
        if not description.text:
            self._count_undescribed(scene, "empty")
            return None
        return SceneCaption(
            stream_id=self._stream_id,
            id=scene.scene_id,
            media_start=scene.media_start,
            media_end=scene.media_end,
            text=description.text,
            keyframes=[_without_picture(each) for each in shown],
            on_screen_text=description.on_screen_text,
            model=self._model.name,
        )

    def _count_undescribed(self, scene: SceneBoundary, cause: str) -> None:
        SCENES_UNDESCRIBED.labels(cause).inc()
        log.info("scene not described", stream=self._stream_id, scene=scene.scene_id, cause=cause)

    def _require(self, stream_id: str, what: str) -> None:
        if stream_id != self._stream_id:
            raise MessageInvalid(f"{what} says that it belongs to stream {stream_id!r}, but came on stream {self._stream_id!r}")


def _time(keyframe: Keyframe) -> MediaTime:
    return MediaTime.from_proto(keyframe.media_time)


def _without_picture(keyframe: Keyframe) -> Keyframe:
    bare = Keyframe()
    bare.CopyFrom(keyframe)
    bare.ClearField("jpeg")
    return bare
