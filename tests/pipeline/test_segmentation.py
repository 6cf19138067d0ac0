"""Where there is speech, when a segment starts, is heard and ends, and where everything is forgotten."""

import pytest

from pipeline.transcribe.segmentation import (
    FRAME,
    RATE,
    RULES,
    Move,
    Rules,
    Speech,
    Stretch,
    next_move,
    pause_border,
    quiet_border,
    segment_start,
    unheard_from,
)

pytestmark = pytest.mark.unit

HIGH, BETWEEN, LOW = RULES.onset, RULES.offset, RULES.offset - 0.01
MINIMUM, PAUSE = RULES.minimum_speech, RULES.pause


def at(seconds: float) -> int:
    return round(seconds * RATE)


def frames(start: int, end: int, first: int = 0) -> Stretch:
    return Stretch(first + start * FRAME, first + end * FRAME)


# Speech


def test_speech_starts_high_and_lasts_until_it_is_low() -> None:
    speech = Speech(0, RULES)
    speech.hear([LOW, BETWEEN, HIGH, BETWEEN, BETWEEN, LOW, BETWEEN, HIGH, HIGH])
    assert speech.after(0) == [frames(2, 5), frames(7, 9)]
    assert speech.heard == 9 * FRAME


def test_what_never_gets_high_is_no_speech() -> None:
    speech = Speech(0, RULES)
    assert speech.hear([HIGH - 0.01] * 50) == 0
    assert speech.after(0) == []


def test_frames_are_counted_from_the_first_sample() -> None:
    speech = Speech(1000, RULES)
    speech.hear([LOW, HIGH, LOW])
    assert speech.after(0) == [frames(1, 2, first=1000)]


@pytest.mark.parametrize("cut", range(1, 8))
def test_speech_is_the_same_however_it_is_cut(cut: int) -> None:
    probabilities = [LOW, HIGH, BETWEEN, BETWEEN, LOW, BETWEEN, HIGH, BETWEEN]
    whole, parts = Speech(0, RULES), Speech(0, RULES)
    voiced = whole.hear(probabilities)
    assert parts.hear(probabilities[:cut]) + parts.hear(probabilities[cut:]) == voiced == 5 * FRAME
    assert parts.after(0) == whole.after(0)


def test_what_is_spoken_now_goes_on() -> None:
    speech = Speech(0, RULES)
    speech.hear([HIGH])
    assert speech.after(0) == [frames(0, 1)]
    speech.hear([BETWEEN])
    assert speech.after(0) == [frames(0, 2)]


def test_speech_that_ended_can_be_left_out_and_forgotten() -> None:
    speech = Speech(0, RULES)
    speech.hear([HIGH, LOW, HIGH, HIGH, LOW, HIGH])
    first, second, now = frames(0, 1), frames(2, 4), frames(5, 6)
    assert speech.after(0) == [first, second, now]
    assert speech.after(first.end) == [second, now]
    assert speech.after(second.end - 1) == [second, now]
    speech.forget(second.end)
    assert speech.after(0) == [now]
    speech.forget(now.end)
    assert speech.after(0) == [now], "it may go on"


# Where a segment starts


def test_short_noises_start_nothing() -> None:
    burst = Stretch(at(1), at(1) + MINIMUM - 1)
    assert segment_start([burst, Stretch(at(5), at(5) + MINIMUM - 1)], 0, RULES) is None
    assert segment_start([], 0, RULES) is None
    assert segment_start([Stretch(at(1), at(1) + MINIMUM)], 0, RULES) is not None


def test_a_segment_starts_before_its_first_sound() -> None:
    assert segment_start([Stretch(at(3), at(4))], 0, RULES) == at(3) - RULES.pre_roll


