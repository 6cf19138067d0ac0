"""What the model says of clips it never saw, through the product's own captioner, and how much of it is true."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import SceneView, Shot
from train.batches import Clock, ticks, to_jpeg
from train.render import render
from train.scenes import COLOURS, DIRECTIONS, NUMBERS, SHAPES, SPEEDS, Scene, caption, draw_scene

ATTRIBUTES = ("colour", "shape", "count", "word", "direction", "speed", "order", "second", "within 1 s", "caption")
"""What is scored, each over the clips that have it; `caption` is the whole text, word for word."""
HELD_OUT_SEED = 2**40
"""Training draws its clips from seeds that start with the recipe's; these never are."""

_SHAPE = rf"(?P<count>a|one|two|three) (?P<colour>{'|'.join(COLOURS)}) (?P<shape>{'|'.join(SHAPES)})(?:e?s)?"
_NAMED = re.compile(rf"\b(?:{_SHAPE}|the word (?P<word>[A-Z]+))\b", re.IGNORECASE)
_SECOND = re.compile(r"\b(?:within (a) second|after (\d+) seconds?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Stated:
    """What a caption says, or what is true of a clip."""

    names: tuple[str, ...]
    """The things in the order in which they are told, each as its colour and shape or its word."""
    colours: Counter[str]
    shapes: Counter[str]
    counts: Counter[str]
    words: Counter[str]
    direction: str | None
    speed: str | None
    second: int | None


def parse(text: str) -> Stated:
    """What a caption states; what it does not state is empty."""
    found = list(_NAMED.finditer(text))
    words = re.findall(r"[a-z]+", text.lower())
    time = _SECOND.search(text)
    shapes = [each for each in found if each["shape"]]
    return Stated(
        names=tuple((each["word"] or f"{each['colour']} {each['shape']}").lower() for each in found),
        colours=Counter(each["colour"] for each in shapes),
        shapes=Counter(each["shape"] for each in shapes),
        counts=Counter(each["count"].lower() for each in shapes),
        words=Counter(each["word"] for each in found if each["word"]),
        direction=next((word for word in words if word in DIRECTIONS), None),
        speed=next((word for word in words if word in SPEEDS), None),
        second=None if time is None else int(time[2] or 0),
    )


def score(scene: Scene, said: str) -> dict[str, bool]:
    """Which of the attributes that the clip has are stated rightly."""
    truth, stated = parse(caption(scene)), parse(said)
    right = {
        "colour": stated.colours == truth.colours,
        "shape": stated.shapes == truth.shapes,
        "count": stated.counts == truth.counts,
        "word": stated.words == truth.words,
        "direction": stated.direction == truth.direction,
        "speed": stated.speed == truth.speed,
        "order": stated.names == truth.names,
        "second": stated.second == truth.second,
        "within 1 s": stated.second is not None and truth.second is not None and abs(stated.second - truth.second) <= 1,
        "caption": said == caption(scene),
    }
    has = {
        "colour": bool(truth.colours),
        "shape": bool(truth.shapes),
        "count": any(each in NUMBERS[2:] for each in truth.counts),
        "word": bool(truth.words),
        "direction": truth.direction is not None,
        "speed": truth.speed is not None,
        "order": len(truth.names) > 1,
        "second": truth.second is not None,
        "within 1 s": truth.second is not None,
        "caption": True,
    }
    return {name: right[name] for name in ATTRIBUTES if has[name]}


def held_out(count: int, *, combinations: bool = False) -> list[Scene]:
    """Clips that training never shows; with `combinations`, of colours and shapes that it never shows together."""
    return [draw_scene(np.random.default_rng((HELD_OUT_SEED + combinations, index)), held_out=combinations) for index in range(count)]


def view(scene: Scene, *, clock: Clock = "time", seed: int = 0) -> SceneView:
    """The clip as the pipeline hands it to a captioner: JPEG keyframes with their times, or with other times for an ablation."""
    frames = render(scene, np.random.default_rng(seed))
    shots = tuple(
        Shot(time, KeyframeReason.KEYFRAME_REASON_UNSPECIFIED, 0.0, 0.0, to_jpeg(frame))
        for time, frame in zip(ticks(scene.times, clock), frames, strict=True)
    )
    return SceneView(shots[0].time, shots[-1].time, shots)


def tally(scores: Iterable[dict[str, bool]]) -> dict[str, tuple[int, int]]:
    """The sums of scores by attribute: (right, all)."""
    right, seen = Counter[str](), Counter[str]()
    for each in scores:
        right.update(name for name, fine in each.items() if fine)
        seen.update(each.keys())
    return {name: (right[name], seen[name]) for name in ATTRIBUTES if seen[name]}
