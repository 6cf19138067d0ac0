"""`watchword transcribe`, as real processes: the files, what is printed, and how it says what it could not do."""

import json
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import jiwer
import jsonschema
import pytest
from whisper.normalizers import EnglishTextNormalizer

from pipeline.models import locate
from tests import synthetic
from tests.processes import DEMO, Event, of_type, watchword
from tests.synthetic import Spec, clip

pytestmark = [pytest.mark.connected, pytest.mark.timeout(300)]

FAILED, WRONG_USE, INCOMPLETE = 1, 2, 3
SECONDS = {"type": "number", "minimum": 0}
PROBABILITY = {"type": "number", "minimum": 0, "maximum": 1}
TEXT_OR_NULL = {"type": ["string", "null"]}


def closed(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


WORD = closed(text={"type": "string", "minLength": 1}, start=SECONDS, end=SECONDS, probability=PROBABILITY)
SEGMENT = closed(
    id={"type": "string"},
    start=SECONDS,
    end=SECONDS,
    text={"type": "string"},
    language={"type": "string"},
    language_probability={"type": ["number", "null"]},
    translation_of=TEXT_OR_NULL,
    corrected={"type": "boolean"},
    words={"type": "array", "items": WORD},
)
DOCUMENT = closed(
    source={"type": "string"},
    duration=SECONDS,
    language=TEXT_OR_NULL,
    model=TEXT_OR_NULL,
    segments={"type": "array", "items": SEGMENT},
    problems={"type": "array", "items": closed(reason={"type": "string"}, text={"type": "string"})},
)
"""The JSON as docs/events.md promises it."""

Run = tuple[subprocess.CompletedProcess[str], Path]


@pytest.fixture(scope="module")
def transcribed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The sample clip, in all formats."""
    folder = tmp_path_factory.mktemp("transcribed") / "new"
    done = watchword("transcribe", DEMO, "--out", folder)
    assert done.returncode == 0, done.stderr
    return done, folder


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(found, DOCUMENT)
    return found


def refusals(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("watchword: ")]


def test_all_formats_are_written_unless_some_are_named(transcribed: Run) -> None:
    done, folder = transcribed
    assert sorted(path.name for path in folder.iterdir()) == ["demo.json", "demo.srt", "demo.txt", "demo.vtt"]
    assert done.stdout == ""
    assert re.fullmatch(rf"{re.escape(str(DEMO))}: \d+ words in 1:1\d, heard in [\d.]+ s, [\d.]+ times real time\n", done.stderr)


def test_the_words_are_those_of_the_live_finals_but_for_what_longer_segments_tell(transcribed: Run, embedded_events: list[Event]) -> None:
    live = " ".join(event["text"] for event in of_type(embedded_events, "final"))
    said = " ".join(segment["text"] for segment in document(transcribed[1] / "demo.json")["segments"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves a file of its own open
        normalise = EnglishTextNormalizer()
    assert jiwer.wer(normalise(live), normalise(said)) <= 0.03


def test_the_json_tells_what_was_heard(transcribed: Run) -> None:
    told = document(transcribed[1] / "demo.json")
    assert (told["source"], told["language"], told["model"], told["problems"]) == (str(DEMO), "en", "whisper-tiny.en", [])
    assert told["duration"] == pytest.approx(76.0, abs=0.1)
    times = [time for segment in told["segments"] for word in segment["words"] for time in (word["start"], word["end"])]
    assert times == sorted(times)


def test_text_has_a_segment_a_line(transcribed: Run) -> None:
    said = document(transcribed[1] / "demo.json")["segments"]
    assert (transcribed[1] / "demo.txt").read_text(encoding="utf-8") == "".join(f"{segment['text']}\n" for segment in said)


@pytest.mark.parametrize("name", ["srt", "vtt"])
def test_subtitles_hold_every_word_in_lines_that_can_be_read(name: str, transcribed: Run) -> None:
    text = (transcribed[1] / f"demo.{name}").read_text(encoding="utf-8")
    blocks = [block.splitlines() for block in text.removeprefix("WEBVTT\n\n").strip().split("\n\n")]
    shown = [line for block in blocks for line in block[1 if name == "vtt" else 2 :]]
    assert all(len(line) <= 42 for line in shown)
    assert all(len(block) <= (3 if name == "vtt" else 4) for block in blocks)
    assert " ".join(shown).split() == (transcribed[1] / "demo.txt").read_text(encoding="utf-8").split()


def test_without_a_folder_text_is_printed(transcribed: Run, tmp_path: Path) -> None:
    sound = excerpt(tmp_path / "beginning.wav", 9.0)
    done = watchword("transcribe", sound)
    assert done.returncode == 0, done.stderr
    whole = (transcribed[1] / "demo.txt").read_text(encoding="utf-8").splitlines()
    greeting, sentence = done.stdout.splitlines()
    assert greeting.lower().startswith("welcome to the watchw")
    assert sentence == whole[1]


def test_a_model_may_lie_in_a_directory_and_terms_may_be_named(tmp_path: Path) -> None:
    sound = excerpt(tmp_path / "beginning.wav", 4.0)
    model = locate("whisper-tiny.en")
    done = watchword("transcribe", sound, "--format", "json", "--model", f"{model}/", "--language", "en-GB", "--term", "Watchword")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["model"] == model.name
    assert told["segments"][0]["language"] == "en"
    assert "Watchword" in told["segments"][0]["text"]


def test_what_cannot_be_heard_does_not_stop_the_others(tmp_path: Path) -> None:
    sound, silent, missing = excerpt(tmp_path / "sound.wav", 4.0), clip(Spec(seconds=2, audio=None)), tmp_path / "nosuch.mp3"
    done = watchword("transcribe", missing, sound, silent, "--out", tmp_path / "out", "--format", "txt,json")
    assert done.returncode == FAILED
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["sound.json", "sound.txt"]
    first, second = refusals(done)
    assert str(missing) in first
    assert first.endswith("[SOURCE_UNAVAILABLE]")
    assert f"{silent} has no audio track" in second
    assert second.endswith("[TRACK_MISSING]")


def test_of_a_truncated_file_what_is_there_is_written(tmp_path: Path) -> None:
    source = synthetic.truncated(excerpt(tmp_path / "whole.m4a", 6.0), 0.7)
    done = watchword("transcribe", source, "--out", tmp_path / "out")
    assert done.returncode == FAILED
    (told,) = refusals(done)
    assert told.endswith("[SOURCE_TRUNCATED]")
    found = document(tmp_path / "out" / f"{source.stem}.json")
    assert found["segments"][0]["text"].startswith("Welcome to the")
    assert [problem["reason"] for problem in found["problems"]] == ["SOURCE_TRUNCATED"]


def test_damaged_packets_are_told_and_the_rest_is_heard(tmp_path: Path) -> None:
    sound = bytearray(excerpt(tmp_path / "damaged.aac", 4.0).read_bytes())
    middle = len(sound) * 3 // 4
    for frame in range(3):
        start = sound.index(b"\xff\xf1", middle + 400 * frame)
        sound[start + 7 : start + 60] = bytes(range(200, 253))
    (tmp_path / "damaged.aac").write_bytes(sound)
    done = watchword("transcribe", tmp_path / "damaged.aac")
    assert done.returncode == INCOMPLETE, done.stderr
    assert done.stdout.startswith("Welcome to the")
    (told,) = refusals(done)
    assert re.search(
        r"damaged\.aac: of its sound [1-3] packets? could not be decoded; what was said there is missing \[MEDIA_UNDECODABLE\]", told
    )


def test_where_nobody_speaks_there_is_nothing_to_write() -> None:
    done = watchword("transcribe", clip(Spec(seconds=4, video=None, audio="pcm_s16le", container="wav", sound="silence")))
    assert (done.returncode, done.stdout) == (0, "")
    assert ": 0 words in 0:04" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "reason", "causes"),
    [
        (["--language", "Klingon!"], WRONG_USE, "SETTING_INVALID", ["--language Klingon!", "BCP 47"]),
        (["--language", "de"], WRONG_USE, "SETTING_INVALID", ['"de"', "whisper-tiny.en", "English"]),
        (["--translate"], WRONG_USE, "SETTING_INVALID", ["translat", "whisper-tiny.en", "multilingual"]),
        (["--term", "x" * 101], WRONG_USE, "SETTING_INVALID", ["101 characters"]),
        (["--format", "doc"], WRONG_USE, "SETTING_INVALID", ["--format doc", "txt, srt, vtt, json"]),
        (["--format", "srt,vtt"], WRONG_USE, "SETTING_INVALID", ["--out"]),
        (["--model", "nosuch"], FAILED, "MODEL_MISSING", ["'nosuch'", "whisper-tiny.en"]),
        (["--model", "no/such"], WRONG_USE, "SETTING_INVALID", ["no/such", "directory"]),
        (["--out", "/proc/nowhere"], WRONG_USE, "SETTING_INVALID", ["--out /proc/nowhere"]),
    ],
    ids=lambda value: " ".join(value)[:20] if isinstance(value, list) else None,
)
def test_what_makes_no_sense_is_told(arguments: list[str], status: int, reason: str, causes: list[str]) -> None:
    done = watchword("transcribe", DEMO, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    (line,) = done.stderr.splitlines()
    assert line.endswith(f" [{reason}]")
    for cause in causes:
        assert cause in line


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    done = watchword("transcribe", "a/talk.mp4", "b/talk.wav", "--out", tmp_path)
    assert done.returncode == WRONG_USE
    assert "a/talk.mp4 and b/talk.wav would both be written to talk.*" in done.stderr


def excerpt(path: Path, seconds: float) -> Path:
    """The beginning of the sample clip's sound, as the path's ending says."""
    import av

    with (
        av.open(str(DEMO)) as demo,
        av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".m4a" else {}) as container,
    ):
        track = container.add_stream("aac" if path.suffix in (".m4a", ".aac") else "pcm_s16le", rate=16_000, layout="mono")
        resampler = av.AudioResampler(format=track.format, layout="mono", rate=16_000)
        for frame in demo.decode(audio=0):
            if frame.time is not None and frame.time < seconds:
                for part in resampler.resample(frame):
                    container.mux(track.encode(part))
        container.mux(track.encode(None))
    return path
