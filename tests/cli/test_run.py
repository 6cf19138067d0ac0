"""`watchword run` on the sample clip: what a user sees, the events, the files, and how true they are."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jiwer
import pytest
from PIL import Image
from whisper.normalizers import EnglishTextNormalizer

from pipeline.graph import STEPS
from pipeline.qa.recordings import Recordings
from services.embedded import flow as flow_module
from services.serve import Parts
from tests.processes import ROOT, TRUTH, Event, of_type

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

Run = tuple[subprocess.CompletedProcess[str], Path]


def question(kind: str) -> list[dict[str, Any]]:
    return [each for each in TRUTH["questions"] if each["kind"] == kind]


def answer_to(events: list[Event], asked: str) -> Event:
    return next(event for event in of_type(events, "answer") if event["question"] == asked)


def plain(word: str) -> str:
    """A word without case and punctuation, which its final may still settle."""
    return re.sub(r"\W", "", word).lower()


def test_every_event_has_the_promised_keys(embedded_events: list[Event]) -> None:
    common = {"type", "id", "stream", "media_start", "media_end", "emitted"}
    spoken = {"text", "words", "stable", "revision", "language", "language_probability", "translation_of"}
    latencies = {"stable_latency", "final_latency"}
    own = {
        "partial": spoken,
        "final": spoken | {"corrected", "model"},
        "statistics": {"text", "words", "words_per_minute", "flicker", "real_time_factor", "words_refused"} | latencies,
        "keyframe": {"reason", "score", "scene"},
        "scene": {
            *("text", "detail", "objects", "actions", "on_screen_text", "people", "seen", "searched", "camera", "confidence"),
            *("keyframes", "model", "made_by", "revision", "extended_by"),
        },
        "verdict": {"text", "of", "kind", "action", "scores", "model", "unscored", "failed", "policy_version", "redactions"},
        "answer": {"text", "question", "supported", "evidence", "model", "claims", "confidence", "partial_cause", "conversation"},
    }
    assert {event["type"] for event in embedded_events} == set(own)
    for event in embedded_events:
        assert set(event) == common | own[event["type"]]
        assert event["stream"] == "demo"
        assert 0 <= event["media_start"] <= event["media_end"] <= TRUTH["duration"] + 0.1
    emitted = [event["emitted"] for event in embedded_events]
    assert emitted == sorted(emitted)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the normaliser leaves its word list open
def test_finals_are_what_was_said_when_it_was_said(embedded_events: list[Event]) -> None:
    finals = of_type(embedded_events, "final")
    normal = EnglishTextNormalizer()
    said = normal(TRUTH["transcript"])
    heard = normal(" ".join(event["text"] for event in finals))
    assert jiwer.wer(said, heard) <= 0.05
    for event in finals:
        assert event["text"].split() == [word["w"] for word in event["words"]]
        times = [time for word in event["words"] for time in (word["start"], word["end"])]
        assert times == sorted(times)
        spoken = [segment for segment in TRUTH["segments"] if segment["start"] - 0.5 <= event["media_start"] <= segment["end"]]
        assert spoken, f"something is heard at {event['media_start']} s, where nothing is said"
        assert all(0 <= word["p"] <= 1 for word in event["words"])


def test_partials_keep_their_word(embedded_events: list[Event]) -> None:
    promised: dict[str, list[str]] = {}
    closed: set[str] = set()
    for event in of_type(embedded_events, "partial", "final"):
        assert event["id"] not in closed, "nothing is said of a segment after its final"
        words = [word["w"] for word in event["words"]]
        if event["type"] == "final":
            closed.add(event["id"])
            kept = [plain(word) for word in promised.get(event["id"], [])]
            assert event["corrected"] or [plain(word) for word in words[: len(kept)]] == kept
            continue
        kept = promised.get(event["id"], [])
        assert words[: len(kept)] == kept, "stable words are not taken back"
        assert event["stable"] >= len(kept)
        promised[event["id"]] = words[: event["stable"]]
    assert set(promised) <= closed, "every segment is closed"
    assert len(promised) > 10


def test_statistics_tell_how_it_went(embedded_events: list[Event]) -> None:
    told = of_type(embedded_events, "statistics")
    assert [event["media_end"] // 10 for event in told[:-1]] == [*range(1, len(told))], "every ten seconds, and in the end"
    last = told[-1]
    finals = of_type(embedded_events, "final")
    assert last["words"] == sum(len(event["words"]) for event in finals)
    assert last["media_end"] == pytest.approx(TRUTH["duration"], abs=1.0)
    assert 0 < last["stable_latency"]["mean"] <= last["stable_latency"]["p95"]
    assert last["stable_latency"]["mean"] <= last["final_latency"]["mean"]
    assert last["flicker"] < 1


def test_every_cut_is_found_at_its_frame_and_no_other(embedded_events: list[Event]) -> None:
    cuts = [event["media_start"] for event in of_type(embedded_events, "keyframe") if event["reason"] == "cut"]
    assert cuts == pytest.approx(TRUTH["cuts"], abs=0.001)
    first = of_type(embedded_events, "keyframe")[0]
    assert (first["reason"], first["media_start"]) == ("first", 0)


def test_the_dissolve_is_noticed_and_the_still_stretch_costs_little(embedded_events: list[Event]) -> None:
    frames = of_type(embedded_events, "keyframe")
    (dissolve,), still = TRUTH["dissolves"], TRUTH["still"]
    assert any(dissolve["start"] <= event["media_start"] <= dissolve["end"] + 0.5 for event in frames)
    assert len([event for event in frames if still["start"] < event["media_start"] < still["end"]]) <= 3


def test_scenes_tile_the_clip_and_quote_the_slide(embedded_events: list[Event]) -> None:
    scenes = of_type(embedded_events, "scene")
    edges = [(scene["media_start"], scene["media_end"]) for scene in scenes]
    assert edges[0][0] == 0
    assert edges[-1][1] == pytest.approx(TRUTH["duration"], abs=0.1)
    assert [end for _, end in edges[:-1]] == [start for start, _ in edges[1:]]
    slide = next(scene for scene in TRUTH["scenes"] if scene["text"])
    described = next(scene for scene in scenes if scene["media_start"] == pytest.approx(slide["start"], abs=0.1))
    assert "Room 42" in described["on_screen_text"]
    assert "Room 42" in described["text"]
    assert all(scene["text"].startswith("Tags: ") for scene in scenes), "the captioner says what it is"
    assert any("cat" in scene["text"] for scene in scenes)


def test_everything_is_judged(embedded_events: list[Event]) -> None:
    judged = {event["of"] for event in of_type(embedded_events, "verdict")}
    assert judged == {event["id"] for event in of_type(embedded_events, "final", "keyframe", "scene", "answer")}
    assert all(event["scores"] for event in of_type(embedded_events, "verdict"))


@pytest.mark.parametrize("asked", question("speech") + question("text"), ids=lambda asked: asked["question"])
def test_an_answer_cites_where_it_was_said_or_shown(asked: dict[str, Any], embedded_events: list[Event]) -> None:
    answer = answer_to(embedded_events, asked["question"])
    assert answer["supported"]
    best = answer["evidence"][0]
    assert best["media_start"] < asked["end"]
    assert best["media_end"] > asked["start"]
    assert re.search(r"\d+:\d\d", answer["text"])


@pytest.mark.parametrize("asked", question("none"), ids=lambda asked: asked["question"])
def test_what_the_clip_does_not_tell_is_not_answered(asked: dict[str, Any], embedded_events: list[Event]) -> None:
    answer = answer_to(embedded_events, asked["question"])
    assert not answer["supported"]
    assert not answer["evidence"]


def test_the_files_hold_what_was_told(embedded_run: Run, embedded_events: list[Event]) -> None:
    done, folder = embedded_run
    vtt = (folder / "captions.vtt").read_text(encoding="utf-8")
    assert vtt.startswith("WEBVTT\n")
    spoken = " ".join(event["text"] for event in of_type(embedded_events, "final") if event["text"])
    cues = [line for line in vtt.splitlines()[1:] if line and "-->" not in line]
    assert " ".join(cues) == spoken
    assert all(len(line) <= 42 for line in cues)
    assert (folder / "captions.srt").read_text(encoding="utf-8").startswith("1\n00:00:0")
    with Image.open(folder / "keyframes-1.jpg") as sheet:
        assert sheet.width > 800
    for name in ("captions.vtt", "captions.srt", "scenes.json", "keyframes-1.jpg", "events.jsonl"):
        assert f"wrote: {folder / name}" in done.stdout, "the user is told where the files are"


def test_the_terminal_shows_captions_scenes_verdicts_and_answers(embedded_run: Run) -> None:
    out = embedded_run[0].stdout
    assert "0:00  Welcome to the Watchw" in out
    assert re.search(r"0:09–0:21  scene  Tags: .*Room 42", out)
    assert "keyframes: 0:09 cut" in out
    assert "safety  allowed; pictures: sexually-explicit 0." in out
    assert re.search(r"question  On which day does the conference open\?\n\s+answer  At 0:\d\d someone says .*Monday", out)
    assert "whisper-tiny.en" in out
    assert re.search(r"\nspeech: words promised \d\.\d s after they were said", out)
    assert embedded_run[0].stderr == ""


def test_what_ends_a_run_in_the_middle_is_raised_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a full disk, or a pipe that nobody reads: the command line tells it in one line."""

    async def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError("nobody reads")

    monkeypatch.setattr(flow_module, "publish", broken)
    idle: Any = dict.fromkeys(STEPS)
    nobody: Any = None
    flow = flow_module.Flow({"all": Parts((), idle)}, nobody, nobody, Recordings())
    with pytest.raises(BrokenPipeError):
        asyncio.run(flow.run("nothing.mp4", "s", speed=None, cleared=lambda *_: None, failed=lambda _: None))


def test_where_nobody_reads_on_what_goes_on_is_ended_in_good_order() -> None:
    """As of `watchword run talk.mp4 | head`: an ordinary error goes through whatever holds something."""
    code = (
        "import sys\n"
        "from services.cli.terminal import Terminal\n"
        "try:\n"
        "    with Terminal() as terminal:\n"
        "        for _ in range(10_000):\n"
        "            terminal.say('Is anybody there?')\n"
        "except BrokenPipeError:\n"
        "    sys.exit(7)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (7, "")
