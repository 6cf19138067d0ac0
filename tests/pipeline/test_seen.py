"""What may be said of things that were seen, and how the memory holds it: pure rules."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from watchword.v1.scene_pb2 import Keyframe, SceneBoundary, SceneCaption

from pipeline.caption.detector import Box, Detection
from pipeline.caption.messages import caption_of, glances_of
from pipeline.caption.model import Description
from pipeline.caption.seen import Glance, Sight, groups, most_people, place_of, scene_groups, settled, told, unplaced
from pipeline.caption.things import LABELS
from pipeline.memory.inview import read, stretches
from pipeline.safety import described
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

LEFT, MIDDLE, RIGHT = (Box(x, 0.2, x + 0.1, 0.8) for x in (0.05, 0.45, 0.85))


def sight(label: str, score: float, box: Box = MIDDLE, *, colour: str = "", rival: str = "") -> Sight:
    return Sight(label, score, box, colour, rival)


def scene(*pictures: Sequence[Sight]) -> tuple[Glance, ...]:
    return tuple(Glance(MediaTime.of(2 * number), tuple(sights)) for number, sights in enumerate(pictures))


def said(*pictures: Sequence[Sight]) -> list[str]:
    return [group.told() for group in scene_groups(told(scene(*pictures)))]


@pytest.mark.parametrize(
    ("scores", "sure"),
    [([0.56], True), ([0.54], False), ([0.5, 0.4], True), ([0.5, 0.39], False), ([0.46, 0.45, 0.45], False)],
)
def test_a_thing_is_told_that_one_picture_shows_clearly_or_two_show_well(scores: list[float], sure: bool) -> None:
    assert said(*([sight("dog", score)] for score in scores)) == (["a dog (centre)"] if sure else [])


def test_the_same_picture_twice_is_no_second_witness() -> None:
    pictures = scene([sight("dog", 0.52)], [sight("dog", 0.52)])
    assert told(pictures)[0].sights
    assert not any(glance.sights for glance in told(pictures, distinct=[True, False]))


def test_what_may_as_well_be_something_else_is_told_as_either() -> None:
    found = [Detection("frisbee", 0.6, MIDDLE), Detection("sports ball", 0.5, MIDDLE), Detection("kite", 0.3, MIDDLE)]
    (one,) = settled(found)
    assert (one.label, one.rival) == ("frisbee", "sports ball")
    assert said([one]) == ["a frisbee or ball (centre)"]
    # The other way round in the next picture, it is the same thing.
    assert said([one], [sight("sports ball", 0.5, LEFT, rival="frisbee")]) == ["a frisbee or ball"]
    # Seen alone most often, it is what it is.
    assert said([one], [sight("frisbee", 0.6)], [sight("frisbee", 0.6)]) == ["a frisbee (centre)"]


def test_things_are_counted_at_one_time() -> None:
    three = [sight("bottle", 0.6, LEFT), sight("bottle", 0.6), sight("bottle", 0.6, RIGHT)]
    assert said(three, three) == ["three bottles"]
    assert said(three, three[:2], three) == ["up to three bottles"]
    assert said(three, three[:2], three[:2]) == ["at least two bottles"]
    assert [group.told() for group in groups(three)] == ["three bottles (left, centre, right)"]


def test_one_that_is_unsure_is_not_counted_but_said_to_be_possible() -> None:
    crowd = [sight("person", 0.6, LEFT), sight("person", 0.5), sight("person", 0.35, RIGHT)]
    assert said(crowd) == ["at least two people"]
    assert most_people(told(scene(crowd))) == 2
    assert most_people(told(scene([sight("dog", 0.6)]))) is None


@pytest.mark.parametrize(
    ("box", "place"),
    [
        (Box(0.0, 0.1, 0.2, 0.9), "left"),
        (Box(0.4, 0.0, 0.6, 0.2), "top centre"),
        (Box(0.8, 0.8, 1.0, 1.0), "bottom right"),
        (Box(0.4, 0.4, 0.6, 0.6), "centre"),
        (Box(0.0, 0.0, 0.9, 1.0), ""),
    ],
)
def test_places(box: Box, place: str) -> None:
    assert place_of(box) == place


def test_a_place_is_told_of_a_scene_where_it_stays() -> None:
    assert said([sight("dog", 0.6)], [sight("dog", 0.6)]) == ["a dog (centre)"]
    assert said([sight("dog", 0.6, LEFT)], [sight("dog", 0.6)]) == ["a dog"]


def painted(ground: tuple[int, int, int], thing: tuple[int, int, int]) -> np.ndarray:
    pixels = np.full((100, 100, 3), ground, np.uint8)
    pixels[20:80, 45:55] = thing
    return pixels


@pytest.mark.parametrize(
    ("label", "ground", "thing", "colour"),
    [
        ("cup", (230, 230, 230), (20, 60, 210), "blue"),
        ("bottle", (200, 40, 40), (200, 40, 40), ""),  # what shows what is behind it has no colour
        ("cup", (20, 60, 210), (128, 128, 128), ""),  # grey is shade
        ("person", (230, 230, 230), (20, 60, 210), ""),
        ("orange", (230, 230, 230), (240, 130, 10), ""),
    ],
)
def test_a_colour_is_told_where_it_is_the_things_own(
    label: str, ground: tuple[int, int, int], thing: tuple[int, int, int], colour: str
) -> None:
    (one,) = settled([Detection(label, 0.9, MIDDLE)], painted(ground, thing))
    assert one.colour == colour


def test_things_of_one_scene_have_one_colour_or_none() -> None:
    assert said([sight("cup", 0.6, colour="blue")], [sight("cup", 0.6, colour="blue")], [sight("cup", 0.6)]) == ["a blue cup (centre)"]
    assert said([sight("cup", 0.6, colour="blue")], [sight("cup", 0.6, colour="red")]) == ["a cup (centre)"]


def test_a_stretch_lasts_while_the_same_is_seen() -> None:
    one, two = [sight("bottle", 0.6, LEFT)], [sight("bottle", 0.6, LEFT), sight("bottle", 0.6, RIGHT)]
    found = [(each.text, each.start.seconds, each.end.seconds) for each in stretches(scene(two, two, one, [], two))]
    assert found == [("two bottles (left, right)", 0, 2), ("a bottle (left)", 4, 4), ("nothing", 6, 6), ("two bottles (left, right)", 8, 8)]


BOXES = st.builds(lambda x, y: Box(x, y, x + 0.1, y + 0.1), st.floats(0, 0.9), st.floats(0, 0.9))
SIGHTS = st.builds(
    Sight, st.sampled_from(LABELS), st.floats(0.3, 1), BOXES, st.sampled_from(["", "blue", "white"]), st.just("") | st.sampled_from(LABELS)
)


@given(st.lists(SIGHTS, min_size=1, max_size=24))
def test_what_is_written_is_read_back(sights: list[Sight]) -> None:
    (line,) = stretches([Glance(MediaTime(0), tuple(sights))])
    made, items = groups(sights), read(line.text)
    assert [item.label for item in items] == [group.label for group in made]
    for item, group in zip(items, made, strict=True):
        own = [each for each in sights if each.label == group.label]
        assert item.text == group.told()
        assert item.count == max(sum(each.score >= 0.4 for each in own), 1)
        assert (item.colour, item.rival) == (own[0].colour, own[0].rival)


@given(st.lists(SIGHTS, min_size=1, max_size=24), st.booleans())
def test_places_are_taken_out_as_they_were_written(sights: list[Sight], scored: bool) -> None:
    for group in groups(sights):
        assert group.places == () or unplaced(group.told(scored=scored)) == group.words
    assert unplaced("The dog has left (by the right door).") == "The dog has left (by the right door)."


def test_what_is_no_such_line_is_passed_over() -> None:
    assert read("Two men talk (quietly); nobody listens.") == ()


def captioned() -> tuple[SceneCaption, tuple[Glance, ...]]:
    half, whole = Box(0.0, 0.25, 0.5, 1.0), Box(0.5, 0.0, 1.0, 1.0)
    seen = scene(
        [sight("cup", 0.75, half, colour="blue")], [sight("frisbee", 0.5, whole, rival="sports ball"), sight("cup", 0.75, half)], []
    )
    keyframes = [Keyframe(id=f"k{number}", media_time=glance.time.to_proto()) for number, glance in enumerate(seen)]
    description = Description("Tags: a blue cup (0.75).", objects=("a blue cup",), seen=seen)
    return caption_of(SceneBoundary(stream_id="s", scene_id="scene-0"), description, keyframes, model="tags"), seen


def test_a_caption_carries_what_was_seen_and_in_which_keyframe() -> None:
    caption, seen = captioned()
    assert glances_of(SceneCaption.FromString(caption.SerializeToString())) == seen
    assert list(caption.searched) == ["k0", "k1", "k2"]
    assert [(each.keyframe_id, each.label) for each in caption.seen] == [("k0", "cup"), ("k1", "frisbee"), ("k1", "cup")]


JUDGED = ["a blue cup", "a cup", "a frisbee or ball", "sports ball"]


def test_what_was_seen_is_judged_in_the_words_in_which_it_is_told() -> None:
    caption, _ = captioned()
    assert described.words_of(caption) == JUDGED
    seen = scene([sight("tv", 0.6), sight("knife", 0.6, LEFT), sight("knife", 0.6, RIGHT)])
    keyframe = Keyframe(id="k0", media_time=seen[0].time.to_proto())
    bare = caption_of(SceneBoundary(), Description("Tags.", seen=seen), [keyframe], model="tags")
    told = [item.text.partition(" (")[0] for line in stretches(glances_of(bare)) for item in read(line.text)]
    assert set(told) < set(described.words_of(bare)) == {"a screen", "tv", "two knives", "knife"}


@pytest.mark.parametrize(
    ("masked", "left"),
    [
        ("", ["cup", "frisbee", "cup"]),
        ("a blue cup", ["frisbee"]),
        ("a frisbee or ball", ["cup", "cup"]),
        ("sports ball", ["cup", "cup"]),
    ],
)
def test_a_thing_whose_word_is_masked_has_no_label_either(masked: str, left: list[str]) -> None:
    caption, _ = captioned()
    described.put_back(caption, ["■■■" if word == masked else word for word in JUDGED])
    assert [each.label for each in caption.seen] == left
    assert list(caption.objects) == ["■■■" if masked == "a blue cup" else "a blue cup"]


def test_nothing_is_told_of_what_was_seen_where_a_word_is_withheld() -> None:
    caption, _ = captioned()
    described.put_back(caption, [*JUDGED[:-1], None])
    assert not caption.seen
    assert [each.text for each in stretches(glances_of(caption))] == ["nothing"]
