"""Finals as cues that can be read, and both file formats read back."""

import re
from itertools import pairwise

import pytest
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.subtitles import LINE, LONGEST, SHORTEST, Cue, cues, subrip, tracks, webvtt
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
    found = cues([segment(SPEECH)])
    assert " ".join(found[0].lines).endswith("three days.")
    assert " ".join(found[1].lines).endswith("pounds,")


def test_lines_are_balanced() -> None:
    (cue,) = cues([segment("This tall tower looks over a wide and very quiet lake.")])
    assert cue.lines == ("This tall tower looks over", "a wide and very quiet lake.")


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


def test_short_cues_in_a_row_do_not_overlap() -> None:
    found = cues([segment("No.", 1.0), segment("Yes.", 1.4), segment("Perhaps.", 1.8)])
    assert [cue.lines for cue in found] == [("No.",), ("Yes.",), ("Perhaps.",)]
    assert all(first.end <= second.start for first, second in pairwise(found))
    assert all(cue.end - cue.start >= SHORTEST for cue in found)


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
    assert (cue.start, cue.end) == (MediaTime.of(5.0), MediaTime.of(7.0))


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
