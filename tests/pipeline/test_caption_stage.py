"""The stage that describes scenes: when, from which keyframes, and as if no crash had been."""

import asyncio
import io
from collections.abc import Sequence

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image, ImageDraw
from prometheus_client import REGISTRY
from watchword.v1.events_pb2 import CaptionEvent, KeyframeEvent
from watchword.v1.media_pb2 import StreamEnd
from watchword.v1.scene_pb2 import CaptionMaking, Keyframe, KeyframeReason, SceneBoundary, SceneCaption

from pipeline.caption.model import Action, Description, SceneView, Shot
from pipeline.caption.sameness import look_of, same_scene
from pipeline.caption.stage import Caption
from pipeline.caption.style import Style
from pipeline.errors import InternalError, MediaUndecodable, MessageInvalid, TimeReversed, WatchwordError
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedCaptioner

pytestmark = pytest.mark.unit


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), "navy").save(buffer, "JPEG")
    return buffer.getvalue()


JPEG = _jpeg()


def keyframe(at: float, scene: float = 0, *, score: float = 0.5, jpeg: bytes = JPEG, stream: str = "s") -> KeyframeEvent:
    time = MediaTime.of(at)
    return KeyframeEvent(
        keyframe=Keyframe(
            stream_id=stream,
            id=f"keyframe-{time.millis}",
            media_time=time.to_proto(),
            reason=KeyframeReason.KEYFRAME_REASON_CUT if at == scene else KeyframeReason.KEYFRAME_REASON_INTERVAL,
            score=score,
            jpeg=jpeg,
            width=64,
            height=36,
            scene_id=f"scene-{MediaTime.of(scene).millis}",
            motion=0.01,
        )
    )


def boundary(start: float, end: float, *, stream: str = "s") -> KeyframeEvent:
    begin = MediaTime.of(start)
    return KeyframeEvent(
        scene=SceneBoundary(
            stream_id=stream,
            scene_id=f"scene-{begin.millis}",
            media_start=begin.to_proto(),
            media_end=MediaTime.of(end).to_proto(),
        )
    )


async def _collect(stage: Caption, items: Sequence[Message], *, flush: bool = True) -> list[Message]:
    said = []
    for item in items:
        said += [each async for each in stage.process(item)]
    if flush:
        said += [each async for each in stage.flush()]
    return said


def captions(stage: Caption, *items: Message, flush: bool = True) -> list[SceneCaption]:
    said = asyncio.run(_collect(stage, items, flush=flush))
    assert all(isinstance(each, CaptionEvent) for each in said)
    return [each.caption for each in said if isinstance(each, CaptionEvent)]


def refuse(stage: Caption, item: Message, error: type[WatchwordError], match: str) -> None:
    with pytest.raises(error, match=match):
        asyncio.run(_collect(stage, [item], flush=False))


def undescribed(cause: str) -> float:
    return REGISTRY.get_sample_value("watchword_scenes_undescribed_total", {"cause": cause}) or 0.0


def test_a_closed_scene_is_described_once_from_its_keyframes() -> None:
    model = ScriptedCaptioner("A tower above a lake.")
    (caption,) = captions(Caption("s", model), keyframe(0), keyframe(2), keyframe(4.5), boundary(0, 6))
    assert (caption.stream_id, caption.id, caption.text, caption.model) == ("s", "scene-0", "A tower above a lake.", "scripted")
    assert (MediaTime.from_proto(caption.media_start), MediaTime.from_proto(caption.media_end)) == (MediaTime.of(0), MediaTime.of(6))
    assert list(caption.on_screen_text) == ["a sign"]
    assert [each.id for each in caption.keyframes] == ["keyframe-0", "keyframe-2000", "keyframe-4500"]
    assert all(not each.jpeg and each.scene_id == "scene-0" for each in caption.keyframes)
    (view,) = model.seen
    assert (view.start, view.end) == (MediaTime.of(0), MediaTime.of(6))
    assert [(shot.time, shot.jpeg) for shot in view.shots] == [(MediaTime.of(at), JPEG) for at in (0, 2, 4.5)]


def test_scenes_do_not_share_keyframes() -> None:
    items = [keyframe(0), boundary(0, 3), keyframe(3, 3), keyframe(5, 3), boundary(3, 7)]
    assert [each.text for each in captions(Caption("s", ScriptedCaptioner()), *items)] == ["0", "3000 5000"]


