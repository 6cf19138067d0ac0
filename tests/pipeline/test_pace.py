"""How often partials are said when hearing is slow."""

import pytest

from pipeline.transcribe.pace import DEBT, SHARE, SLOWEST, Pace
from pipeline.transcribe.segmentation import RATE, RULES

pytestmark = pytest.mark.unit


def test_steps_are_as_short_as_the_rules_say_while_hearing_is_quick() -> None:
    pace = Pace(RULES)
    assert pace.step == RULES.step
    pace.heard(RULES.step / RATE * SHARE * 0.99, quickly=True)
    assert pace.step == RULES.step


def test_steps_widen_with_what_a_quick_hearing_took() -> None:
    pace = Pace(RULES)
    seconds = RULES.step / RATE * SHARE * 1.2
    pace.heard(seconds, quickly=True)
    assert pace.step == pytest.approx(RULES.step * 1.2, abs=1)
    assert pace.step is not None
    assert pace.step / RATE * SHARE == pytest.approx(seconds, abs=1e-3)


def test_steps_have_a_limit() -> None:
    pace = Pace(RULES)
    pace.heard(SLOWEST / RATE * SHARE * 1.1, quickly=True)
    assert pace.step == SLOWEST


def test_steps_do_not_widen_with_what_finals_take() -> None:
    pace = Pace(RULES)
    pace.heard(DEBT * 0.9, quickly=False)
    assert pace.step == RULES.step


@pytest.mark.parametrize("quickly", [True, False], ids=["partials", "finals"])
def test_partials_are_left_out_while_hearing_is_behind(quickly: bool) -> None:
    pace = Pace(RULES)
    pace.heard(DEBT, quickly=quickly)
    assert pace.step is not None
    pace.heard(0.1, quickly=quickly)
    assert pace.step is None


def test_audio_is_time_to_catch_up_in() -> None:
    pace = Pace(RULES)
    pace.heard(DEBT + 1, quickly=False)
    pace.received(RATE - RATE // 10)
    assert pace.step is None
    pace.received(RATE // 5)
    assert pace.step == RULES.step


def test_time_that_was_left_over_is_not_saved_up() -> None:
    pace = Pace(RULES)
    pace.received(RATE * 3600)
    pace.heard(DEBT + 0.1, quickly=False)
    assert pace.step is None


def test_steps_get_short_again_when_hearing_gets_quick_again() -> None:
    pace = Pace(RULES)
    pace.heard(1.0, quickly=True)
    assert pace.step is not None
    assert pace.step > RULES.step
    pace.heard(0.01, quickly=True)
    assert pace.step == RULES.step


def run(cost_s: float, seconds: int = 60) -> tuple[int, float]:
    """How many partials are said where each takes so long to hear, and how far behind that is at the end."""
    pace, behind, since, count = Pace(RULES), 0.0, 0, 0
    for _ in range(seconds * 10):
        pace.received(RATE // 10)
        behind, since = max(0.0, behind - 0.1), since + RATE // 10
        if pace.step is not None and since >= pace.step:
            pace.heard(cost_s, quickly=True)
            behind, since, count = behind + cost_s, 0, count + 1
    return count, behind


def test_a_slow_machine_says_fewer_partials_and_is_not_left_behind() -> None:
    quick, slow, slower = run(0.05), run(0.8), run(4.0)
    assert quick[0] > slow[0] > slower[0] > 0
    assert max(quick[1], slow[1]) < 1
    assert slower[1] < DEBT + 4
