"""Screening: everything is judged before it goes on, on the three ways to the viewer.

Keyframes and captions are judged each on its own; what is said is judged together with what was said right before, because a
number or a threat does not end where a segment does. What was not judged does not pass: an item that cannot be judged is an
error, never an allowed item. What was flagged, redacted or withheld is also told on the topic `audit`.
"""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from watchword.v1 import events_pb2, safety_pb2, scene_pb2, transcript_pb2

from pipeline.errors import MediaUndecodable, MessageInvalid
from pipeline.safety import described
from pipeline.safety.audit import Auditor, Item
from pipeline.safety.findings import Said
from pipeline.safety.judge import Judge, JudgedPicture, JudgedWords
from pipeline.safety.policy import Subject, passes
from pipeline.timeline import MediaTime

_log = structlog.get_logger(__name__)

BEFORE_CHARACTERS = 120
"""How much of what was said before a segment is looked at with it: a card's number said digit by digit has 100."""
BEFORE_A_PARTIAL = 40
"""The same for a partial, which comes again and again and stays for a second."""
BEFORE_SECONDS = 15.0
"""What was said longer ago is not gone on with."""
BEFORE_FINALS = 4
"""The most segments that are remembered for that."""


class _Screen:
    """What the screens of transcripts, captions and keyframes share."""

    kind: str

    @property
    def held(self) -> int:
        """Nothing: each item is judged on its own."""
        return 0

    def __init__(self, stream_id: str, judge: Judge, auditor: Auditor | None = None) -> None:
        """Without an auditor nothing is told on the topic `audit`."""
        self._stream_id = stream_id
        self._judge = judge
        self._auditor = auditor

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

    def _audited(self, item: Item, verdict: safety_pb2.Verdict) -> list[events_pb2.AuditEvent]:
        record = self._auditor.record(item, verdict) if self._auditor is not None else None
        return [events_pb2.AuditEvent(record=record)] if record is not None else []

    def _withheld(self, item_id: str, verdict: safety_pb2.Verdict, start: Duration, end: Duration) -> events_pb2.ClearedEvent:
        _log.info("withheld", stream=self._stream_id, kind=self.kind, id=item_id, cause=verdict.cause, model=verdict.model)
        return events_pb2.ClearedEvent(
            withheld=safety_pb2.Withheld(
                stream_id=self._stream_id, id=item_id, kind=self.kind, verdict=verdict, media_start=start, media_end=end
            )
        )


@dataclass(frozen=True)
class _Final:
    """What a final said, and where it stands among the items."""

    text: str
    language: str
    end: float
    number: int


class ScreenTranscripts(_Screen):
    """Transcripts: offending words are masked in place; a segment that must not pass is withheld when it is final.

    A blocked partial says nothing. Words of it that were shown before are taken back by the `Withheld` of its final.
    Models and the audit hear finals only: a partial is judged by rules, at once. Statistics hold no words and pass as they are.

    What began in an earlier final is masked or withheld from the border on; what that final showed stays shown, but for a number
    at its end that might go on.
    """

    kind = "transcript"

    def __init__(self, stream_id: str, judge: Judge, auditor: Auditor | None = None) -> None:
        """See `_Screen`."""
        super().__init__(stream_id, judge, auditor)
        self._finals: deque[_Final] = deque(maxlen=BEFORE_FINALS)
        self._items = 0

    @property
    def held(self) -> int:
        """The items since the first final that is still looked at."""
        return self._items - self._finals[0].number + 1 if self._finals else 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """A `TranscriptEvent` to a `ClearedEvent`, and an `AuditEvent` for a final that is not allowed as it is."""
        if not isinstance(item, events_pb2.TranscriptEvent):
            raise self._unknown(item)
        self._items += 1
        match item.WhichOneof("event"):
            case "gap":
                yield events_pb2.ClearedEvent(gap=item.gap)
            case "stats":
                self._own(item.stats.stream_id, item.stats.id)
                yield events_pb2.ClearedEvent(stats=item.stats)
            case "segment":
                async for said in self._segment(item.segment):
                    yield said
            case _:
                raise self._unknown(item)

    async def _segment(self, segment: transcript_pb2.TranscriptSegment) -> AsyncIterator[Message]:
        self._own(segment.stream_id, segment.id)
        parts, glued = [word.text for word in segment.words], [word.glued for word in segment.words]
        said = Said(segment.language, self._before(segment), goes_on=True, final=segment.is_final)
        if segment.is_final:
            judged = await self._judge.whole_transcript(segment.text, parts, glued=glued, said=said, stream_id=self._stream_id)
            self._finals.append(_Final(segment.text, segment.language, MediaTime.from_proto(segment.media_end).seconds, self._items))
        else:
            judged = self._judge.transcript(segment.text, parts, glued=glued, said=said, stream_id=self._stream_id)
        _time(judged, segment)
        if passes(judged.verdict):
            cleared = events_pb2.ClearedEvent(segment=segment)
            cleared.segment.text = judged.text
            cleared.segment.verdict.CopyFrom(judged.verdict)
            for word, text in zip(cleared.segment.words, judged.words, strict=True):
                word.text = text
            yield cleared
        elif segment.is_final:
            yield self._withheld(segment.id, judged.verdict, segment.media_start, segment.media_end)
        if segment.is_final:
            shown = Item(self._stream_id, segment.id, Subject.SPEECH, segment.text, judged.text, segment.media_start, segment.media_end)
            for record in self._audited(shown, judged.verdict):
                yield record

    def _before(self, segment: transcript_pb2.TranscriptSegment) -> str:
        """What was said right before a segment, with what stands between; empty where nothing was."""
        start = MediaTime.from_proto(segment.media_start).seconds
        while self._finals and start - self._finals[0].end > BEFORE_SECONDS:
            self._finals.popleft()
        between = "" if any(word.glued for word in segment.words[1:]) else " "
        told = between.join(final.text for final in self._finals if final.language == segment.language)
        most = BEFORE_CHARACTERS if segment.is_final else BEFORE_A_PARTIAL
        return told[-most:] + between if told else ""


