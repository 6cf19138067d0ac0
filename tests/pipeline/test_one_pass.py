"""What is taken in one pass before the marks, what is forced behind them."""

import pytest

from pipeline.transcribe.engines.one_pass import FORCED, Marks, arranged

pytestmark = pytest.mark.unit

MARKS = Marks(1, 11)
OPENING = [1000, 1001]
PREVIOUS = 999


def words(count: int, tokens: int = 1) -> list[list[int]]:
    return [[100 + word] * tokens for word in range(count)]


def test_the_last_words_are_forced_whole_and_all_others_precede_the_marks() -> None:
    found = arranged(MARKS, [], OPENING, words(10, tokens=3))
    assert found is not None
    led, forced = found
    assert led == [*OPENING, *(token for word in words(8, tokens=3) for token in word), MARKS.first, MARKS.second]
    assert forced == [108] * 3 + [109] * 3
    assert len(forced) >= FORCED


def test_for_a_few_known_words_it_is_not_worth_it() -> None:
    assert arranged(MARKS, [], OPENING, words(FORCED + 5)) is None
    assert arranged(MARKS, [], OPENING, []) is None


def test_the_first_mark_stands_nowhere_else() -> None:
    known = [[MARKS.first, 100], *words(12)]
    found = arranged(MARKS, [PREVIOUS, MARKS.first, *range(200, 240)], OPENING, known)
    assert found is not None
    assert found[0].count(MARKS.first) == 1


@pytest.mark.parametrize("known", range(12, 30))
def test_long_prompts_are_cut_so_that_streams_meet(known: int) -> None:
    found = arranged(MARKS, [PREVIOUS, *range(200, 240)], OPENING, words(known))
    assert found is not None
    led = found[0]
    assert (len(led) - 2) % 16 == 0
    said = led[1 : led.index(OPENING[0])]
    assert led[0] == PREVIOUS
    assert said == list(range(240 - len(said), 240)), "its end is kept"
    assert len(said) > 24


def test_a_prompt_too_short_to_be_cut_stays() -> None:
    found = arranged(MARKS, [PREVIOUS, 200, 201], OPENING, words(12))
    assert found is not None
    assert found[0][:3] in ([PREVIOUS, 200, 201], [PREVIOUS, 201, OPENING[0]])
