"""Fit the weights of `support` to a set of questions, and say how well an answerer does with them.

    python -m pipeline.qa.calibrate tests/pipeline/questions.json

The set is a list of talks: moments (kind, start and end in seconds, text) and questions, each with what its evidence
contains or `null` where the talk does not answer it. Weights and rules are made with the part "fit"; "fresh" was
written after the rules and is never fitted to.
"""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import EVERYTHING, Kind, Moment, SceneStore
from pipeline.qa.evidence import Finder, Judged
from pipeline.qa.model import Embedder, load
from pipeline.qa.question import read
from pipeline.qa.support import BIAS, SUPPORTED, WEIGHTS, Signs
from pipeline.timeline import MediaTime

Weights = npt.NDArray[np.float64]
"""One weight for each sign, then the bias."""

RIDGE = 1.0
"""Strength of the quadratic penalty that keeps the weights small, since the set is small."""
STEPS = 50
THRESHOLDS = np.arange(0.1, 0.9, 0.02)


@dataclass(frozen=True)
class Asked:
    """A question of the set and what was found for it."""

    talk: str
    part: str
    """Which part of the set the talk is in: "fit" or "fresh"."""
    question: str
    evidence: tuple[str, ...]
    """What a right quote contains, any of these; empty where nothing answers."""
    found: tuple[Judged, ...]

    def right(self, judged: Judged) -> bool:
        """Whether this moment answers the question."""
        return any(part in judged.moment.text for part in self.evidence)


@dataclass(frozen=True)
class Result:
    """How an answerer does on a set of questions."""

    answerable: int
    unanswerable: int
    answered: int
    """Answerable questions that were answered, with whatever evidence."""
    answered_right: int
    """Those of them whose first quote is right."""
    invented: int
    """Unanswerable questions that were answered."""

    @property
    def precision(self) -> float:
        """How many of the questions said to be supported are."""
        return self.answered / max(self.answered + self.invented, 1)

    @property
    def recall(self) -> float:
        """How many of the questions that are supported are said to be."""
        return self.answered / max(self.answerable, 1)

    def __str__(self) -> str:
        return (
            f"supported: precision {self.precision:.3f}, recall {self.recall:.3f}; "
            f"of {self.answerable} answerable questions {self.answered} answered, {self.answered_right} with the right quote first; "
            f"of {self.unanswerable} unanswerable {self.invented} answered"
        )


async def ask_all(talks: Sequence[dict[str, Any]], store: SceneStore, embedder: Embedder) -> list[Asked]:
    """Store the talks, each as a stream of its name, and look for evidence for all their questions."""
    finder = Finder(store, embedder)
    asked: list[Asked] = []
    for talk in talks:
        moments = [
            Moment(talk["name"], f"item-{kind}-{start}", Kind(kind), number, text, MediaTime.of(start), MediaTime.of(end), "written")
            for number, (kind, start, end, text) in enumerate(talk["moments"])
        ]
        for source in dict.fromkeys(moment.source_id for moment in moments):
            own = [moment for moment in moments if moment.source_id == source]
            await store.put(talk["name"], source, own, await embedder.embed([moment.text for moment in own]))
        for each in talk["questions"]:
            found = await finder.find(talk["name"], read(each["question"]), EVERYTHING)
            asked.append(Asked(talk["name"], talk["part"], each["question"], tuple(each["evidence"] or ()), tuple(found)))
    return asked


def measure(asked: Sequence[Asked], weights: Weights | None = None, threshold: float = SUPPORTED) -> Result:
    """How an answerer with these weights does; `None` takes those of `support`."""
    weights = np.array([*astuple(WEIGHTS), BIAS]) if weights is None else weights
    answered = right = invented = 0
    for each in asked:
        best = max(each.found, key=lambda judged: _score(judged, weights), default=None)
        supported = best is not None and _score(best, weights) >= threshold
        answered += supported and bool(each.evidence)
        invented += supported and not each.evidence
        right += best is not None and supported and each.right(best)
    answerable = sum(bool(each.evidence) for each in asked)
    return Result(answerable, len(asked) - answerable, answered, right, invented)


def fit(asked: Sequence[Asked]) -> Weights:
    """Logistic regression of "is right" on the signs of all moments found, by Newton's method."""
    rows = [(judged, each.right(judged)) for each in asked for judged in each.found]
    signs = np.array([_signs(judged) for judged, _ in rows])
    right = np.array([is_right for _, is_right in rows], float)
    weights = np.zeros(signs.shape[1])
    penalty = np.diag([*[RIDGE] * (len(weights) - 1), 1e-6])
    for _ in range(STEPS):
        likely = 1 / (1 + np.exp(-signs @ weights))
        gradient = signs.T @ (likely - right) + penalty @ weights
        weights -= np.linalg.solve((signs.T * (likely * (1 - likely))) @ signs + penalty, gradient)
    return weights


def choose_threshold(asked: Sequence[Asked]) -> float:
    """The threshold that is right most often for talks that the weights were not fitted to, each left out in turn."""
    talks = sorted({each.talk for each in asked})
    fitted = {talk: fit([each for each in asked if each.talk != talk]) for talk in talks}

    def correct(threshold: float) -> int:
        results = [measure([each for each in asked if each.talk == talk], fitted[talk], threshold) for talk in talks]
        return sum(result.answered_right + result.unanswerable - result.invented for result in results)

    return float(max(THRESHOLDS, key=lambda threshold: (correct(threshold), threshold)))


def _signs(judged: Judged) -> list[float]:
    return [*astuple(judged.signs), 1.0]


def _score(judged: Judged, weights: Weights) -> float:
    return float(1 / (1 + np.exp(-np.array(_signs(judged)) @ weights)))


async def _main(talks: Sequence[dict[str, Any]]) -> None:
    store, embedder = SqliteStore(), load()
    asked = await ask_all(talks, store, embedder)
    await store.close()
    await embedder.close()
    fitting = [each for each in asked if each.part == "fit"]
    weights, threshold = fit(fitting), choose_threshold(fitting)
    weights[-1] -= np.log(threshold / (1 - threshold))
    for name, weight in zip([*(field.name for field in fields(Signs)), "bias"], weights, strict=True):
        print(f"{name:9} {weight:6.2f}")
    for name, chosen in (("fitted", weights), ("in use", None)):
        for part in ("fit", "fresh"):
            print(f"{name}, {part:5} {measure([each for each in asked if each.part == part], chosen)}")


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
