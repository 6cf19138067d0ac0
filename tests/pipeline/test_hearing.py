"""What a speech model is asked, and what is made of its answer."""

import asyncio

import numpy as np
import pytest

from pipeline.transcribe.audio import Portion, Run, Samples, media_time
from pipeline.transcribe.context import PROMPT_WORDS, Reach
from pipeline.transcribe.guards import POOR, Admitted
from pipeline.transcribe.hearing import CAREFUL, QUICK, Hearing
from pipeline.transcribe.model import Passage, Task
from pipeline.transcribe.options import Options
from pipeline.transcribe.segmentation import RATE, RULES, Stretch
from pipeline.transcribe.words import HeardWord, Hypothesis, written
from tests.fakes import AnsweringTranscriber
from tests.fakes import spoken_words as words

pytestmark = pytest.mark.unit


def at(seconds: float) -> int:
    return round(seconds * RATE)


EARLIER = words("We were here. Then the rain came and we left", 0, 0.5)
"""Five seconds."""
LONG_BEFORE = words("We were here. Then the rain came and we left", 0, 2)
"""Twenty seconds."""
LOOP = words("round and round and round and round and round", 6, 0.1)
"""It is cut after 0.2 s."""
AT_ONCE = [Stretch(at(5.9), at(6.2) + RULES.unheard - 1)]
"""So little speech that none is left out where the loop is cut."""


def sound(seconds: float = 60) -> Samples:
    """Loud noise, so that it is heard as it is and every moment can be told from every other."""
    return (0.3 * np.random.default_rng(1).standard_normal(at(seconds))).astype(np.float32)


SOUND = sound()
REACH = Reach(*map(media_time, RULES.known))


def recording() -> Run:
    run = Run()
    for number, start in enumerate(range(0, len(SOUND), RATE)):
        run.append(Portion(number, start, SOUND[start : start + RATE]))
    return run


class Listener:
    """A stream's hearing of the same recording, and its model."""

    def __init__(self, *answers: tuple[HeardWord, ...] | Hypothesis, continues: bool = True, **options: object) -> None:
        hypotheses = [answer if isinstance(answer, Hypothesis) else Hypothesis(answer) for answer in answers]
        self.model = AnsweringTranscriber(*hypotheses, continues=continues)
        self.hearing = Hearing("s", self.model, Options(**options), RULES)  # type: ignore[arg-type]
        self.run = recording()

    def quickly(self, start: float, end: float, stable: tuple[HeardWord, ...] = ()) -> Admitted:
        return asyncio.run(self.hearing.quickly(self.run, at(start), at(end), stable, [Stretch(at(start), at(end))], "en"))

    def carefully(self, start: float, end: float, speech: list[Stretch] | None = None) -> Admitted:
        speech = [Stretch(at(start), at(end))] if speech is None else speech
        return asyncio.run(self.hearing.whole(self.run, at(start), at(end), (), speech, "en", manner=CAREFUL))

    @property
    def asked(self) -> Passage:
        """What the model was asked last."""
        return self.model.asked[-1]


def begin(passage: Passage) -> float:
    """Where the passage begins; its audio is that of the recording from there on."""
    start = round(passage.start.seconds * RATE)
    assert np.array_equal(passage.samples, SOUND[start : start + len(passage.samples)])
    return passage.start.seconds


def end(passage: Passage) -> float:
    return begin(passage) + len(passage.samples) / RATE


# The beginning of a stream


@pytest.mark.parametrize("quickly", [True, False])
def test_where_nothing_was_said_the_segment_is_heard_alone(quickly: bool) -> None:
    listener = Listener(words("so it goes", 1))
    heard = listener.quickly(1, 3) if quickly else listener.carefully(1, 3)
    assert written(heard.words) == "so it goes"
    assert (begin(listener.asked), end(listener.asked)) == (1, 3)
    assert (listener.asked.prefix, listener.asked.prompt, listener.asked.stream) == ((), "", "s")
    assert listener.asked.silence == (QUICK.silence if quickly else CAREFUL.silence)
    assert listener.asked.task is Task.TRANSCRIBE


