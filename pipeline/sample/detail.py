"""A second look at a scene's keyframes, with a model's eyes: near-duplicates go, and each that stays gets the detail it needs.

Thumbnails tell that pixels differ, features of a vision tower whether what is shown does. Optional: it costs a pass of that
tower, which a captioner that keeps the features has to make anyway. After X. Shen et al., "LongVU: Spatiotemporal adaptive
compression for long video-language understanding" (2024), section 3.1 and 3.3, without the query and for one scene at a time,
so that short clips are thinned as well as long ones. Pure; who has features adapts them to `Features`.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Features(Protocol):
    """What a captioner's vision tower, or a model such as DINO, makes of pictures."""

    def features(self, pictures: Sequence[bytes]) -> NDArray[np.float32]:
        """Of N JPEGs, the features [N, tokens, dimensions], tokens in reading order; one token where they are pooled."""
        ...


class Level(Enum):
    """How a keyframe is given to the language model."""

    FULL = "full"
    """With all its tokens."""
    POOLED = "pooled"
    """With a part of them, each the mean of its neighbours."""
    DROPPED = "dropped"
    """Not at all: an earlier one of the scene shows the same."""


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Cosines, -1 to 1, of two keyframes' features; the mean over the tokens."""

    same: float = 0.95
    """From here on the later of two is a duplicate."""
    alike: float = 0.8
    """From here on, to the keyframe before or after it, less detail is enough. LongVU drops frames at 0.83 of DINOv2's."""

    def __post_init__(self) -> None:
        if not -1 <= self.alike <= self.same <= 1:
            raise ValueError(f"thresholds must be cosines, and alike at most same, not {self.alike} and {self.same}")


@dataclass(frozen=True)
class Detail:
    """What a second look decided about a scene's keyframes."""

    levels: tuple[Level, ...]
    """One a keyframe, in their order."""
    tokens: int
    """What is given to the language model."""
    tokens_of_all: int
    """What would have been without a second look."""

    @property
    def saved(self) -> float:
        """The share of tokens that is saved, 0 to 1."""
        return 1 - self.tokens / self.tokens_of_all if self.tokens_of_all else 0.0


def second_look(
    features: NDArray[np.float32],
    *,
    needed: Collection[int] = (),
    tokens_full: int,
    tokens_pooled: int,
    budget: int | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Detail:
    """Decide about one scene's N keyframes by their features [N, tokens, dimensions], or [N, dimensions].

    The first keyframe and those that are `needed`, such as those with new writing, are kept with all their tokens. Of the
    others one that shows what the last kept one showed is dropped; one like a neighbour among those kept is pooled. With a
    `budget` of tokens, those that differ the least from a neighbour are pooled first, and dropped first when that is not
    enough, the first keyframe never. Raises `ValueError` for shapes, counts or numbers that make no sense.
    """
    if features.ndim not in (2, 3) or 0 in features.shape[1:]:
        raise ValueError(f"features [N, tokens, dimensions] or [N, dimensions] are needed, not {features.shape}")
    count = len(features)
    if not 0 < tokens_pooled <= tokens_full:
        raise ValueError(f"a pooled keyframe has at least one token and at most those of a full one, not {tokens_pooled} of {tokens_full}")
    if any(not 0 <= index < count for index in needed):
        raise ValueError(f"of {count} keyframes there is no {max(needed)}")
    if not count:
        return Detail((), 0, 0)
    unit = _unit(features)
    always = {0, *needed}
    kept: list[int] = []
    for index in range(count):
        if index in always or _likeness(unit[kept[-1]], unit[index]) < thresholds.same:
            kept.append(index)
    likeness = _to_neighbours(unit, kept)
    levels = [Level.DROPPED] * count
    for index in kept:
        levels[index] = Level.POOLED if index not in always and likeness[index] >= thresholds.alike else Level.FULL
    if budget is not None:
        _meet(budget, levels, likeness, always, tokens_full, tokens_pooled)
    return Detail(tuple(levels), _tokens(levels, tokens_full, tokens_pooled), count * tokens_full)


def _meet(budget: int, levels: list[Level], likeness: dict[int, float], always: set[int], full: int, pooled: int) -> None:
    """Lower levels, of what differs least first, until the budget is met; what is needed comes last, the first keyframe stays."""
    order = sorted((index for index in likeness if index), key=lambda index: (index in always, -likeness[index]))
    for lowered in (Level.POOLED, Level.DROPPED):
        for index in [*order, 0] if lowered is Level.POOLED else order:
            if _tokens(levels, full, pooled) <= budget:
                return
            if levels[index] is not Level.DROPPED:
                levels[index] = lowered


def _tokens(levels: Sequence[Level], full: int, pooled: int) -> int:
    return full * levels.count(Level.FULL) + pooled * levels.count(Level.POOLED)


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Every token's features with length 1."""
    tokens = features.reshape(len(features), -1, features.shape[-1]).astype(np.float32)
    lengths = np.linalg.norm(tokens, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = tokens / np.maximum(lengths, np.float32(1e-6))
    return unit


def _likeness(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Mean cosine of the tokens in the same place."""
    return float(np.einsum("td,td->t", before, after).mean())


def _to_neighbours(unit: NDArray[np.float32], kept: Sequence[int]) -> dict[int, float]:
    """How like each kept keyframe is to the more alike of its neighbours."""
    pairs = [_likeness(unit[before], unit[after]) for before, after in pairwise(kept)]
    return {index: max([*pairs[max(at - 1, 0) : at], *pairs[at : at + 1]], default=-1.0) for at, index in enumerate(kept)}
