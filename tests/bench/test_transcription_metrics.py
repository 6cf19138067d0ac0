"""What the caption benchmark measures, on displays made by hand with results worked out by hand."""

import pytest

from bench.transcription.metrics import Display, Errors, Run, Truth, Word, align_start, erasure, score, tokens

pytestmark = pytest.mark.unit


def words(text: str, start_s: float = 0.0) -> tuple[Word, ...]:
    """One word a second."""
    return tuple(Word(word, start_s + n, start_s + n + 1) for n, word in enumerate(text.split()))


def display(
    at_s: float, promised: str = "", tentative: str = "", *, final: bool = False, passage: str = "a", start_s: float = 0.0
) -> Display:
    kept = words(promised, start_s)
    return Display(at_s, kept, words(tentative, start_s + len(kept)), final, passage)


def run(*displays: Display, audio_s: float = 8.0, cpu_s: float = 2.0) -> Run:
    return Run(displays, cpu_s, audio_s)


FOUR = Truth("THE SHIP LEFT PORT", words("the ship left port"))


def test_a_passage_that_grows_and_is_closed() -> None:
    result = score(
        run(
            display(1.5, "", "The"),
            display(2.5, "", "The sheep"),
            display(3.5, "The", "ship left"),
            display(4.5, "The ship", "left pot."),
            display(6.0, "The ship left port.", final=True),
        ),
        FOUR,
    )
    assert result.final == Errors(words=4)
    assert result.promised == Errors(words=4)
    # "the" ends at 1, "ship" at 2, "left" at 3, "port" at 4.
    assert result.latencies["first"] == [0.5, 1.5, 0.5, 2.0]
    assert result.latencies["good"] == [0.5, 1.5, 0.5, 2.0]
    assert result.latencies["promised"] == [2.5, 2.5, 3.0, 2.0]
    assert result.latencies["final"] == [5.0, 4.0, 3.0, 2.0]
    # "sheep" and "pot" are taken back.
    assert (result.erased, result.shown_words) == (2, 4)
    assert (result.corrections, result.final_words) == (0, 4)
    assert result.end_errors == [0.0, 0.0, 0.0, 0.0]
    figures = result.figures()
    assert figures["real_time_factor"] == 0.25
    assert figures["erasure"] == 0.5
    assert figures["first_mean"] == pytest.approx(1.125)
    assert figures["final_p95"] == pytest.approx(4.85)
    assert figures["first_word"] == 0.5


def test_a_word_that_comes_and_goes_is_there_for_good_from_when_it_stays() -> None:
    result = score(
        run(display(1.0, "", "the"), display(2.0, "", "a"), display(3.0, "", "the ship"), display(5.0, "the ship", final=True)),
        Truth("the ship", words("the ship")),
    )
    assert result.latencies["first"] == [0.0, 1.0]
    assert result.latencies["good"] == [2.0, 1.0]
    assert result.erased == 2


def test_a_passage_that_is_never_closed_is_final_as_promised() -> None:
    result = score(
        run(display(2.0, "the", "ship"), display(3.0, "the ship", "loft"), display(5.0, "the ship left port", "and")),
        FOUR,
    )
    assert result.final == result.promised == Errors(words=4)
    assert result.latencies["final"] == result.latencies["promised"] == [1.0, 1.0, 2.0, 1.0]
    assert result.latencies["first"] == [1.0, 0.0, 2.0, 1.0]
    assert result.erased == 1
    assert result.shown_words == 5


def test_a_final_that_corrects_what_was_promised() -> None:
    result = score(
        run(display(2.0, "the sheep", "left"), display(6.0, "The ship left port", final=True)),
        FOUR,
    )
    assert result.final == Errors(words=4)
    assert result.promised == Errors(substitutions=1, words=4)
    assert (result.corrections, result.final_words) == (1, 4)
    assert result.figures()["corrected"] == 0.25
    # "sheep" is wrong, so three words are matched in the promised text.
    assert result.latencies["promised"] == [1.0, 3.0, 2.0]
    assert result.latencies["final"] == [5.0, 4.0, 3.0, 2.0]
    # "left" was seen before; "ship" only with the final.
    assert result.latencies["first"] == [1.0, 4.0, -1.0, 2.0]
    assert result.erased == 2


def test_a_final_that_drops_a_promised_word() -> None:
    result = score(run(display(2.0, "the the ship"), display(4.0, "the ship left port", final=True)), FOUR)
    assert result.promised == Errors(insertions=1, words=4)
    assert result.corrections == 1


def test_case_and_punctuation_alone_are_no_change() -> None:
    result = score(run(display(2.0, "the ship", "left port"), display(4.0, "The ship left port.", final=True)), FOUR)
    assert result.corrections == 0
    assert result.erased == 0


