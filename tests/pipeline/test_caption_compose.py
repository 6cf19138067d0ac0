"""What is said of measured facts, and how they are measured: pure rules."""

import numpy as np
import pytest

from pipeline.caption import colours
from pipeline.caption.compose import Facts, Look, compose
from pipeline.caption.labels import CLASSES, GROUPS, Guess, guess, names
from pipeline.caption.text import Line, in_reading_order, merged, trusted
from pipeline.timeline import ZERO, MediaTime

pytestmark = pytest.mark.unit

CAT = Guess("a cat", 0.92, "an Egyptian cat")
NOTHING = (Look(ZERO, None),)


def test_a_whole_sentence() -> None:
    facts = Facts(
        looks=(Look(ZERO, Guess("espresso", 0.71)),),
        text=("PIKOLO", "Espresso Bar"),
        colours=("brown", "white"),
        brightness="dark",
        motion=0.0,
    )
    assert (
        compose(facts)
        == "Tags: text on screen “PIKOLO / Espresso Bar”; probably espresso (0.71); dark, mostly brown and white; still picture."
    )


@pytest.mark.parametrize(
    ("probability", "said"),
    [(0.4, "perhaps a daisy (0.40)"), (0.6, "probably a daisy (0.60)"), (0.999, "probably a daisy (0.99)")],
)
def test_certainty_is_said_in_words_and_numbers(probability: float, said: str) -> None:
    assert compose(Facts((Look(ZERO, Guess("a daisy", probability)),))) == f"Tags: {said}."


def test_nothing_measured_is_nothing_claimed() -> None:
    assert compose(Facts(NOTHING)) == "Tags: nothing recognised with confidence."


def test_a_scene_that_shows_one_thing_after_another_says_when() -> None:
    facts = Facts((Look(ZERO, Guess("a daisy", 0.7)), Look(MediaTime.of(31), None), Look(MediaTime.of(62.5), CAT)))
    assert compose(facts) == "Tags: first probably a daisy (0.70), from 1:02 probably a cat (0.92, most like an Egyptian cat)."


def test_what_is_recognised_late_is_not_said_of_the_beginning() -> None:
    facts = Facts((Look(ZERO, None), Look(MediaTime.of(61.8), CAT), Look(MediaTime.of(63), None)))
    assert compose(facts) == ("Tags: first nothing recognised with confidence, from 1:01 probably a cat (0.92, most like an Egyptian cat).")


def test_one_thing_under_two_names_is_said_once() -> None:
    palace, building = Guess("a palace", 0.62), Guess("a building", 0.88, "a palace")
    assert compose(Facts((Look(ZERO, palace), Look(MediaTime.of(6), building)))) == (
        "Tags: probably a building (0.88, most like a palace)."
    )


@pytest.mark.parametrize(
    ("motion", "changes", "said"),
    [
        (0.0, False, "still picture"),
        (0.002, False, "little movement"),
        (0.007, False, "some movement"),
        (0.02, False, "much movement"),
        (0.02, True, "much movement, changing view"),
        (0.0, True, "changing view"),
        (None, True, "changing view"),
    ],
)
def test_motion(motion: float | None, changes: bool, said: str) -> None:
    assert compose(Facts(NOTHING, motion=motion, changes=changes)).endswith(f"; {said}.")


def test_long_text_is_cut_between_words() -> None:
    sentence = compose(Facts(NOTHING, text=("word " * 100,)))
    assert "word …”" in sentence
    assert len(sentence) < 400


def test_there_is_a_name_for_each_class_in_order() -> None:
    assert len(set(names())) == CLASSES
    known = {0: "a tench", 207: "a golden retriever", 340: "a zebra", 417: "a balloon", 504: "a coffee mug", 671: "a mountain bike"}
    known |= {812: "a space shuttle", 920: "a traffic light", 954: "a banana", 967: "espresso", 985: "a daisy", 999: "toilet paper"}
    assert {index: names()[index] for index in known} == known


def test_groups_hold_what_their_name_says_and_share_nothing() -> None:
    grouped = [index for classes in GROUPS.values() for index in classes]
    assert len(grouped) == len(set(grouped))
    for group, first, last in [("a dog", "a Chihuahua", "a Mexican hairless dog"), ("a cat", "a tabby cat", "an Egyptian cat")]:
        assert (names()[GROUPS[group][0]], names()[GROUPS[group][-1]]) == (first, last)
    assert {names()[index] for index in GROUPS["a rocket or missile"]} == {"a missile", "a projectile", "a space shuttle"}
    assert {names()[index] for index in GROUPS["a train or tram"]} == {
        "a bullet train", "an electric locomotive", "a goods wagon", "a railway carriage", "a steam locomotive", "a tram",
    }  # fmt: skip


