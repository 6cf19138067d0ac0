"""Unit: an adapter is taught from a JSONL and changes the words when it is on, and nothing when it is off; bad lines are named."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.caption.style import Style
from pipeline.caption.vlm import load_vlm
from pipeline.models import locate
from pipeline.timeline import MediaTime
from tests import synthetic
from train import examples, finetune, novel, preference
from train.batches import to_jpeg
from train.evaluate import view
from train.learner import Shape
from train.lesson import Course

pytestmark = pytest.mark.unit


TAUGHT = "The word TAXI is shown."


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips with arrows, all of which are to be described in the same words."""
    file = tmp_path_factory.mktemp("clips") / "clips.jsonl"
    novel.write(novel.novel(12, "clips"), file)
    lines = [json.loads(line) | {"text": TAUGHT} for line in file.read_text().splitlines()]
    file.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return file


def test_a_taught_adapter_changes_the_words_when_it_is_on_and_nothing_when_it_is_off(clips: Path, tmp_path: Path) -> None:
    base = locate("watchword-tiny")
    guard = clips.with_name("guard.jsonl")
    guard.write_text("".join(clips.read_text().splitlines(keepends=True)[:4]))
    course = Course(epochs=5, batch=3, rate=1e-2, held_out=0.25)
    report = finetune.finetune(base, clips, tmp_path / "arrow", guard=guard, shape=Shape(rank=4), course=course)
    losses = [line["held out"] for line in report["lesson"]["losses"]]
    assert min(losses[1:]) < 0.5 * losses[0]
    assert report["off"] == {"clips": 7, "changed": 0}
    assert (report["before"]["exact"], report["before"]["clips"], report["held_out"]) == (0.0, 3, 3)
    assert report["after"]["exact"] > 0.5
    assert report["guard"]["changed"] >= 3
    assert {each.name for each in (tmp_path / "arrow").iterdir()} == {
        "adapter_config.json", "adapter_model.safetensors", "watchword.json", "report.json", "report.md", "loss.svg",
    }  # fmt: skip
    assert "0 of 7 descriptions differed from the base's" in (tmp_path / "arrow" / "report.md").read_text()
    captioner = load_vlm(base, adapters={"arrow": tmp_path / "arrow"})
    scene = view(novel.novel(1)[0])
    said = asyncio.run(captioner.describe(replace(scene, style=Style(adapter="arrow"))))
    assert (said.text, said.adapter) == (TAUGHT, "arrow")


def test_two_lessons_of_one_seed_are_equal(clips: Path) -> None:
    from train.learner import Learner, Teacher

    found = examples.read(clips, clips.parent / "kept").good[:4]
    losses = []
    for _ in range(2):
        learner = Learner(locate("watchword-tiny"), Shape(rank=2), seed=3)
        teacher = Teacher(learner.parameters, rate=1e-2, steps=2)
        for _ in range(2):
            loss, _ = finetune.said_wrong(learner, found)
            teacher.step(loss)
        losses.append(loss.item())
    assert losses[0] == losses[1]


def test_keyframes_of_a_media_file_are_the_pipelines(tmp_path: Path) -> None:
    clip = synthetic.clip(synthetic.Spec(seconds=6, container="mkv", cuts=(50, 100)))
    (tmp_path / "clips.jsonl").write_text(json.dumps({"clip": str(clip), "text": "Colours.", "start": 1.5}) + "\n")
    (found,) = examples.read(tmp_path / "clips.jsonl", tmp_path / "kept").good
    assert MediaTime.of(2) in [each.time for each in found.pictures]
    assert all(each.time >= MediaTime.of(1.5) and each.jpeg.read_bytes()[:2] == b"\xff\xd8" for each in found.pictures)


