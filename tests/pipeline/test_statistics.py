"""How well a stream is being transcribed, by numbers that can be counted by hand."""

import random
from itertools import pairwise

import pytest

from pipeline.timeline import MediaTime
from pipeline.transcribe.statistics import EVERY, Delays, Statistics
from tests.fakes import spoken_words as words

pytestmark = pytest.mark.unit

END = MediaTime.of(60)


def at(seconds: float) -> MediaTime:
    return MediaTime.of(seconds)


def delays(*seconds: float) -> Delays:
    found = Delays()
    for delay in seconds:
        (word,) = words("word", 100, 0.5)
        found.add([word], word.end + at(delay))
    return found


# Delays


def test_before_the_first_word_there_are_none() -> None:
    assert Delays().message() is None
    assert delays().message() is None
    nothing = Delays()
    nothing.add([], END)
    assert nothing.message() is None


def test_one_word_is_its_own_mean() -> None:
    found = delays(0.5).message()
    assert found is not None
    assert (found.mean_s, found.p95_s) == (pytest.approx(0.5), pytest.approx(0.5))


@pytest.mark.parametrize(("late", "expected"), [(0, 0.2), (4, 0.2), (5, 0.2), (6, 3.0), (100, 3.0)], ids=["none", "4%", "5%", "6%", "all"])
def test_95_of_100_words_took_at_most_this_long(late: int, expected: float) -> None:
    found = delays(*[3.0] * late, *[0.2] * (100 - late)).message()
    assert found is not None
    assert found.p95_s == pytest.approx(expected)
    assert found.mean_s == pytest.approx((3.0 * late + 0.2 * (100 - late)) / 100)


def test_they_agree_with_sorting() -> None:
    chance = random.Random(1)
    seconds = [chance.expovariate(1.5) for _ in range(1000)]
    found = delays(*seconds).message()
    assert found is not None
    assert found.mean_s == pytest.approx(sum(seconds) / 1000, abs=1e-6)
    assert found.p95_s == pytest.approx(sorted(seconds)[949], abs=0.011)


def test_a_word_that_ends_after_what_was_heard_took_no_time() -> None:
    found = delays(-0.3, 0.5).message()
    assert found is not None
    assert found.mean_s == pytest.approx(0.25)


def test_very_late_words_count_as_a_minute_late_in_the_percentile() -> None:
    found = delays(3600.0).message()
    assert found is not None
    assert (found.mean_s, found.p95_s) == (pytest.approx(3600), pytest.approx(60))


# Flicker


def flicker(*told: str) -> float:
    """Of partials, and finals, which begin with "=", in turn."""
    statistics = Statistics()
    statistics.heard(MediaTime(0), 0.0)
    for text in told:
        if text.startswith("="):
            statistics.close(words(text[1:]), 0, END)
        else:
            statistics.show(words(text), (), END)
    return statistics.message("s", END).flicker


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (["we", "we were", "we were here", "=We were here."], 0),
        (["we where", "we were", "=we were"], 1 / 2),
        (["a b c d", "a x c d", "=a x c d"], 3 / 4),
        (["a b c", "a b", "=a b c"], 1 / 3),
        (["a b c", "=a b d"], 1 / 3),
        (["a b", "=x y"], 2 / 2),
        (["a", "b", "c", "=d e"], 3 / 2),
        (["a b. c d", "=a b.", "c d e", "=c d e"], 0),
        (["a b. c d", "=a b.", "c x", "=c x"], 1 / 4),
        (["a b. c d", "=a bee.", "c d", "=c d"], 3 / 4),
        (["=a b"], 0),
        (["a b"], 0),
    ],
    ids=[
        "only-grows",
        "the-last-word",
        "a-word-in-the-middle-takes-all-behind-it",
        "left-out-and-back",
        "by-the-final",
        "all-by-the-final",
        "more-than-once",
        "what-follows-a-final-stays",
        "what-follows-a-final-changes",
        "a-word-that-a-final-changes-takes-all-behind-it",
        "no-partials",
        "no-final-yet",
    ],
)
def test_words_that_were_shown_and_taken_back_are_counted(told: list[str], expected: float) -> None:
    assert flicker(*told) == pytest.approx(expected)


def test_what_is_dropped_was_taken_back() -> None:
    statistics = Statistics()
    statistics.show(words("a b c"), (), END)
    statistics.drop()
    statistics.close(words("d e"), 0, END)
    assert statistics.message("s", END).flicker == pytest.approx(3 / 2)


# Messages


def test_a_word_is_counted_stable_once_when_it_is_promised() -> None:
    statistics = Statistics()
    first = words("we were here", 0, 1)
    statistics.show(first, first[:2], at(3))
    statistics.close(first, 2, at(5))
    found = statistics.message("s", END)
    assert found.stable_latency.mean_s == pytest.approx((2 + 1 + 2) / 3)
    assert found.final_latency.mean_s == pytest.approx((4 + 3 + 2) / 3)
    assert found.words == 3


def test_without_words_nothing_is_told_of_delays() -> None:
    found = Statistics().message("s", END)
    assert (found.words, found.flicker) == (0, 0)
    assert not found.HasField("stable_latency")
    assert not found.HasField("final_latency")


def test_words_a_minute_and_the_real_time_factor_count_from_where_the_audio_begins() -> None:
    statistics = Statistics()
    statistics.heard(at(100), 2.0)
    statistics.heard(at(115), 1.0)
    statistics.close(words("a b c d e f"), 0, at(120))
    found = statistics.message("s", at(130))
    assert found.words_per_minute == pytest.approx(12)
    assert found.real_time_factor == pytest.approx(0.1)


def test_refused_words_are_counted_by_reason() -> None:
    statistics = Statistics()
    statistics.refuse({"loop": 2, "outside": 1})
    statistics.refuse({"loop": 3})
    statistics.refuse({})
    assert dict(statistics.message("s", END).words_refused) == {"loop": 5, "outside": 1}


def test_messages_have_ids_of_their_own() -> None:
    statistics = Statistics()
    first, second = statistics.message("s", at(10)), statistics.message("s", at(20.25))
    assert (first.id, second.id) == ("statistics-10000", "statistics-20250")
    assert first.stream_id == "s"
    assert MediaTime.from_proto(second.media_end) == at(20.25)


# When they are said


def told(statistics: Statistics, start: float, end: float) -> list[float]:
    """When they are said, asked every quarter of a second."""
    times = [start + n / 4 for n in range(round((end - start) * 4))]
    return [time for time in times if statistics.due(at(time))]


def test_they_are_said_when_a_multiple_is_passed() -> None:
    statistics = Statistics()
    statistics.heard(at(0.5), 0.1)
    every = EVERY.seconds
    assert told(statistics, 1, 3.6 * every) == [every, 2 * every, 3 * every]


def test_they_are_said_in_silence_too_and_tell_that_nothing_was_said() -> None:
    statistics = Statistics()
    assert told(statistics, 0, 35) == [10, 20, 30]
    message = statistics.message("s", at(30))
    assert (message.words, message.words_per_minute, message.real_time_factor) == (0, 0, 0)


@pytest.mark.parametrize("share", [1.05, 1.5, 1.95])
def test_where_speech_begins_late_they_are_no_more_frequent(share: float) -> None:
    statistics, every = Statistics(), EVERY.seconds
    told(statistics, 0, share * every)
    statistics.heard(at(share * every), 0.1)
    times = told(statistics, share * every, 5 * every)
    assert len(times) >= 3
    assert all(later - earlier >= every for earlier, later in pairwise(times))
