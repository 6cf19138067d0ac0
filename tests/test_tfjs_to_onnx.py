"""Graph models of TensorFlow.js as ONNX: each operation against torch's, the packing of weights, and what is refused."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as functional
from numpy.typing import NDArray

from tools.tfjs_to_onnx import ConversionError, convert, load, loosen, main

pytestmark = pytest.mark.unit

Array = NDArray[Any]
RANDOM = np.random.default_rng(3)
PICTURE = RANDOM.normal(size=(1, 3, 9, 12)).astype(np.float32)
KERNEL = RANDOM.normal(size=(3, 3, 3, 4)).astype(np.float32)
DEPTHWISE = RANDOM.normal(size=(3, 3, 3, 1)).astype(np.float32)
BIAS = RANDOM.normal(size=4).astype(np.float32)


def text(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def node(name: str, op: str, *inputs: str, **attr: Any) -> dict[str, Any]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


def conv(name: str, op: str, *inputs: str, stride: int = 1, padding: str = "SAME", fused: Sequence[str] = ()) -> dict[str, Any]:
    return node(
        name,
        op,
        *inputs,
        strides={"list": {"i": ["1", str(stride), str(stride), "1"]}},
        padding={"s": text(padding)},
        data_format={"s": text("NHWC")},
        fused_ops={"list": {"s": [text(each) for each in fused]}},
    )


def written(folder: Path, nodes: Sequence[dict[str, Any]], weights: Mapping[str, Array], *, packing: str = "") -> Path:
    """A `model.json` with one shard, and an input [1, 9, 12, 3] called "in"."""
    shape = {"shape": {"dim": [{"size": str(size)} for size in (1, 9, 12, 3)]}}
    entries, data = [], b""
    for name, values in weights.items():
        entry: dict[str, Any] = {"name": name, "shape": list(values.shape), "dtype": str(values.dtype)}
        if packing and values.dtype == np.float32:
            least, scale = float(values.min()), float(np.ptp(values)) / 255 or 1.0
            packed = values.astype(np.float16) if packing == "float16" else np.round((values - least) / scale).astype(np.uint8)
            entry["quantization"] = {"dtype": packing, "scale": scale, "min": least} if packing == "uint8" else {"dtype": packing}
            values = packed
        entries.append(entry)
        data += values.tobytes()
    consts = [node(name, "Const") for name in weights]
    model = {
        "modelTopology": {"node": [node("in", "Placeholder", shape=shape), *consts, *nodes]},
        "weightsManifest": [{"paths": ["shard.bin"], "weights": entries}],
        "signature": {"outputs": {nodes[-1]["name"]: {}}},
    }
    (folder / "model.json").write_text(json.dumps(model))
    (folder / "shard.bin").write_bytes(data)
    return folder / "model.json"


def run(model: Any, picture: Array = PICTURE) -> Array:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"in": picture})
    return np.asarray(found)


def of(path: Path) -> Array:
    return run(convert(load(path)))


def padded(picture: Array, kernel: int, stride: int) -> torch.Tensor:
    """With the border that TensorFlow's SAME gives: of an odd one the larger part behind."""
    sides: list[int] = []
    for size in reversed(picture.shape[2:]):
        border = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [border // 2, border - border // 2]
    return functional.pad(torch.from_numpy(picture), sides)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("fused", "after"), [((), None), (("BiasAdd",), None), (("BiasAdd", "Relu"), torch.relu), (("BiasAdd", "Relu6"), functional.relu6)]
)
def test_convolutions(tmp_path: Path, stride: int, fused: Sequence[str], after: Any) -> None:
    inputs = ["in", "kernel", *(["bias"] if fused else [])]
    path = written(tmp_path, [conv("out", "_FusedConv2D", *inputs, stride=stride, fused=fused)], {"kernel": KERNEL, "bias": BIAS})
    kernel = torch.from_numpy(KERNEL.transpose(3, 2, 0, 1).copy())
    expected = functional.conv2d(padded(PICTURE, 3, stride), kernel, torch.from_numpy(BIAS) if fused else None, stride=stride)
    np.testing.assert_allclose(of(path), after(expected) if after else expected, atol=1e-4)


def test_depthwise_convolution_without_a_border(tmp_path: Path) -> None:
    path = written(tmp_path, [conv("out", "DepthwiseConv2dNative", "in", "kernel", padding="VALID")], {"kernel": DEPTHWISE})
    kernel = torch.from_numpy(DEPTHWISE.transpose(2, 3, 0, 1).copy())
    np.testing.assert_allclose(of(path), functional.conv2d(torch.from_numpy(PICTURE), kernel, groups=3), atol=1e-4)


def test_sums_means_and_enlarging_put_the_channels_first(tmp_path: Path) -> None:
    scale = np.array([1, 2, 3], np.float32)
    weights = {"scale": scale, "axes": np.array([1, 2], np.int32), "size": np.array([18, 24], np.int32), "axis": np.array(3, np.int32)}
    nodes = [
        node("scaled", "Mul", "in", "scale"),
        node("mean", "Mean", "scaled", "axes", keep_dims={"b": True}),
        node("less", "Sub", "scaled", "mean"),
        node("large", "ResizeBilinear", "less", "size", align_corners={"b": False}, half_pixel_centers={"b": True}),
        node("out", "ConcatV2", "large", "large", "axis"),
    ]
    picture = torch.from_numpy(PICTURE * scale[None, :, None, None])
    large = functional.interpolate(picture - picture.mean(dim=(2, 3), keepdim=True), size=(18, 24), mode="bilinear", align_corners=False)
    np.testing.assert_allclose(of(written(tmp_path, nodes, weights)), torch.cat([large, large], dim=1), atol=1e-4)


