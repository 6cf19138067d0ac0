"""What may be said of the things that a detector found in a scene's pictures: which are sure, how many, where, and of what colour.

Precision stands above recall: what one picture alone suggests is not told, nor what might as well be something else.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.caption import colours
from pipeline.caption.detector import Box, Detection
from pipeline.caption.things import THINGS, counted
from pipeline.timeline import MediaTime

ONCE = 0.55
"""Score from which one picture is enough. In recordings of 14 kinds nothing that is not there scored more but a ball, as a frisbee."""
TWICE, BEST_OF_TWO = 0.4, 0.5
"""Scores from which two different pictures of a scene are enough: both, and the better one. A cat that fills the picture is a dog at 0.46.

From the first on a thing is counted.
"""
RIVAL = 0.7
"""A second label at the same place with this part of the first one's score is as likely."""
SAME_PLACE = 0.6
"""Overlap from which two boxes of different labels are one thing."""
COLOURED, STANDS_OUT = 0.5, 0.25
"""Share of a thing's inner part that one colour must have, and how much more it must be than around the thing: glass has no colour."""
FEWEST_PIXELS = 100
UNTOLD = frozenset(["grey", *THINGS])
"""Colours that are not told: shade and glass are grey, and an orange orange."""
COLOURLESS = frozenset(["person", "tv", "laptop", "cell phone", "book", "traffic light", "clock", "mouse"])
"""What has no colour of its own that is worth a word, or shows pictures itself."""
WIDE, HIGH = 0.6, 0.5
"""What takes more of the picture's width, or height, is not at one side of it."""
MOST_PLACES = 4


@dataclass(frozen=True)
class Sight:
    """One thing in one picture, as it may be told."""

    label: str
    score: float
    box: Box
    colour: str = ""
    """Empty where none stands out."""
    rival: str = ""
    """The label that is as likely; empty for none."""


@dataclass(frozen=True)
class Glance:
    """What is seen in one picture."""

    time: MediaTime
    sights: tuple[Sight, ...]


@dataclass(frozen=True)
class Group:
    """The things of one label in one picture or scene, in words."""

    label: str
    words: str
    """ "a blue cup", "at least two people", "up to three bottles"; more than one are claimed of a scene where two pictures show as many."""
    score: float
    places: tuple[str, ...] = ()
    """Where each is, from left to right; empty where that cannot be said in a word."""

    def told(self, *, scored: bool = False) -> str:
        """With where it is, and how sure that is."""
        beside = ([f"{min(self.score, 0.99):.2f}"] if scored else []) + list(dict.fromkeys(self.places))
        return f"{self.words} ({', '.join(beside)})" if beside else self.words


_PLACE = "(?:top |bottom )?(?:left|centre|right)"
_PLACED = re.compile(rf" \((?:\d\.\d\d, )?{_PLACE}(?:, {_PLACE})*\)")


def unplaced(text: str) -> str:
    """A text without the places of `Group.told`, for whoever compares words: "a dog (left)" has not left."""
    return _PLACED.sub("", text)


def settled(found: Sequence[Detection], pixels: NDArray[np.uint8] | None = None) -> tuple[Sight, ...]:
    """One label for each place, of detections that come the surest first; with the picture's RGB `pixels` also their colours."""
    kept: list[Sight] = []
    for each in found:
        place = next((at for at, other in enumerate(kept) if other.box.overlap(each.box) >= SAME_PLACE and other.label != each.label), None)
        if place is None:
            kept.append(Sight(each.label, each.score, each.box, colour_of(pixels, each) if pixels is not None else ""))
        elif not kept[place].rival and each.score >= RIVAL * kept[place].score:
            kept[place] = replace(kept[place], rival=each.label)
    return tuple(kept)


def told(glances: Sequence[Glance], *, distinct: Sequence[bool] = ()) -> tuple[Glance, ...]:
    """The glances of a scene with only what may be said, each label with one colour or none.

    `distinct` says of each picture whether it is not one seen before: the same picture twice is no second witness.
    """
    merged = _rivals_as_one(glances)
    witnesses = [glance for number, glance in enumerate(merged) if not distinct or distinct[number]]
    best: dict[str, list[float]] = defaultdict(list)
    for glance in witnesses:
        for label, group in _by_label(glance.sights).items():
            best[label].append(max(sight.score for sight in group))
    sure = {label for label, scores in best.items() if _is_sure(scores)}
    tint = {label: _one_colour(sight for glance in merged for sight in glance.sights if sight.label == label) for label in sure}
    return tuple(
        Glance(glance.time, tuple(replace(sight, colour=tint[sight.label]) for sight in glance.sights if sight.label in sure))
        for glance in merged
    )


def groups(sights: Sequence[Sight]) -> tuple[Group, ...]:
    """What one picture shows, label by label, the surest first."""
    made = [_group(label, own) for label, own in _by_label(sights).items()]
    return tuple(sorted(made, key=lambda group: -group.score))


def scene_groups(glances: Sequence[Glance]) -> tuple[Group, ...]:
    """What a scene shows, from glances that were `told`: most at one time, and where what stands alone stays."""
    labels = dict.fromkeys(sight.label for glance in glances for sight in glance.sights)
    made = [_over_time(label, glances) for label in labels]
    return tuple(sorted(made, key=lambda group: -group.score))


def most_people(glances: Sequence[Glance]) -> int | None:
    """How many people are seen at most at one time; `None` where none is."""
    most = max((_count(_by_label(glance.sights).get("person", [])) for glance in glances), default=0)
    return most or None


