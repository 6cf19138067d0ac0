"""Sessions from a manifest: what is put together, with which times, and what is left out."""

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.transcription.metrics import Word
from bench.transcription.sessions import RATE, load

pytestmark = pytest.mark.unit


def entry(folder: Path, file: str, seconds: float, *, rate: int = RATE, **fields: Any) -> dict[str, Any]:
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(np.full(round(seconds * rate), 1000, "<i2").tobytes())
    return {"file": file, "kind": "speech", "language": "en"} | fields


def manifest(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "manifest.json"
    path.write_text(json.dumps({"entries": entries}))
    return path


def test_the_utterances_of_a_reader_follow_each_other(tmp_path: Path) -> None:
    second = entry(tmp_path, "audio/librispeech/7-1-0001.wav", 0.5, transcript="AND WENT", words=[["and", 0.1, 0.2], ["went", 0.2, 0.4]])
    first = entry(tmp_path, "audio/librispeech/7-1-0000.wav", 1.25, transcript="HE ROSE", words=[["he", 0.5, 0.6], ["rose", 0.6, 1.0]])
    other = entry(tmp_path, "audio/librispeech/8-1-0000.wav", 0.25, transcript="NO", words=[["no", 0.0, 0.2]])
    seven, eight = load(manifest(tmp_path, second, first, other))
    assert (seven.name, seven.kind, seven.seconds) == ("7", "librispeech", 1.75)
    assert seven.truth.transcript == "HE ROSE AND WENT"
    assert seven.truth.words[:2] == (Word("he", 0.5, 0.6), Word("rose", 0.6, 1.0))
    assert [word.end_s for word in seven.truth.words[2:]] == pytest.approx([1.45, 1.65])
    assert seven.samples.dtype == np.float32
    assert seven.samples[100] == pytest.approx(1000 / 32768)
    assert eight.name == "8"


def test_sound_of_another_rate_is_brought_to_16_khz(tmp_path: Path) -> None:
    (session,) = load(manifest(tmp_path, entry(tmp_path, "talk.wav", 1.0, rate=48_000, transcript="hello")))
    assert session.seconds == pytest.approx(1.0, abs=0.01)


def test_words_may_be_in_segments_and_what_is_not_english_speech_is_left_out(tmp_path: Path) -> None:
    found = load(
        manifest(
            tmp_path,
            entry(tmp_path, "a.wav", 0.1, transcript="hi", segments=[{"words": [["hi", 0.0, 0.1]]}, {"text": "no times"}]),
            entry(tmp_path, "b.wav", 0.1, language="fr", transcript="salut"),
            entry(tmp_path, "c.wav", 0.1),
            entry(tmp_path, "d.wav", 0.1, kind="non-speech", language=None, transcript=""),
            entry(tmp_path, "derived/e.wav", 0.1, kind="speech-noisy", transcript="hum"),
            {"file": "f.jpg", "kind": "image"},
        )
    )
    assert [(session.name, session.kind) for session in found] == [("a", "speech"), ("e", "derived"), ("d", "non-speech")]
    assert found[0].truth.words == (Word("hi", 0.0, 0.1),)
    assert found[2].truth.transcript == ""


def test_sessions_are_chosen_by_name_kind_or_pattern(tmp_path: Path) -> None:
    listed = manifest(
        tmp_path,
        entry(tmp_path, "librispeech/7-1-0000.wav", 0.1, transcript="a"),
        entry(tmp_path, "librispeech/8-1-0000.wav", 0.1, transcript="a"),
        entry(tmp_path, "LJ001-0001.wav", 0.1, transcript_normalised="five", transcript="5"),
        entry(tmp_path, "jfk.wav", 0.1, transcript="a"),
    )
    assert [session.name for session in load(listed, ["librispeech"])] == ["7", "8"]
    assert [session.name for session in load(listed, ["8", "j*"])] == ["8", "jfk"]
    (lj,) = load(listed, ["lj"])
    assert lj.truth.transcript == "five"