def test_a_segment_never_starts_before_what_was_said_last_ends() -> None:
    assert segment_start([Stretch(at(3), at(4))], at(3) - RULES.pre_roll // 2, RULES) == at(3) - RULES.pre_roll // 2
    assert segment_start([Stretch(at(1), at(4))], at(2), RULES) == at(2)


def test_only_speech_behind_the_last_final_counts() -> None:
    closed = at(3)
    assert segment_start([Stretch(at(1), closed + MINIMUM - 1)], closed, RULES) is None
    assert segment_start([Stretch(at(1), closed + MINIMUM)], closed, RULES) == closed


def test_short_speech_just_before_is_part_of_the_segment() -> None:
    short = Stretch(at(2), at(2) + MINIMUM // 2)
    assert segment_start([short, Stretch(short.end + PAUSE - 1, at(6))], 0, RULES) == short.start - RULES.pre_roll


def test_one_short_sound_after_another_is_part_of_the_segment() -> None:
    starts = [at(2) + n * (PAUSE - 1) for n in range(4)]
    speech = [Stretch(start, start + MINIMUM // 2) for start in starts[:3]] + [Stretch(starts[3], at(9))]
    assert segment_start(speech, 0, RULES) == starts[0] - RULES.pre_roll


def test_clicks_long_before_speech_are_not_part_of_the_segment() -> None:
    click = Stretch(at(2), at(2) + MINIMUM // 2)
    assert segment_start([click, Stretch(click.end + PAUSE, at(6))], 0, RULES) == click.end + PAUSE - RULES.pre_roll
    knocks = [Stretch(at(second), at(second) + 1000) for second in range(1, 9)]
    assert segment_start([*knocks, Stretch(at(20), at(21))], 0, RULES) == at(20) - RULES.pre_roll


def test_a_segment_starts_at_the_first_speech_that_is_long_enough() -> None:
    assert segment_start([Stretch(at(2), at(3)), Stretch(at(8), at(9))], 0, RULES) == at(2) - RULES.pre_roll


# What to hear next

EXAMPLE = Rules(step=at(0.75), pause=at(0.5), close=at(2.5), again=at(1), longest=at(5.5))


@pytest.mark.parametrize(
    ("now", "speech_end", "stepped", "tried", "step", "expected"),
    [
        (10.7, 10.7, 10.0, 10.0, 0.75, Move.WAIT),
        (10.75, 10.75, 10.0, 10.0, 0.75, Move.STEP),
        (11.4, 11.4, 10.75, 10.0, 0.75, Move.WAIT),
        (11.5, 11.4, 10.75, 10.0, 0.75, Move.STEP),
        (11.5, 11.1, 11.2, 10.0, 0.25, Move.WAIT),
        (11.5, 11.2, 11.2, 10.0, 0.25, Move.WAIT),
        (11.5, 11.5, 10.0, 10.0, 2.0, Move.WAIT),
        (12.4, 12.4, 10.0, 10.0, None, Move.WAIT),
        (11.5, 11.05, 10.0, 10.0, 0.75, Move.STEP),
        (11.5, 11.0, 10.0, 10.0, 0.75, Move.PAUSE),
        (11.5, 11.0, 11.4, 10.0, None, Move.PAUSE),
        (20.0, 10.0, 20.0, 20.0, 0.75, Move.PAUSE),
        (10.4, 10.0, 10.0, 10.0, 0.75, Move.WAIT),
        (12.1, 12.1, 11.3, 10.0, 0.75, Move.STEP),
        (12.2, 12.2, 11.3, 10.0, 0.75, Move.WAIT),
        (12.5, 12.5, 12.4, 10.0, 0.75, Move.CLOSE),
        (12.5, 12.5, 12.4, 10.0, None, Move.CLOSE),
        (13.4, 13.4, 13.0, 12.5, 0.75, Move.WAIT),
        (13.1, 13.1, 12.3, 12.5, 0.75, Move.STEP),
        (13.4, 13.4, 12.5, 12.5, 0.75, Move.WAIT),
        (13.5, 13.5, 13.4, 12.5, 0.75, Move.CLOSE),
        (13.5, 13.0, 13.4, 12.5, 0.75, Move.PAUSE),
        (15.4, 15.4, 15.3, 14.8, 0.75, Move.WAIT),
        (15.5, 15.5, 15.3, 14.8, 0.75, Move.CLOSE),
        (16.5, 16.5, 16.4, 15.5, 0.75, Move.CLOSE),
    ],
    ids=[
        "first-step-not-due",
        "first-step",
        "next-step-not-due",
        "next-step",
        "nothing-new-since-the-last-step",
        "nothing-new-to-the-sample",
        "steps-are-rare",
        "no-partials",
        "short-pause",
        "pause",
        "pause-without-partials",
        "nothing-was-said-yet",
        "nothing-was-said-in-it",
        "too-short-to-close",
        "just-before-the-first-attempt",
        "long-enough-to-close",
        "closed-without-partials",
        "tried-just-now",
        "a-step-between-two-attempts",
        "just-before-the-next-attempt",
        "tried-again",
        "a-pause-goes-before-an-attempt",
        "nearly-too-long",
        "too-long-soon-after-an-attempt",
        "too-long-and-not-closed",
    ],
)
def test_moves(now: float, speech_end: float, stepped: float, tried: float, step: float | None, expected: Move) -> None:
    found = next_move(
        now=at(now),
        start=at(10),
        stepped=at(stepped),
        tried=at(tried),
        speech_end=at(speech_end),
        step=None if step is None else at(step),
        rules=EXAMPLE,
    )
    assert found is expected


def test_the_same_moves_close_a_segment_whether_partials_are_said_or_not() -> None:
    moves: dict[int | None, list[tuple[int, Move]]] = {}
    for step in (RULES.step, 2 * RULES.step, None):
        stepped = tried = 0
        for now in range(0, 3 * RULES.longest, RATE // 4):
            move = next_move(now=now, start=0, stepped=stepped, tried=tried, speech_end=now, step=step, rules=RULES)
            if move is Move.CLOSE:
                tried = now
                moves.setdefault(step, []).append((now, move))
            if move in (Move.CLOSE, Move.STEP):
                stepped = now
    assert moves[None][0][0] >= RULES.close
    assert len(moves[None]) >= 3
    assert moves[RULES.step] == moves[2 * RULES.step] == moves[None]


# Borders


def test_a_pause_leaves_sound_its_end_and_the_next_segment_its_start() -> None:
    borders = [at(2.0), at(2.25), at(2.5)]
    assert pause_border(borders, at(2.25) - RULES.post_roll, RULES) == at(2.25)
    assert pause_border(borders, at(2.25) - RULES.post_roll + 1, RULES) == at(2.5)
    assert pause_border(borders, at(2.5), RULES) == at(2.5)


@pytest.mark.parametrize(
    ("levels", "stable_end", "expected"),
    [
        ([0.0, 0.2, 0.03, 0.04], 1500, 3000),
        ([0.0, 0.2, 0.04, 0.03], 1500, 4000),
        ([0.0, 0.2, 0.1, 0.3], 2000, 3000),
        ([0.0, 0.2, 0.1, 0.3], 3500, 4000),
        ([0.0, 0.2, 0.1, 0.3], 0, 1000),
        ([0.0, 0.2, 0.1, 0.3], 9000, 4000),
        ([0.0, 0.0, 0.0, 0.0], 0, 4000),
        ([0.1, 0.0, 0.0, 0.1], 0, 3000),
    ],
)
def test_running_speech_is_cut_where_it_is_quietest_after_the_stable_words(levels: list[float], stable_end: int, expected: int) -> None:
    assert quiet_border([1000, 2000, 3000, 4000], levels, stable_end=stable_end) == expected


# What the model leaves out


def test_speech_after_the_last_word_is_heard_again_from_just_before_it() -> None:
    speech = [Stretch(at(0.3), at(5)), Stretch(at(5.7), at(12))]
    assert unheard_from(at(4.9), speech, RULES) == at(5.7) - RULES.pre_roll
    assert unheard_from(at(3), speech, RULES) == at(3)
    assert unheard_from(at(5.69), speech, RULES) == at(5.69)


def test_a_short_rest_is_not_heard_again() -> None:
    speech = [Stretch(at(0.3), at(5)), Stretch(at(5.7), at(12))]
    assert unheard_from(at(12) - RULES.unheard, speech, RULES) is not None
    assert unheard_from(at(12) - RULES.unheard + 1, speech, RULES) is None
    assert unheard_from(at(13), speech, RULES) is None
    assert unheard_from(0, [], RULES) is None


def test_a_click_behind_the_last_word_is_not_where_to_listen_again() -> None:
    speech = [Stretch(at(1), at(4)), Stretch(at(4.5), at(4.5) + MINIMUM // 2), Stretch(at(8), at(12))]
    assert unheard_from(at(4), speech, RULES) == at(8) - RULES.pre_roll