@pytest.mark.parametrize("continues", [True, False])
def test_terms_are_in_every_prompt(continues: bool) -> None:
    listener = Listener(continues=continues, glossary=("Kowalczyk", "mRoPE"))
    listener.quickly(1, 3)
    listener.carefully(1, 3)
    listener.hearing.keep(LONG_BEFORE)
    listener.quickly(20, 22)
    listener.carefully(20, 22)
    assert all(passage.terms == "Kowalczyk, mRoPE." for passage in listener.model.asked)
    assert any(passage.leading.startswith("Kowalczyk, mRoPE. We") for passage in listener.model.asked)


# Led by what was said


def test_partials_begin_with_known_words_and_go_on_after_them() -> None:
    listener = Listener(words("so it went on", 22, 0.3))
    listener.hearing.keep(LONG_BEFORE)
    stable = words("And", 21, 0.4)
    heard = listener.quickly(20.9, 23.5, stable)
    assert written(heard.words) == "so it went on"
    prefix = listener.asked.prefix
    assert written((*LONG_BEFORE, *stable)).endswith(written(prefix))
    assert prefix[-1] == stable[-1]
    assert REACH.least <= stable[-1].end - prefix[0].start <= REACH.most
    assert prefix[0].start.seconds - 0.2 <= begin(listener.asked) < prefix[0].start.seconds, "its first sound may be earlier"
    assert end(listener.asked) == 23.5
    assert f"{listener.asked.prompt} {written(prefix)}" == written((*LONG_BEFORE, *stable)), "what is not heard again is in the prompt"


def test_what_is_shown_is_expected_of_the_next_hearing() -> None:
    listener = Listener()
    stable, tentative = words("and so", 6), words("it goes", 7)
    speech = [Stretch(at(5.9), at(8))]
    asyncio.run(listener.hearing.quickly(listener.run, at(5.9), at(8), stable, speech, "en", tentative))
    assert (listener.asked.prefix, listener.asked.expected) == (stable, tentative)
    asyncio.run(listener.hearing.whole(listener.run, at(5.9), at(8), stable, speech, "en", manner=CAREFUL))
    assert (listener.asked.prefix, listener.asked.expected) == ((), stable)


def test_a_short_word_before_what_is_heard_again_is_in_the_prompt() -> None:
    listener = Listener()
    listener.hearing.keep((*words("We left a", 0, 0.05), *words("house then and so it went on from there", 0.15, 1.4)))
    listener.carefully(13, 15)
    prefix = listener.asked.prefix
    assert prefix
    assert f"{listener.asked.prompt} {written(prefix)}" == "We left a house then and so it went on from there"


def test_finals_have_the_text_before_as_a_prompt_besides() -> None:
    listener = Listener(words("and so it went", 21, 0.4))
    listener.hearing.keep(LONG_BEFORE)
    assert written(listener.carefully(20.9, 23).words) == "and so it went"
    prefix = listener.asked.prefix
    assert prefix == LONG_BEFORE[-len(prefix) :]
    assert REACH.least <= LONG_BEFORE[-1].end - prefix[0].start <= REACH.most
    assert f"{listener.asked.prompt} {written(prefix)}" == written(LONG_BEFORE)


def test_a_segment_too_long_for_all_that_a_final_is_led_by_is_led_by_less() -> None:
    listener = Listener(words("and so it went", 21, 0.4))
    listener.hearing.keep(LONG_BEFORE)
    listener.carefully(20.9, 45.5)
    first = listener.model.asked[0]
    assert end(first) == 45.5
    assert first.prefix == LONG_BEFORE[-len(first.prefix) :]
    assert LONG_BEFORE[-1].end - first.prefix[0].start <= REACH.most


def test_on_trial_a_segment_is_heard_whole_and_led_by_little() -> None:
    listener = Listener(words("and so it went", 21, 0.4))
    listener.hearing.keep(LONG_BEFORE)
    stable, speech = words("and", 21), [Stretch(at(20.9), at(23))]
    heard = asyncio.run(listener.hearing.whole(listener.run, at(20.9), at(23), stable, speech, "en", manner=QUICK))
    assert written(heard.words) == "and so it went"
    assert (listener.asked.silence, listener.asked.expected) == (QUICK.silence, stable)
    assert LONG_BEFORE[-1].end - listener.asked.prefix[0].start <= REACH.most


