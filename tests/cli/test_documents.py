"""The captions of a recording in each format, from segments made by hand."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.protobuf.message import Message
from watchword.v1.events_pb2 import TranscriptEvent
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.errors import MediaUndecodable, ServiceUnavailable, SettingInvalid, WatchwordError
from pipeline.timeline import MediaTime
from pipeline.transcribe.options import Options
from services.cli import transcribe
from services.cli.documents import Heard, as_json, documents, printed
from tests import synthetic

pytestmark = pytest.mark.unit


def final(start: float, text: str, *, language: str = "de", translation_of: str = "") -> TranscriptSegment:
    words = text.split()
    return TranscriptSegment(
        id=f"{'translation' if translation_of else 'segment'}-{start:g}",
        is_final=True,
        text=text,
        words=[
            Word(text=word, media_start=MediaTime.of(start + n).to_proto(), media_end=MediaTime.of(start + n + 0.9).to_proto())
            for n, word in enumerate([] if translation_of else words)
        ],
        media_start=MediaTime.of(start).to_proto(),
        media_end=MediaTime.of(start + len(words)).to_proto(),
        language=language,
        language_probability=0 if translation_of else 0.97,
        translation_of=translation_of,
        model="whisper",
    )


HEARD = Heard(
    "talk.mp3",
    [
        final(0, "Guten Tag."),
        final(0, "Good day.", language="en", translation_of="segment-0"),
        final(5, "Hello.", language="en"),
    ],
    MediaTime.of(7),
)


def test_a_translation_is_a_track_of_its_own() -> None:
    found = documents(["txt", "srt", "json"], HEARD)
    assert sorted(found) == ["en.srt", "en.txt", "json", "srt", "txt"]
    assert found["txt"] == "Guten Tag.\nHello.\n"
    assert found["en.txt"] == "Good day.\n"
    assert "Guten" not in found["en.srt"]
    assert found["srt"].count("-->") == 2


def test_in_print_a_translation_stands_below_what_was_said() -> None:
    assert printed("txt", HEARD) == "Guten Tag.\n    Good day.\nHello.\n"


def test_the_json_says_which_is_which() -> None:
    told = json.loads(as_json(HEARD))
    assert told["language"] == "de", "that of most words"
    assert [(segment["id"], segment["translation_of"]) for segment in told["segments"]] == [
        ("segment-0", None),
        ("translation-0", "segment-0"),
        ("segment-5", None),
    ]
    assert [segment["language_probability"] for segment in told["segments"]] == [0.97, None, 0.97]


def test_of_nothing_there_is_nothing_to_say() -> None:
    assert documents(["txt", "srt"], Heard("quiet.wav")) == {"txt": "", "srt": ""}
    told = json.loads(as_json(Heard("quiet.wav")))
    assert (told["language"], told["model"], told["segments"]) == (None, None, [])


def test_a_translation_has_two_tracks_which_cannot_both_be_printed(tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid, match="--out is needed"):
        transcribe._formats("srt", None, translate=True)
    assert transcribe._formats("srt", tmp_path, translate=True) == ["srt"]
    assert transcribe._formats("", None, translate=True) == ["txt"]


class Refusing:
    """A stage that fails at its second item, and says one final in the end."""

    damaged = 0

    def __init__(self, error: WatchwordError) -> None:
        self.closed = False
        self._error = error
        self._items = 0

    async def process(self, item: Message) -> AsyncIterator[Message]:
        self._items += 1
        if self._items == 2:
            raise self._error
        return
        yield

    async def flush(self) -> AsyncIterator[Message]:
        yield TranscriptEvent(segment=final(0, ""))
        yield TranscriptEvent(segment=final(0, "Hello."))

    def close(self) -> None:
        self.closed = True


def heard_by(stage: Refusing) -> tuple[transcribe._File, list[MediaTime]]:
    source, reached = str(synthetic.clip(synthetic.Spec(seconds=1))), []
    file = transcribe._File(source, "clip", Options(), Heard(source))
    stages: Any = SimpleNamespace(make=lambda stream_id, options: stage)
    asyncio.run(transcribe._hear(file, stages, reached.append))
    assert stage.closed
    return file, reached


def status_of(file: transcribe._File) -> Any:
    with pytest.raises(SystemExit) as left:
        transcribe._tell_problems([file])
    return left.value.code


def test_a_part_that_is_damaged_is_passed_over_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    file, reached = heard_by(Refusing(MediaUndecodable("the second chunk is damaged")))
    assert file.heard.failure is None
    assert [segment.text for segment in file.heard.finals] == ["Hello."]
    assert reached == sorted(reached)
    assert reached[-1].seconds == pytest.approx(1.0, abs=0.1)
    assert json.loads(as_json(file.heard))["problems"] == [{"reason": "MEDIA_UNDECODABLE", "text": "the second chunk is damaged"}]
    assert status_of(file) == transcribe.INCOMPLETE
    assert capsys.readouterr().err == "watchword: the second chunk is damaged [MEDIA_UNDECODABLE]\n"


def test_a_model_that_does_not_answer_ends_the_file() -> None:
    file, reached = heard_by(Refusing(ServiceUnavailable("the speech server does not answer")))
    assert (file.heard.finals, file.heard.problems, len(reached)) == ([], [], 1)
    assert str(file.heard.failure) == "the speech server does not answer"
    assert status_of(file) == transcribe.FAILED


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    file = transcribe._File("talk.mp3", "talk", Options(), HEARD)
    with pytest.raises(SettingInvalid, match=r"talk\.txt cannot be written: No such file"):
        transcribe._write(tmp_path / "gone", file, ["txt"])
