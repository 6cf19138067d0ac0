"""Written media as the events that a recording of them would have left: for questions about texts of one's own."""

from collections.abc import Iterable, Iterator, Sequence

from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.scene_pb2 import SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.evaluation.questions import Medium
from pipeline.memory.store import Kind
from pipeline.timeline import MediaTime

MODEL = "written"


def events(medium: Medium, stream_id: str) -> Iterator[ClearedEvent]:
    """Finals and descriptions in order of time; lines of on-screen text go to the description that begins with them."""
    spoken = [each for each in medium.moments if each[0] is Kind.SPEECH]
    for _, start, end, text in spoken:
        yield ClearedEvent(segment=_segment(stream_id, start, end, text))
    shown = [each for each in medium.moments if each[0] is not Kind.SPEECH]
    for start in dict.fromkeys(each[1] for each in shown):
        yield ClearedEvent(caption=_caption(stream_id, [each for each in shown if each[1] == start]))


def without_pictures(kept: Iterable[ClearedEvent]) -> Iterator[ClearedEvent]:
    """The same stream as one who sees nothing would know it: what was heard alone."""
    for event in kept:
        if event.WhichOneof("event") not in ("keyframe", "caption"):
            yield event


def _segment(stream_id: str, start: float, end: float, text: str) -> TranscriptSegment:
    words = text.split()
    step = (end - start) / max(len(words), 1)
    timed = [
        Word(
            text=word,
            media_start=MediaTime.of(start + number * step).to_proto(),
            media_end=MediaTime.of(start + (number + 1) * step).to_proto(),
            probability=1.0,
        )
        for number, word in enumerate(words)
    ]
    return TranscriptSegment(
        stream_id=stream_id,
        id=f"segment-{MediaTime.of(start).millis}",
        is_final=True,
        words=timed,
        stable=len(timed),
        text=text,
        media_start=MediaTime.of(start).to_proto(),
        media_end=MediaTime.of(end).to_proto(),
        language="en",
        model=MODEL,
    )


def _caption(stream_id: str, shown: Sequence[tuple[Kind, float, float, str]]) -> SceneCaption:
    start = shown[0][1]
    return SceneCaption(
        stream_id=stream_id,
        id=f"scene-{MediaTime.of(start).millis}",
        media_start=MediaTime.of(start).to_proto(),
        media_end=MediaTime.of(max(end for _, _, end, _ in shown)).to_proto(),
        text=" ".join(text for kind, _, _, text in shown if kind is Kind.DESCRIPTION),
        on_screen_text=[text for kind, _, _, text in shown if kind is Kind.ON_SCREEN_TEXT],
        model=MODEL,
    )
