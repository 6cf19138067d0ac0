"""Things in a picture and where they are: the port to detectors, and the one that works out of the box.

MobileNetV3-CenterNet for the 80 classes of COCO (X. Zhou, D. Wang, P. Krähenbühl, "Objects as Points", 2019): a network that draws for each
class a map of where the middles of its things are, and a map of how far their edges are from there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.caption.things import LABELS
from pipeline.errors import ModelMismatch

LEAST = 0.3
"""Score below which nothing is told at all; what is worth a word is for `pipeline.caption.seen` to say."""
MOST = 24
"""So many things of a picture are told, the surest."""
SAME_BOX = 0.5
"""Overlap (intersection over union) from which two boxes of one label are one thing."""
LONG_SIDE = 576
"""Pixels to which a keyframe is enlarged: bottles 60 pixels high score 0.63 instead of 0.46 at 512, for 14 ms more."""
STRIDE = 4
"""A cell of the maps is so many pixels of the picture wide."""
MULTIPLE = 32
"""The sides of what the network is shown: it halves them five times."""


@dataclass(frozen=True)
class Box:
    """Where something is, as parts of the picture's width and height from the top left, each 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def area(self) -> float:
        """Part of the picture, 0 to 1."""
        return max(0.0, self.right - self.left) * max(0.0, self.bottom - self.top)

    def overlap(self, other: "Box") -> float:
        """Intersection over union (the Jaccard index of the two areas), 0 to 1."""
        both = Box(max(self.left, other.left), max(self.top, other.top), min(self.right, other.right), min(self.bottom, other.bottom)).area
        return both / max(self.area + other.area - both, 1e-9)


@dataclass(frozen=True)
class Detection:
    """One thing in one picture."""

    label: str
    """One of `pipeline.caption.things.LABELS`."""
    score: float
    """How sure the detector is, 0 to 1; not a probability that was calibrated."""
    box: Box


class Detector(Protocol):
    """Finds things in pictures."""

    def detect(self, picture: Image.Image) -> list[Detection]:
        """The things in an RGB picture of any size, at most `MOST`, the surest first; from `LEAST` on, each once."""
        ...


class CenterNet:
    """A `Detector` on one thread of the processor."""

    def __init__(self, directory: Path) -> None:
        """Load `model.onnx`; raises `ModelMismatch` for a network of other inputs and outputs."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(directory / "model.onnx"), options, providers=["CPUExecutionProvider"])
        shapes = [value.shape[:2] for value in (*self._session.get_inputs(), *self._session.get_outputs())]
        if shapes != [[1, 3], [1, len(LABELS)], [1, 4]]:
            raise ModelMismatch(f"{directory}: maps of {len(LABELS)} labels and 4 edges are expected of a picture, not {shapes}")
        self._input = self._session.get_inputs()[0].name

    def detect(self, picture: Image.Image) -> list[Detection]:
        """See `Detector`."""
        scale = LONG_SIDE / max(picture.size)
        width, height = (max(1, round(side * scale)) for side in picture.size)
        shown = np.zeros((_whole(height), _whole(width), 3), np.float32)
        left, top = (shown.shape[1] - width) // 2, (shown.shape[0] - height) // 2
        shown[top : top + height, left : left + width] = np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))
        middles, edges = self._session.run(None, {self._input: np.ascontiguousarray(shown.transpose(2, 0, 1)[None])})
        found = peaks(middles[0], edges[0])
        return once([_placed(each, left=left, top=top, width=width, height=height) for each in found])


def peaks(middles: NDArray[np.float32], edges: NDArray[np.float32]) -> list[tuple[int, float, NDArray[np.float32]]]:
    """Where a map is highest among its neighbours: the label's number, the score, and left, top, right and bottom in pixels; surest first.

    `middles` is [labels, height, width], 0 to 1; `edges` [4, height, width] how far left, top, right and bottom are, in pixels.
    """
    _, height, width = middles.shape
    numbers, ys, xs = np.nonzero(middles >= LEAST)
    scores = middles[numbers, ys, xs]
    # Of a million values some dozens are high enough: only these are compared with what is around them.
    around = [(np.clip(ys + down, 0, height - 1), np.clip(xs + across, 0, width - 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    highest = np.all([scores >= middles[numbers, y, x] for y, x in around], axis=0)
    numbers, ys, xs, scores = numbers[highest], ys[highest], xs[highest], scores[highest]
    left, top, right, bottom = edges[:, ys, xs]
    boxes = np.stack([xs * STRIDE - left, ys * STRIDE - top, xs * STRIDE + right, ys * STRIDE + bottom], axis=1)
    best = np.argsort(-scores, kind="stable")[: 2 * MOST]
    return [(int(numbers[index]), float(scores[index]), boxes[index]) for index in best]


def once(found: Sequence[Detection]) -> list[Detection]:
    """Non-maximum suppression: without those that are a surer one of their label once more.

    Expects the surest first and keeps that order; the same thing is what overlaps by `SAME_BOX` or more.
    """
    kept: list[Detection] = []
    for each in found:
        if each.box.area > 0 and not any(each.label == other.label and each.box.overlap(other.box) >= SAME_BOX for other in kept):
            kept.append(each)
    return kept[:MOST]


def _placed(found: tuple[int, float, NDArray[np.float32]], *, left: int, top: int, width: int, height: int) -> Detection:
    number, score, (x0, y0, x1, y1) = found
    across = ((float(x) - left) / width for x in (x0, x1))
    down = ((float(y) - top) / height for y in (y0, y1))
    (x0, x1), (y0, y1) = ([min(max(side, 0.0), 1.0) for side in sides] for sides in (across, down))
    return Detection(LABELS[number], score, Box(x0, y0, x1, y1))


def _whole(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE
