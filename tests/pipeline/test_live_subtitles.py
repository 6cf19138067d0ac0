"""Finals that come one after another, as stretches of subtitles that never change."""

import random
from itertools import pairwise

import pytest
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.live_subtitles import LiveSubtitles, Rules, Stretch
from pipeline.subtitles import Cue, cues
from pipeline.timeline import MediaTime
from tests.pipeline.test_subtitles import segment

pytestmark = pytest.mark.unit

RULES = Rules(length=MediaTime.of(4), delay=MediaTime.of(8), kept=50)


def told(stretches: list[Stretch]) -> list[Cue]:
    """The cues that a player shows: those that two stretches share once."""
    return list(dict.fromkeys(cue for stretch in stretches for cue in stretch.cues))


def words(found: list[Cue]) -> str:
    return " ".join(line for cue in found for line in cue.lines)


def talk(seconds: float = 60.0) -> list[TranscriptSegment]:
    """Somebody speaks with pauses; finals end at sentences and within them."""
    texts = [
        "The conference opens on Monday, and it lasts for three days.",
        "A ticket costs 25 pounds, and lunch is included in the price",
        "of the ticket unless you come only for the evening.",
        "No.",
        "Thank you all very much.",
    ]
    said: list[TranscriptSegment] = []
    at, chance = 0.7, random.Random(4)
    while at < seconds:
        said.append(segment(texts[len(said) % len(texts)], at, each=0.32))
        at = MediaTime.from_proto(said[-1].media_end).seconds + chance.choice([0.1, 0.6, 2.5])
    return said


def live(finals: list[TranscriptSegment], *, late_s: float = 0.5) -> LiveSubtitles:
    """What is listed of finals that come so long after they end, heard in steps of half a second."""
    track, waiting = LiveSubtitles(RULES), list(finals)
    end = MediaTime.from_proto(finals[-1].media_end).seconds + 1
    for step in range(int((end + late_s) * 2) + 2):
        while waiting and MediaTime.from_proto(waiting[0].media_end).seconds + late_s <= step / 2:
            track.say(waiting.pop(0))
        track.hear(MediaTime.of(min(step / 2, end)))
    track.end(MediaTime.of(end))
    return track


@pytest.mark.parametrize("late_s", [0.0, 0.5, 3.0])
def test_live_subtitles_are_those_of_the_file(late_s: float) -> None:
    finals = talk()
    track = live(finals, late_s=late_s)
    whole = cues(finals)
    found = told(list(track.stretches))
    assert (track.late, track.in_time) == (0, sum(len(final.words) for final in finals))
    assert words(found) == words(whole), "every word once, in order"
    same = {(cue.start, cue.lines) for cue in found} & {(cue.start, cue.lines) for cue in whole}
    assert len(same) >= len(whole) - 2, "broken as in the file, but where a short sentence came right after a border"
    assert all(first.end < second.start for first, second in pairwise(found))


def test_stretches_follow_one_another_and_hold_all_that_is_on_the_screen() -> None:
    track = live(talk())
    stretches = list(track.stretches)
    assert [stretch.number for stretch in stretches] == list(range(len(stretches)))
    assert all(first.end == second.start for first, second in pairwise(stretches))
    assert {(stretch.end - stretch.start).seconds for stretch in stretches[:-1]} == {4.0}
    every = told(stretches)
    for stretch in stretches:
        assert stretch.cues == tuple(cue for cue in every if cue.start < stretch.end and cue.end > stretch.start)
    assert any(first.cues[-1:] == second.cues[:1] != () for first, second in pairwise(stretches)), "some go over a border"


def test_what_is_listed_never_changes() -> None:
    track, seen = LiveSubtitles(RULES), list[Stretch]()
    for final in talk(30):
        track.say(final)
        assert list(track.stretches)[: len(seen)] == seen
        seen = list(track.stretches)
    assert len(seen) > 4


def test_a_stretch_is_listed_when_its_speech_is_final_and_otherwise_after_the_delay() -> None:
    track = LiveSubtitles(RULES)
    track.say(segment("One two three.", 0.5, each=0.5))
    track.hear(MediaTime.of(11.9))
    assert not track.stretches, "somebody may be speaking"
    track.hear(MediaTime.of(12))
    assert len(track.stretches) == 1
    track.say(segment("And so it goes on for a while.", 9.0, each=0.4))
    assert [stretch.number for stretch in track.stretches] == [0, 1, 2]
    assert [len(stretch.cues) for stretch in track.stretches] == [1, 0, 1]


