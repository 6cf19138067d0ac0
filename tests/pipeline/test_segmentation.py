"""When a segment starts, is heard again, and ends."""

import pytest

from pipeline.transcribe.segmentation import (
    FRAME,
    RATE,
    RULES,
    Move,
    Stretch,
    cut_border,
    next_move,
    pause_border,
    segment_start,
    stretches,
    unheard_from,
)

pytestmark = pytest.mark.unit


def at(seconds: float) -> int:
    return round(seconds * RATE)


def test_speech_starts_high_and_lasts_until_it_is_low() -> None:
    found = stretches([0.1, 0.4, 0.6, 0.4, 0.36, 0.34, 0.4, 0.9, 0.9], RULES)
    assert found == [Stretch(2 * FRAME, 5 * FRAME), Stretch(7 * FRAME, 9 * FRAME)]
    assert stretches([], RULES) == []
    assert stretches([0.49] * 50, RULES) == []


def test_short_noises_start_nothing() -> None:
    burst = Stretch(at(1), at(1.2))
    assert segment_start([burst, Stretch(at(2), at(2.2))], RULES) is None
    assert segment_start([], RULES) is None


def test_a_segment_starts_before_its_first_sound() -> None:
    assert segment_start([Stretch(at(1), at(1.1)), Stretch(at(1.4), at(1.8))], RULES) == at(0.76)
    assert segment_start([Stretch(at(0.1), at(0.8))], RULES) == 0


def move(now: float, speech: list[tuple[float, float]], *, stepped: float = 0.3, sentence: bool = False) -> Move:
    return next_move(
        now=at(now),
        start=0,
        stepped=at(stepped),
        speech=[Stretch(at(start), at(end)) for start, end in speech],
        sentence_ended=sentence,
        rules=RULES,
    )


@pytest.mark.parametrize(
    ("now", "speech", "stepped", "sentence", "expected"),
    [
        (1.2, [(0.3, 1.2)], 0.3, False, Move.WAIT),
        (1.3, [(0.3, 1.3)], 0.3, False, Move.STEP),
        (2.2, [(0.3, 2.2)], 1.3, False, Move.WAIT),
        (2.4, [(0.3, 2.0)], 1.3, False, Move.STEP),
        (2.4, [(0.3, 1.9)], 2.0, False, Move.WAIT),
        (2.5, [(0.3, 1.9)], 1.3, False, Move.PAUSE),
        (9.0, [(0.3, 8.6)], 8.5, False, Move.WAIT),
        (9.0, [(0.3, 8.6)], 8.5, True, Move.PAUSE),
        (13.0, [(0.3, 12.6)], 12.5, False, Move.PAUSE),
        (13.0, [(0.3, 13.0)], 12.5, False, Move.CUT),
        (13.0, [(0.3, 13.0)], 11.5, False, Move.STEP),
        (18.0, [(0.3, 18.0)], 16.5, False, Move.CUT),
    ],
    ids=[
        "too-soon",
        "first-step",
        "next-step-not-due",
        "next-step",
        "nothing-new-since-the-last-step",
        "pause",
        "short-pause-in-a-sentence",
        "short-pause-after-a-sentence",
        "short-pause-in-a-very-long-segment",
        "between-words-in-a-very-long-segment",
        "next-step-in-a-very-long-segment",
        "maximum",
    ],
)
def test_moves(now: float, speech: list[tuple[float, float]], stepped: float, sentence: bool, expected: Move) -> None:
    assert move(now, speech, stepped=stepped, sentence=sentence) is expected


def test_a_pause_leaves_sound_its_end_and_the_next_segment_its_start() -> None:
    borders = [at(2.0), at(2.25), at(2.5)]
    assert pause_border(borders, at(1.9), RULES) == at(2.25)
    assert pause_border(borders, at(2.4), RULES) == at(2.5)


@pytest.mark.parametrize(
    ("levels", "stable_end", "longest", "expected"),
    [
        ([0.0, 0.2, 0.04, 0.03], 1500, False, 4000),
        ([0.0, 0.2, 0.03, 0.04], 1500, False, 3000),
        ([0.0, 0.2, 0.1, 0.3], 1500, False, None),
        ([0.0, 0.2, 0.1, 0.3], 1500, True, 3000),
        ([0.0, 0.2, 0.1, 0.3], 3500, True, 4000),
        ([0.0, 0.2, 0.1, 0.3], 9000, True, 4000),
        ([0.0, 0.2, 0.1, 0.3], 9000, False, None),
        ([0.0, 0.0, 0.0, 0.0], 0, True, 4000),
    ],
)
def test_running_speech_is_cut_where_it_is_quiet_after_the_stable_words(
    levels: list[float], stable_end: int, longest: bool, expected: int | None
) -> None:
    assert cut_border([1000, 2000, 3000, 4000], levels, stable_end=stable_end, longest=longest, rules=RULES) == expected


def test_speech_after_the_last_word_is_heard_again_from_just_before_it() -> None:
    speech = [Stretch(at(0.3), at(5)), Stretch(at(5.7), at(12))]
    assert unheard_from(at(4.9), speech, RULES) == at(5.46)
    assert unheard_from(at(3), speech, RULES) == at(3)
    assert unheard_from(at(11.5), speech, RULES) is None
    assert unheard_from(at(13), speech, RULES) is None
