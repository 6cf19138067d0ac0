"""The baseline's policy: what two hypotheses agree on, what a seam repeats, and what is prompted."""

import pytest

from bench.transcription.local_agreement import Agreement, Timed, prompt, seam, words
from bench.transcription.metrics import Word

pytestmark = pytest.mark.unit


def timed(text: str, start_s: float = 0.0, each_s: float = 0.5) -> list[Timed]:
    return [Timed(start_s + n * each_s, start_s + (n + 1) * each_s, f" {word}") for n, word in enumerate(text.split())]


def written(part: list[Timed]) -> str:
    return "".join(word.text for word in part).strip()


def test_what_two_hypotheses_in_a_row_begin_with_is_committed() -> None:
    agreement = Agreement()
    agreement.take(timed("the ship loft"), 0.0)
    assert (written(agreement.committed), written(agreement.tail)) == ("", "the ship loft")
    agreement.take(timed("the ship left port"), 0.0)
    assert (written(agreement.committed), written(agreement.tail)) == ("the ship", "left port")
    assert agreement.reached_s == 1.0
    agreement.take(timed("the ship left port at"), 0.0)
    assert (written(agreement.committed), written(agreement.tail)) == ("the ship left port", "at")


def test_case_matters_as_in_the_published_policy() -> None:
    agreement = Agreement()
    agreement.take(timed("The ship"), 0.0)
    agreement.take(timed("the ship"), 0.0)
    assert agreement.committed == []


def test_words_from_before_what_is_committed_are_not_taken_again() -> None:
    agreement = Agreement(committed=timed("the ship"), reached_s=1.0)
    agreement.take(timed("a ship left"), 0.0)
    assert written(agreement.tail) == "left"


def test_a_repetition_at_the_seam_is_taken_off() -> None:
    committed = timed("we saw the ship")
    assert seam(committed, timed("ship left", 1.95), 2.0) == 1
    assert seam(committed, timed("the ship left", 1.95), 2.0) == 2
    assert seam(committed, timed("boat left", 1.95), 2.0) == 0
    assert seam(committed, timed("ship left", 3.1), 2.0) == 0
    assert seam([], timed("ship"), 0.0) == 0


def test_the_prompt_is_the_last_two_hundred_characters_before_the_buffer() -> None:
    committed = timed(" ".join(f"word{n:02}" for n in range(60)))
    said = prompt(committed, 20.0)
    assert said.endswith("word39")
    assert said.startswith(" word15")
    assert prompt(committed, 0.0) == ""


def test_parts_are_joined_to_the_word_before() -> None:
    parts = [Timed(0.0, 0.4, " twenty"), Timed(0.4, 0.8, "-five"), Timed(0.8, 1.0, " pounds.")]
    assert words(parts) == (Word("twenty-five", 0.0, 0.8), Word("pounds.", 0.8, 1.0))