def test_no_word_that_was_known_is_told_again() -> None:
    listener = Listener(words("left", 4.5, 0.4) + words("and so", 6), words("left", 4.5, 0.4) + words("and so", 6))
    listener.hearing.keep(EARLIER)
    for heard in (listener.quickly(5.9, 7.2), listener.carefully(5.9, 7.2)):
        assert written(heard.words) == "and so"
        assert heard.refused == {"outside": 1}


def test_no_word_that_was_promised_is_told_again() -> None:
    listener = Listener(words("so it goes", 6.4))
    assert written(listener.quickly(5.9, 8, words("and so", 6)).words) == "it goes"


def test_hearing_begins_where_it_began_before_as_long_as_it_can() -> None:
    listener = Listener()
    said = words(" ".join(f"w{n}" for n in range(40)), 0, 0.5)
    begins = []
    for count in range(1, 40):
        listener.quickly(0, 20.5, said[:count])
        begins.append(begin(listener.asked))
    assert begins == sorted(begins)
    assert 2 < len(set(begins)) < 16


def test_audio_that_may_be_heard_again_is_needed() -> None:
    listener = Listener()
    assert listener.hearing.needed_from is None
    for n in range(0, 40, 2):
        listener.hearing.keep(words("and so on then", n, 0.5))
        needed = listener.hearing.needed_from
        assert needed is not None
        listener.quickly(n + 2, n + 3)
        listener.carefully(n + 2, n + 3)
        assert all(needed <= round(passage.start.seconds * RATE) for passage in listener.model.asked[-2:])
        assert needed >= at(n + 2 - REACH.most.seconds - 0.2)


def test_no_more_than_needed_is_remembered_of_what_was_said() -> None:
    listener = Listener()
    for n in range(300):
        listener.hearing.keep(words(f"w{n}", n / 10, 0.1))
    listener.hearing.keep(words("end", 43, 0.5))
    listener.carefully(44, 46)
    assert len(listener.asked.prompt.split()) == PROMPT_WORDS
    assert sum(len(value) for value in vars(listener.hearing).values() if isinstance(value, tuple)) <= 4 * PROMPT_WORDS


def test_what_was_said_can_be_forgotten() -> None:
    listener = Listener()
    listener.hearing.keep(EARLIER)
    listener.quickly(5.9, 8)
    listener.hearing.forget()
    assert listener.hearing.needed_from is None
    for hear in (listener.quickly, listener.carefully):
        hear(5.9, 8)
        assert (begin(listener.asked), listener.asked.prefix, listener.asked.prompt) == (pytest.approx(5.9), (), "")


# Models that cannot go on after known words


def test_a_model_that_does_not_continue_is_given_no_words_and_only_the_segment() -> None:
    listener = Listener(continues=False)
    listener.hearing.keep(EARLIER)
    listener.quickly(5.9, 8, words("and so", 6))
    listener.carefully(5.9, 8)
    for passage in listener.model.asked:
        assert (begin(passage), passage.prefix) == (pytest.approx(5.9), ())


@pytest.mark.parametrize("answer", ["and so it goes", "And, so it goes", "and saw it goes", "so it goes"])
def test_its_answer_is_matched_with_what_was_promised(answer: str) -> None:
    listener = Listener(words(answer, 6), continues=False)
    assert written(listener.quickly(5.9, 8, words("and so", 6)).words) == "it goes"


def test_its_finals_have_all_words_and_the_text_before_as_a_prompt() -> None:
    listener = Listener(words("and so it goes", 6), words("and so it", 6), continues=False)
    listener.hearing.keep(EARLIER)
    assert written(listener.carefully(5.9, 8).words) == "and so it goes"
    assert listener.asked.prompt == written(EARLIER)
    listener.quickly(5.9, 7.5, words("and", 6))
    assert (begin(listener.asked), listener.asked.prompt) == (5.9, written(EARLIER)), "its partials too"


# Loops


