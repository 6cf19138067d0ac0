"""Finals as cues that can be read, and both file formats read back."""

import re
from itertools import pairwise

import pytest
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.line_breaks import LINE, LONGEST, READ_PER_S, SHORTEST
from pipeline.subtitles import APART, LINGERING, Cue, cues, subrip, tracks, webvtt
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

SPEECH = (
    "The conference opens on Monday, and it lasts for three days. A ticket costs 25 pounds, and lunch is included in the price of "
    "the ticket unless you come only for the evening when nobody has an appetite for cold soup anyway."
)


def segment(text: str, start: float = 0.0, *, each: float = 0.3, final: bool = True, words: bool = True) -> TranscriptSegment:
    texts = text.split()
    spoken = [
        Word(text=word, media_start=MediaTime.of(start + n * each).to_proto(), media_end=MediaTime.of(start + (n + 1) * each).to_proto())
        for n, word in enumerate(texts)
    ]
    return TranscriptSegment(
        stream_id="s",
        id=f"segment-{MediaTime.of(start).millis}",
        is_final=final,
        text=text,
        words=spoken if words else [],
        media_start=MediaTime.of(start).to_proto(),
        media_end=MediaTime.of(start + len(texts) * each).to_proto(),
    )


def seconds(stamp: str) -> float:
    hours, minutes, rest = stamp.replace(",", ".").split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


def read(text: str) -> list[tuple[float, float, list[str]]]:
    """The cues of either format, as a player would take them."""
    found = []
    for block in re.split(r"\n\n+", text.strip()):
        lines = block.split("\n")
        times = next((n for n, line in enumerate(lines) if "-->" in line), None)
        if times is not None:
            start, end = lines[times].split(" --> ")
            found.append((seconds(start), seconds(end), lines[times + 1 :]))
    return found


def shown(found: list[Cue]) -> str:
    return " ".join(" ".join(cue.lines) for cue in found)


def test_every_word_is_shown_once_in_readable_cues() -> None:
    found = cues([segment(SPEECH, 2.0), segment("Thank you.", 60.0)])
    assert shown(found) == f"{SPEECH} Thank you."
    for cue in found:
        assert 1 <= len(cue.lines) <= 2
        assert all(len(line) <= LINE for line in cue.lines)
        assert SHORTEST <= cue.end - cue.start <= LONGEST
    assert all(first.end <= second.start for first, second in pairwise(found))


def test_cues_break_at_sentences_and_clauses() -> None:
    found = [" ".join(cue.lines) for cue in cues([segment(SPEECH)])]
    assert found[0] == "The conference opens on Monday, and it lasts for three days."
    assert found[1].startswith("A ticket costs 25 pounds,")
    assert all(text.split()[-1] not in ("the", "a", "of", "in", "for", "and", "when", "is") for text in found)


def test_a_sentence_that_just_does_not_fit_is_parted_in_the_middle() -> None:
    text = "Everybody who bought tickets yesterday evening received several beautiful photographs of mountains afterwards"
    first, second = cues([segment(text)])
    assert len(" ".join(second.lines)) > 30
    assert len(" ".join(first.lines)) > 30


def test_a_cue_goes_on_over_finals_that_end_in_the_middle_of_a_sentence() -> None:
    (cue,) = cues([segment("Bring your passport and a warm", 2.0), segment("coat.", 3.82)])
    assert " ".join(cue.lines) == "Bring your passport and a warm coat."
    assert cue.start == MediaTime.of(2.0)


def test_what_is_said_in_another_language_has_a_cue_of_its_own() -> None:
    french = segment("Bonjour.", 1.4)
    french.language = "fr"
    assert [cue.lines for cue in cues([segment("Hello.", 1.0), french])] == [("Hello.",), ("Bonjour.",)]


@pytest.mark.parametrize(
    ("text", "upper"),
    [
        ("The cakes of the day are made by a baker called David.", "The cakes of the day are made"),
        ("This rocket stands on the launch pad ready to fly.", "This rocket stands"),
        ("The cat lives in the garden, and her name is Ruby Tuesday.", "The cat lives in the garden,"),
        ("Twelve white horses drink cold water before breakfast.", "Twelve white horses drink"),
    ],
)
def test_lines_break_where_one_would_pause_and_are_balanced(text: str, upper: str) -> None:
    (cue,) = cues([segment(text)])
    assert cue.lines == (upper, text[len(upper) + 1 :])


@pytest.mark.parametrize(
    "text", ["We met Mr. Brown and J. Smith at noon in the large hall.", "And so he asked… what you can do for your country now."]
)
def test_a_title_and_a_hesitation_end_no_sentence(text: str) -> None:
    (cue,) = cues([segment(text)])
    assert not cue.lines[0].endswith((".", "…"))


def test_a_cue_starts_with_its_first_word_and_never_precedes_it() -> None:
    found = cues([segment("Coffee is served at eleven o'clock.", 12.345)])
    assert found[0].start == MediaTime.of(12.345)


def test_a_pause_within_a_segment_ends_the_cue() -> None:
    paused = segment("one two three four")
    for word in paused.words[2:]:
        for time in (word.media_start, word.media_end):
            time.CopyFrom((MediaTime.from_proto(time) + MediaTime.of(1.5)).to_proto())
    assert [cue.lines for cue in cues([paused])] == [("one two",), ("three four",)]


