"""How much of what was said is heard again, and what leads the model."""

from itertools import accumulate, pairwise

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.context import GLOSSARY_WORDS, PROMPT_WORDS, Reach, beginning, prompt, terms
from pipeline.transcribe.words import HeardWord
from tests.fakes import spoken_words

pytestmark = pytest.mark.unit

EXAMPLE = Reach(MediaTime.of(2), MediaTime.of(4))


def begins(words: tuple[HeardWord, ...], before: float | None = None, reach: Reach = EXAMPLE) -> float | None:
    begin = beginning(words, None if before is None else MediaTime.of(before), reach)
    return None if begin is None else begin.seconds


def test_where_nothing_is_known_nothing_is_heard_again() -> None:
    assert begins(()) is None
    assert begins((), 3.0) is None


def test_little_is_heard_again_from_its_start() -> None:
    assert begins(spoken_words("and so it", 7, 0.5)) == 7
    assert begins(spoken_words("and. so, it goes on now", 7, 0.5)) == 7


def test_it_stays_until_there_is_too_much() -> None:
    words = spoken_words("a b c d e f g h i j", 0, 0.5)
    assert begins(words[:8], 0) == 0
    assert begins(words[:9], 0) != 0
    assert begins(words[:9], 0.5) == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a left. c d e f g h i j", 1.0),
        ("a b c d left. f g h i j", 2.5),
        ("a b c d, left. f g h i j", 2.5),
        ("a b c d, e f g h i j", 2.0),
        ("a left. c d, e f g h i j", 1.0),
        ("a b left. d left. f g h i j", 2.5),
        ("a b c d e f g left. i j", 3.0),
    ],
    ids=[
        "sentence-at-the-very-edge",
        "sentence",
        "sentence-rather-than-comma",
        "comma",
        "far-sentence-rather-than-near-comma",
        "nearer-of-two-sentences",
        "sentence-that-is-too-near",
    ],
)
def test_it_leaps_to_where_something_begins(text: str, expected: float) -> None:
    assert begins(spoken_words(text, 0, 0.5)) == expected


def test_it_leaps_behind_a_gap() -> None:
    words = spoken_words("a b c d", 0, 0.5) + spoken_words("e f g h i", 2.3, 0.5)
    assert begins(words, 0) == 2.3


def test_one_long_word_is_heard_again_whole() -> None:
    long = HeardWord("aaah", MediaTime.of(1), MediaTime.of(9), 0.9)
    assert begins((long,)) == 1
    assert begins((*spoken_words("and then"), long)) == 1


def test_it_leaps_when_what_it_began_with_is_not_known_any_more() -> None:
    assert begins(spoken_words("x y", 9, 0.5), 8.0) == 9


def test_it_begins_with_a_known_word_when_what_it_began_with_was_taken_back() -> None:
    assert begins(spoken_words("x y", 9, 0.5), 10.5) == 9


@pytest.mark.parametrize("reach", [Reach(MediaTime.of(5), MediaTime.of(8)), Reach(MediaTime.of(1), MediaTime.of(3))], ids=["ours", "short"])
@pytest.mark.parametrize("every", [3, 5, 100])
def test_it_never_goes_back_and_keeps_its_limits(reach: Reach, every: int) -> None:
    lengths = [0.2 + 0.07 * (n % 6) for n in range(80)]
    ends = list(accumulate(lengths))
    words = tuple(
        HeardWord(f"w{n}." if n % every == 0 else f"w{n}", MediaTime.of(end - length), MediaTime.of(end), 0.9)
        for n, (end, length) in enumerate(zip(ends, lengths, strict=True))
    )
    before, found = None, []
    for count in range(1, len(words) + 1):
        before = beginning(words[:count], before, reach)
        assert before is not None
        assert before in [word.start for word in words[:count]]
        assert words[count - 1].end - before <= reach.most
        found.append(before)
    assert all(earlier <= later for earlier, later in pairwise(found))
    leaps = [(count, later) for count, (earlier, later) in enumerate(pairwise(found), start=1) if earlier != later]
    assert len(leaps) < len(words) / 4
    assert all(words[count].end - later >= reach.least for count, later in leaps)


def test_the_prompt_is_what_was_said_before_the_audio() -> None:
    words = spoken_words("We were here. And so", 0, 1)
    assert prompt(words, MediaTime.of(3)) == "We were here."
    assert prompt(words, MediaTime.of(0)) == ""
    assert prompt(words, None) == "We were here. And so"
    assert prompt((), None) == ""


def test_the_prompt_is_the_end_of_what_was_said_when_that_is_long() -> None:
    words = spoken_words(" ".join(f"w{n}" for n in range(PROMPT_WORDS * 3)), 0, 1)
    begin = PROMPT_WORDS * 2
    assert prompt(words, MediaTime.of(begin)).split() == [f"w{n}" for n in range(begin - PROMPT_WORDS, begin)]


def test_terms_are_a_sentence() -> None:
    assert terms(("Kowalczyk", "mRoPE")) == "Kowalczyk, mRoPE."
    assert terms(()) == ""


def test_of_a_long_glossary_the_first_terms_are_taken() -> None:
    text = terms([f"term{n} x" for n in range(2 * GLOSSARY_WORDS)])
    assert text.startswith("term0 x, term1 x, ")
    assert text.endswith(f"term{GLOSSARY_WORDS // 2 - 1} x.")
