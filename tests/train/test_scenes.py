"""Unit: what synthetic clips show is what their captions say, and nothing but the times tells how quick a clip is."""

import numpy as np
import pytest

from train.colours import draw_tint, middle
from train.evaluate import held_out, parse, score, tally
from train.render import GRID, TOKEN, UNKNOWN, label, render
from train.scenes import COLOURS, HELD_OUT, KINDS, RANGES, SHAPES, SIDE, Event, Motion, Scene, Thing, caption, draw_scene, questions
from train.shapes import cover

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(np.random.default_rng((5, index))) for index in range(400)]


def _pairs(scene: Scene) -> set[tuple[str, str]]:
    return {(event.thing.colour, event.thing.shape) for event in scene.events}


def test_a_caption_says_what_happens_in_order() -> None:
    mover = Event(Thing("red", "circle"), Motion("left", "slowly"), 0, ((40, 20), (35, 20), (28, 20)), 7)
    squares = Event(Thing("blue", "square", 2), None, 2, ((20, 50), (40, 50)), 6)
    scene = Scene((mover, squares), (0.0, 1.5, 4.9), (0, 0, 0))
    assert caption(scene) == "A red circle moves left slowly. After 4 seconds, two blue squares appear."
    assert {each.asked: each.answer for each in questions(scene)} == {
        "Which way does the red circle move?": "It moves left.",
        "How fast does the red circle move?": "It moves slowly.",
        "How many blue squares are there?": "Two.",
        "What colour is the first thing?": "It is red.",
        "What shape is the first thing?": "It is a circle.",
        "What colour is the second thing?": "They are blue.",
        "What shape is the second thing?": "They are squares.",
        "What is seen first?": "A red circle.",
        "When does the second thing, two blue squares, appear?": "After 4 seconds.",
    }
    assert Thing("green", "cross", 3).named() == "three green crosses"
    word = Event(Thing("white", "", 1, "STOP"), None, 0, ((30, 30),), 6)
    late = Event(Thing("red", "circle"), Motion("up", "quickly"), 1, ((0, 0), (50, 40), (50, 30)), 7)
    assert caption(Scene((word, late), (0.0, 0.9, 2.0), (0, 0, 0))) == (
        "The word STOP is shown. Within a second, a red circle appears and moves up quickly."
    )


def test_frames_show_what_is_told(scenes: list[Scene]) -> None:
    for scene in scenes[:60]:
        frames = render(scene)
        for event in scene.events:
            if event.thing.shape not in ("circle", "square", "triangle", "diamond", "star"):  # the others do not fill their middle
                continue
            for index, frame in enumerate(frames):
                for x, y in [event.centres[index]] if event.motion else event.centres:
                    shown = np.abs(frame[int(y), int(x)].astype(int) - event.shown).max() <= 1
                    assert shown == (index >= event.appears)


def test_a_mover_goes_where_and_as_fast_as_it_is_said_to(scenes: list[Scene]) -> None:
    steps = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
    for scene in scenes:
        for event in (each for each in scene.events if each.motion):
            assert event.motion
            way = np.diff(np.array(event.centres[event.appears :]), axis=0)
            assert (np.sign(np.round(way, 6)) == steps[event.motion.direction]).all()
            speed = np.abs(way).sum(axis=1) / np.diff(scene.times[event.appears :])
            assert (speed > RANGES[event.motion.speed][0] - 1e-6).all()
            assert (speed < RANGES[event.motion.speed][1] + 1e-6).all()


def test_pixels_do_not_tell_the_speed(scenes: list[Scene]) -> None:
    """The ways of slow and quick movers have the same distribution; their times do not."""
    ways: dict[str, list[float]] = {"slowly": [], "quickly": []}
    for scene in scenes:
        for event in (each for each in scene.events if each.motion):
            assert event.motion
            ways[event.motion.speed].append(float(np.abs(np.array(event.centres[-1]) - event.centres[event.appears]).sum()))
    slow, quick = np.array(ways["slowly"]), np.array(ways["quickly"])
    assert min(len(slow), len(quick)) > 100
    error = np.hypot(slow.std() / len(slow) ** 0.5, quick.std() / len(quick) ** 0.5)
    assert abs(slow.mean() - quick.mean()) < 3 * error


