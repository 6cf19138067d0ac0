"""What a training run depends on, and the batches that follow from it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Dataset

from train.batches import Batch, Clock, make_batch
from train.scenes import FRAMES, draw_scene

SHARES = (0.3, 0.25, 0.2, 0.15, 0.1)
"""How many of the batches have so many frames as `FRAMES` says; long clips teach no more and cost more."""
AHEAD = 8
"""Batches that each worker may have made before they are wanted."""


@dataclass(frozen=True)
class Recipe:
    """All that a training run depends on, besides the machine."""

    steps: int = 2500
    batch: int = 16
    seed: int = 1
    clock: Clock = "time"
    rate: float = 2e-3
    """Learning rate of the matrices, at its highest."""
    small_rate: float = 1.5e-3
    """Learning rate of embeddings, biases and norms, at its highest."""
    warmup: int = 100
    decay: int = 800
    """Over these last steps the learning rate falls to nothing; before, it stays."""
    simple: int = 250
    """In these first steps, clips show one thing alone, in four frames."""
    heads: float = 0.5
    """Weight of the heads' losses; it falls with the learning rate to a fifth."""


def batch_of(step: int, tokenizer: Any, recipe: Recipe) -> Batch:
    """The batch of a step; it depends on nothing but the step and the recipe."""
    rng = np.random.default_rng((recipe.seed, step))
    simple = step < recipe.simple
    frames = FRAMES[0] if simple else int(rng.choice(FRAMES, p=SHARES))
    kinds = [str(rng.choice(["move", "still"])) if simple else None for _ in range(recipe.batch)]
    return make_batch(tokenizer, [draw_scene(rng, frames=frames, kind=kind) for kind in kinds], rng, recipe.clock)


def batches(recipe: Recipe, tokenizer: Any, *, first: int = 0, workers: int = 0) -> Iterable[Batch]:
    """A recipe's batches from a step on, made ahead by so many processes, or one after another where there are none; they are the same."""
    steps, made = range(first, recipe.steps), _Made(recipe, tokenizer)
    return (
        DataLoader(made, batch_size=None, sampler=steps, num_workers=workers, prefetch_factor=AHEAD)
        if workers
        else map(made.__getitem__, steps)
    )


class _Made(Dataset[Batch]):
    """Batches by their steps."""

    def __init__(self, recipe: Recipe, tokenizer: Any) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer

    def __getitem__(self, step: int) -> Batch:
        return batch_of(step, self._tokenizer, self._recipe)