def test_a_keyframe_that_comes_before_the_boundary_of_the_scene_before_is_not_lost() -> None:
    items = [keyframe(0), keyframe(3, 3), boundary(0, 3), keyframe(5, 3), boundary(3, 7)]
    assert [each.text for each in captions(Caption("s", ScriptedCaptioner()), *items)] == ["0", "3000 5000"]


def test_of_a_long_scene_the_first_the_last_and_the_most_novel_are_looked_at() -> None:
    scores = [0.1, 0.2, 0.9, 0.2, 0.8, 0.1, 0.0]
    items = [keyframe(at, score=score) for at, score in enumerate(scores)]
    (caption,) = captions(Caption("s", ScriptedCaptioner(), max_keyframes=4), *items, boundary(0, 9))
    assert caption.text == "0 2000 4000 6000"
    assert len(caption.keyframes) == 4


def test_the_end_of_the_stream_describes_what_no_boundary_closed() -> None:
    (caption,) = captions(Caption("s", ScriptedCaptioner()), keyframe(3, 3), keyframe(5, 3))
    assert (caption.id, caption.text, MediaTime.from_proto(caption.media_end)) == ("scene-3000", "3000 5000", MediaTime.of(5))


def test_nothing_is_said_at_the_end_of_a_stream_whose_scenes_are_closed() -> None:
    assert len(captions(Caption("s", ScriptedCaptioner()), keyframe(0), boundary(0, 3))) == 1


def test_a_scene_whose_pictures_were_withheld_is_counted_and_gets_no_caption() -> None:
    before = undescribed("withheld")
    model = ScriptedCaptioner()
    assert captions(Caption("s", model), boundary(0, 3), keyframe(3, 3, jpeg=b""), boundary(3, 6)) == []
    assert not model.seen
    assert undescribed("withheld") == before + 2


def test_a_withheld_picture_is_left_out_of_the_others() -> None:
    (caption,) = captions(Caption("s", ScriptedCaptioner()), keyframe(0), keyframe(1, jpeg=b""), keyframe(2), boundary(0, 3))
    assert caption.text == "0 2000"


def test_a_model_with_nothing_to_say_is_counted() -> None:
    before = undescribed("empty")
    assert captions(Caption("s", ScriptedCaptioner("")), keyframe(0), boundary(0, 3)) == []
    assert undescribed("empty") == before + 1