def test_times_are_uneven_and_go_forward(scenes: list[Scene]) -> None:
    gaps = [np.diff(scene.times) for scene in scenes]
    assert all((each > 0).all() for each in gaps)
    assert np.mean([each.max() / each.min() > 1.3 for each in gaps]) > 0.8
    assert max(scene.times[-1] for scene in scenes) < 20


def test_things_stay_in_the_picture_and_apart(scenes: list[Scene]) -> None:
    for scene in scenes:
        for event in scene.events:
            seen = np.array(event.centres[event.appears :] if event.motion else event.centres)
            assert seen.min() >= event.radius - 1e-6
            assert seen.max() <= SIDE - event.radius + 1e-6


def test_training_never_shows_a_held_out_pair(scenes: list[Scene]) -> None:
    assert not any(_pairs(scene) & HELD_OUT for scene in scenes)
    assert len(set().union(*map(_pairs, scenes))) > 0.9 * len(COLOURS) * len(SHAPES), "of 800 things, nearly every other pair is one"
    for scene in held_out(30, combinations=True):
        first = scene.events[0].thing
        assert (first.colour, first.shape) in HELD_OUT


def test_no_tint_goes_by_two_names() -> None:
    rng = np.random.default_rng(1)
    drawn = {colour: np.array([draw_tint(rng, colour) for _ in range(300)], float) for colour in COLOURS}
    for one, tints in drawn.items():
        assert np.linalg.norm(tints - middle(one), axis=1).min() < 25
        for other in COLOURS[: COLOURS.index(one)]:
            assert np.linalg.norm(tints[:, None] - drawn[other][None], axis=-1).min() > 15, (one, other)


def test_shapes_differ_at_the_smallest_size() -> None:
    drawn = [cover(each, 20.3, 20.6, 5.5) for each in SHAPES]
    for index, one in enumerate(drawn):
        assert 25 < one.sum() < 120
        assert all(np.abs(one - other).sum() > 15 for other in drawn[:index])
    with pytest.raises(ValueError, match="heptagon"):
        cover("heptagon", 20, 20, 6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked_for(kind: str) -> None:
    scene = draw_scene(np.random.default_rng(3), kind=kind, frames=5)
    assert tuple(event.motion is not None for event in scene.events) == KINDS[kind]
    assert len(scene.times) == 5


def test_labels_lie_where_the_things_are(scenes: list[Scene]) -> None:
    for scene in scenes[:40]:
        labels = label(scene)
        assert (labels.second == np.repeat([int(each) for each in scene.times], GRID * GRID)).all()
        for event in scene.events:
            x, y = event.centres[-1]
            token = ((len(scene.times) - 1) * GRID + int(y // TOKEN)) * GRID + int(x // TOKEN)
            expected = len(SHAPES) if event.thing.word else SHAPES.index(event.thing.shape)
            assert labels.shape[token] == 1 + expected
            assert (labels.speed[token] == UNKNOWN) == (event.motion is None)


def test_scores_are_of_what_a_clip_has() -> None:
    mover = Event(Thing("red", "circle"), Motion("left", "slowly"), 0, ((40, 20), (35, 20), (28, 20)), 7)
    squares = Event(Thing("blue", "square", 2), None, 2, ((20, 50), (40, 50)), 6)
    scene = Scene((mover, squares), (0.0, 1.5, 4.9), (0, 0, 0))
    assert all(score(scene, caption(scene)).values())
    said = score(scene, "A red circle moves right quickly. After 5 seconds, two blue squares appear.")
    assert [name for name, fine in said.items() if not fine] == ["direction", "speed", "second", "caption"]
    swapped = score(scene, "Two blue squares are shown. After 4 seconds, a red circle appears and moves left slowly.")
    assert [name for name, fine in swapped.items() if not fine] == ["order", "caption"]
    assert not any(score(scene, "").values())
    assert "direction" not in score(Scene((squares,), (0.0, 1.0, 2.0), (0, 0, 0)), "")
    assert parse("The word STOP is shown.").words == {"STOP": 1}
    assert tally([said, swapped])["direction"] == (1, 2)
    assert tally([said, swapped])["caption"] == (0, 2)
