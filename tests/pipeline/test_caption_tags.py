"""The captioner that works out of the box, on real pictures."""

import asyncio
import io
import re
from collections.abc import Sequence
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont, ImageOps
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import Captioner, Description, SceneView, Shot, load
from pipeline.caption.tags import TagsCaptioner, load_tags, motion_of
from pipeline.errors import MediaUndecodable, ModelMismatch, SettingInvalid
from pipeline.models import locate
from pipeline.timeline import ZERO, MediaTime

pytestmark = pytest.mark.unit

PICTURES = {
    "tower": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "camera": ("skimage", "data/camera.png"),
}
SLIDE = ("HARBOUR CONFERENCE 2026", "Doors open at nine thirty", "Room 42")


@pytest.fixture(scope="module")
def captioner() -> Captioner:
    return load("tags")


def photograph(name: str) -> Image.Image:
    package, path = PICTURES[name]
    with as_file(files(package).joinpath(path)) as found:
        return Image.open(found).convert("RGB")


def slide(*lines: str) -> Image.Image:
    picture = Image.new("RGB", (640, 360), (20, 40, 80))
    draw = ImageDraw.Draw(picture)
    for index, line in enumerate(lines):
        draw.text((40, 60 + index * 80), line, font=ImageFont.load_default(32), fill="white")
    return picture


def shot(picture: Image.Image, at: float, *, motion: float = 0.0, score: float = 0.5, change: bool = False) -> Shot:
    picture = picture.copy()
    picture.thumbnail((448, 448))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    reason = KeyframeReason.KEYFRAME_REASON_CHANGE if change else KeyframeReason.KEYFRAME_REASON_INTERVAL
    return Shot(MediaTime.of(at), reason, score, motion, buffer.getvalue())


def describe(captioner: Captioner, *shots: Shot) -> Description:
    return asyncio.run(captioner.describe(SceneView(ZERO, shots[-1].time + MediaTime.of(2), shots)))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tower", "probably a building ("),
        ("cat", "probably a cat ("),
        ("coffee", "probably espresso ("),
        ("camera", "probably a tripod ("),
    ],
)
def test_photographs_are_recognised(captioner: Captioner, name: str, said: str) -> None:
    description = describe(captioner, shot(photograph(name), 0))
    assert description.text.startswith(f"Tags: {said}")
    assert description.objects[0] == said.removeprefix("probably ").removesuffix(" (")
    assert description.on_screen_text == ()


def test_what_neither_network_has_a_class_for_is_not_guessed(captioner: Captioner) -> None:
    description = describe(captioner, shot(photograph("flower"), 0))
    assert description.text.startswith("Tags: nothing recognised with confidence; ")
    assert description.objects == ()
    assert description.people is None


def test_things_are_told_with_their_place_and_how_sure_that_is(captioner: Captioner) -> None:
    description = describe(captioner, shot(photograph("coffee"), 0))
    assert re.match(r"Tags: probably espresso \(0\.\d\d\); a (?:\w+ )?cup \(0\.\d\d, centre\); ", description.text)
    ((at, (cup,)),) = ((glance.time.seconds, glance.sights) for glance in description.seen)
    assert (at, cup.label) == (0, "cup")
    assert 0 < cup.box.left < 0.5 < cup.box.right < 1


def test_a_picture_that_was_searched_is_told_where_it_shows_nothing_too(captioner: Captioner) -> None:
    description = describe(captioner, shot(photograph("coffee"), 0), shot(slide(*SLIDE), 5))
    assert [(glance.time.seconds, [sight.label for sight in glance.sights]) for glance in description.seen] == [(0, ["cup"]), (5, [])]


def test_people_are_counted_where_they_are_seen_beside_each_other(captioner: Captioner) -> None:
    one = photograph("camera").resize((224, 224))
    two = Image.new("RGB", (448, 224))
    two.paste(one, (0, 0))
    two.paste(ImageOps.mirror(one), (224, 0))
    description = describe(captioner, shot(two, 0), shot(ImageOps.mirror(two), 2))
    assert "two people (" in description.text
    assert description.people == 2