def place_of(box: Box) -> str:
    """Where in the picture: "left", "top right", "centre"; empty for what takes most of it."""
    if box.right - box.left > WIDE:
        return ""
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    across = "left" if x < 1 / 3 else "right" if x > 2 / 3 else "centre"
    down = "" if box.bottom - box.top > HIGH else "top " if y < 1 / 3 else "bottom " if y > 2 / 3 else ""
    return f"{down}{across}"


def colour_of(pixels: NDArray[np.uint8], found: Detection) -> str:
    """The colour that most of a thing has and its surroundings have not, of RGB pixels [height, width, 3]; else empty."""
    if found.label in COLOURLESS:
        return ""
    height, width, _ = pixels.shape
    box = found.box
    inner, outer = _grown(box, -0.2), _grown(box, 0.25)
    inside = _cut(pixels, inner)
    if inside.size < 3 * FEWEST_PIXELS:
        return ""
    around = np.ones((height, width), dtype=bool)
    around[_rows(box, height), _columns(box, width)] = False
    ring = _cut(pixels, outer)[_cut(around, outer)]
    share = colours.shares(inside)
    name = max(share, key=lambda each: share[each])
    beside = colours.shares(ring)[name] if len(ring) else 0.0
    stands_out = share[name] >= COLOURED and share[name] - beside >= STANDS_OUT
    return name if stands_out and name not in UNTOLD else ""


def _rivals_as_one(glances: Sequence[Glance]) -> list[Glance]:
    """Two labels that are as likely at one place, in half of the pictures that have either, are one thing with two names there."""
    pairs: Counter[tuple[str, str]] = Counter()
    having: Counter[str] = Counter()
    for glance in glances:
        having.update({name for sight in glance.sights for name in (sight.label, sight.rival) if name})
        pairs.update({_pair(sight) for sight in glance.sights if sight.rival})
    joined = {pair for pair, count in pairs.items() if 2 * count >= max(having[name] for name in pair)}
    one = {name: pair for pair in joined for name in pair}

    def named(sight: Sight) -> Sight:
        pair = one.get(sight.label)
        return replace(sight, label=pair[0], rival=pair[1]) if pair else replace(sight, rival="")

    return [Glance(glance.time, tuple(map(named, glance.sights))) for glance in glances]


def _is_sure(scores: Sequence[float]) -> bool:
    """Whether a label with these scores, the best of each different picture, may be told of a scene."""
    return max(scores) >= ONCE or (max(scores) >= BEST_OF_TWO and sum(score >= TWICE for score in scores) > 1)


def _pair(sight: Sight) -> tuple[str, str]:
    first, second = sorted((sight.label, sight.rival))
    return first, second


def _one_colour(sights: Iterable[Sight]) -> str:
    """The colour of most of the things of a label."""
    tints = Counter(sight.colour for sight in sights)
    colour, count = tints.most_common(1)[0]
    return colour if 2 * count > tints.total() else ""


def _by_label(sights: Iterable[Sight]) -> dict[str, list[Sight]]:
    grouped: dict[str, list[Sight]] = defaultdict(list)
    for sight in sights:
        grouped[sight.label].append(sight)
    return grouped


def _count(sights: Sequence[Sight]) -> int:
    """How many are counted: one that is unsure counts only where it is alone."""
    return max(sum(sight.score >= TWICE for sight in sights), min(1, len(sights)))


def _group(label: str, sights: Sequence[Sight]) -> Group:
    counting = [sight for sight in sights if sight.score >= TWICE] or list(sights[:1])
    many = len(counting)
    words = _counted(sights[0], many)
    if len(sights) > many and many > 1:
        words = f"at least {words}"
    places = tuple(place_of(sight.box) for sight in sorted(counting, key=lambda sight: sight.box.left + sight.box.right))
    known = many <= MOST_PLACES and all(places)
    return Group(label, words, max(sight.score for sight in sights), places if known else ())


def _over_time(label: str, glances: Sequence[Glance]) -> Group:
    shown = [own for glance in glances if (own := _by_label(glance.sights).get(label))]
    single = [_group(label, own) for own in shown]
    counts = Counter(_count(own) for own in shown)
    most = max((count for count, times in counts.items() if times > 1), default=max(counts))
    score = max(group.score for group in single)
    if most == 1:
        places = Counter(group.places for group in single)
        place, times = places.most_common(1)[0]
        return Group(label, _counted(shown[0][0], 1), score, place if 3 * times >= 2 * len(single) and len(place) == 1 else ())
    words = _counted(shown[0][0], most)
    if max(counts) > most or all(group.words.startswith("at least") for group in single):
        words = f"at least {words}"
    elif len(counts) > 1:
        words = f"up to {words}"
    return Group(label, words, score)


def _counted(sight: Sight, number: int) -> str:
    words = counted(sight.label, number, adjective=sight.colour)
    if not sight.rival:
        return words
    named = THINGS[sight.rival]
    return f"{words} or {named.one if number == 1 else named.many}"


def _grown(box: Box, by: float) -> Box:
    """The box with so much of its sides more, or less, at each side."""
    across, down = by * (box.right - box.left), by * (box.bottom - box.top)
    return Box(max(0.0, box.left - across), max(0.0, box.top - down), min(1.0, box.right + across), min(1.0, box.bottom + down))


def _rows(box: Box, height: int) -> slice:
    return slice(int(box.top * height), max(int(box.top * height), round(box.bottom * height)))


def _columns(box: Box, width: int) -> slice:
    return slice(int(box.left * width), max(int(box.left * width), round(box.right * width)))


def _cut(pixels: NDArray[Any], box: Box) -> NDArray[Any]:
    height, width = pixels.shape[:2]
    return pixels[_rows(box, height), _columns(box, width)]
