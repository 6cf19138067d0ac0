"""What cannot have been said is refused, by reason."""

from dataclasses import replace

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.guards import (
    DOUBTFUL_SPEECH,
    DOUBTFUL_WORDS,
    FASTEST,
    LEAD,
    MARGIN,
    NO_SPEECH,
    POOR,
    SILENCE,
    Span,
    admit,
    is_looping,
    is_stock,
    is_stutter,
    loop_start,
)
from pipeline.transcribe.words import HeardWord, Hypothesis, written
from tests.fakes import spoken_words as words

pytestmark = pytest.mark.unit

WHOLE = Span(MediaTime.of(0), MediaTime.of(10))


def refused(text: str, *, likelihood: float = 0.0, silence: float = 0.0) -> dict[str, int]:
    """What of this is refused where everything else is well."""
    return admit(Hypothesis(words(text), likelihood, silence), WHOLE, [WHOLE]).refused


def test_what_the_model_doubts_is_refused() -> None:
    assert refused("so it goes", silence=NO_SPEECH + 0.01, likelihood=POOR - 0.01) == {"no_speech": 3}
    assert refused("so it goes", silence=NO_SPEECH + 0.01, likelihood=POOR) == {}
    assert refused("so it goes", silence=NO_SPEECH, likelihood=POOR - 0.01) == {}


def test_what_the_model_takes_for_silence_is_refused_however_well_it_fits() -> None:
    assert refused("so it goes", silence=SILENCE + 0.01) == {"no_speech": 3}
    assert refused("so it goes", silence=SILENCE) == {}


@pytest.mark.parametrize(
    ("silence", "likelihood"), [(DOUBTFUL_SPEECH + 0.01, 0.0), (0.0, DOUBTFUL_WORDS - 0.01)], ids=["perhaps-silence", "unlikely"]
)
def test_stock_phrases_must_be_clear(silence: float, likelihood: float) -> None:
    assert refused("Thank you.", silence=silence, likelihood=likelihood) == {"stock": 2}
    assert refused("Thank you. Bye.", silence=silence, likelihood=likelihood) == {"stock": 3}
    assert refused("Thank you all.", silence=silence, likelihood=likelihood) == {}
    assert refused("Thank you.", silence=DOUBTFUL_SPEECH, likelihood=DOUBTFUL_WORDS) == {}


@pytest.mark.parametrize(
    ("text", "stock"),
    [
        ("Thank you.", True),
        ("Thanks for watching! Please subscribe. Bye bye.", True),
        ("I'll see you in the next video.", True),
        ("Oh, okay. Hmm.", True),
        ("Bye-bye.", True),
        ("Untertitel der Amara.org-Community", True),
        ("Sous-titres réalisés par la communauté d'Amara.org", True),
        ("¡Gracias por ver el video!", True),
        ("Продолжение следует...", True),
        ("ご視聴ありがとうございました。", True),
        ("Vielen Dank, Maria.", False),
        ("Thank", False),
        ("Thank you, Mary.", False),
        ("Okay so", False),
    ],
)
def test_stock_phrases_are_whole_and_nothing_else(text: str, stock: bool) -> None:
    assert is_stock(words(text)) is stock


def test_where_no_spaces_are_written_words_are_short() -> None:
    syllables = tuple(replace(word, glued=True) for word in words("ご 視 聴 あり がとう ござ いました", 1, 0.4))
    assert is_stock(syllables)
    many = tuple(replace(word, glued=True) for word in words(" ".join(f"字{n}" for n in range(80)), 1, 0.1))
    assert admit(Hypothesis(many), WHOLE, [WHOLE]).refused == {}
    assert admit(Hypothesis(tuple(replace(word, glued=False) for word in many)), WHOLE, [WHOLE]).refused == {"too_fast": 80}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("好 谢 谢 谢 谢", 5),
        ("我 们 不 知 道 我 们 不 知 道", 10),
        ("は い は い は い", 6),
        ("好 谢 谢 谢 谢 谢 谢 谢", 2),
        ("那 么 我 们 走 吧 我 们 走 吧 我 们 走 吧 我 们 走 吧", 6),
        ("我 们 今 天 不 去 公 园 散 步 了 我 们 今 天 不 去 公 园 散 步 了 我 们 今 天 不 去 公 园 散 步 了", 11),
    ],
)
def test_loops_of_short_words_are_longer(text: str, kept: int) -> None:
    said = tuple(replace(word, glued=True) for word in words(text, 0, 0.2))
    assert len(admit(Hypothesis(said), WHOLE, [WHOLE]).words) == kept
    assert is_looping(Hypothesis(said)) is (kept < len(said))


def test_a_word_keeps_all_but_its_times() -> None:
    early = HeardWord("字", MediaTime.of(-1), MediaTime.of(0.5), 0.9, (7,), glued=True)
    (kept,) = admit(Hypothesis((early,)), WHOLE, [WHOLE]).words
    assert kept == replace(early, start=WHOLE.start)


