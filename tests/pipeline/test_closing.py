"""Where a segment of running speech is closed."""

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.closing import FOLLOWED, SHORTEST, place
from pipeline.transcribe.words import HeardWord
from tests.fakes import spoken_words

pytestmark = pytest.mark.unit

START = MediaTime.of(10)
EACH = SHORTEST.seconds / 4
"""With words of this length a sentence of four is just long enough."""
LATER = MediaTime.of(60)
"""So long after the words that enough audio follows each."""


def words(text: str) -> tuple[HeardWord, ...]:
    return spoken_words(text, START.seconds, EACH)


def closed(text: str, promised: int = 0, *, now: MediaTime = LATER, must: bool = False) -> int | None:
    return place(words(text), promised, start=START, now=now, must=must)


def test_a_segment_is_closed_at_the_end_of_a_sentence_that_something_follows() -> None:
    assert closed("the talk was long. and then") == 4
    assert closed("was the talk long? and then") == 4


@pytest.mark.parametrize("text", ["the talk was long", "the talk was long and then", "", "the talk, was long, and then"])
def test_without_such_a_sentence_it_stays_open(text: str) -> None:
    assert closed(text) is None


def test_a_full_stop_at_the_end_of_all_that_was_heard_counts_for_nothing() -> None:
    assert closed("the talk was very long.") is None


def test_of_two_sentences_the_later_one_closes() -> None:
    assert closed("the talk was long. the room was small. and") == 8


def test_enough_audio_must_follow() -> None:
    end = words("the talk was long. and")[3].end
    assert closed("the talk was long. and", now=end + FOLLOWED) == 4
    assert closed("the talk was long. and", now=end + FOLLOWED - MediaTime(1)) is None


def test_the_sentence_before_closes_while_too_little_follows_the_last_one() -> None:
    text = "the talk was long. the room was small. and"
    assert closed(text, now=words(text)[7].end + FOLLOWED - MediaTime(1)) == 4


def test_a_short_sentence_stays_with_the_next() -> None:
    assert closed("it was long. and then") is None
    assert closed("yes. the talk was long. and then") == 5


@pytest.mark.parametrize("must", [False, True])
def test_a_final_has_all_that_was_promised(must: bool) -> None:
    text = "the talk was long. and then, we all left. so"
    for promised in range(10):
        count = closed(text, promised, must=must)
        assert count is None or count >= promised
    assert closed(text, 5, must=must) == 9
    assert closed("the talk was long. and then we", 6, must=False) is None


def test_a_segment_that_is_too_long_is_closed_behind_the_widest_gap() -> None:
    first, second = words("one two three"), spoken_words("four five", START.seconds + 3 * EACH + 0.3, EACH)
    said = (*first, *second, *spoken_words("six", second[-1].end.seconds + 0.1, EACH))
    assert place(said, 0, start=START, now=LATER, must=False) is None
    assert place(said, 0, start=START, now=LATER, must=True) == 3


def test_a_segment_that_is_too_long_is_closed_behind_a_comma() -> None:
    assert closed("one two, three four five", must=True) == 2


def test_a_segment_that_is_too_long_is_closed_as_late_as_can_be_where_all_is_alike() -> None:
    assert closed("one two three four five", must=True) == 4


def test_even_a_segment_that_is_too_long_is_closed_at_the_end_of_a_sentence_first() -> None:
    assert closed("the talk was long. and then, we left", must=True) == 4


def test_a_segment_that_is_too_long_has_enough_audio_behind_its_last_word_too() -> None:
    text = "one two three, four five"
    assert closed(text, now=words(text)[1].end + FOLLOWED, must=True) == 2


def test_where_nothing_else_is_left_it_is_closed_behind_what_was_promised() -> None:
    text = "one two three"
    at_once = words(text)[-1].end
    assert closed(text, 3, now=at_once, must=True) == 3
    assert closed(text, 2, now=words(text)[1].end, must=True) == 2
    assert closed(text, 0, now=words(text)[0].end, must=True) == 3
    assert closed("", 0, must=True) is None
