"""Events as JSON, the terminal's last words and the files, from messages made by hand."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.safety_pb2 import ACTION_ALLOW, Verdict
from watchword.v1.transcript_pb2 import TranscriptSegment, TranscriptStatistics, Word, WordLatency

from pipeline.timeline import MediaTime
from services.cli.outputs import write_words
from services.cli.terminal import Terminal
from services.cli.viewer import Viewer
from services.events import of_cleared

pytestmark = pytest.mark.unit

STATISTICS = TranscriptStatistics(
    stream_id="s",
    id="statistics-20000",
    media_end=MediaTime.of(20).to_proto(),
    words=42,
    words_per_minute=126,
    stable_latency=WordLatency(mean_s=1.25, p95_s=2.5),
    final_latency=WordLatency(mean_s=2, p95_s=4.125),
    flicker=0.125,
    real_time_factor=0.25,
    words_refused={"silence": 2, "after": 1},
)


def segment(**more: object) -> ClearedEvent:
    said = TranscriptSegment(
        stream_id="s",
        id="segment-1000",
        text="Guten Tag.",
        words=[Word(text=text, media_start=MediaTime.of(1).to_proto(), media_end=MediaTime.of(2).to_proto()) for text in ("Guten", "Tag.")],
        stable=1,
        revision=3,
        language="de",
        language_probability=0.93754,
        media_start=MediaTime.of(1).to_proto(),
        media_end=MediaTime.of(3).to_proto(),
        model="whisper",
        verdict=Verdict(action=ACTION_ALLOW),
    )
    for name, value in more.items():
        setattr(said, name, value)
    return ClearedEvent(segment=said)


TRANSLATION = segment(
    id="translation-1000", is_final=True, text="Good day.", language="en", language_probability=0, translation_of="segment-1000"
)


def test_a_partial_tells_what_it_promises() -> None:
    (event,) = of_cleared(segment(), 3.5)
    told = {name: event[name] for name in ("type", "stable", "revision", "language", "language_probability", "translation_of")}
    assert told == {
        "type": "partial",
        "stable": 1,
        "revision": 3,
        "language": "de",
        "language_probability": 0.9375,
        "translation_of": None,
    }
    assert not {"corrected", "model"} & event.keys()


def test_a_final_tells_whether_it_broke_a_promise() -> None:
    said = segment(is_final=True, stable=2, corrected=True)
    said.segment.words[1].corrected = True
    event, verdict = of_cleared(said, 3.5)
    assert event["words"] == [
        {"w": "Guten", "start": 1.0, "end": 2.0, "p": 0.0},
        {"w": "Tag.", "start": 1.0, "end": 2.0, "p": 0.0, "corrected": True},
    ]
    assert (event["type"], event["stable"], event["corrected"], event["model"]) == ("final", 2, True, "whisper")
    assert verdict["of"] == "segment-1000"


def test_words_without_a_space_before_them_are_shown_and_told_so() -> None:
    said = segment(stable=2, text="今天很好")
    del said.segment.words[:]
    for text in ("今天", "很", "好"):
        said.segment.words.add(text=text, glued=True)
    event = of_cleared(said, 3.5)[0]
    assert [word["w"] for word in event["words"] if word["glued"]] == ["今天", "很", "好"]
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100, force_terminal=True, color_system=None))
    with terminal:
        terminal.write([event])
    assert "今天很好" in out.getvalue()


def test_a_translation_names_what_it_translates_and_has_no_probability() -> None:
    event = of_cleared(TRANSLATION, 3.5)[0]
    assert (event["translation_of"], event["language"], event["language_probability"]) == ("segment-1000", "en", None)


def test_statistics_are_told_in_numbers_and_in_words() -> None:
    (event,) = of_cleared(ClearedEvent(stats=STATISTICS), 21.0)
    assert event == {
        "type": "statistics",
        "id": "statistics-20000",
        "stream": "s",
        "media_start": 0.0,
        "media_end": 20.0,
        "emitted": 21.0,
        "text": "words promised 1.2 s after they were said (95 of 100 within 2.5 s), words settled 2.0 s after they were said "
        "(95 of 100 within 4.1 s), 12 words taken back for every 100, 0.25 s of computing for each second of sound, 3 words refused",
        "words": 42,
        "words_per_minute": 126.0,
        "stable_latency": {"mean": 1.25, "p95": 2.5},
        "final_latency": {"mean": 2.0, "p95": 4.125},
        "flicker": 0.125,
        "real_time_factor": 0.25,
        "words_refused": {"after": 1, "silence": 2},
    }


def test_where_nothing_was_said_there_is_no_latency() -> None:
    (event,) = of_cleared(ClearedEvent(stats=TranscriptStatistics(stream_id="s", id="statistics-0")), 1.0)
    assert (event["stable_latency"], event["final_latency"], event["words_refused"]) == (None, None, {})
    assert event["text"].startswith("0 words taken back")


def test_the_terminal_tells_statistics_once_in_the_end() -> None:
    out = io.StringIO()
    terminal = Terminal(Console(file=out, width=100))
    viewer = Viewer([terminal])
    for event in (ClearedEvent(stats=STATISTICS), segment(is_final=True), TRANSLATION, ClearedEvent(stats=STATISTICS)):
        viewer.cleared(event, 0.0)
    terminal.summary(viewer, [])
    lines = out.getvalue().splitlines()
    assert sum("promised 1.2 s after they were said" in line for line in lines) == 1
    assert any(line.startswith("2 words in 1 segment, ") for line in lines), "a translation is not said twice"
    assert any("in English  Good day." in line for line in lines)


def test_a_final_without_words_takes_its_partial_back() -> None:
    out = io.StringIO()
    viewer = Viewer([Terminal(Console(file=out, width=100))])
    empty = segment(is_final=True, text="", stable=0)
    del empty.segment.words[:]
    for event in (segment(), empty):
        viewer.cleared(event, 0.0)
    assert (viewer.finals, out.getvalue()) == ([], "")


def test_a_translation_has_files_of_its_own(tmp_path: Path) -> None:
    viewer = Viewer([])
    for event in (segment(is_final=True), TRANSLATION):
        viewer.cleared(event, 0.0)
    names = [path.name for path in write_words(viewer, tmp_path)]
    assert names == ["captions.vtt", "captions.srt", "captions.en.vtt", "captions.en.srt", "scenes.json"]
    assert "Guten Tag." in (tmp_path / "captions.vtt").read_text(encoding="utf-8")
    assert "Good day." in (tmp_path / "captions.en.srt").read_text(encoding="utf-8")