def test_a_loosened_network_takes_other_sizes(tmp_path: Path) -> None:
    nodes = [node("half", "MaxPool", "in", ksize={"list": {"i": ["1", "3", "3", "1"]}}, strides={"list": {"i": ["1", "3", "3", "1"]}},
                  padding={"s": text("VALID")}), node("out", "ResizeBilinear", "half", "size")]  # fmt: skip
    model = convert(load(written(tmp_path, nodes, {"size": np.array([9, 12], np.int32)})))
    np.testing.assert_array_equal(run(model), run(loosen(model)))
    assert run(loosen(model), np.zeros((1, 3, 30, 6), np.float32)).shape == (1, 3, 30, 6)


@pytest.mark.parametrize(("packing", "within"), [("float16", 2e-2), ("uint8", 0.3)])
def test_packed_weights_are_widened(tmp_path: Path, packing: str, within: float) -> None:
    nodes = [conv("out", "Conv2D", "in", "kernel")]
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    plain.mkdir()
    packed.mkdir()
    expected = of(written(plain, nodes, {"kernel": KERNEL}))
    np.testing.assert_allclose(of(written(packed, nodes, {"kernel": KERNEL}, packing=packing)), expected, atol=within)


def test_weights_kept_in_16_bits_take_half_the_room(tmp_path: Path) -> None:
    big = RANDOM.normal(size=(3, 3, 3, 400)).astype(np.float16).astype(np.float32)
    graph = load(written(tmp_path, [conv("out", "Conv2D", "in", "kernel")], {"kernel": big}))
    wide, narrow = convert(graph), convert(graph, float16=True)
    assert narrow.ByteSize() < 0.55 * wide.ByteSize()
    np.testing.assert_allclose(run(narrow), run(wide), atol=1e-5)


def test_only_what_leads_to_the_wanted_output_is_taken(tmp_path: Path) -> None:
    path = written(tmp_path, [node("wanted", "Relu", "in"), node("out", "NonMaxSuppressionV3", "wanted")], {})
    np.testing.assert_array_equal(run(convert(load(path), ["wanted"])), np.maximum(PICTURE, 0))
    with pytest.raises(ConversionError, match="out: NonMaxSuppressionV3 is not an operation that can be converted"):
        convert(load(path))
    with pytest.raises(ConversionError, match="no node 'other'"):
        convert(load(path), ["other"])


def test_a_graph_that_runs_in_a_circle_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, [node("one", "Identity", "other"), node("other", "Identity", "one")], {})
    with pytest.raises(ConversionError, match="needs its own output"):
        convert(load(path))


def test_what_several_nodes_need_is_taken_once(tmp_path: Path) -> None:
    nodes = [node("first", "Relu", "in"), node("second", "Add", "first", "in"), node("out", "Add", "first", "second")]
    positive = np.maximum(PICTURE, 0)
    np.testing.assert_allclose(of(written(tmp_path, nodes, {})), 2 * positive + PICTURE, atol=1e-5)


@pytest.mark.parametrize("packing", ["", "complex64"])
def test_weights_of_an_unknown_kind_are_refused(tmp_path: Path, packing: str) -> None:
    path = written(tmp_path, [conv("out", "Conv2D", "in", "kernel")], {"kernel": KERNEL})
    model = json.loads(path.read_text())
    model["weightsManifest"][0]["weights"][0] |= {"quantization": {"dtype": packing}} if packing else {"dtype": "string"}
    path.write_text(json.dumps(model))
    with pytest.raises(ConversionError, match=f"kernel is stored as {packing or 'string'}; known are float"):
        load(path)


def test_what_has_no_size_cannot_be_loosened(tmp_path: Path) -> None:
    path = written(tmp_path, [node("out", "ResizeBilinear", "in", "size")], {"size": np.array([18, 24], np.int32)})
    model = json.loads(path.read_text())
    for dim in model["modelTopology"]["node"][0]["attr"]["shape"]["shape"]["dim"][1:3]:
        dim["size"] = "-1"
    path.write_text(json.dumps(model))
    with pytest.raises(ConversionError, match="out: by how much it enlarges is not known"):
        loosen(convert(load(path)))


def test_a_model_that_is_damaged_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, [conv("out", "Conv2D", "in", "kernel")], {"kernel": KERNEL})
    shard = path.with_name("shard.bin")
    whole = shard.read_bytes()
    for data, said in ((whole[:-1], "the weights end within kernel"), (whole + b"x", "1 bytes are left after the last weight")):
        shard.write_bytes(data)
        assert main([str(path), str(tmp_path / "out.onnx")]) == 1
        assert said in capsys.readouterr().err
    shard.unlink()
    with pytest.raises(ConversionError, match="a shard of the weights cannot be read"):
        load(path)
    path.write_text("{}")
    with pytest.raises(ConversionError, match=r"is not the model\.json of a graph model"):
        load(path)