def test_text_without_spaces_is_cut_between_its_words_and_counts_wide() -> None:
    heard = segment(" ".join(["本日は", "会議", "に", "ご", "参加", "いただき、", "誠に", "あり", "がとう", "ござ", "います。"] * 4))
    for word in heard.words:
        word.glued = True
    heard.text = heard.text.replace(" ", "")
    found = cues([heard])
    assert "".join(line for cue in found for line in cue.lines) == heard.text
    assert len(found) > 2
    assert all(cue.end - cue.start <= LONGEST for cue in found)
    lines = [line for cue in found for line in cue.lines]
    assert max(map(len, lines)) <= LINE // 2
    assert all(line[0] not in "、。" for line in lines)
    assert [cue.lines[-1][-1] for cue in found] == ["。"] * len(found), "they end with sentences"


def test_partials_are_not_shown() -> None:
    assert cues([segment("This may still change", final=False)]) == []


def test_a_translation_is_another_track() -> None:
    said, partial, translated = segment("Guten Tag."), segment("Wie geht", final=False), segment("Good day.")
    translated.translation_of, translated.language = "segment-0", "en"
    assert tracks([said, translated, partial]) == {"": [said], "en": [translated]}
    assert tracks([]) == {"": []}


def test_short_sentences_in_a_row_share_a_cue() -> None:
    (cue,) = cues([segment("No.", 1.0), segment("Yes.", 1.4), segment("Perhaps.", 1.8)])
    assert cue.lines == ("No. Yes. Perhaps.",)


def test_a_sentence_does_not_begin_in_the_cue_of_another_one() -> None:
    said = [segment("For they require sleep to rest them of their fatigue.", 1.0), segment("It seems probable,", 4.9)]
    said.append(segment("that only some of the tribes and their families found a way to Egypt.", 6.0))
    assert cues(said)[0].lines[-1].endswith("fatigue.")


def test_cues_that_come_too_fast_wait_and_do_not_overlap() -> None:
    fast = [segment("No.", 1.0), segment("Ja.", 1.4), segment("Perhaps.", 1.8)]
    fast[1].language = "de"
    found = cues(fast)
    assert [cue.lines for cue in found] == [("No.",), ("Ja.",), ("Perhaps.",)]
    assert all(second.start - first.end >= APART for first, second in pairwise(found))
    assert all(cue.end - cue.start >= SHORTEST for cue in found)


def test_a_cue_stays_until_it_can_be_read_where_nothing_follows() -> None:
    hasty, calm = cues(
        [segment("Sixty characters are read in three and a half seconds, or so.", 1.0, each=0.1), segment("Good.", 20.0, each=2)]
    )
    assert (hasty.end - hasty.start).seconds == pytest.approx(len(" ".join(hasty.lines)) / READ_PER_S, abs=0.1)
    assert calm.end == MediaTime.of(22.0) + LINGERING


def test_a_cue_makes_room_for_the_next_one() -> None:
    first, second = cues(
        [segment("The conference opens on Monday and lasts for three days. A ticket costs 25 pounds, and lunch is included.", 2.0)]
    )
    assert second.start - first.end == APART


def test_a_word_longer_than_a_line_stands_alone() -> None:
    long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk"
    assert [cue.lines for cue in cues([segment(f"The {long} was closed.")])] == [("The",), (long,), ("was closed.",)]


@pytest.mark.parametrize("text", ["He lives at ███ by the lake.", "He lives at [removed for privacy] by the lake."])
def test_a_redacted_text_is_shown_as_given(text: str) -> None:
    redacted = segment("He lives at seventeen by the lake.", 5.0)
    redacted.text = text
    found = cues([redacted])
    assert shown(found) == text
    assert found[0].start == MediaTime.of(5.0)


def test_a_text_without_words_takes_the_segments_time() -> None:
    (cue,) = cues([segment("Hidden words.", 5.0, each=1.0, words=False)])
    assert (cue.start, cue.end) == (MediaTime.of(5.0), MediaTime.of(7.0) + LINGERING)


def test_nothing_said_is_a_valid_empty_file() -> None:
    blank = segment("")
    assert cues([blank]) == []
    assert webvtt([]) == "WEBVTT\n"
    assert subrip([]) == ""


def test_both_formats_read_back() -> None:
    found = cues([segment(SPEECH, 3599.2), segment("The end.", 45_296.7)])
    for text in (webvtt(found), subrip(found)):
        parsed = read(text)
        assert [lines for _, _, lines in parsed] == [list(cue.lines) for cue in found]
        for (start, end, _), cue in zip(parsed, found, strict=True):
            assert start == pytest.approx(cue.start.seconds, abs=0.0006)
            assert end == pytest.approx(cue.end.seconds, abs=0.0006)
    assert "12:34:56.700 --> " in webvtt(found)
    assert "12:34:56,700 --> " in subrip(found)


def test_webvtt_has_its_header_and_escapes_markup() -> None:
    text = webvtt([Cue(MediaTime.of(1), MediaTime.of(2), ("AT&T <b>is</b>", "a --> b"))])
    assert text == "WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nAT&amp;T &lt;b&gt;is&lt;/b&gt;\na --&gt; b\n"


def test_subrip_numbers_its_cues_and_leaves_the_text_alone() -> None:
    text = subrip([Cue(MediaTime.of(1), MediaTime.of(2), ("AT&T",)), Cue(MediaTime.of(3), MediaTime.of(4), ("x",))])
    assert text == "1\n00:00:01,000 --> 00:00:02,000\nAT&T\n\n2\n00:00:03,000 --> 00:00:04,000\nx\n"