def test_without_a_detector_nothing_is_counted() -> None:
    bare = load_tags(labels=locate("efficientnet-lite0"), text=locate("ppocr-v6"))
    description = describe(bare, shot(photograph("astronaut"), 0))
    assert description.text.startswith("Tags: nothing recognised with confidence; ")
    assert (description.people, description.seen) == (None, ())


def test_the_words_of_a_slide_are_read_in_order(captioner: Captioner) -> None:
    description = describe(captioner, shot(slide(*SLIDE), 0), shot(slide(*SLIDE), 4))
    assert description.on_screen_text == SLIDE
    assert description.text.startswith(f"Tags: text on screen “{' / '.join(SLIDE)}”; ")
    assert description.text.endswith("; dark, mostly blue; still picture.")


def test_a_word_that_changes_is_read_anew(captioner: Captioner) -> None:
    shots = [shot(slide("Goals", str(count)), count) for count in range(10, 13)]
    assert describe(captioner, *shots).on_screen_text == ("Goals", "10", "11", "12")


def test_a_scene_that_turns_into_another_says_when(captioner: Captioner) -> None:
    shots = [
        shot(photograph("coffee"), 0),
        shot(photograph("coffee"), 2),
        shot(photograph("cat"), 62, change=True, motion=0.005),
        shot(photograph("cat"), 64),
    ]
    text = describe(captioner, *shots).text
    assert text.startswith("Tags: first probably espresso (")
    assert ", from 1:02 probably a cat (" in text
    assert text.endswith("some movement, changing view.")


def test_the_same_scene_gets_the_same_words(captioner: Captioner) -> None:
    shots = [shot(photograph("tower"), 0), shot(slide(*SLIDE), 2)]
    assert describe(captioner, *shots) == describe(captioner, *shots)


def test_a_scene_of_many_pictures_costs_no_more_than_a_few(captioner: Captioner, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(captioner, TagsCaptioner)
    counted = {"look_at": 0, "read": 0, "detect": 0}

    def counting(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def count(picture: Image.Image) -> object:
            counted[name] += 1
            return real(picture)

        monkeypatch.setattr(owner, name, count)

    counting(captioner._classifier, "look_at")
    counting(captioner._reader, "read")
    counting(captioner._detector, "detect")
    describe(captioner, *(shot(Image.new("RGB", (448, 252), (index * 13, 255 - index * 13, 90)), index) for index in range(20)))
    assert counted == {"look_at": 8, "read": 3, "detect": 16}
    describe(captioner, *(shot(photograph("cat"), index) for index in range(20)))
    assert counted == {"look_at": 9, "read": 4, "detect": 17}


def test_an_unreadable_picture_is_named(captioner: Captioner) -> None:
    broken = Shot(MediaTime.of(62), KeyframeReason.KEYFRAME_REASON_CUT, 1, 0, b"no picture")
    with pytest.raises(MediaUndecodable, match="keyframe at 1:02"):
        describe(captioner, broken)


def _moving(times: Sequence[float], motions: Sequence[float]) -> list[Shot]:
    return [
        Shot(MediaTime.of(at), KeyframeReason.KEYFRAME_REASON_INTERVAL, 0, motion, b"") for at, motion in zip(times, motions, strict=True)
    ]


def test_motion_is_that_of_the_scene_and_weighted_by_time() -> None:
    assert motion_of(_moving([0, 1, 4], [0.9, 0.04, 0.0])) == pytest.approx(0.01)


def test_one_keyframe_tells_nothing_about_motion() -> None:
    assert motion_of(_moving([5], [0.9])) is None


def test_other_weights_are_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"layer": torch.zeros(1)}, tmp_path / "efficientnet-lite0-0.pth")
    with pytest.raises(ModelMismatch, match="EfficientNet-Lite0"):
        load_tags(labels=tmp_path, text=tmp_path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    import torch

    torch.save({"layer": _Malicious(tmp_path / "ran")}, tmp_path / "efficientnet-lite0-0.pth")
    with pytest.raises(ModelMismatch, match="EfficientNet-Lite0"):
        load_tags(labels=tmp_path, text=tmp_path)
    assert not (tmp_path / "ran").exists()


class _Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_an_unknown_adapter_is_a_wrong_setting() -> None:
    with pytest.raises(SettingInvalid, match="tags, transformers, served"):
        load("oracle")