def test_a_broken_picture_is_refused_and_the_scene_goes_on() -> None:
    stage = Caption("s", ScriptedCaptioner())
    captions(stage, keyframe(0), flush=False)
    refuse(stage, keyframe(1, jpeg=b"\xff\xd8 no picture"), MediaUndecodable, r"stream s, keyframe keyframe-1000 is not a whole JPEG")
    refuse(stage, keyframe(2, jpeg=JPEG[: len(JPEG) // 2]), MediaUndecodable, "keyframe-2000")
    assert [each.text for each in captions(stage, keyframe(3), boundary(0, 4))] == ["0 3000"]


def test_a_failing_model_costs_one_scene_and_names_it() -> None:
    stage = Caption("s", ScriptedCaptioner(InternalError("out of memory")))
    captions(stage, keyframe(0), flush=False)
    refuse(stage, boundary(0, 3), InternalError, "stream s: describing scene scene-0: out of memory")
    assert stage.held == 0
    assert [each.text for each in captions(stage, keyframe(3, 3), boundary(3, 5))] == ["3000"]


def test_items_that_break_a_rule_are_refused() -> None:
    stage = Caption("s", ScriptedCaptioner())
    refuse(stage, keyframe(0, stream="other"), MessageInvalid, "other")
    refuse(stage, boundary(0, 1, stream="other"), MessageInvalid, "other")
    refuse(stage, KeyframeEvent(end=StreamEnd(stream_id="s")), MessageInvalid, "stream s")
    nameless = keyframe(0)
    nameless.keyframe.scene_id = ""
    refuse(stage, nameless, MessageInvalid, "names no scene")
    captions(stage, keyframe(5), flush=False)
    refuse(stage, keyframe(4), TimeReversed, "keyframe-4000 is earlier")
    assert [each.text for each in captions(stage, boundary(0, 6))] == ["5000"]


STREAM = [
    keyframe(0),
    keyframe(1, jpeg=b""),
    keyframe(2, score=0.9),
    keyframe(3, 3),
    boundary(0, 3),
    boundary(3, 4),
    keyframe(4, 4, jpeg=b""),
    boundary(4, 6),
    keyframe(6, 6),
    keyframe(7, 6, score=0.1),
    keyframe(8, 6, score=0.7),
    keyframe(9, 6),
]


@pytest.mark.parametrize("crash", range(len(STREAM) + 1))
def test_what_is_held_is_enough_to_go_on_after_a_crash(crash: int) -> None:
    def fresh() -> Caption:
        return Caption("s", ScriptedCaptioner(), max_keyframes=3)

    before = fresh()
    said_before = captions(before, *STREAM[:crash], flush=False)
    after = fresh()
    asyncio.run(_collect(after, STREAM[crash - before.held : crash], flush=False))
    assert after.held == before.held
    assert [*said_before, *captions(after, *STREAM[crash:])] == captions(fresh(), *STREAM)


def test_what_is_held_is_no_more_than_the_open_scene() -> None:
    stage = Caption("s", ScriptedCaptioner())
    held = []
    for item in STREAM:
        captions(stage, item, flush=False)
        held.append(stage.held)
    assert held == [1, 2, 3, 4, 2, 0, 0, 0, 1, 2, 3, 4]


# A scene that looks like the one before.


def _coloured(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 36), colour).save(buffer, "JPEG")
    return buffer.getvalue()


RED = _coloured("red")


def test_more_of_the_same_extends_the_last_caption() -> None:
    stage = Caption("s", ScriptedCaptioner(), extend=2)
    first, second, other = captions(
        stage, keyframe(0), boundary(0, 3), keyframe(3, 3), keyframe(4, 3), boundary(3, 6), keyframe(6, 6, jpeg=RED), boundary(6, 9)
    )
    assert (first.id, first.text, first.revision, list(first.extended_by)) == ("scene-0", "0", 1, [])
    assert (second.id, second.text, second.revision, list(second.extended_by)) == ("scene-0", "0", 2, ["scene-3000"])
    assert (MediaTime.from_proto(second.media_start), MediaTime.from_proto(second.media_end)) == (MediaTime.of(0), MediaTime.of(6))
    assert (other.id, other.revision) == ("scene-6000", 1)


def test_a_caption_is_extended_so_often_and_no_more() -> None:
    model = ScriptedCaptioner()
    stage = Caption("s", model, extend=2)
    said = captions(stage, *(item for at in range(0, 15, 3) for item in (keyframe(at, at), boundary(at, at + 3))))
    assert [(each.id, each.revision) for each in said] == [
        ("scene-0", 1), ("scene-0", 2), ("scene-0", 3), ("scene-9000", 1), ("scene-9000", 2),
    ]  # fmt: skip
    assert len(model.seen) == 2


@pytest.mark.parametrize("reason", ["CHANGE", "TEXT", "MOTION_PEAK"])
def test_what_happened_in_between_is_never_the_same(reason: str) -> None:
    happened = keyframe(4, 3)
    happened.keyframe.reason = KeyframeReason.Value(f"KEYFRAME_REASON_{reason}")
    stage = Caption("s", ScriptedCaptioner(), extend=5)
    assert [each.id for each in captions(stage, keyframe(0), boundary(0, 3), keyframe(3, 3), happened, boundary(3, 6))] == [
        "scene-0", "scene-3000",
    ]  # fmt: skip


def test_a_line_of_text_and_a_small_figure_are_no_noise() -> None:
    rng = np.random.default_rng(2)
    street = Image.fromarray((rng.normal(0, 3, (252, 448, 3)) + np.linspace(40, 200, 448)[:, None]).clip(0, 255).astype(np.uint8))
    noisy = Image.fromarray((np.asarray(street) + rng.normal(0, 3, (252, 448, 3))).clip(0, 255).astype(np.uint8))
    figure, written = street.copy(), street.copy()
    figure.paste("black", (200, 120, 212, 148))
    ImageDraw.Draw(written).text((60, 200), "Doors open at nine thirty", fill="white")
    quiet = [KeyframeReason.KEYFRAME_REASON_INTERVAL]
    assert same_scene([look_of(street)], [look_of(noisy)], quiet)
    assert not same_scene([look_of(street)], [look_of(figure)], quiet)
    assert not same_scene([look_of(street)], [look_of(written)], quiet)
    assert not same_scene([look_of(street)], [], [])


def test_the_model_is_told_what_was_described_before_a_bounded_number_of_scenes() -> None:
    stage = Caption("s", ScriptedCaptioner(), context=2)
    said = captions(stage, *(item for at in range(0, 15, 3) for item in (keyframe(at, at), boundary(at, at + 3))))
    assert [each.text for each in said] == ["0", "3000 after (0)", "6000 after (3000 after (0))", "9000", "12000 after (9000)"]


SAME = [
    *(item for at in range(0, 15, 3) for item in (keyframe(at, at), boundary(at, at + 3))),
    keyframe(15, 15, jpeg=b""),
    boundary(15, 18),
    keyframe(18, 18, jpeg=RED),
    keyframe(19, 18),
    boundary(18, 21),
    keyframe(21, 21, jpeg=RED),
    boundary(21, 24),
    keyframe(24, 24),
]


@pytest.mark.parametrize(("extend", "context"), [(2, 0), (0, 2), (1, 3)])
@pytest.mark.parametrize("crash", range(0, len(SAME) + 1, 2))
def test_what_depends_on_earlier_scenes_is_the_same_after_a_crash(crash: int, extend: int, context: int) -> None:
    def fresh() -> Caption:
        return Caption("s", ScriptedCaptioner(), extend=extend, context=context)

    before = fresh()
    said_before = captions(before, *SAME[:crash], flush=False)
    after = fresh()
    asyncio.run(_collect(after, SAME[crash - before.held : crash], flush=False))
    assert after.held == before.held
    assert [*said_before, *captions(after, *SAME[crash:])] == captions(fresh(), *SAME)


class LookingAhead(ScriptedCaptioner):
    """Notes what it is shown of scenes that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.ahead: list[Shot] = []

    def look_ahead(self, shot: Shot, style: Style) -> None:
        self.ahead.append(shot)


def test_a_captioner_may_look_at_keyframes_of_an_open_scene() -> None:
    model = LookingAhead()
    stage = Caption("s", model, max_keyframes=2)
    captions(stage, keyframe(0), keyframe(1), keyframe(2), flush=False)
    assert [shot.time for shot in model.ahead] == [MediaTime.of(0), MediaTime.of(1)]
    assert not model.seen


# Details.


class DetailedCaptioner:
    """Knows everything about a scene."""

    name = "detailed"

    async def describe(self, scene: SceneView) -> Description:
        assert scene.style == Style(language="de")
        return Description(
            "A man waves.",
            objects=("man", "door"),
            detail="He stands in a door.",
            actions=(Action("waves", MediaTime.of(1), MediaTime.of(2.5)),),
            people=0,
            camera="still",
            confidence=0.5,
            used=(1,),
            revision="r1",
            prompt="1",
            remark="mended",
        )


def test_details_are_in_the_caption() -> None:
    (caption,) = captions(Caption("s", DetailedCaptioner(), style=Style(language="de")), keyframe(0), keyframe(1), boundary(0, 3))
    assert [each.id for each in caption.keyframes] == ["keyframe-1000"]
    assert caption.making == CaptionMaking(model_revision="r1", prompt_version="1", remark="mended")
    (action,) = caption.actions
    assert (action.what, MediaTime.from_proto(action.media_start), MediaTime.from_proto(action.media_end)) == (
        "waves", MediaTime.of(1), MediaTime.of(2.5),
    )  # fmt: skip
    assert (caption.detail, list(caption.objects), caption.camera, caption.confidence) == (
        "He stands in a door.",
        ["man", "door"],
        "still",
        0.5,
    )
    assert caption.HasField("people")
    assert caption.people == 0


def test_what_is_not_known_is_absent() -> None:
    (caption,) = captions(Caption("s", ScriptedCaptioner()), keyframe(0), boundary(0, 3))
    assert not any(caption.HasField(field) for field in ("people", "confidence", "making"))
