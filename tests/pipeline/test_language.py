"""Which language a stream is taken to be in."""

import pytest

from pipeline.transcribe.language import AGAIN, ENOUGH, FIRST, SURE, Belief
from pipeline.transcribe.model import LanguageGuess

pytestmark = pytest.mark.unit

UNSURE = SURE - 0.01
NOTHING = Belief("en")


def heard(belief: Belief, *guesses: tuple[str, float], speech: int = ENOUGH) -> Belief:
    for language, probability in guesses:
        belief = belief.hear((LanguageGuess(language, probability), LanguageGuess("xx", 0.0)), speech)
    return belief


KEPT = heard(NOTHING, ("de", 0.95))


def test_before_anything_was_identified_the_probability_is_zero() -> None:
    assert (NOTHING.language, NOTHING.probability) == ("en", 0)


def test_the_first_guess_is_taken_whatever_it_is() -> None:
    for probability in (0.3, 0.99):
        found = heard(NOTHING, ("de", probability), speech=FIRST)
        assert (found.language, found.probability) == ("de", probability)


def test_a_guess_from_little_speech_does_not_stick() -> None:
    first = heard(NOTHING, ("de", 0.99), speech=ENOUGH - 1)
    assert heard(first, ("fr", SURE)).language == "fr"


def test_an_unsure_guess_does_not_stick() -> None:
    first = heard(NOTHING, ("de", 0.5))
    assert heard(first, ("fr", 0.51)).language == "fr"


def test_one_poor_guess_does_not_change_a_better_one_and_two_in_a_row_do() -> None:
    first = heard(NOTHING, ("es", 0.95), speech=FIRST)
    assert heard(first, ("th", 0.49), speech=FIRST) == Belief("es", 0.95, rival="th")
    assert heard(first, ("th", 0.49), ("la", 0.3), speech=FIRST).language == "es"
    assert heard(first, ("th", 0.49), ("th", 0.3), speech=FIRST).language == "th"


def test_a_sure_guess_from_enough_speech_sticks() -> None:
    assert heard(heard(NOTHING, ("de", SURE)), ("fr", 0.99)).language == "de"


def test_one_sure_guess_changes_nothing() -> None:
    found = heard(KEPT, ("fr", 0.99))
    assert (found.language, found.probability) == ("de", KEPT.probability)


def test_two_sure_guesses_in_a_row_change_the_language() -> None:
    found = heard(KEPT, ("fr", 0.9), ("fr", SURE))
    assert (found.language, found.probability) == ("fr", SURE)
    assert heard(found, ("de", 0.99)).language == "fr", "the new language is kept in its turn"


def test_unsure_guesses_change_nothing_however_many() -> None:
    assert heard(KEPT, *[("fr", UNSURE)] * 10).language == "de"


@pytest.mark.parametrize("between", [("de", 0.9), ("de", 0.4), ("fr", UNSURE), ("it", 0.99)], ids=["own", "own-unsure", "unsure", "third"])
def test_sure_guesses_that_are_not_in_a_row_change_nothing(between: tuple[str, float]) -> None:
    assert heard(KEPT, ("fr", 0.99), between, ("fr", 0.99)).language == "de"


def test_the_probability_follows_the_latest_guess_of_the_language() -> None:
    assert heard(KEPT, ("de", 0.6)).probability == 0.6
    assert heard(KEPT, ("de", 0.6), ("fr", 0.99)).probability == 0.6


def test_no_guesses_change_nothing() -> None:
    assert KEPT.hear((), ENOUGH) == KEPT


def test_the_language_is_identified_from_the_first_speech() -> None:
    assert not NOTHING.due(FIRST - 1, None)
    assert NOTHING.due(FIRST, None)


def test_it_is_identified_again_as_soon_as_there_is_enough_to_be_kept() -> None:
    first = heard(NOTHING, ("de", 0.99), speech=FIRST)
    assert not first.due(ENOUGH - 1, FIRST)
    assert first.due(ENOUGH, FIRST)


def test_it_is_identified_again_and_again_until_it_is_kept() -> None:
    unsure = heard(NOTHING, ("de", UNSURE))
    assert not unsure.due(2 * ENOUGH - 1, ENOUGH)
    assert unsure.due(2 * ENOUGH, ENOUGH)


def test_once_kept_it_is_identified_seldom() -> None:
    assert not KEPT.due(ENOUGH + AGAIN - 1, ENOUGH)
    assert KEPT.due(ENOUGH + AGAIN, ENOUGH)


def test_a_rival_is_looked_at_again_soon() -> None:
    rivalled = heard(KEPT, ("fr", 0.99))
    assert rivalled.due(10 * ENOUGH, 9 * ENOUGH)
    assert not rivalled.due(10 * ENOUGH - 1, 9 * ENOUGH)
    assert not heard(rivalled, ("de", 0.9)).due(10 * ENOUGH, 9 * ENOUGH), "the rival is gone"
