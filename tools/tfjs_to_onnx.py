"""Turn a TensorFlow.js graph model into an ONNX file.

    python tools/tfjs_to_onnx.py MODEL.json OUTPUT.onnx [--output NODE ...] [--float16] [--any-size]

Only what leads to the named outputs is taken (else the signature's), so that a graph's own post-processing can be left behind. Pictures
go in and maps come out as ONNX has them, channels first: [N, C, H, W]. Weights that the model keeps in 16 bits, or in 8 with a scale, are
widened; with `--float16` the file keeps them in 16 bits and computes in 32. With `--any-size` a fully convolutional network takes pictures
of any height and width of which its steps leave whole numbers, so that a wide picture needs no border.

Formats: the layout of `model.json` and its weight shards is that of tfjs-core's `io_utils.decodeWeights`; the operations are TensorFlow's.
"""

import argparse
import base64
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Array = NDArray[Any]

OPSET = 18
IR_VERSION = 9
"""Read by every onnxruntime of the last three years."""
_DTYPES: Mapping[str, type[np.generic]] = {"float32": np.float32, "int32": np.int32, "uint8": np.uint8, "bool": np.bool_}
_PACKED: Mapping[str, type[np.generic]] = {"float16": np.float16, "uint16": np.uint16, "uint8": np.uint8}


class ConversionError(Exception):
    """The file holds no model that can be converted; the message says why."""


@dataclass(frozen=True)
class Node:
    """One operation of the graph."""

    name: str
    op: str
    inputs: tuple[str, ...]
    """Names of nodes, in the operation's order."""
    attr: Mapping[str, Any]

    def texts(self, key: str) -> list[str]:
        """A list of strings, which the format keeps in base64."""
        return [base64.b64decode(each).decode() for each in self.attr.get(key, {}).get("list", {}).get("s", [])]

    def text(self, key: str) -> str:
        """A string; empty where there is none."""
        return base64.b64decode(self.attr.get(key, {}).get("s", "")).decode()

    def numbers(self, key: str) -> list[int]:
        """A list of whole numbers."""
        return [int(each) for each in self.attr.get(key, {}).get("list", {}).get("i", [])]

    def flag(self, key: str) -> bool:
        """A truth value; false where there is none."""
        return bool(self.attr.get(key, {}).get("b", False))


@dataclass(frozen=True)
class Graph:
    """What a `model.json` and its shards hold."""

    nodes: Mapping[str, Node]
    weights: Mapping[str, Array]
    outputs: tuple[str, ...]
    """Of the signature."""


def load(path: Path) -> Graph:
    """Read a graph model; raises `ConversionError` for what is none and for shards that are missing or of another length."""
    try:
        model = json.loads(path.read_text("utf-8"))
        listed = model["modelTopology"]["node"]
        groups = model["weightsManifest"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"{path} is not the model.json of a graph model: {error!r}") from error
    nodes = {node["name"]: _node(node) for node in listed}
    weights: dict[str, Array] = {}
    for group in groups:
        try:
            data = b"".join((path.parent / shard).read_bytes() for shard in group["paths"])
        except OSError as error:
            raise ConversionError(f"{path}: a shard of the weights cannot be read: {error}") from error
        weights |= _unpacked(data, group["weights"], path)
    return Graph(nodes, weights, tuple(model.get("signature", {}).get("outputs", {})))


def _node(entry: Mapping[str, Any]) -> Node:
    # "^name" only says what is to run before.
    inputs = tuple(name.removesuffix(":0") for name in entry.get("input", []) if not name.startswith("^"))
    return Node(entry["name"], entry["op"], inputs, entry.get("attr", {}))


