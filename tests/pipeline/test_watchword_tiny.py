"""Unit: the shipped weights through the real captioning path say what happens, when and how fast; the speed comes from the times."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.caption.model import Captioner, SceneView, load
from pipeline.caption.vlm import VlmCaptioner
from pipeline.caption.vlm.worker import Ahead, Job
from pipeline.models import ModelState, load_catalog, verify_all
from train.batches import Clock
from train.evaluate import held_out, score, tally, view
from train.scenes import Event, Motion, Scene, Thing, caption

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return load("transformers", directory=Path("watchword-tiny"), max_new_tokens=48)


def test_it_is_in_the_catalog_and_whole(tmp_path: Path) -> None:
    model = load_catalog()["watchword-tiny"]
    (row,) = verify_all(catalog={model.name: model}, cache=tmp_path)
    assert (row.state, row.detail) == (ModelState.PRESENT, "")
    assert row.directory is not None
    assert {file.path for file in model.files} == {each.name for each in row.directory.iterdir()}
    assert model.size is not None
    assert model.size < 16_000_000


def say(captioner: Captioner, scenes: Sequence[Scene], clock: Clock = "time") -> list[str]:
    async def everything() -> list[str]:
        shown = [view(scene, clock=clock, seed=index) for index, scene in enumerate(scenes)]
        return [each.text for each in await asyncio.gather(*map(captioner.describe, shown))]

    return asyncio.run(everything())


def moving(direction: str, speed: float, *, colour: str = "blue", shape: str = "square") -> Scene:
    """One shape that goes 30 pixels in six frames at uneven times."""
    way = np.array([0.0, 4.0, 11.0, 16.0, 24.0, 30.0])
    places = 17 + way if direction in ("right", "down") else 47 - way
    centres = tuple((float(each), 30.0) if direction in ("left", "right") else (30.0, float(each)) for each in places)
    motion = Motion(direction, "slowly" if speed < 5 else "quickly")  # type: ignore[arg-type]
    return Scene((Event(Thing(colour, shape), motion, 0, centres, 7.5),), tuple((way / speed).tolist()), (30, 25, 40))


@pytest.mark.parametrize("direction", ["left", "right", "up", "down"])
def test_it_sees_where_a_shape_moves(captioner: Captioner, direction: str) -> None:
    assert say(captioner, [moving(direction, 3.0)]) == [f"A blue square moves {direction} slowly."]


def test_the_same_pictures_at_other_times_are_another_speed(captioner: Captioner) -> None:
    """Every pixel is the same; only the clock differs."""
    slow, quick = moving("right", 3.0), moving("right", 9.5)
    assert say(captioner, [slow, quick]) == ["A blue square moves right slowly.", "A blue square moves right quickly."]
    # Positions by index cannot tell them apart.
    one, other = say(captioner, [slow, quick], "index")
    assert one == other


def test_it_tells_what_comes_first_and_when_the_other_appears(captioner: Captioner) -> None:
    squares = Event(Thing("yellow", "circle", 2), None, 0, ((14.0, 50.0), (30.0, 50.0)), 6.0)
    cross = Event(Thing("red", "cross"), None, 2, ((45.0, 18.0),), 7.5)
    early, late = (Scene((squares, cross), (0.0, each / 2, each, each + 2.5), (20, 40, 30)) for each in (2.4, 6.5))
    assert say(captioner, [early, late]) == [
        "Two yellow circles are shown. After 2 seconds, a red cross appears.",
        "Two yellow circles are shown. After 6 seconds, a red cross appears.",
    ]


def test_it_reads_a_word(captioner: Captioner) -> None:
    word = Event(Thing("white", "", 1, "STOP"), None, 0, ((32.0, 30.0),), 6.0)
    assert say(captioner, [Scene((word,), (0.0, 1.0, 2.5, 3.0), (40, 20, 20))]) == ["The word STOP is shown."]


def larger(view: SceneView, size: tuple[int, int]) -> SceneView:
    """The same pictures as a camera of this size would send them."""

    def enlarged(jpeg: bytes) -> bytes:
        file = io.BytesIO()
        Image.open(io.BytesIO(jpeg)).resize(size, Image.Resampling.NEAREST).save(file, "JPEG", quality=95)
        return file.getvalue()

    return replace(view, shots=tuple(replace(shot, jpeg=enlarged(shot.jpeg)) for shot in view.shots))


def test_of_a_large_picture_it_sees_no_more_tokens_than_it_was_trained_on(captioner: Captioner) -> None:
    assert isinstance(captioner, VlmCaptioner)
    job = Job(larger(view(moving("left", 3.0)), (448, 252)), 1, lambda _: None)
    captioner.worker.run([job])
    seen = [captioner.worker.features.get(key) for key in job.keys]
    assert len(seen) == 6
    assert all(each is not None and 12 <= each.count <= 16 for each in seen)
    assert captioner.worker.knows(Ahead(job.scene.shots[0])), "what is encoded ahead is what the scene needs"


def test_a_clip_in_larger_pictures_is_described_alike(captioner: Captioner) -> None:
    for small in (view(moving("left", 3.0)), view(moving("down", 9.5, colour="green", shape="circle"))):
        large = larger(small, (448, 448))
        assert asyncio.run(captioner.describe(large)).text == asyncio.run(captioner.describe(small)).text


def test_on_clips_it_never_saw(captioner: Captioner) -> None:
    scenes = held_out(24)
    shares = {
        name: right / seen
        for name, (right, seen) in tally(score(each, said) for each, said in zip(scenes, say(captioner, scenes), strict=True)).items()
    }
    assert shares["caption"] > 0.75
    assert min(shares[name] for name in ("colour", "shape", "direction", "speed", "second")) > 0.85


def test_it_puts_colours_and_shapes_together_that_training_never_showed_together(captioner: Captioner) -> None:
    scenes = held_out(32, combinations=True)
    shares = {
        name: right / seen
        for name, (right, seen) in tally(score(each, said) for each, said in zip(scenes, say(captioner, scenes), strict=True)).items()
    }
    assert shares["caption"] > 0.8
    assert min(shares[name] for name in ("colour", "shape", "direction", "speed", "second")) > 0.85
    assert say(captioner, [moving("right", 3.0, colour="red", shape="square")]) == ["A red square moves right slowly."]


def test_without_times_it_does_not_know_how_fast(captioner: Captioner) -> None:
    scenes = [each for each in held_out(60) if any(event.motion for event in each.events)][:36]
    said = {clock: say(captioner, scenes, clock) for clock in ("time", "index")}
    shares = {clock: tally(score(*each) for each in zip(scenes, texts, strict=True))["speed"] for clock, texts in said.items()}
    assert shares["time"][0] / shares["time"][1] > 0.9
    assert shares["index"][0] / shares["index"][1] < 0.75
    # What pictures alone tell stays.
    assert sum(caption(scene).split()[1] == text.split()[1] for scene, text in zip(scenes, said["index"], strict=True)) > 30