def _distribution(**named: float) -> np.ndarray:
    rest = (1 - sum(named.values())) / (CLASSES - len(named))
    probabilities = np.full(CLASSES, rest, np.float32)
    for name, probability in named.items():
        probabilities[names().index(name.replace("_", " "))] = probability
    return probabilities


def test_a_certain_class_is_named_itself() -> None:
    found = guess(_distribution(espresso=0.9, a_cup=0.05))
    assert found is not None
    assert (found.what, found.like) == ("espresso", None)
    assert found.probability == pytest.approx(0.9)


def test_similar_classes_add_up_to_their_group() -> None:
    found = guess(_distribution(an_Egyptian_cat=0.4, a_tiger_cat=0.3, a_tabby_cat=0.2))
    assert found is not None
    assert (found.what, found.like) == ("a cat", "an Egyptian cat")
    assert found.probability == pytest.approx(0.9, abs=0.01)


def test_a_little_of_many_classes_is_no_group() -> None:
    probabilities = np.full(CLASSES, 0.3 / (CLASSES - 118), np.float32)
    probabilities[list(GROUPS["a dog"])] = 0.7 / 118
    assert guess(probabilities) is None


def test_an_unlikely_best_is_not_named() -> None:
    assert guess(_distribution(a_bobsleigh=0.28, a_crash_helmet=0.06)) is None
    assert guess(np.full(CLASSES, 1 / CLASSES, np.float32)) is None


@pytest.mark.parametrize(
    ("name", "rgb"),
    [
        ("black", (10, 10, 10)), ("grey", (99, 99, 99)), ("white", (250, 250, 250)), ("red", (200, 20, 20)),
        ("orange", (250, 140, 20)), ("brown", (110, 70, 30)), ("yellow", (240, 220, 30)), ("green", (30, 140, 40)),
        ("turquoise", (40, 210, 200)), ("teal", (0, 90, 90)), ("blue", (30, 60, 200)), ("purple", (120, 30, 180)),
        ("pink", (250, 150, 190)),
    ],
)  # fmt: skip
def test_colours_have_the_names_people_use(name: str, rgb: tuple[int, int, int]) -> None:
    assert colours.shares(np.full((4, 4, 3), rgb, np.uint8))[name] == 1.0


def test_only_colours_that_cover_much_are_named() -> None:
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:6] = (250, 250, 250)
    picture[9] = (200, 20, 20)
    share = colours.shares(picture)
    assert share["red"] == pytest.approx(0.1)
    assert colours.dominant(share) == ("white", "black")
    assert sum(share.values()) == pytest.approx(1)


def test_luma() -> None:
    assert colours.luma(np.full((2, 2, 3), 255, np.uint8)) == pytest.approx(1)
    assert colours.luma(np.full((2, 2, 3), (0, 255, 0), np.uint8)) == pytest.approx(0.587)


def _line(text: str, *, left: float = 0, top: float = 0, score: float = 0.99) -> Line:
    return Line(text, score, left=left, top=top, bottom=top + 20)


def test_text_is_read_in_rows() -> None:
    lines = [_line("right", left=200, top=3), _line("below", top=40), _line("left", top=6)]
    assert [line.text for line in in_reading_order(lines)] == ["left", "right", "below"]


def test_what_may_be_no_text_is_dropped() -> None:
    assert [
        line.text
        for line in trusted(
            [
                _line("品", score=0.95),
                _line("~ ~", score=0.9),
                _line("Exit", score=0.7),
                _line("111"),
                _line("I I I"),
                _line("11"),
                _line("Room 42"),
            ]
        )
    ] == ["11", "Room 42"]


def test_a_line_read_twice_is_kept_once_in_its_surer_reading() -> None:
    first = [_line("Quarterly repart", score=0.9), _line("Room 42")]
    second = [_line("Quarterly report", score=0.99), _line("room 42."), _line("Room 43")]
    assert merged([first, second]) == ("Quarterly report", "Room 42", "Room 43")


def test_text_is_bounded() -> None:
    lines = merged([[_line(f"{index} {'x' * 500}") for index in range(100)]])
    assert len(lines) == 40
    assert max(map(len, lines)) == 200
