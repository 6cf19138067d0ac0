"""The captioner that works out of the box: ImageNet labels, things, words in the picture, colours and motion, made into a sentence.

Labels: EfficientNet-Lite0 (M. Tan, Q. V. Le, "EfficientNet", 2019; the Lite variant without squeeze-and-excitation), fed
as its TensorFlow original: 224x224 RGB, (x - 127) / 128. Words: PP-OCRv6 detection and recognition through `rapidocr`.
Things: `pipeline.caption.detector`.
"""

import asyncio
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption import colours
from pipeline.caption.compose import Facts, Look, compose
from pipeline.caption.detector import CenterNet, Detector
from pipeline.caption.labels import CLASSES, guess
from pipeline.caption.model import Description, SceneView, Shot
from pipeline.caption.pictures import decode, show_same, thumbnail
from pipeline.caption.seen import Glance, Sight, most_people, scene_groups, settled, told
from pipeline.caption.text import Line, in_reading_order, merged, trusted
from pipeline.errors import ModelMismatch
from pipeline.timeline import MediaTime

NAME = "tags"
SIDE = 224
MAX_CLASSIFIED = 8
"""Pictures of a scene that are classified; more are left out evenly."""
MAX_SEARCHED = 16
"""Pictures of a scene in which things are looked for, so that what comes and goes is dated."""
MAX_READ = 3
"""Pictures of a scene in which text is looked for: the first, one where writing has appeared or else the most novel, the last."""
CHANGING = 0.4
"""Novelty from which a change is worth a word; after a quiet while less is worth a keyframe."""
NEW_LOOK_BELOW = 0.5
"""Cosine of two pictures' features below which they show different things: .76 to .97 within scenes, .21 to .42 between."""


@dataclass(frozen=True)
class Seen:
    """What the classifier makes of one picture."""

    probabilities: NDArray[np.float32]
    """Of the ImageNet classes [1000]."""
    features: NDArray[np.float32]
    """The pooled last layer [1280], of length 1."""


@dataclass(frozen=True)
class _Picture:
    shot: Shot
    image: Image.Image
    small: NDArray[np.uint8]


class TagsCaptioner:
    """Describes a scene by tags; its work is bounded whatever the scene's length."""

    name = NAME

    def __init__(self, classifier: "Classifier", reader: "Reader", detector: Detector | None = None) -> None:
        """Without a detector nothing is counted and nothing has a place."""
        self._classifier = classifier
        self._reader = reader
        self._detector = detector
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caption-tags")

    async def describe(self, scene: SceneView) -> Description:
        """Describe a scene; raises `MediaUndecodable` for a picture that cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._describe, scene)

    def _describe(self, scene: SceneView) -> Description:
        pictures = []
        for shot in scene.shots:
            image = decode(shot.jpeg, what=f"keyframe at {shot.time.clock()}")
            pictures.append(_Picture(shot, image, thumbnail(image)))
        looks = self._looks(_distinct(_spread(pictures, MAX_CLASSIFIED)))
        text = merged([in_reading_order(trusted(self._reader.read(each.image))) for each in _distinct(_telling(pictures))])
        seen = self._seen(_spread(pictures, MAX_SEARCHED))
        things = scene_groups(seen)
        share = {name: float(np.mean([colours.shares(each.small)[name] for each in pictures])) for name in colours.NAMES}
        luma = float(np.mean([colours.luma(each.small) for each in pictures]))
        facts = Facts(
            looks=looks,
            text=text,
            colours=colours.dominant(share),
            brightness="dark" if luma < colours.DARK else "bright" if luma > colours.BRIGHT else None,
            motion=motion_of(scene.shots),
            changes=any(_is_change(shot) for shot in scene.shots[1:]),
            things=things,
        )
        named = [(group.score, group.words) for group in things] + [
            (look.guess.probability, look.guess.what) for look in looks if look.guess
        ]
        objects = dict.fromkeys(what for _, what in sorted(named, key=lambda each: -each[0]))
        return Description(compose(facts), text, tuple(objects), people=most_people(seen), seen=seen)

    def _seen(self, pictures: Sequence[_Picture]) -> tuple[Glance, ...]:
        """What may be told of the things in each of the pictures; one that shows the same as another is not searched again."""
        if self._detector is None:
            return ()
        known: list[tuple[_Picture, tuple[Sight, ...]]] = []
        glances, distinct = [], []
        for picture in pictures:
            sights = next((sights for other, sights in known if show_same(picture.small, other.small)), None)
            distinct.append(sights is None)
            if sights is None:
                sights = settled(self._detector.detect(picture.image), np.asarray(picture.image))
                known.append((picture, sights))
            glances.append(Glance(picture.shot.time, sights))
        return told(glances, distinct=distinct)

    def _looks(self, pictures: Sequence[_Picture]) -> tuple[Look, ...]:
        """Runs of pictures that show the same; their mean speaks for a run, so that no single odd picture does."""
        runs: list[tuple[MediaTime, list[Seen]]] = []
        for picture in pictures:
            seen = self._classifier.look_at(picture.image)
            if runs and float(runs[-1][1][0].features @ seen.features) >= NEW_LOOK_BELOW:
                runs[-1][1].append(seen)
            else:
                runs.append((picture.shot.time, [seen]))
        return tuple(Look(start, guess(np.mean([seen.probabilities for seen in run], axis=0))) for start, run in runs)


class Classifier:
    """EfficientNet-Lite0 over the middle square and over the whole picture, averaged: a wide frame's sides count too."""

    def __init__(self, weights: Path) -> None:
        """Load a state dict from a `.pth` file, running none of the code a pickle may hold; raises `ModelMismatch`."""
        import torch
        from efficientnet_lite_pytorch import EfficientNet

        self._torch = torch
        self._network = EfficientNet.from_name("efficientnet-lite0")
        try:
            self._network.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
        except (RuntimeError, ValueError, TypeError, pickle.UnpicklingError) as error:
            raise ModelMismatch(f"{weights} does not hold the weights of EfficientNet-Lite0: {error}") from error
        self._network.eval()

    def look_at(self, picture: Image.Image) -> Seen:
        """Classify an RGB picture of any size."""
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        views = (picture.crop((left, top, left + side, top + side)), picture)
        pixels = np.stack([np.asarray(view.resize((SIDE, SIDE), Image.Resampling.BICUBIC), dtype=np.float32) for view in views])
        batch = self._torch.from_numpy(((pixels - 127) / 128).transpose(0, 3, 1, 2).copy())
        with self._torch.inference_mode():
            pooled = self._network.extract_features(batch).mean(dim=(2, 3))
            probabilities = self._network._fc(pooled).softmax(dim=1).mean(dim=0).numpy()
            features = pooled.mean(dim=0).numpy()
        assert probabilities.shape == (CLASSES,)
        return Seen(probabilities, features / max(float(np.linalg.norm(features)), 1e-9))


