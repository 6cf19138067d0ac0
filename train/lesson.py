"""Learning from examples until what was held out gets no better: the loop that fine-tuning and preferences share."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from train.examples import Example
from train.learner import Learner, Teacher

LossOf = Callable[[Learner, Sequence[Example]], tuple[torch.Tensor, dict[str, float]]]
"""The loss of a batch, as a mean over its examples, and what else is worth a note."""


@dataclass(frozen=True)
class Course:
    """How an adapter is taught."""

    epochs: int = 12
    """How often each example is shown at most."""
    batch: int = 16
    rate: float = 2e-3
    patience: int = 3
    """After so many epochs without a better loss on what is held out it ends."""
    held_out: float = 0.15
    """The share of the examples that is never learned from."""
    seed: int = 1


@dataclass
class Lesson:
    """How it went."""

    losses: list[dict[str, float]] = field(default_factory=list)
    """Of each epoch from 0, before anything was learned: `epoch`, `train` (not of 0), `held out`, `seconds`, and what the loss notes."""
    best: int = 0
    """The epoch whose weights were kept."""
    stopped: str = ""
    """Why it ended."""
    steps: int = 0


def split(examples: Sequence[Example], course: Course) -> tuple[list[Example], list[Example]]:
    """What is learned from, and what is held out: at least one of each. Raises `ValueError` where there are not two examples."""
    if len(examples) < 2:
        raise ValueError("at least two examples are needed: one to learn from, and one to see whether it helped")
    order = np.random.default_rng(course.seed).permutation(len(examples))
    held = min(len(examples) - 1, max(1, round(course.held_out * len(examples))))
    return [examples[index] for index in order[held:]], [examples[index] for index in order[:held]]


def learn(
    learner: Learner,
    examples: Sequence[Example],
    held: Sequence[Example],
    loss_of: LossOf,
    course: Course,
    *,
    say: Callable[[dict[str, float]], Any] = print,
) -> Lesson:
    """Teach the learner; it ends with the weights that were best on what is held out."""
    teacher = Teacher(learner.parameters, rate=course.rate, steps=course.epochs * math.ceil(len(examples) / course.batch))
    began, lesson = time.monotonic(), Lesson()
    lowest, best = _note(learner, lesson, held, loss_of, course, began, {}, say), learner.state()
    rng = np.random.default_rng(course.seed)
    for epoch in range(1, course.epochs + 1):
        order, total = rng.permutation(len(examples)), 0.0
        for start in range(0, len(order), course.batch):
            batch = [examples[index] for index in order[start : start + course.batch]]
            loss, _ = loss_of(learner, batch)
            teacher.step(loss)
            total += loss.item() * len(batch)
        found = _note(learner, lesson, held, loss_of, course, began, {"train": round(total / len(examples), 4)}, say)
        if found < lowest:
            lowest, best, lesson.best = found, learner.state(), epoch
        elif epoch - lesson.best >= course.patience:
            lesson.stopped = f"what is held out got no better for {course.patience} epochs"
            break
    lesson.stopped = lesson.stopped or f"all {course.epochs} epochs were taken"
    lesson.steps = teacher.taken
    learner.restore(best)
    return lesson


def _note(
    learner: Learner,
    lesson: Lesson,
    held: Sequence[Example],
    loss_of: LossOf,
    course: Course,
    began: float,
    trained: dict[str, float],
    say: Callable[[dict[str, float]], Any],
) -> float:
    """The loss on what is held out, noted."""
    total: dict[str, float] = {}
    with torch.no_grad():
        for start in range(0, len(held), course.batch):
            batch = held[start : start + course.batch]
            loss, noted = loss_of(learner, batch)
            for name, value in {"held out": loss.item(), **noted}.items():
                total[name] = total.get(name, 0.0) + value * len(batch) / len(held)
    line = {"epoch": len(lesson.losses), **trained, **{name: round(value, 4) for name, value in total.items()}}
    lesson.losses.append(line | {"seconds": round(time.monotonic() - began, 1)})
    say(lesson.losses[-1])
    return total["held out"]