def test_words_far_from_speech_or_beyond_the_audio_are_refused() -> None:
    speech = [Span(MediaTime.of(1), MediaTime.of(2))]
    said = words("hum", 0.0, 0.5) + words("yes it is", 1.0) + words("Bye", 5.0) + words("Bye", 10.0)
    found = admit(Hypothesis(said), WHOLE, speech)
    assert (written(found.words), found.refused) == ("yes it is", {"outside": 3})


def test_more_words_than_anyone_can_say_are_refused() -> None:
    said = words("one two three four five six seven eight nine ten", 0, 0.05)
    assert admit(Hypothesis(said), WHOLE, [Span(MediaTime.of(0), MediaTime.of(0.5))]).refused == {"too_fast": 10}
    enough = MediaTime.of(len(said) / FASTEST - 0.5)
    assert admit(Hypothesis(said), WHOLE, [Span(MediaTime.of(0), enough)]).refused == {}


def test_a_few_words_are_never_too_fast() -> None:
    assert len(admit(Hypothesis(words("no not now", 0, 0.02)), WHOLE, [Span(MediaTime(0), MediaTime.of(0.06))]).words) == 3


def test_words_near_detected_speech_stay() -> None:
    near = MARGIN.seconds - 0.01
    speech = [Span(MediaTime.of(5), MediaTime.of(6))]
    early, late = words("yes", 5 - near - 0.2, 0.2), words("sir", 6 + near, 0.2)
    found = admit(Hypothesis(early + late), WHOLE, speech).words
    assert [(word.text, word.start, word.end) for word in found] == [(word.text, word.start, word.end) for word in early + late]
    early, late = words("yes", 5 - near - 0.22, 0.2), words("sir", 6 + near + 0.02, 0.2)
    assert admit(Hypothesis(early + late), WHOLE, speech).refused == {"outside": 2}


def test_where_nobody_speaks_nothing_is_said() -> None:
    assert admit(Hypothesis(words("so it goes")), WHOLE, []).refused == {"outside": 3}
    assert admit(Hypothesis(), WHOLE, []).refused == {}


def test_a_loop_is_cut_and_counted() -> None:
    found = admit(Hypothesis(words("so it goes on and on it goes on and on it goes on and on")), WHOLE, [WHOLE])
    assert (written(found.words), found.refused) == ("so it goes on and on", {"loop": 10})


def test_a_stutter_ends_what_is_said() -> None:
    found = admit(Hypothesis(words("and then ha-ha-ha-ha-ha she left")), WHOLE, [WHOLE])
    assert (written(found.words), found.refused) == ("and then", {"loop": 3})


@pytest.mark.parametrize(
    ("text", "stutter"),
    [
        ("T-T-T-T", True),
        ("hahahaha", True),
        ("Hahahahah!", True),
        ("lalalalalala", True),
        ("haha", False),
        ("hahaha", False),
        ("Mississippi", False),
        ("1000000", False),
        ("2020202020", False),
        ("bananas", False),
    ],
)
def test_stutters(text: str, stutter: bool) -> None:
    assert is_stutter(words(text)[0]) is stutter


@pytest.mark.parametrize(
    ("text", "ran_on", "looping"),
    [
        ("so it goes", False, False),
        ("so it goes", True, True),
        ("no no no no", False, True),
        ("ha-ha-ha-ha", False, True),
        ("", False, False),
    ],
)
def test_a_model_that_cannot_stop_is_told(text: str, ran_on: bool, looping: bool) -> None:
    assert is_looping(Hypothesis(words(text), ran_on=ran_on)) is looping


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("no no no", 3),
        ("no no no no no", 1),
        ("ha ha hee ha ha hee ha ha hee", 3),
        ("what you can do ask what you can do", 9),
        ("so so so", 3),
        ("very very very very good", 5),
        ("i want to go home i want to go home now please", 12),
        ("on and on and", 4),
        ("a b c d e a b c d e", 5),
        (" ".join([*"abcdefghijklmnopqrstuvwx"] * 2), 24),
        ("", 0),
    ],
)
def test_where_loops_start(text: str, kept: int) -> None:
    assert loop_start(text.split()) == kept


def test_a_loop_is_cut_before_anything_is_too_fast() -> None:
    said = words("so it goes on and on it goes on and on it goes on and on", 0, 0.1)
    found = admit(Hypothesis(said), WHOLE, [Span(MediaTime(0), MediaTime.of(1.4))])
    assert (written(found.words), set(found.refused)) == ("so it goes on and on", {"loop"})


@pytest.mark.parametrize(
    ("text", "kept"), [("so so so", 1), ("so so", 2), ("on and on and", 2), ("a b c d e a b c d e", 5), ("so it goes", 3)]
)
def test_a_model_that_ran_on_loops_sooner(text: str, kept: int) -> None:
    assert loop_start(text.split(), ran_on=True) == kept
    assert len(admit(Hypothesis(words(text), ran_on=True), WHOLE, [WHOLE]).words) == kept


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
    assert [word.start for word in found] == [MediaTime.of(1) - LEAD, MediaTime.of(1.2), MediaTime.of(4) - LEAD]
    assert [word.end for word in found] == [word.end for word in said]