class Reader:
    """PP-OCRv6 on pictures as they come: at 448 pixels it reads letters 8 pixels high, so nothing is enlarged."""

    def __init__(self, directory: Path) -> None:
        """Load detection and recognition from the ONNX files in `directory`."""
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(
            params={
                # The library logs each step, and what it misses, to the terminal.
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.use_cls": False,
                "Det.model_path": str(directory / "PP-OCRv6_det_small.onnx"),
                "Rec.model_path": str(directory / "PP-OCRv6_rec_small.onnx"),
                # "max" only shrinks; the default enlarges the short side to 736 and takes eight times as long.
                "Det.limit_type": "max",
                "Det.limit_side_len": 960,
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )
        # The engine loads each network at its first use; a scene should not wait for that.
        blank = np.full((64, 256, 3), 255, dtype=np.uint8)
        self._engine(blank, use_det=True, use_rec=False)
        self._engine(blank, use_det=False, use_rec=True)

    def read(self, picture: Image.Image) -> list[Line]:
        """All lines that are found in an RGB picture, sure or not, in no order."""
        bgr = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        found = self._engine(bgr, use_det=True, use_rec=True)
        if found.boxes is None or found.txts is None:
            return []
        return [
            Line(text, float(score), left=float(box[:, 0].min()), top=float(box[:, 1].min()), bottom=float(box[:, 1].max()))
            for box, text, score in zip(found.boxes, found.txts, found.scores, strict=True)
        ]


def load_tags(*, labels: Path, text: Path, things: Path | None = None) -> TagsCaptioner:
    """Load the models from their directories, without `things` no detector; an inference uses one thread.

    Raises `ModelMismatch` where the label weights are those of another network.
    """
    import torch

    torch.set_num_threads(1)
    (weights,) = labels.glob("efficientnet-lite0-*.pth")
    return TagsCaptioner(Classifier(weights), Reader(text), CenterNet(things) if things else None)


def motion_of(shots: Sequence[Shot]) -> float | None:
    """The motion within the scene, weighted by time; `None` where no keyframe tells.

    A scene's first keyframe tells of the scene before it.
    """
    spans = [(later.motion, (later.time - former.time).seconds) for former, later in pairwise(shots)]
    total = sum(span for _, span in spans)
    return sum(motion * span for motion, span in spans) / total if total > 0 else None


def _spread(pictures: Sequence[_Picture], most: int) -> list[_Picture]:
    """At most so many, evenly, the first and the last among them."""
    if len(pictures) <= most:
        return list(pictures)
    return [pictures[round(place)] for place in np.linspace(0, len(pictures) - 1, most)]


def _is_change(shot: Shot) -> bool:
    """Whether the view has become quite another."""
    return shot.reason == KeyframeReason.KEYFRAME_REASON_CHANGE and shot.score >= CHANGING


def _telling(pictures: Sequence[_Picture]) -> list[_Picture]:
    """The pictures in which text is looked for, in order of time."""
    if len(pictures) <= MAX_READ:
        return list(pictures)
    writing = KeyframeReason.KEYFRAME_REASON_TEXT
    newest = max(range(1, len(pictures) - 1), key=lambda at: (pictures[at].shot.reason == writing, pictures[at].shot.score))
    return [pictures[0], pictures[newest], pictures[-1]]


def _distinct(pictures: Sequence[_Picture]) -> list[_Picture]:
    """Without those that show the same as one before."""
    kept: list[_Picture] = []
    for picture in pictures:
        if not any(show_same(picture.small, each.small) for each in kept):
            kept.append(picture)
    return kept
