"""Words, what two hypotheses agree on, and what cannot have been said."""

from itertools import pairwise

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.agreement import Agreement, agree, continuation, corrects
from pipeline.transcribe.guards import Span, admit, loop_start
from pipeline.transcribe.words import HeardWord, Hypothesis, Piece, ends_sentence, join_pieces, written

pytestmark = pytest.mark.unit


def words(text: str, start: float = 0.0, each: float = 0.4) -> tuple[HeardWord, ...]:
    return tuple(
        HeardWord(word, MediaTime.of(start + n * each), MediaTime.of(start + (n + 1) * each), 0.9) for n, word in enumerate(text.split())
    )


def grown(*hypotheses: str) -> list[Agreement]:
    found = [Agreement()]
    for text in hypotheses:
        found.append(agree(found[-1], words(text)))
    return found[1:]


def test_a_word_is_stable_when_two_hypotheses_in_a_row_begin_with_it() -> None:
    first, second, third = grown("The conference opens up.", "The conference opens on Monday", "The conference opens on Monday, and it")
    assert written(first.stable) == ""
    assert written(second.stable) == "The conference opens"
    assert written(third.stable) == "The conference opens on Monday,"
    assert written(third.tentative) == "and it"


def test_case_and_punctuation_do_not_matter() -> None:
    assert written(grown("the talk, about", "The talk about rockets")[-1].stable) == "The talk about"


def test_stable_words_are_only_ever_appended_to() -> None:
    seen = grown("a b c", "a b c d", "x b c d e", "a y c d e f", "a b c d e f")
    for before, after in pairwise(seen):
        assert after.stable[: len(before.stable)] == before.stable
    assert written(seen[-1].words) == "a b c d e f"


@pytest.mark.parametrize(
    ("stable", "hypothesis", "rest"),
    [
        ("we were here", "we were here today", "today"),
        ("we were here", "we where here today", "today"),
        ("we were here", "were here today", "today"),
        ("we were here", "we we were here today", "today"),
        ("we were here", "", ""),
        ("", "we were", "we were"),
        ("one two", "one two", ""),
    ],
)
def test_the_rest_neither_repeats_nor_loses_words(stable: str, hypothesis: str, rest: str) -> None:
    heard = words(hypothesis)
    assert written(heard[continuation(words(stable), heard) :]) == rest


def test_a_final_corrects_stable_words_only_where_letters_change() -> None:
    assert not corrects(words("a ticket costs"), words("A ticket costs, twenty"))
    assert corrects(words("a ticket costs"), words("A ticket cost"))
    assert corrects(words("a ticket costs"), words("A ticket"))


def pieces(*texts: str) -> list[Piece]:
    return [Piece(text, MediaTime.of(n), MediaTime.of(n + 1), 0.5 + 0.1 * (n % 2)) for n, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ((" Hello", ",", " world", "."), ["Hello,", "world."]),
        ((" well", "-", "known"), ["well-known"]),
        ((" 25", ".", "5", "%"), ["25.5%"]),
        ((" he", " said", ' "', "no", '"', "."), ["he", "said", '"no".']),
        (("...", " so"), ["so"]),
        ((" one", " -", " two"), ["one", "two"]),
        ((" £25", " ", " now"), ["£25", "now"]),
        ((" wait", " ..."), ["wait..."]),
        ((), []),
    ],
)
def test_pieces_become_words_with_their_punctuation(said: tuple[str, ...], expected: list[str]) -> None:
    assert [word.text for word in join_pieces(pieces(*said))] == expected


def test_punctuation_has_no_part_in_a_words_time() -> None:
    hello, _, _ = join_pieces(pieces(" Hello", ",", " my", " friend"))
    assert (hello.start, hello.end, hello.probability) == (MediaTime.of(0), MediaTime.of(1), 0.5)


@pytest.mark.parametrize(("text", "ended"), [("It is.", True), ('"Is it?"', True), ("It is,", False), ("", False)])
def test_sentences_end(text: str, ended: bool) -> None:
    assert ends_sentence(words(text)) is ended


WHOLE = Span(MediaTime.of(0), MediaTime.of(10))


def test_what_the_model_doubts_is_refused() -> None:
    found = admit(Hypothesis(words("Thank you"), -1.3, 0.8), WHOLE, [WHOLE])
    assert (found.words, found.refused) == ((), {"no_speech": 2})
    assert admit(Hypothesis(words("Thank you"), -0.8, 0.8), WHOLE, [WHOLE]).words
    assert admit(Hypothesis(words("Thank you"), -1.3, 0.3), WHOLE, [WHOLE]).words


def test_words_far_from_speech_or_beyond_the_audio_are_refused() -> None:
    speech = [Span(MediaTime.of(1), MediaTime.of(2))]
    said = words("hum", 0.0, 0.5) + words("yes it is", 1.0) + words("Bye", 5.0) + words("Bye", 10.0)
    found = admit(Hypothesis(said), WHOLE, speech)
    assert (written(found.words), found.refused) == ("yes it is", {"outside": 3})


def test_more_words_than_anyone_can_say_are_refused() -> None:
    said = words("one two three four five six seven eight nine ten", 0, 0.05)
    assert admit(Hypothesis(said), WHOLE, [Span(MediaTime.of(0), MediaTime.of(0.5))]).refused == {"too_fast": 10}


def test_a_loop_is_cut_and_counted() -> None:
    found = admit(Hypothesis(words("so it goes on and on it goes on and on it goes on and on")), WHOLE, [WHOLE])
    assert (written(found.words), found.refused) == ("so it goes on and on", {"loop": 10})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no no no", 3),
        ("no no no no no", 1),
        ("ha ha hee ha ha hee ha ha hee", 3),
        ("what you can do ask what you can do", 9),
        ("a b c d e a b c d e", 5),
        (" ".join([*"abcdefghijklmnopqrstuvwx"] * 2), 24),
        ("", 0),
    ],
)
def test_where_loops_start(text: str, kept: int) -> None:
    assert loop_start(text.split()) == kept


def test_times_are_cut_to_the_audio_and_never_run_backwards() -> None:
    said = (
        HeardWord("a", MediaTime.of(-0.2), MediaTime.of(0.5), 1.0),
        HeardWord("b", MediaTime.of(0.4), MediaTime.of(0.45), 1.0),
        HeardWord("c", MediaTime.of(9.9), MediaTime.of(10.4), 1.0),
    )
    found = admit(Hypothesis(said), WHOLE, [WHOLE]).words
    times = [time.seconds for word in found for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] == 0
    assert times[-1] == 10


def test_a_word_does_not_start_in_the_silence_before_it() -> None:
    speech = [Span(MediaTime.of(1), MediaTime.of(2)), Span(MediaTime.of(4), MediaTime.of(5))]
    said = (
        HeardWord("the", MediaTime.of(0.2), MediaTime.of(1.2), 1.0),
        HeardWord("end", MediaTime.of(1.2), MediaTime.of(2), 1.0),
        HeardWord("came", MediaTime.of(2), MediaTime.of(4.4), 1.0),
    )
    found = admit(Hypothesis(said), WHOLE, speech).words
    assert [word.start.seconds for word in found] == [0.8, 1.2, 3.8]
    assert [word.end for word in found] == [word.end for word in said]
