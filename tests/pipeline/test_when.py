"""Time in questions: what is read, which stretch is meant, and answers from that stretch alone."""

import asyncio

import pytest
from watchword.v1.answer_pb2 import Answer

from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Facts, Kind, Moment, Span
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.qa.numbers import with_digits
from pipeline.qa.when import read_when, span_of
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.unit

LATEST = MediaTime.of(600)


def seconds(span: Span) -> tuple[float | None, float | None]:
    return tuple(None if each is None else each.seconds for each in (span.start, span.end))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("question", "rest", "span"),
    [
        ("How many bottles stand there at 24 s?", "How many bottles stand there?", (21.5, 26.5)),
        ("What happens at about 1:30?", "What happens?", (87.5, 92.5)),
        ("Which lap is it 11 seconds in?", "Which lap is it?", (8.5, 13.5)),
        ("What does the sign say two minutes into the film?", "What does the sign say?", (117.5, 122.5)),
        ("What is said between 0:35 and 0:40?", "What is said?", (35, 40)),
        ("What is said from 10 to 20 seconds?", "What is said?", (10, 20)),
        ("What is said in the first minute?", "What is said?", (0, 60)),
        ("What is said in the first five seconds?", "What is said?", (0, 5)),
        ("What was said in the last two minutes?", "What was said?", (480, None)),
        ("What did he say just now?", "What did he say?", (540, None)),
        ("What is shown at the end of the video?", "What is shown?", (540, None)),
        ("What is shown in the first scene?", "What is shown?", (None, 60)),
        ("What is said after 1:05?", "What is said?", (65, None)),
    ],
)
def test_a_stretch_by_the_clock(question, rest, span):
    when = read_when(question)
    assert when is not None
    assert when.rest == rest
    assert seconds(span_of(when, LATEST, None)) == span


@pytest.mark.parametrize(
    "question",
    [
        "When does the talk begin?",
        "What is at the end of the pier?",
        "Coffee is served at 11 o'clock?",
        "Who came first?",
        "What lasts 3 days?",
        "What needs 20 minutes in the oven?",
        "What happened 3 hours into the flight?",
    ],
)
def test_other_words_are_no_time(question):
    assert read_when(question) is None


def test_hours_of_the_day_where_the_stream_is_not_so_long():
    when = read_when("What happened between 14:00 and 14:05?")
    assert when is not None
    began = 1_700_000_000 - 1_700_000_000 % 86_400 + 13 * 3600 + 50 * 60
    assert seconds(span_of(when, LATEST, began)) == (600, 900)
    assert seconds(span_of(when, MediaTime.of(900), began)) == (840, 845), "minutes and seconds where it is so long"
    assert seconds(span_of(when, LATEST, None)) == (840, 845)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("twenty five", "25"),
        ("two hundred and ten beds", "210 beds"),
        ("nineteen ninety five", "1995"),
        ("twenty twenty six", "2026"),
        ("three thousand two hundred", "3200"),
        ("half past seven", "half past 7"),
        ("a dozen eggs", "a 12 eggs"),
        ("two and three", "2 and 3"),
        ("eighteen thousand two hundred", "18200"),
        ("seven three", "7 3"),
        ("one", "1"),
        ("", ""),
    ],
)
def test_written_numbers_are_digits(words, expected):
    assert with_digits(words.split()) == expected.split()


TALK = (
    (Kind.SPEECH, 2.0, 4.0, "Welcome to the harbour."),
    (Kind.SPEECH, 10.0, 12.0, "The ferry leaves at nine."),
    (Kind.SPEECH, 14.0, 16.0, "A dog barks at the gulls."),
    (Kind.SPEECH, 18.0, 20.0, "The captain waves."),
    (Kind.SPEECH, 50.0, 52.0, "The ferry is back."),
)


def ask(question: str, span: Span | None = None) -> Answer:
    async def run() -> Answer:
        store, embedder = SqliteStore(), ScriptedEmbedder()
        for kind, start, end, text in TALK:
            moment = Moment("s", f"item-{start}", kind, 0, text, MediaTime.of(start), MediaTime.of(end), "m")
            await store.put("s", moment.source_id, [moment], await embedder.embed([text]))
        await store.see("s", MediaTime.of(60), Facts())
        answer = [part async for part in ExtractiveAnswerer(store, embedder).ask("s", question, span)][-1]
        await store.close()
        assert isinstance(answer, Answer)
        return answer

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("question", "quoted"),
    [
        ("What is the first thing that is said?", ["Welcome to the harbour."]),
        ("What is the last thing that is said?", ["The ferry is back."]),
        ("What is said between 0:09 and 0:13?", ["The ferry leaves at nine."]),
        ("What is said right after the ferry leaves?", ["A dog barks at the gulls."]),
        ("What is said right before the captain waves?", ["A dog barks at the gulls."]),
        ("Is anybody speaking at 0:15?", ["A dog barks at the gulls."]),
    ],
)
def test_what_stands_in_the_stretch_is_quoted(question, quoted):
    answer = ask(question)
    assert answer.supported
    assert [evidence.text for evidence in answer.evidence] == quoted


@pytest.mark.parametrize("time", ["before 999999999 hours", "after 10000000000 seconds", f"at {'9' * 400} seconds"])
def test_a_time_beyond_all_streams_is_answered_like_any_other(time):
    assert ask(f"What is said {time}?").text


def test_silence_is_told_with_what_stands_around_it():
    answer = ask("Is anybody speaking at 35 s?")
    assert answer.text == "Nobody is heard at 0:35: nothing is said between 0:20 and 0:50."
    assert [evidence.text for evidence in answer.evidence] == ["The captain waves.", "The ferry is back."]
    assert ask("Is anybody speaking at 35 s?", Span(MediaTime.of(35), MediaTime.of(60))).text == answer.text, "whatever the range cuts off"


def test_a_time_that_has_not_come_is_said_to_be_so():
    for answer in (ask("What is said at 5:00?"), ask("When does the ferry leave?", Span(MediaTime.of(300)))):
        assert not answer.supported
        assert "has come only as far as 1:00" in answer.text


def test_before_and_after_in_other_meanings_do_not_hide_the_answer():
    assert "nine" in ask("When does the ferry leave after the storm?").text
