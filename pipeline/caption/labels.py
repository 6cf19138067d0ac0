"""The thousand ImageNet classes in plain words, and what a distribution over them amounts to."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

CLASSES = 1000
PROBABLE = 0.6
POSSIBLE = 0.4
"""Below this nothing is claimed: on 18 of 19 pictures of what ImageNet has no class for, the best wrong class stayed at 0.31 or below."""
_GAIN = 0.1
"""A group is named instead of its likeliest class where it is this much more certain."""
_LEAST_LIKE = 0.2
"""What the likeliest class of a group must reach: little of each of 118 breeds makes no dog (a horse's silhouette: 0.65)."""


@dataclass(frozen=True)
class Guess:
    """What a picture probably shows."""

    what: str
    """With its article: "a cat", "espresso"."""
    probability: float
    """0 to 1; of a group: the sum over its classes."""
    like: str | None = None
    """Of a group: its likeliest class."""


def _spans(*spans: int | tuple[int, int]) -> tuple[int, ...]:
    return tuple(index for span in spans for index in (range(span[0], span[1] + 1) if isinstance(span, tuple) else (span,)))


GROUPS: dict[str, tuple[int, ...]] = {
    "a fish": _spans((0, 6), (389, 397)),
    "a bird": _spans((7, 24), (80, 100), (127, 146)),
    "a frog": _spans((30, 32)),
    "a turtle": _spans((33, 37)),
    "a lizard": _spans((38, 48)),
    "a snake": _spans((52, 68)),
    "a spider": _spans((72, 77)),
    "a crab or lobster": _spans((118, 124)),
    "a dog": _spans((151, 268)),
    "a wolf or fox": _spans((269, 280)),
    "a cat": _spans((281, 285)),
    "a big cat": _spans((286, 293)),
    "a bear": _spans((294, 297)),
    "a beetle": _spans((300, 307)),
    "an insect": _spans((308, 320)),
    "a butterfly": _spans((321, 326)),
    "a rabbit or hare": _spans((330, 332)),
    "an antelope, goat or sheep": _spans((348, 353)),
    "a monkey or ape": _spans((365, 382)),
    "an elephant": _spans(101, 385, 386),
    "a building": _spans(425, 442, 449, 483, 497, 500, 538, 663, 668, 698, 727, 832, 858),
    "a shop or restaurant": _spans(415, 424, 454, 467, 509, 582, 762, 788, 860, 865),
    "a bridge or dam": _spans(525, 821, 839, 888),
    "a car": _spans(436, 468, 511, 609, 627, 656, 661, 717, 751, 817),
    "a lorry, van or bus": _spans(407, 555, 569, 654, 675, 734, 779, 864, 867, 874),
    "a train or tram": _spans(466, 547, 565, 705, 820, 829),
    "a bicycle or motorcycle": _spans(444, 665, 670, 671, 880),
    "a boat or ship": _spans(403, 472, 484, 510, 554, 576, 625, 628, 724, 780, 814, 871, 914),
    "an aircraft": _spans(404, 405, 895, 908),
    "a rocket or missile": _spans(657, 744, 812),
    "a musical instrument": _spans(401, 402, 420, 432, 486, 513, 541, 546, 558, 566, 579, 593, 594, 683, 687, 776, 875, 881, 889),
    "a computer or screen": _spans(508, 527, 590, 620, 664, 673, 681, 782, 851),
    "a ball": _spans(429, 430, 522, 574, 722, 768, 805, 852, 890),
    "a helmet": _spans(518, 560),
    "a bottle": _spans(440, 720, 737, 898, 907),
    "a cup or mug": _spans(504, 967, 968),
    "a page of text or graphics": _spans(916, 917, 918, 921, 922),
    "fruit": _spans((948, 957)),
    "vegetables": _spans((936, 946)),
    "food": _spans((924, 935), (959, 965)),
    "a landscape": _spans(970, 972, (974, 980)),
    "a mushroom or fungus": _spans(947, (991, 997)),
}
"""Classes that people would call by one name; a class is in at most one."""


@cache
def names() -> tuple[str, ...]:
    """The classes in ImageNet's order, each with its article where English wants one."""
    lines = files("pipeline.caption").joinpath("imagenet_labels.txt").read_text(encoding="utf-8").splitlines()
    if len(lines) != CLASSES:
        raise ValueError(f"imagenet_labels.txt has {len(lines)} lines, not {CLASSES}")
    return tuple(lines)


def guess(probabilities: NDArray[np.float32]) -> Guess | None:
    """What probabilities of the classes [1000] amount to; `None` where nothing is likely enough to be said."""
    best = int(probabilities.argmax())
    probability = float(probabilities[best])
    group, certainty = max(((name, float(probabilities[list(classes)].sum())) for name, classes in GROUPS.items()), key=lambda it: it[1])
    likeliest = max(GROUPS[group], key=lambda index: float(probabilities[index]))
    if certainty >= max(POSSIBLE, probability + _GAIN) and probabilities[likeliest] >= _LEAST_LIKE:
        return Guess(group, min(certainty, 1.0), names()[likeliest])
    if probability >= POSSIBLE:
        return Guess(names()[best], probability)
    return None
