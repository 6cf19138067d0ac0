"""Fit the weights of `pipeline.qa.support` to a question set, and say how well an answerer does with them.

    python -m bench.qa.calibrate tests/pipeline/questions.jsonl bench/qa/spoken.jsonl
    python -m bench.qa.calibrate tests/pipeline/questions.jsonl bench/qa/spoken.jsonl --reranker

The second fits the weights that count where the catalog's reranker has scored what was found, `RERANKING`, the first `COMPARING`.
Only written media of the sets count, since their moments are known. Weights and rules are made with the parts "fit", "fresh"
and "dev"; "held-out" and "test" are never fitted to, and "test" is not even shown unless it is named: `--judge`.
"""

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.evaluation.marking import holds, overlaps
from pipeline.evaluation.questions import Question, QuestionSet, load
from pipeline.evaluation.written import events
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import EVERYTHING, SceneStore
from pipeline.qa import model, reranker
from pipeline.qa.evidence import Finder, Judged
from pipeline.qa.model import Embedder
from pipeline.qa.question import read
from pipeline.qa.reranker import Reranker
from pipeline.qa.support import COMPARING, RERANKING, SUPPORTED, Signs, Weighing

Weights = npt.NDArray[np.float64]
"""One weight for each sign, then the bias."""

RIDGE = 1.0
"""Strength of the quadratic penalty that keeps the weights small, since the set is small."""
STEPS = 50
THRESHOLDS = np.arange(0.1, 0.9, 0.02)
ABSTAINED = 0.9
"""At least this part of the unanswerable questions is to stay unanswered."""
HELD_OUT = ("held-out", "test")


@dataclass(frozen=True)
class Asked:
    """A question of the set and what was found for it."""

    question: Question
    found: tuple[Judged, ...]

    def right(self, judged: Judged) -> bool:
        """Whether this moment answers the question."""
        stands = overlaps(judged.moment.start.seconds, judged.moment.end.seconds, self.question.times)
        return self.question.answerable and stands and holds(judged.moment.text, self.question.accepted)


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


async def ask_all(questions: QuestionSet, store: SceneStore, embedder: Embedder, reads: Reranker | None = None) -> list[Asked]:
    """Store the written media, each as a stream of its name, and look for evidence for all questions about them.

    With a reranker only what it has scored counts.
    """
    finder = Finder(store, embedder, reranker=reads)
    asked: list[Asked] = []
    for medium in questions.media.values():
        if medium.path is not None:
            continue
        stage = Index(medium.name, store, embedder)
        for event in events(medium, medium.name):
            async for _ in stage.process(event):
                pass
        async for _ in stage.flush():
            pass
        own = [question for question in questions.questions if question.medium == medium.name]
        for question in own:
            found = await finder.find([medium.name], read(question.text), EVERYTHING)
            asked.append(Asked(question, tuple(each for each in found if each.signs.reranked or reads is None)))
    return asked


def measure(asked: Sequence[Asked], weights: Weights, threshold: float = SUPPORTED) -> Result:
    """How an answerer with these weights does."""
    answered = right = invented = 0
    for each in asked:
        best = max(each.found, key=lambda judged: _score(judged, weights), default=None)
        supported = best is not None and _score(best, weights) >= threshold
        answered += supported and each.question.answerable
        invented += supported and not each.question.answerable
        right += best is not None and supported and each.right(best)
    answerable = sum(each.question.answerable for each in asked)
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
    """The threshold that is right most often among those that abstain often enough, each medium left out of the fit in turn."""
    media = sorted({each.question.medium for each in asked})
    fitted = {medium: fit([each for each in asked if each.question.medium != medium]) for medium in media}

    def correct(threshold: float) -> tuple[bool, int]:
        results = [measure([each for each in asked if each.question.medium == medium], fitted[medium], threshold) for medium in media]
        invented, unanswerable = sum(result.invented for result in results), sum(result.unanswerable for result in results)
        return invented <= (1 - ABSTAINED) * unanswerable, sum(result.answered_right for result in results)

    return float(max(THRESHOLDS, key=lambda threshold: (*correct(threshold), threshold)))


def _signs(judged: Judged) -> list[float]:
    return [*astuple(judged.signs), 1.0]


def _score(judged: Judged, weights: Weights) -> float:
    return float(1 / (1 + np.exp(-np.array(_signs(judged)) @ weights)))


def array(weighing: Weighing) -> Weights:
    """The weights in one row, the bias last."""
    return np.array([*astuple(weighing.weights), weighing.bias])


async def _main(sets: Sequence[QuestionSet], *, judge: bool, reranking: bool) -> None:
    embedder, reads = model.load(), reranker.load() if reranking else None
    asked: list[Asked] = []
    for questions in sets:
        store = SqliteStore()
        asked += await ask_all(questions, store, embedder, reads)
        await store.close()
    await embedder.close()
    if reads is not None:
        await reads.close()
    fitting = [each for each in asked if each.question.part not in HELD_OUT]
    weights, threshold = fit(fitting), choose_threshold(fitting)
    weights[-1] -= np.log(threshold / (1 - threshold))
    for name, weight in zip([*(field.name for field in fields(Signs)), "bias"], weights, strict=True):
        print(f"{name:9} {weight:6.2f}")
    parts = [part for part in dict.fromkeys(each.question.part for each in asked) if judge or part != HELD_OUT[1]]
    for name, chosen in (("fitted", weights), ("in use", array(RERANKING if reranking else COMPARING))):
        for part in parts:
            print(f"{name}, {part:8} {measure([each for each in asked if each.question.part == part], chosen)}")


if __name__ == "__main__":
    paths = [path for path in sys.argv[1:] if not path.startswith("--")]
    asyncio.run(_main([load(Path(path)) for path in paths], judge="--judge" in sys.argv, reranking="--reranker" in sys.argv))