def test_passages_follow_each_other_on_the_screen() -> None:
    result = score(
        run(
            display(2.5, "the ship", final=True, passage="a"),
            display(2.5, "", "left", passage="b", start_s=2.0),
            display(4.5, "left port", final=True, passage="b", start_s=2.0),
        ),
        FOUR,
    )
    assert result.erased == 0
    assert result.latencies["final"] == [1.5, 0.5, 1.5, 0.5]
    assert result.end_errors == [0.0] * 4


def test_an_update_that_moves_words_erases_all_behind_the_change() -> None:
    screens = [display(1.0, "", "a b c d"), display(2.0, "", "a x c d e")]
    assert erasure(screens) == (3, 5, 5)


def test_displays_of_one_instant_are_one_update() -> None:
    screens = [display(1.0, "", "a b", passage="1"), display(2.0, "a", passage="1"), display(2.0, "", "b", passage="2")]
    assert erasure(screens) == (0, 2, 2)


def test_words_where_nothing_is_said() -> None:
    result = score(run(display(1.0, "", "Thank you"), display(2.0, "", ""), display(3.0, "You.", final=True)), Truth(""))
    assert (result.invented, result.flashed) == (1, 2)
    assert result.figures()["wer_final"] is None
    assert result.figures()["final_mean"] is None


def test_nothing_shown_is_all_deletions() -> None:
    result = score(run(), FOUR)
    assert result.final == Errors(deletions=4, words=4)
    assert result.first_words == []


def test_whisper_normalisation_makes_the_word_error_rate() -> None:
    said = Truth("twenty-five pounds, Mister Smith", ())
    result = score(run(display(1.0, "25 pounds, Mr. Smyth", final=True)), said)
    assert result.final.substitutions == 1
    assert result.final.deletions == result.final.insertions == 0


def test_errors_and_times_are_added_over_sessions() -> None:
    right = score(run(display(6.0, "the ship left port", final=True)), FOUR)
    wrong = score(run(display(8.0, "the ship port", final=True)), FOUR)
    total = right + wrong
    assert total.final == Errors(deletions=1, words=8)
    assert total.final.rate == 0.125
    assert total.latencies["final"] == [5.0, 4.0, 3.0, 2.0, 7.0, 6.0, 4.0]
    assert total.audio_s == 16.0
    # The words end at 1 and 2 of 8 s in the first quarter (the second one on its edge), so nothing is said in the last.
    assert total.figures()["lag_growth"] is None


def test_lag_that_grows_over_a_session() -> None:
    result = score(run(display(1.5, "the"), display(7.0, "the ship left port"), audio_s=4.001), FOUR)
    assert [len(quarter) for quarter in result.quarters] == [1, 1, 1, 1]
    assert result.figures()["lag_growth"] == pytest.approx(3.0 - 0.5)


def test_word_ends_are_compared_where_the_system_tells_them() -> None:
    told = (Word("the", 0.0, 1.2), Word("ship", None, None), Word("left", 2.0, 2.8), Word("part", 3.0, 9.0))
    result = score(run(Display(5.0, told, (), True)), FOUR)
    assert result.end_errors == pytest.approx([0.2, -0.2])
    assert result.figures()["end_error_mean_abs"] == pytest.approx(0.2)
    assert result.figures()["end_error_bias"] == pytest.approx(0.0)
    assert result.latencies["final"] == [4.0, 3.0, 2.0]


def test_a_compound_counts_as_its_parts() -> None:
    assert tokens(Word("twenty-five,", 1.0, 2.2)) == [
        ("twenty", Word("twenty", pytest.approx(1.0), pytest.approx(1.6))),
        ("five", Word("five", pytest.approx(1.7), pytest.approx(2.1))),
    ]
    assert [token for token, _ in tokens(Word("Don’t"))] == ["dont"]
    assert tokens(Word("—")) == []


@pytest.mark.parametrize(
    ("shown", "target", "expected"),
    [
        ("a b", "a b c d", (0, [(0, 0), (1, 1)], 2)),
        ("a x c", "a b c d", (1, [(0, 0), (2, 2)], 3)),
        ("b c", "a b c d", (1, [(0, 1), (1, 2)], 3)),
        ("a a b", "a b c", (1, [(0, 0), (2, 1)], 2)),
        ("a b x", "a b d e", (1, [(0, 0), (1, 1)], 3)),
        ("", "a", (0, [], 0)),
        ("a", "", (1, [], 0)),
    ],
)
def test_aligning_with_a_beginning(shown: str, target: str, expected: tuple[int, list[tuple[int, int]], int]) -> None:
    assert align_start(shown.split(), target.split()) == expected


def test_a_display_survives_its_recording() -> None:
    shown = display(1.25, "The ship", "left", final=False, passage="p")
    assert Display.from_json(shown.to_json()) == shown
