"""Screening: everything is judged before it goes on, on the three ways to the viewer.

Each item is judged on its own, so no stage holds anything. What was not judged does not pass: an item that cannot be
judged is an error, never an allowed item.
"""

from collections.abc import AsyncIterator

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from watchword.v1 import events_pb2, safety_pb2, scene_pb2

from pipeline.errors import MediaUndecodable, MessageInvalid
from pipeline.safety.judge import Judge
from pipeline.safety.policy import passes

_log = structlog.get_logger(__name__)


class _Screen:
    """What the three have in common."""

    held = 0
    kind: str

    def __init__(self, stream_id: str, judge: Judge) -> None:
        self._stream_id = stream_id
        self._judge = judge

    async def flush(self) -> AsyncIterator[Message]:
        """There is nothing left to say."""
        return
        yield

    def close(self) -> None:
        """The judge is shared, so it stays."""

    def _own(self, stream_id: str, item_id: str) -> None:
        if stream_id != self._stream_id:
            raise MessageInvalid(f"stream {self._stream_id}: the {self.kind} {item_id!r} belongs to stream {stream_id!r}")

    def _unknown(self, item: Message) -> MessageInvalid:
        return MessageInvalid(f"stream {self._stream_id}: a {type(item).__name__} without anything that can be judged as a {self.kind}")

    def _withheld(self, item_id: str, verdict: safety_pb2.Verdict, start: Duration, end: Duration) -> events_pb2.ClearedEvent:
        _log.info("withheld", stream=self._stream_id, kind=self.kind, id=item_id, cause=verdict.cause, model=verdict.model)
        return events_pb2.ClearedEvent(
            withheld=safety_pb2.Withheld(
                stream_id=self._stream_id, id=item_id, kind=self.kind, verdict=verdict, media_start=start, media_end=end
            )
        )


class ScreenTranscripts(_Screen):
    """Transcripts: offending words are masked in place; a segment that must not pass is withheld when it is final.

    A blocked partial says nothing. Words of it that were shown before are taken back by the `Withheld` of its final.
    Statistics hold no words and pass as they are.
    """

    kind = "transcript"

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """A `TranscriptEvent` to a `ClearedEvent`."""
        if not isinstance(item, events_pb2.TranscriptEvent):
            raise self._unknown(item)
        match item.WhichOneof("event"):
            case "gap":
                yield events_pb2.ClearedEvent(gap=item.gap)
            case "stats":
                self._own(item.stats.stream_id, item.stats.id)
                yield events_pb2.ClearedEvent(stats=item.stats)
            case "segment":
                segment = item.segment
                self._own(segment.stream_id, segment.id)
                judged = self._judge.transcript(segment.text, [word.text for word in segment.words])
                if passes(judged.verdict):
                    cleared = events_pb2.ClearedEvent(segment=segment)
                    cleared.segment.text = judged.text
                    cleared.segment.verdict.CopyFrom(judged.verdict)
                    for word, text in zip(cleared.segment.words, judged.words, strict=True):
                        word.text = text
                    yield cleared
                elif segment.is_final:
                    yield self._withheld(segment.id, judged.verdict, segment.media_start, segment.media_end)
            case _:
                raise self._unknown(item)


class ScreenKeyframes(_Screen):
    """Keyframes: an allowed one goes on to be described and to the viewer, another to neither. Scene borders go on."""

    kind = "keyframe"

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """A `KeyframeEvent` to a `KeyframeEvent` for who describes and a `ClearedEvent` for who watches."""
        if not isinstance(item, events_pb2.KeyframeEvent):
            raise self._unknown(item)
        match item.WhichOneof("event"):
            case "scene":
                self._own(item.scene.stream_id, item.scene.scene_id)
                yield events_pb2.KeyframeEvent(scene=item.scene)
            case "keyframe":
                keyframe = item.keyframe
                self._own(keyframe.stream_id, keyframe.id)
                verdict = await self._verdict(keyframe)
                if not passes(verdict):
                    yield self._withheld(keyframe.id, verdict, keyframe.media_time, keyframe.media_time)
                    return
                shown = events_pb2.KeyframeEvent(keyframe=keyframe)
                shown.keyframe.verdict.CopyFrom(verdict)
                yield shown
                yield events_pb2.ClearedEvent(keyframe=shown.keyframe)
            case _:
                raise self._unknown(item)

    async def _verdict(self, keyframe: scene_pb2.Keyframe) -> safety_pb2.Verdict:
        if not keyframe.jpeg:
            raise MessageInvalid(f"stream {self._stream_id}: the keyframe {keyframe.id!r} has no picture to judge and does not pass")
        try:
            return await self._judge.image(keyframe.jpeg)
        except MediaUndecodable as error:
            raise MediaUndecodable(
                f"stream {self._stream_id}: the keyframe {keyframe.id!r} cannot be judged and does not pass: {error}"
            ) from error


class ScreenCaptions(_Screen):
    """Captions: the description is judged as text, and the words read in the picture line by line."""

    kind = "scene"

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """A `CaptionEvent` to a `ClearedEvent`."""
        if not isinstance(item, events_pb2.CaptionEvent) or item.WhichOneof("event") != "caption":
            raise self._unknown(item)
        caption = item.caption
        self._own(caption.stream_id, caption.id)
        judged, lines = self._judge.lines(caption.text, caption.on_screen_text)
        if not passes(judged.verdict):
            yield self._withheld(caption.id, judged.verdict, caption.media_start, caption.media_end)
            return
        cleared = events_pb2.ClearedEvent(caption=caption)
        cleared.caption.text = judged.text
        cleared.caption.on_screen_text[:] = lines
        cleared.caption.verdict.CopyFrom(judged.verdict)
        yield cleared
