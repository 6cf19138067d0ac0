"""Describes each scene when it closes, from the keyframes that may be shown."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message
from watchword.v1.events_pb2 import CaptionEvent, KeyframeEvent
from watchword.v1.scene_pb2 import Keyframe, SceneBoundary, SceneCaption

from pipeline.caption.messages import caption_of, extended
from pipeline.caption.model import Attentive, Captioner, SceneView, Shot
from pipeline.caption.pictures import decode
from pipeline.caption.sameness import Look, look_of, same_scene
from pipeline.caption.selection import choose
from pipeline.caption.style import PLAIN, Style
from pipeline.errors import MessageInvalid, TimeReversed, WatchwordError
from pipeline.telemetry import SCENES_EXTENDED, SCENES_UNDESCRIBED
from pipeline.timeline import MediaTime

log = structlog.get_logger(__name__)

Worth = Callable[[SceneBoundary, Sequence[Keyframe]], bool]
"""Whether a scene with these keyframes is to be described."""


@dataclass(frozen=True)
class _Open:
    """A shown keyframe of a scene that is not closed."""

    number: int
    """Among the items."""
    keyframe: Keyframe
    look: Look


@dataclass
class _Told:
    """A scene that was described."""

    since: int
    """The number of its first keyframe among the items."""
    caption: SceneCaption
    looks: Sequence[Look]


class Caption:
    """One stream's share of the step: keyframes and scene boundaries in, a caption for each scene out.

    A scene whose pictures were all withheld gets no caption; it is counted. A scene that looks like the last described one may extend
    that one's caption instead: it is told again with a higher revision and a later end. What was described last may be told to
    the model. Both reach back a bounded number of scenes, which are read again after a crash, so that it makes no difference.
    """

    def __init__(
        self,
        stream_id: str,
        model: Captioner,
        *,
        max_keyframes: int = 16,
        style: Style = PLAIN,
        extend: int = 0,
        context: int = 0,
        worth: Worth | None = None,
        first_revision: int = 1,
    ) -> None:
        """`max_keyframes` (2 or more) is how many pictures of one scene are looked at and named in its caption.

        `style` is how it is described. A caption is extended `extend` times at most; the model is told up to `context` scenes before,
        and after so many begins anew with none. What must be read again after a crash grows with these. Only scenes that are `worth` it
        are described; the captions count from `first_revision`.
        """
        self._stream_id = stream_id
        self._model = model
        self._max_keyframes = max_keyframes
        self._style = style
        self._extend, self._context = extend, context
        self._worth, self._first_revision = worth, first_revision
        self._items = 0
        self._open: list[_Open] = []
        self._told: list[_Told] = []
        """The latest scenes, as far as those that come depend on them."""

    @property
    def held(self) -> int:
        """The items from the first keyframe on of the oldest scene on which something depends."""
        first = self._told[0].since if self._told else self._open[0].number if self._open else self._items + 1
        return self._items - first + 1

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
            first = self._open[0].keyframe
            last = next(each.keyframe for each in reversed(self._open) if each.keyframe.scene_id == first.scene_id)
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
        if self._open and _time(keyframe) < _time(self._open[-1].keyframe):
            raise TimeReversed(f"stream {self._stream_id}: keyframe {keyframe.id} is earlier than {self._open[-1].keyframe.id} before it")
        if keyframe.jpeg:
            number = self._items
            look = await asyncio.to_thread(_looked_at, keyframe.jpeg, f"stream {self._stream_id}, keyframe {keyframe.id}")
            self._open.append(_Open(number, keyframe, look))
            if isinstance(self._model, Attentive) and self._worth is None and len(self._open) <= self._max_keyframes:
                self._model.look_ahead(_shot(keyframe), self._style)

    def _take(self, scene: SceneBoundary) -> list[_Open]:
        """The scene's keyframes; what stays are those of a later scene."""
        self._require(scene.stream_id, f"scene {scene.scene_id}")
        end = MediaTime.from_proto(scene.media_end)
        taken = [each for each in self._open if each.keyframe.scene_id == scene.scene_id]
        self._open = [each for each in self._open if each.keyframe.scene_id != scene.scene_id and _time(each.keyframe) >= end]
        return taken

    async def _describe(self, scene: SceneBoundary, pictures: Sequence[_Open]) -> SceneCaption | None:
        shown = choose([each.keyframe for each in pictures], self._max_keyframes)
        if not shown:
            self._count_undescribed(scene, "withheld")
            return None
        if longer := self._extended(scene, pictures):
            return longer
        if self._worth is not None and not self._worth(scene, [each.keyframe for each in pictures]):
            self._told = []
            return None
        if len(self._told) > self._context:
            # Before it is described, so that a stage that begins here after a crash describes it in the same words.
            self._told = []
        view = SceneView(
            start=MediaTime.from_proto(scene.media_start),
            end=MediaTime.from_proto(scene.media_end),
            shots=tuple(map(_shot, shown)),
            style=self._style,
            before=tuple(told.caption.text for told in self._told) if self._context else (),
        )
        try:
            description = await self._model.describe(view)
        except WatchwordError as error:
            self._told = []
            raise type(error)(f"stream {self._stream_id}: describing scene {scene.scene_id}: {error}") from error
        if not description.text:
            self._told = []
            self._count_undescribed(scene, "empty")
            return None
        caption = caption_of(scene, description, shown, model=self._model.name, revision=self._first_revision)
        self._told = (
            [*self._told, _Told(pictures[0].number, caption, [each.look for each in pictures])] if self._extend or self._context else []
        )
        return caption

    def _extended(self, scene: SceneBoundary, pictures: Sequence[_Open]) -> SceneCaption | None:
        """The last caption, if this scene is more of the same."""
        last = self._told[-1] if self._told else None
        if last is None or len(last.caption.extended_by) >= self._extend:
            return None
        if not same_scene(last.looks, [each.look for each in pictures], [each.keyframe.reason for each in pictures]):
            return None
        SCENES_EXTENDED.inc()
        last.caption = extended(last.caption, scene)
        return last.caption

    def _count_undescribed(self, scene: SceneBoundary, cause: str) -> None:
        SCENES_UNDESCRIBED.labels(cause).inc()
        log.info("scene_not_described", stream=self._stream_id, scene=scene.scene_id, cause=cause)

    def _require(self, stream_id: str, what: str) -> None:
        if stream_id != self._stream_id:
            raise MessageInvalid(f"{what} says that it belongs to stream {stream_id!r}, but came on stream {self._stream_id!r}")


def _looked_at(jpeg: bytes, what: str) -> Look:
    return look_of(decode(jpeg, what=what))


def _time(keyframe: Keyframe) -> MediaTime:
    return MediaTime.from_proto(keyframe.media_time)


def _shot(keyframe: Keyframe) -> Shot:
    return Shot(_time(keyframe), keyframe.reason, keyframe.score, keyframe.motion, keyframe.jpeg)