def _time(judged: JudgedWords, segment: transcript_pb2.TranscriptSegment) -> None:
    """Say of each redaction when it was said: by its words, or, where text and words differ, by the whole segment."""
    known = len(judged.masked) == len(judged.verdict.redactions)
    for number, redaction in enumerate(judged.verdict.redactions):
        masked = judged.masked[number] if known else None
        redaction.media_start.CopyFrom(segment.words[masked.first].media_start if masked else segment.media_start)
        redaction.media_end.CopyFrom(segment.words[masked.last].media_end if masked else segment.media_end)


class ScreenKeyframes(_Screen):
    """Keyframes: an allowed one goes on to be described and to the viewer, another to neither. Scene borders go on.

    A redacted one goes on pixelated, or as a grey picture, to both.
    """

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
                judged = await self._judged(keyframe)
                if passes(judged.verdict):
                    shown = events_pb2.KeyframeEvent(keyframe=keyframe)
                    shown.keyframe.jpeg = judged.jpeg
                    shown.keyframe.verdict.CopyFrom(judged.verdict)
                    yield shown
                    yield events_pb2.ClearedEvent(keyframe=shown.keyframe)
                else:
                    yield self._withheld(keyframe.id, judged.verdict, keyframe.media_time, keyframe.media_time)
                at = keyframe.media_time
                for record in self._audited(
                    Item(self._stream_id, keyframe.id, Subject.FRAME, keyframe.jpeg, judged.jpeg, at, at), judged.verdict
                ):
                    yield record
            case _:
                raise self._unknown(item)

    async def _judged(self, keyframe: scene_pb2.Keyframe) -> JudgedPicture:
        if not keyframe.jpeg:
            raise MessageInvalid(f"stream {self._stream_id}: the keyframe {keyframe.id!r} has no picture to judge and does not pass")
        try:
            return await self._judge.picture(keyframe.jpeg, stream_id=self._stream_id)
        except MediaUndecodable as error:
            raise MediaUndecodable(
                f"stream {self._stream_id}: the keyframe {keyframe.id!r} cannot be judged and does not pass: {error}"
            ) from error


class ScreenCaptions(_Screen):
    """Captions: the description is judged as text, and its details and the words read in the picture line by line."""

    kind = "scene"

    async def process(self, item: Message) -> AsyncIterator[Message]:
        """A `CaptionEvent` to a `ClearedEvent`, and an `AuditEvent` where it is not allowed as it is."""
        if not isinstance(item, events_pb2.CaptionEvent) or item.WhichOneof("event") != "caption":
            raise self._unknown(item)
        caption = item.caption
        self._own(caption.stream_id, caption.id)
        said = described.words_of(caption)
        judged, lines = await self._judge.lines(caption.text, [*caption.on_screen_text, *said], stream_id=self._stream_id)
        read, told = lines[: len(caption.on_screen_text)], lines[len(caption.on_screen_text) :]
        if passes(judged.verdict):
            cleared = events_pb2.ClearedEvent(caption=caption)
            described.put_back(cleared.caption, told)
            cleared.caption.text = judged.text
            cleared.caption.on_screen_text[:] = filter(None, read)
            cleared.caption.verdict.CopyFrom(judged.verdict)
            yield cleared
        else:
            yield self._withheld(caption.id, judged.verdict, caption.media_start, caption.media_end)
        shown = Item(
            self._stream_id,
            caption.id,
            Subject.DESCRIPTION,
            "\n".join(filter(None, [caption.text, *caption.on_screen_text, *said])),
            "\n".join(filter(None, [judged.text, *read, *told])),
            caption.media_start,
            caption.media_end,
            [keyframe.id for keyframe in caption.keyframes],
        )
        for record in self._audited(shown, judged.verdict):
            yield record
