"""The step that describes again what matters: which scenes, how many, and as if no crash had been."""

import asyncio

import pytest
from google.protobuf.message import Message
from watchword.v1.events_pb2 import KeyframeEvent
from watchword.v1.safety_pb2 import Action, Verdict
from watchword.v1.scene_pb2 import SceneCaption

from pipeline.caption.refine import REFINED, Refine
from tests.fakes import ScriptedCaptioner
from tests.pipeline.test_caption_stage import RED, boundary, keyframe

pytestmark = pytest.mark.unit


def captions(stage: Refine, *items: Message, flush: bool = True) -> list[SceneCaption]:
    async def collect() -> list[Message]:
        said = [each for item in items async for each in stage.process(item)]
        return [*said, *[each async for each in stage.flush()]] if flush else said

    return [each.caption for each in asyncio.run(collect())]  # type: ignore[attr-defined]


def scene(start: float, *, score: float = 0.9, flagged: bool = False, jpeg: bytes = RED) -> list[KeyframeEvent]:
    picture = keyframe(start, start, score=score, jpeg=jpeg)
    if flagged:
        picture.keyframe.verdict.CopyFrom(Verdict(action=Action.ACTION_FLAG))
    return [picture, boundary(start, start + 5)]


def test_a_scene_that_is_new_is_described_again_with_a_higher_revision() -> None:
    (caption,) = captions(Refine("s", ScriptedCaptioner()), *scene(0, score=0.1), *scene(5, score=0.5))
    assert (caption.id, caption.revision) == ("scene-5000", REFINED)


def test_a_scene_that_was_flagged_matters_however_old_it_looks() -> None:
    (caption,) = captions(Refine("s", ScriptedCaptioner()), *scene(0, score=0.0, flagged=True))
    assert caption.id == "scene-0"


def test_a_minute_has_so_many_places_and_the_last_is_for_what_was_flagged() -> None:
    stage = Refine("s", ScriptedCaptioner(), per_minute=2)
    items = [*scene(0), *scene(5), *scene(10, flagged=True), *scene(15, flagged=True), *scene(60), *scene(65)]
    assert [each.id for each in captions(stage, *items)] == ["scene-0", "scene-10000", "scene-60000"]


def test_more_of_the_same_extends_what_was_refined() -> None:
    model = ScriptedCaptioner()
    said = captions(Refine("s", model, extend=2), *scene(0), *scene(5, score=0.0), *scene(10, score=0.0))
    assert [(each.id, each.revision) for each in said] == [("scene-0", REFINED + number) for number in range(3)]
    assert len(model.seen) == 1


def test_without_a_model_nothing_is_said_or_held() -> None:
    stage = Refine("s", None)
    assert captions(stage, *scene(0), *scene(5)) == []
    assert stage.held == 0


STREAM = [
    item
    for start in range(0, 200, 5)
    for item in scene(start, score=(start * 7 % 10) / 10, flagged=start % 35 == 0, jpeg=RED if start % 15 else keyframe(0).keyframe.jpeg)
]


@pytest.mark.parametrize("crash", range(0, len(STREAM) + 1, 5))
def test_what_is_held_is_enough_to_go_on_after_a_crash(crash: int) -> None:
    def fresh() -> Refine:
        return Refine("s", ScriptedCaptioner(), per_minute=3, extend=2)

    before = fresh()
    said_before = captions(before, *STREAM[:crash], flush=False)
    after = fresh()
    captions(after, *STREAM[crash - before.held : crash], flush=False)
    assert after.held == before.held
    assert [*said_before, *captions(after, *STREAM[crash:])] == captions(fresh(), *STREAM)
    assert before.held <= 2 * 13 + 6, "no more than a minute and what may be extended"