PICTURE = base64.b64encode(to_jpeg(np.zeros((64, 64, 3), np.uint8))).decode()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 2: it is no JSON"),
        ("[1]", "line 2: a JSON object is needed"),
        ({"image": PICTURE}, "'text' must be a text"),
        ({"image": PICTURE, "text": "x" * 4001}, "'text' has 4,001 characters"),
        ({"text": "x"}, "one of clip, frames, image is needed"),
        ({"text": "x", "image": PICTURE, "clip": "a.mp4"}, "is needed, not clip and image"),
        ({"text": "x", "image": "no base64!"}, "'image' must be a picture in base64"),
        ({"text": "x", "image": "AAAA"}, "a picture cannot be read"),
        ({"text": "x", "clip": "absent.mp4"}, "absent.mp4 is no file"),
        ({"text": "x", "frames": [{"image": "absent.jpg", "time": 0}]}, "absent.jpg is no file"),
        ({"text": "x", "frames": [{"image": "cut.jpg"}]}, "cut.jpg: 'time' is missing"),
        ({"text": "x", "frames": [{"image": "cut.jpg", "time": -1}]}, "'time' must be seconds"),
        ({"text": "x", "frames": [{"image": "cut.jpg", "time": 0}]}, "cut.jpg cannot be read as a picture"),
        ({"text": "x", "frames": "cut.jpg"}, "'frames' must be a list"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str | Mapping[str, Any], told: str) -> None:
    (tmp_path / "cut.jpg").write_bytes(to_jpeg(np.zeros((64, 64, 3), np.uint8))[:-200])
    good = json.dumps({"image": PICTURE, "text": "Dark."})
    file = tmp_path / "clips.jsonl"
    file.write_text(f"{good}\n{line if isinstance(line, str) else json.dumps(line)}\n\n{good}\n")
    with pytest.raises(examples.BadLines, match=told) as refused:
        examples.read(file, tmp_path / "kept")
    assert str(refused.value).startswith("clips.jsonl, line 2: ")
    kept = examples.read(file, tmp_path / "kept", skip_bad=True)
    assert (len(kept.good), len(kept.bad)) == (2, 1)


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(SystemExit) as ended:
        finetune.main(["watchword-tiny", str(tmp_path / "none.jsonl"), str(tmp_path / "out")])
    assert ended.value.code == 1
    assert capsys.readouterr().err.endswith("none.jsonl: there is no line in it\n")


def test_how_sure_a_share_is() -> None:
    assert finetune.wilson(0, 100) == (0.0, 0.037)
    assert finetune.wilson(50, 100) == (0.4038, 0.5962)
    assert finetune.wilson(0, 0) == (0.0, 1.0)


REVIEWED = {"prompt": "Does the picture break the policy?", "chosen": "Yes", "rejected": "No", "image": PICTURE, "id": "v1", "policy": "x"}
"""As `watchword review export` writes a decision about a picture; about words there is no image."""


def test_preferences_of_reviewers_are_learned_and_leave_the_base_alone(tmp_path: Path) -> None:
    file = tmp_path / "preferences.jsonl"
    words = {key: value for key, value in REVIEWED.items() if key != "image"} | {"chosen": "No", "rejected": "Yes"}
    file.write_text("".join(f"{json.dumps(each)}\n" for each in (REVIEWED, words) * 4))
    guard = tmp_path / "guard.jsonl"
    novel.write(novel.novel(2), guard)
    for how in (preference.Preferring(), preference.Preferring(2.0, reference_free=True)):
        course = Course(epochs=8, batch=6, rate=1e-2, patience=8, held_out=0.25)
        report = preference.prefer(
            locate("watchword-tiny"), file, tmp_path / "out", how=how, shape=Shape(rank=4), course=course, guard=guard
        )
        first, best = report["lesson"]["losses"][0], report["lesson"]["losses"][report["lesson"]["best"]]
        assert best["held out"] < 0.75 * first["held out"]
        assert (first["likelier"], best["likelier"]) == (0.5, 1.0)
        assert report["off"] == {"clips": 2, "changed": 0}


@pytest.mark.parametrize(
    ("change", "told"), [({"chosen": ""}, "'chosen' must be a text"), ({"chosen": "No"}, "chosen and rejected are the same")]
)
def test_a_pair_needs_two_answers(tmp_path: Path, change: Mapping[str, str], told: str) -> None:
    file = tmp_path / "preferences.jsonl"
    file.write_text(json.dumps(REVIEWED | change))
    with pytest.raises(examples.BadLines, match=told):
        examples.read(file, tmp_path / "kept", pairs=True)