def test_a_loop_is_heard_once_more_without_what_led_it() -> None:
    loop = words("round and round and round and round and round", 21, 0.1)
    listener = Listener(loop, words("round it went", 21))
    listener.hearing.keep(LONG_BEFORE)
    heard = listener.carefully(20.9, 23)
    assert written(heard.words) == "round it went"
    assert heard.refused == {"loop": len(loop) - 2}
    first, again = listener.model.asked
    assert first.prompt
    assert first.prefix
    assert (begin(again), end(again), again.prefix, again.leading) == (pytest.approx(20.9), 23, (), "")


def test_a_loop_that_stays_is_cut_and_not_heard_a_third_time() -> None:
    listener = Listener(LOOP, LOOP, words("never asked", 6))
    listener.hearing.keep(EARLIER)
    assert written(listener.carefully(5.9, 9.5, AT_ONCE).words) == "round and"
    assert len(listener.model.asked) == 2


def test_what_was_said_before_a_loop_leads_nothing_more() -> None:
    listener = Listener(LOOP, words("and so", 6))
    listener.hearing.keep(EARLIER)
    listener.carefully(5.9, 7)
    assert listener.hearing.needed_from is None
    listener.hearing.keep(words("and so", 6))
    for hear in (listener.quickly, listener.carefully):
        hear(7, 9)
        assert written(listener.asked.prefix) == "and so"
        assert listener.asked.prompt == ""


def test_after_a_loop_that_stays_text_leads_no_final_until_one_is_well() -> None:
    loop = words("round and round and round and round", 15.5, 0.1)
    listener = Listener(loop, loop, words("and so", 35.5), words("and so", 55.5), words("and so", 75.5))
    prompted = []
    for n in range(3):
        listener.hearing.keep(words("We were here. Then the rain came and we left", n * 20, 1.5))
        before = len(listener.model.asked)
        listener.carefully(n * 20 + 15.4, n * 20 + 16.5)
        prompted.append(bool(listener.model.asked[before].prompt))
    assert prompted == [True, False, True]


def test_after_a_loop_terms_still_lead() -> None:
    listener = Listener(LOOP, words("and so", 6), glossary=("Kowalczyk",))
    listener.hearing.keep(EARLIER)
    listener.carefully(5.9, 7)
    listener.carefully(5.9, 7)
    assert listener.asked.leading == "Kowalczyk."


def test_a_loop_is_forgotten_with_what_was_said() -> None:
    listener = Listener(LOOP, words("and so", 6))
    listener.carefully(5.9, 7)
    listener.hearing.forget()
    listener.hearing.keep(LONG_BEFORE)
    listener.carefully(20.9, 22)
    assert listener.asked.prompt


def test_a_model_that_could_not_stop_is_heard_once_more() -> None:
    listener = Listener(Hypothesis(words("and so", 6), ran_on=True), words("and so it goes", 6))
    listener.hearing.keep(EARLIER)
    heard = listener.carefully(5.9, 8)
    assert (written(heard.words), heard.refused) == ("and so it goes", {})
    assert listener.asked.prefix == ()


def test_more_words_than_anyone_can_say_are_heard_once_more() -> None:
    listener = Listener(words(" ".join(f"w{n}" for n in range(40)), 6, 0.04), words("and so it goes", 6))
    listener.hearing.keep(EARLIER)
    heard = listener.carefully(5.9, 8)
    assert (written(heard.words), heard.refused) == ("and so it goes", {"too_fast": 40})


# A model that is led astray


@pytest.mark.parametrize("deaf", [(), words("and", 6)], ids=["nothing", "next-to-nothing"])
def test_where_someone_speaks_and_nothing_is_heard_a_final_is_heard_by_itself(deaf: tuple[HeardWord, ...]) -> None:
    listener = Listener(deaf, words("and so it went on and on", 6, 0.5))
    listener.hearing.keep(EARLIER)
    assert written(listener.carefully(5.9, 9.5).words) == "and so it went on and on"
    assert (begin(listener.asked), listener.asked.prefix, listener.asked.prompt) == (pytest.approx(5.9), (), "")
    assert listener.hearing.needed_from is None, "what led it astray leads nothing more"


