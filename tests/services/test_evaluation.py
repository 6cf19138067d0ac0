"""An evaluation from question sets to the exit code: what is learnt, what is kept and for how long, and what could not be asked."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from watchword.v1.events_pb2 import ClearedEvent

from pipeline.errors import SettingInvalid
from pipeline.evaluation.marking import Given
from pipeline.evaluation.questions import Question, QuestionSet, load
from services.cli.evaluate import Options
from services.cli.evaluate import evaluate as evaluate_command
from services.embedded.flow import Flow
from services.evaluation.cleared import Shelf
from services.evaluation.run import Outcome, evaluate
from services.evaluation.smaller import smaller
from services.settings import Settings
from tests.synthetic import Spec, clip

pytestmark = pytest.mark.connected

TALK = {"media": "text:talk", "moments": [["speech", 0.0, 2.5, "A ticket costs 25 pounds."]]}
SIGN = {"media": "text:sign", "moments": [["on-screen text", 0.0, 2.5, "Room 42"]]}
ASKED = {"media": "text:talk", "question": "What does a ticket cost?", "kind": "speech", "accepted": ["25 pounds"]}
READ = {"media": "text:sign", "question": "Which room is it?", "kind": "text", "accepted": ["42"]}
GONE = {"media": "gone.mp4", "question": "What does a ticket cost?", "kind": "speech", "accepted": ["25 pounds"]}


class Silent:
    """A system that remembers which streams it was told of and answers nothing."""

    name = "silent"

    def __init__(self) -> None:
        self.learnt: list[str] = []
        self.recordings: dict[str, Path | None] = {}

    async def learn(self, stream_id: str, events: Iterable[ClearedEvent], *, recording: Path | None = None) -> None:
        self.learnt.append(stream_id)
        self.recordings[stream_id] = recording

    async def ask(self, stream_id: str, question: Question) -> Given:
        return Given("", False)

    async def ranks(self, stream_id: str, question: Question) -> tuple[tuple[str, int | None], ...]:
        return ()

    async def close(self) -> None:
        pass


def written(folder: Path, *records: dict[str, object]) -> Path:
    path = folder / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    return path


def run(questions: QuestionSet, shelf: Shelf, *, small: int = 0) -> tuple[Outcome, list[str]]:
    async def whole() -> Outcome:
        try:
            return await evaluate(questions, system, shelf, tell=lambda _: None, small=small)
        finally:
            await shelf.close()

    system = Silent()
    return asyncio.run(whole()), system.learnt


def test_a_stream_is_learnt_without_its_pictures_only_where_a_question_is_about_them(tmp_path):
    _, learnt = run(load(written(tmp_path, TALK, ASKED, SIGN, READ)), Shelf(tmp_path / "kept", Settings(), speed=None))
    assert learnt == ["talk", "sign", "sign-unseen"]


def test_models_are_loaded_once_and_only_for_what_is_not_kept(tmp_path, monkeypatch):
    loaded: list[Settings] = []
    load_flow = Flow.load

    async def counted(settings: Settings) -> Flow:
        loaded.append(settings)
        return await load_flow(settings)

    monkeypatch.setattr(Flow, "load", counted)
    for name in ("one.mp4", "two.mp4"):
        (tmp_path / name).symlink_to(clip(Spec(seconds=2, audio=None)))
    asked = [{**READ, "media": name} for name in ("one.mp4", "two.mp4")]
    questions = load(written(tmp_path, *asked))
    first, _ = run(questions, Shelf(tmp_path / "kept", Settings(), speed=None))
    assert (len(first.asked), len(loaded)) == (2, 1), first.problems
    again, _ = run(questions, Shelf(tmp_path / "kept", Settings(), speed=None))
    assert (len(again.asked), len(loaded)) == (2, 1)


@pytest.mark.parametrize(
    "other",
    [
        {"refiner": "served"},
        {"second_look": True},
        {"keyframes_per_minute": 1.0},
        {"caption_extend": 0},
        {"safety_models": (("judge", "directory"),)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_was_understood_with_other_settings_is_not_taken(tmp_path, other):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"any bytes")
    shelves = [Shelf(tmp_path, settings, speed=None) for settings in (Settings(), Settings(), replace(Settings(), **other))]
    own, same, changed = (shelf._key(path, "a") for shelf in shelves)
    assert own == same != changed


def test_two_recordings_of_one_name_have_copies_of_their_own(tmp_path):
    copies = set()
    for number, seconds in enumerate((1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "talk.mp4").symlink_to(clip(Spec(seconds=seconds, audio=None)))
        copies |= {smaller(folder / "talk.mp4", 64, tmp_path) for _ in range(2)}
    assert len(copies) == 2


def test_questions_whose_media_are_gone_end_with_3(tmp_path, capsys):
    options = Options(cache=tmp_path / "kept")
    with pytest.raises(SystemExit) as ended:
        evaluate_command([written(tmp_path, TALK, ASKED, GONE)], out=tmp_path / "out", against=None, options=options)
    assert ended.value.code == 3
    told = capsys.readouterr()
    assert "1 of 2 questions could not be asked: gone.mp4" in told.err
    assert "speech" in told.out, "what could be asked is reported"
    evaluate_command([written(tmp_path, TALK, ASKED)], out=tmp_path / "out", against=None, options=options)


def test_two_media_that_would_be_one_stream_are_refused(tmp_path: Path) -> None:
    """What is told of the second would be taken for a repetition of the first."""
    first, second = ({**GONE, "media": f"camera-{number}/talk.mp4"} for number in (1, 2))
    with pytest.raises(SettingInvalid, match=r"camera-1/talk\.mp4 and camera-2/talk\.mp4 would be one stream, talk"):
        evaluate_command([written(tmp_path, first, second)], out=tmp_path / "out", against=None, options=Options())