def _unpacked(data: bytes, entries: Sequence[Mapping[str, Any]], path: Path) -> Iterator[tuple[str, Array]]:
    at = 0
    for entry in entries:
        packing = entry.get("quantization")
        wanted = _dtype(_DTYPES, entry, path)
        stored = np.dtype(_dtype(_PACKED, packing | {"name": entry["name"]}, path) if packing else wanted)
        count = int(np.prod(entry["shape"], dtype=np.int64))
        if at + count * stored.itemsize > len(data):
            raise ConversionError(f"{path}: the weights end within {entry['name']}; {len(data)} bytes are there")
        values = np.frombuffer(data, stored.newbyteorder("<"), count, at).reshape(entry["shape"])
        at += count * stored.itemsize
        if packing and stored.kind == "u":
            values = values.astype(np.float32) * packing["scale"] + packing["min"]
        yield entry["name"], values.astype(wanted)
    if at != len(data):
        raise ConversionError(f"{path}: {len(data) - at} bytes are left after the last weight")


def _dtype(known: Mapping[str, type[np.generic]], entry: Mapping[str, Any], path: Path) -> type[np.generic]:
    if entry["dtype"] not in known:
        raise ConversionError(f"{path}: {entry['name']} is stored as {entry['dtype']}; known are {', '.join(known)}")
    return known[entry["dtype"]]


def convert(graph: Graph, outputs: Sequence[str] = (), *, float16: bool = False) -> onnx.ModelProto:
    """The ONNX model that computes `outputs`; raises `ConversionError` for an operation that is not known."""
    wanted = tuple(outputs) or graph.outputs
    if unknown := [name for name in wanted if name not in graph.nodes]:
        raise ConversionError(f"the graph has no node {unknown[0]!r}")
    building = _Building(graph, float16)
    for name in _in_order(graph, wanted):
        building.add(graph.nodes[name])
    model = helper.make_model(
        helper.make_graph(
            building.nodes,
            "graph",
            building.inputs,
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in wanted],
            building.initializers,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="tfjs_to_onnx",
    )
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    del inferred.graph.value_info[:]
    onnx.checker.check_model(inferred, full_check=True)
    return inferred