def test_a_sentence_that_goes_on_waits_for_its_rest_and_not_for_ever() -> None:
    track = LiveSubtitles(RULES)
    track.say(segment("Bring your passport and a warm", 2.2))
    assert not track.stretches
    track.say(segment("coat.", 4.02))
    assert track.stretches[0].cues[0].lines == ("Bring your passport and a warm coat.",)
    unfinished = LiveSubtitles(RULES)
    unfinished.say(segment("Bring your passport and a warm", 2.2))
    unfinished.hear(MediaTime.of(12))
    unfinished.say(segment("coat.", 11.5))
    unfinished.end(MediaTime.of(13))
    assert words(told(list(unfinished.stretches))) == "Bring your passport and a warm coat."


def test_a_late_word_is_shown_after_its_time_and_counted() -> None:
    track = LiveSubtitles(RULES)
    track.hear(MediaTime.of(13))
    assert [stretch.cues for stretch in track.stretches] == [()]
    track.say(segment("This comes late. This does not.", 2.4, each=0.8))
    track.end(MediaTime.of(13))
    (first, second) = told(list(track.stretches))
    assert (track.late, track.in_time) == (2, 4)
    assert first.start == MediaTime.of(4), "where the next stretch begins"
    assert words([first, second]) == "This comes late. This does not."


def test_words_that_come_after_everything_was_listed_have_a_last_stretch() -> None:
    track = LiveSubtitles(RULES)
    track.hear(MediaTime.of(20))
    late = segment("Good night.", 9.0)
    track.say(late)
    track.end(MediaTime.of(12))
    assert words(list(track.stretches[-1].cues)) == "Good night."
    assert track.ended


def test_the_end_lists_what_is_left_and_nothing_follows() -> None:
    track = LiveSubtitles(RULES)
    track.say(segment("Hello.", 5.0))
    track.end(MediaTime.of(6.5))
    assert [(stretch.start.seconds, stretch.end.seconds) for stretch in track.stretches] == [(0.0, 4.0), (4.0, 6.5)]
    track.say(segment("Again.", 20.0))
    track.hear(MediaTime.of(60))
    assert len(track.stretches) == 2


def test_a_stream_that_ends_at_once_has_one_empty_stretch() -> None:
    track = LiveSubtitles(RULES)
    track.end(MediaTime.of(0))
    assert [(stretch.start.seconds, stretch.end.seconds, stretch.cues) for stretch in track.stretches] == [(0.0, 1.0, ())]


def test_a_stream_that_is_met_late_and_one_that_leaps_are_numbered_by_their_time() -> None:
    track = LiveSubtitles(RULES)
    track.say(segment("We are back.", 90_001.0))
    track.hear(MediaTime.of(90_020))
    assert track.stretches[0].number == 90_000 // 4
    assert words(list(track.stretches[0].cues)) == "We are back."
    track.know(MediaTime.of(200_000))
    numbers = [stretch.number for stretch in track.stretches]
    assert numbers == list(range(numbers[0], 50_000))
    assert len(numbers) == RULES.kept


def test_only_the_latest_are_kept() -> None:
    track = LiveSubtitles(Rules(length=MediaTime.of(4), delay=MediaTime.of(8), kept=3))
    for second in range(0, 600, 5):
        track.say(segment("Hello there.", second))
    assert [stretch.number for stretch in track.stretches] == [145, 146, 147]


def test_who_read_the_list_gets_what_has_left_it_since() -> None:
    track = LiveSubtitles(Rules(length=MediaTime.of(4), delay=MediaTime.of(8), kept=3))
    track.hear(MediaTime.of(60))
    read = track.stretches
    track.hear(MediaTime.of(60 + 3 * 4))
    assert not set(read) & set(track.stretches)
    assert [track.stretch(each.number) for each in read] == list(read)
    read = track.stretches
    track.hear(MediaTime.of(4_000))
    assert track.stretch(read[-1].number) == read[-1], "also where the stream has leapt"
