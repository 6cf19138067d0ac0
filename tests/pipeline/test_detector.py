"""Things in pictures: the network that is shipped, on photographs, and what is made of its maps."""

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image, ImageOps

from pipeline.caption.detector import LEAST, Box, CenterNet, Detection, once, peaks
from pipeline.caption.things import LABELS, THINGS, counted
from pipeline.errors import ModelMismatch
from pipeline.models import locate

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def detector() -> CenterNet:
    return CenterNet(locate("mobilenetv3-centernet"))


def photograph(name: str) -> Image.Image:
    with as_file(files("skimage").joinpath(f"data/{name}.png")) as path:
        picture = Image.open(path).convert("RGB")
    picture.thumbnail((448, 448))
    return picture


def test_a_thing_is_found_where_it_is(detector: CenterNet) -> None:
    (cup, *others) = detector.detect(photograph("coffee"))
    assert cup.label == "cup"
    assert cup.score > 0.55
    assert not any(other.score >= 0.4 for other in others)
    assert cup.box.overlap(Box(0.28, 0.05, 0.70, 0.71)) > 0.8


def test_two_people_beside_each_other_are_two(detector: CenterNet) -> None:
    one = photograph("astronaut").resize((224, 252))
    picture = Image.new("RGB", (448, 252))
    picture.paste(one, (0, 0))
    picture.paste(ImageOps.mirror(one), (224, 0))
    people = [each for each in detector.detect(picture) if each.label == "person" and each.score >= 0.4]
    assert len(people) == 2
    left, right = sorted(people, key=lambda each: each.box.left)
    assert left.box.right < 0.6
    assert right.box.left > 0.4


@pytest.mark.parametrize("size", [(1, 1), (2000, 7), (3, 900), (448, 252)])
def test_nothing_is_seen_in_an_empty_picture_of_any_size(detector: CenterNet, size: tuple[int, int]) -> None:
    assert detector.detect(Image.new("RGB", size, (90, 120, 60))) == []


def test_the_same_picture_is_seen_alike(detector: CenterNet) -> None:
    assert detector.detect(photograph("astronaut")) == detector.detect(photograph("astronaut"))


def test_another_network_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["in"], ["out"])],
        "other",
        [helper.make_tensor_value_info("in", TensorProto.FLOAT, [1, 3, None, None])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, 3, None, None])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "model.onnx")
    with pytest.raises(ModelMismatch, match="maps of 80 labels"):
        CenterNet(tmp_path)


def test_a_peak_is_higher_than_its_neighbours_and_high_enough() -> None:
    middles = np.zeros((2, 8, 8), np.float32)
    middles[1, 4, 3], middles[1, 4, 4], middles[0, 1, 1] = 0.8, 0.7, LEAST - 0.01
    edges = np.full((4, 8, 8), 6, np.float32)
    ((number, score, box),) = peaks(middles, edges)
    assert (number, round(score, 2)) == (1, 0.8)
    assert box.tolist() == [6, 10, 18, 22]


def test_one_thing_is_told_once_but_two_labels_at_one_place_are_both_told() -> None:
    box, beside = Box(0.1, 0.1, 0.5, 0.5), Box(0.12, 0.1, 0.5, 0.5)
    found = [
        Detection("dog", 0.8, box),
        Detection("dog", 0.6, beside),
        Detection("cat", 0.5, beside),
        Detection("dog", 0.4, Box(0, 0, 0, 0)),
    ]
    assert [(each.label, each.score) for each in once(found)] == [("dog", 0.8), ("cat", 0.5)]


def test_things_have_the_names_that_people_use() -> None:
    assert (len(LABELS), LABELS[0], LABELS[16], LABELS[-1]) == (80, "person", "dog", "toothbrush")
    assert counted("person", 2) == "two people"
    assert counted("umbrella", 1) == "an umbrella"
    assert counted("cup", 1, adjective="orange") == "an orange cup"
    assert counted("knife", 12) == "12 knives"
    assert THINGS["truck"].others == ("lorry",)