def loosen(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same network for pictures of any height and width: what enlarges to a size enlarges by a factor instead.

    Raises `ConversionError` where a factor is not known, as in a network whose input has no size.
    """
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    known = (*inferred.input, *inferred.value_info, *inferred.output)
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in known}
    loose = onnx.ModelProto()
    loose.CopyFrom(model)
    for node in loose.graph.node:
        if node.op_type != "Resize":
            continue
        before, after = (shapes.get(name, [])[2:] for name in (node.input[0], node.output[0]))
        if len(before) != 2 or len(after) != 2 or 0 in (*before, *after):
            raise ConversionError(f"{node.name}: by how much it enlarges is not known; the input needs a height and a width")
        scales = np.array(after, np.float32) / np.array(before, np.float32)
        name = f"{node.name}/scales"
        loose.graph.initializer.append(numpy_helper.from_array(scales, name))
        node.input[:] = [node.input[0], "", name]
    used = {name for node in loose.graph.node for name in node.input}
    kept = [each for each in loose.graph.initializer if each.name in used]
    del loose.graph.initializer[:]
    loose.graph.initializer.extend(kept)
    for value in (*loose.graph.input, *loose.graph.output):
        for axis, name in ((2, "height"), (3, "width")):
            # An output's sides are the input's divided by something: a name of their own, or none that is wrong.
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}_{name}"
    onnx.checker.check_model(loose, full_check=True)
    return loose


def _in_order(graph: Graph, wanted: Sequence[str]) -> list[str]:
    """The nodes that the wanted ones need, each after its inputs; raises `ConversionError` for one that needs itself."""
    done: dict[str, None] = {}
    entered: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting[-1]
        if name not in graph.nodes:
            raise ConversionError(f"the graph has no node {name!r}")
        ahead = [each for each in graph.nodes[name].inputs if each not in done]
        if not ahead:
            done[waiting.pop()] = None
        elif name in entered:
            raise ConversionError(f"{name}: it needs its own output, through {ahead[0]}")
        else:
            entered.add(name)
            waiting.extend(ahead)
    return list(done)


@dataclass
class _Building:
    graph: Graph
    float16: bool
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    initializers: list[onnx.TensorProto] = field(default_factory=list)
    _kept: set[str] = field(default_factory=set)

    def add(self, node: Node) -> None:
        if node.op == "Const":
            return
        known = _OPERATIONS.get(node.op)
        if known is None:
            raise ConversionError(f"{node.name}: {node.op} is not an operation that can be converted; known are {', '.join(_OPERATIONS)}")
        if node.text("data_format") not in ("", "NHWC"):
            raise ConversionError(f"{node.name}: the data format is {node.text('data_format')}, not NHWC")
        known(self, node)

    def emit(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def is_constant(self, name: str) -> bool:
        return self.graph.nodes[name].op == "Const"

    def value(self, name: str) -> Array:
        if not self.is_constant(name) or name not in self.graph.weights:
            raise ConversionError(f"{name} is not a constant, and has to be one here")
        return self.graph.weights[name]

    def keep(self, name: str, values: Array) -> str:
        """Store a constant under a name; those of many numbers in 16 bits where that was asked for."""
        if name in self._kept:
            return name
        self._kept.add(name)
        if self.float16 and values.dtype == np.float32 and values.size > 1:
            self.initializers.append(numpy_helper.from_array(values.astype(np.float16), f"{name}/float16"))
            return self.emit("Cast", [f"{name}/float16"], name, to=TensorProto.FLOAT)
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def operand(self, name: str) -> str:
        """A node's output, or a constant that is spread over maps whose channels come first."""
        if not self.is_constant(name):
            return name
        values = self.value(name)
        if values.ndim == 1 and values.size > 1:
            return self.keep(f"{name}/per_channel", values.reshape(1, -1, 1, 1))
        if values.ndim == 4:
            return self.keep(f"{name}/channels_first", values.transpose(0, 3, 1, 2))
        if values.ndim > 1:
            raise ConversionError(f"{name}: a constant of {values.ndim} dimensions cannot be laid out with the channels first")
        return self.keep(name, values)


def _placeholder(building: _Building, node: Node) -> None:
    dims = [int(dim["size"]) for dim in node.attr["shape"]["shape"].get("dim", [])]
    if len(dims) != 4:
        raise ConversionError(f"{node.name}: an input of {len(dims)} dimensions is no batch of pictures")
    batch, height, width, channels = (dim if dim > 0 else None for dim in dims)
    building.inputs.append(helper.make_tensor_value_info(node.name, TensorProto.FLOAT, [batch or 1, channels, height, width]))


def _convolution(building: _Building, node: Node) -> None:
    """`Conv2D` and `DepthwiseConv2dNative`, and both with a bias and an activation in the same node."""
    picture, weights, *more = node.inputs
    kernel = building.value(weights)
    height, width, channels, _ = kernel.shape
    depthwise = "Depthwise" in node.op
    # [height, width, in, out] or, of each channel alone, [height, width, channels, multiplier].
    laid = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, height, width) if depthwise else kernel.transpose(3, 2, 0, 1)
    inputs = [picture, building.keep(f"{weights}/channels_first", laid)]
    fused = node.texts("fused_ops")
    if fused[:1] == ["BiasAdd"]:
        inputs.append(building.keep(more[0], building.value(more[0])))
        fused = fused[1:]
    if len(fused) > 1 or any(each not in _ACTIVATIONS for each in fused):
        raise ConversionError(f"{node.name}: {node.op} with {', '.join(fused)} is not known")
    building.emit(
        "Conv",
        inputs,
        f"{node.name}/linear" if fused else node.name,
        kernel_shape=[height, width],
        strides=node.numbers("strides")[1:3],
        dilations=(node.numbers("dilations") or [1, 1, 1, 1])[1:3],
        group=channels if depthwise else 1,
        auto_pad=_padding(node),
    )
    if fused:
        _activate(building, fused[0], f"{node.name}/linear", node.name)


def _padding(node: Node) -> str:
    # Of an odd border TensorFlow puts the larger part after the picture, as SAME_UPPER does.
    known = {"SAME": "SAME_UPPER", "VALID": "VALID"}
    if node.text("padding") not in known:
        raise ConversionError(f"{node.name}: the padding {node.text('padding')!r} is not known")
    return known[node.text("padding")]