def test_a_partial_is_heard_with_no_more_than_its_own_words_then() -> None:
    stable = words("and so", 6)
    listener = Listener((), words("it went on and on", 6.8, 0.5), glossary=("Kowalczyk",))
    listener.hearing.keep(EARLIER)
    assert written(listener.quickly(5.9, 9.5, stable).words) == "it went on and on"
    assert (begin(listener.asked), listener.asked.prefix, listener.asked.leading) == (pytest.approx(5.9), stable, "Kowalczyk.")


@pytest.mark.parametrize(
    "alone",
    [Hypothesis(), Hypothesis(words("or not", 6), POOR - 0.1), Hypothesis(words("so so so so so", 6)), Hypothesis(words("no", 6))],
    ids=["nothing-again", "a-guess", "a-loop", "no-more"],
)
def test_what_is_heard_alone_must_be_better(alone: Hypothesis) -> None:
    for quickly in (True, False):
        listener = Listener(words("and", 6), alone, Hypothesis(), Hypothesis())
        listener.hearing.keep(EARLIER)
        heard = listener.quickly(5.9, 9.5) if quickly else listener.carefully(5.9, 9.5)
        assert written(heard.words) == "and"
        assert listener.hearing.needed_from is not None


def test_in_silence_nothing_is_heard_twice() -> None:
    listener = Listener((), ())
    listener.hearing.keep(EARLIER)
    listener.carefully(5.9, 9.5, [Stretch(at(6), at(6) + RULES.unheard - 1)])
    assert len(listener.model.asked) == 1


# What the model leaves out


def test_what_the_model_leaves_out_is_heard_again() -> None:
    rest = RULES.unheard / RATE + 1
    speech = [Stretch(at(1), at(3)), Stretch(at(5), at(5 + rest))]
    listener = Listener(words("then she wept and wept again", 1, 0.33), words("and left", 5, 0.9))
    heard = listener.carefully(0.8, 5 + rest, speech)
    assert written(heard.words) == "then she wept and wept again and left"
    _, again = listener.model.asked
    assert begin(again) == pytest.approx(5 - RULES.pre_roll / RATE)
    assert (end(again), again.prefix) == (5 + rest, ())


def test_nothing_is_heard_again_where_all_was_heard() -> None:
    speech = [Stretch(at(1), at(3))]
    listener = Listener(words("then she wept", 1, 0.6))
    listener.carefully(0.8, 10, speech)
    assert len(listener.model.asked) == 1


def test_a_model_that_goes_on_leaving_out_is_not_asked_for_ever() -> None:
    listener = Listener(*[words("then", start, 0.3) for start in range(1, 30)])
    assert 2 <= len(listener.carefully(0.8, 40).words) <= 6
    assert len(listener.model.asked) <= 6


def test_what_is_left_out_twice_is_left_out() -> None:
    speech = [Stretch(at(1), at(3)), Stretch(at(5), at(5) + 2 * RULES.unheard)]
    listener = Listener(words("then she wept and wept again", 1, 0.33), ())
    assert written(listener.carefully(0.8, 9, speech).words) == "then she wept and wept again"
    assert len(listener.model.asked) == 2


# Translation


def test_a_translation_is_led_by_nothing() -> None:
    listener = Listener(words("it rained", 6), glossary=("Kowalczyk",))
    listener.hearing.keep(EARLIER)
    speech = [Stretch(at(5.9), at(8))]
    heard = asyncio.run(listener.hearing.translated(listener.run, at(5.9), at(8), speech, "de"))
    assert written(heard.words) == "it rained"
    assert (listener.asked.task, listener.asked.language) == (Task.TRANSLATE, "de")
    assert (begin(listener.asked), end(listener.asked)) == (pytest.approx(5.9), 8)
    assert (listener.asked.prefix, listener.asked.leading) == ((), "")


def test_words_in_silence_are_refused() -> None:
    listener = Listener(words("you", 20), words("you", 20))
    for heard in (listener.quickly(1, 1.9), listener.carefully(1, 1.9)):
        assert (heard.words, heard.refused) == ((), {"outside": 1})