_ACTIVATIONS = ("Relu", "Relu6", "Sigmoid")


def _activate(building: _Building, op: str, source: str, output: str) -> None:
    if op == "Relu6":
        limits = [building.keep(name, np.array(value, np.float32)) for name, value in (("relu6/least", 0), ("relu6/most", 6))]
        building.emit("Clip", [source, *limits], output)
    else:
        building.emit(op, [source], output)


def _activation(building: _Building, node: Node) -> None:
    _activate(building, node.op, node.inputs[0], node.name)


def _elementwise(op: str) -> "Callable[[_Building, Node], None]":
    def put(building: _Building, node: Node) -> None:
        building.emit(op, [building.operand(name) for name in node.inputs], node.name)

    return put


def _identity(building: _Building, node: Node) -> None:
    building.emit("Identity", node.inputs[:1], node.name)


def _mean(building: _Building, node: Node) -> None:
    axes = np.array([_first(int(axis)) for axis in np.atleast_1d(building.value(node.inputs[1]))], np.int64)
    building.emit("ReduceMean", [node.inputs[0], building.keep(f"{node.name}/axes", axes)], node.name, keepdims=int(node.flag("keep_dims")))


def _concat(building: _Building, node: Node) -> None:
    *parts, axis = node.inputs
    building.emit("Concat", parts, node.name, axis=_first(int(building.value(axis))))


def _first(axis: int) -> int:
    """An axis of [N, H, W, C] among [N, C, H, W]."""
    return (0, 2, 3, 1)[axis]


def _resize(building: _Building, node: Node) -> None:
    height, width = (int(each) for each in building.value(node.inputs[1]))
    place = "align_corners" if node.flag("align_corners") else "half_pixel" if node.flag("half_pixel_centers") else "asymmetric"
    parts = building.keep(f"{node.name}/size", np.array([height, width], np.int64))
    # The batch and the channels stay as they are, so that only the last two sizes are given.
    building.emit("Resize", [node.inputs[0], "", "", parts], node.name, axes=[2, 3], mode="linear", coordinate_transformation_mode=place)


def _max_pool(building: _Building, node: Node) -> None:
    building.emit(
        "MaxPool",
        node.inputs,
        node.name,
        kernel_shape=node.numbers("ksize")[1:3],
        strides=node.numbers("strides")[1:3],
        auto_pad=_padding(node),
    )


_OPERATIONS: Mapping[str, "Callable[[_Building, Node], None]"] = {
    "Placeholder": _placeholder,
    "Conv2D": _convolution,
    "_FusedConv2D": _convolution,
    "DepthwiseConv2dNative": _convolution,
    "FusedDepthwiseConv2dNative": _convolution,
    "Relu": _activation,
    "Relu6": _activation,
    "Sigmoid": _activation,
    "Add": _elementwise("Add"),
    "AddV2": _elementwise("Add"),
    "Sub": _elementwise("Sub"),
    "Mul": _elementwise("Mul"),
    "Mean": _mean,
    "ConcatV2": _concat,
    "ResizeBilinear": _resize,
    "MaxPool": _max_pool,
    "Identity": _identity,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert; 1 and a line on what is wrong where that cannot be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path, help="the model.json; its shards lie beside it")
    parser.add_argument("onnx", type=Path, help="the file to write")
    parser.add_argument("--output", action="append", default=[], metavar="NODE", help="a node whose output is wanted; may be repeated")
    parser.add_argument("--float16", action="store_true", help="keep the weights in 16 bits; everything is still computed in 32")
    parser.add_argument("--any-size", action="store_true", help="let pictures have any height and width")
    given = parser.parse_args(arguments)
    try:
        model = convert(load(given.model), given.output, float16=given.float16)
        model = loosen(model) if given.any_size else model
    except ConversionError as error:
        print(error, file=sys.stderr)
        return 1
    onnx.save(model, given.onnx)
    print(f"{given.onnx}: {len(model.graph.node)} operations, {given.onnx.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
