"""Makes an adapter from preferences: of two answers to one question, the one that people chose.

    watchword review export --out preferences.jsonl       # what reviewers decided
    python -m train.preference BASE preferences.jsonl OUT

A line is `{"prompt": …, "chosen": …, "rejected": …}` with what `train.examples` says of pictures; `watchword review export` writes
such lines, and
so does `python -m train.corrections`, of descriptions that were put right. Learned is by direct preference optimisation (Rafailov et al.,
2023): the adapter is to make the chosen answer likelier against the rejected one than the base does, which is the same network with the
adapter off. With `--reference-free` the base is left out and the mean over the tokens counts (SimPO, Meng et al., 2024). `--anchor` adds a
share of plain learning of the chosen answer, so that it does not become unlikely together with the other.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from pipeline.caption.style import QUESTION
from pipeline.errors import WatchwordError
from train.examples import BadLines, Example, read
from train.finetune import MOST_DESCRIBED, add_options, base_of, course_of, judged, shape_of, write_report
from train.learner import Learner, Shape
from train.lesson import Course, learn, split


@dataclass(frozen=True)
class Preferring:
    """How strongly preferences count."""

    beta: float = 0.1
    """How far the adapter may go from the base: less is farther. Reference-free, 2 is usual."""
    reference_free: bool = False
    margin: float = 0.5
    """Reference-free: by how much the chosen answer is to be likelier."""
    anchor: float = 0.2
    """Share of plain learning of the chosen answer."""
    smoothing: float = 0.0
    """The share of decisions that may be mistaken (Mitchell, 2023)."""


class Preference:
    """The loss of pairs; what the base thinks of each is computed once."""

    def __init__(self, how: Preferring) -> None:
        self._how = how
        self._base: dict[Example, tuple[float, float]] = {}

    def __call__(self, learner: Learner, batch: Sequence[Example]) -> tuple[torch.Tensor, dict[str, float]]:
        """See `train.lesson.LossOf`; notes for which share the chosen answer is preferred, and for which it is the likelier one."""
        chosen, rejected = (learner.says(batch, [getattr(each, name) for each in batch]) for name in ("right", "worse"))
        right, worse = (torch.stack([each.sum() for each in said]) for said in (chosen, rejected))
        if self._how.reference_free:
            mean_right, mean_worse = (torch.stack([each.mean() for each in said]) for said in (chosen, rejected))
            margins = self._how.beta * (mean_right - mean_worse) - self._how.margin
        else:
            known = torch.tensor(self._of_base(learner, batch), device=right.device)
            margins = self._how.beta * ((right - known[:, 0]) - (worse - known[:, 1]))
        smooth = self._how.smoothing
        loss = -(1 - smooth) * functional.logsigmoid(margins).mean() - smooth * functional.logsigmoid(-margins).mean()
        loss = loss - self._how.anchor * torch.stack([each.mean() for each in chosen]).mean()
        shares = {"preferred": margins > 0, "likelier": right > worse}
        return loss, {name: float(each.float().mean()) for name, each in shares.items()}

    def _of_base(self, learner: Learner, batch: Sequence[Example]) -> list[tuple[float, float]]:
        missing = [each for each in batch if each not in self._base]
        if missing:
            chosen, rejected = (learner.says(missing, [getattr(each, name) for each in missing], on=False) for name in ("right", "worse"))
            for each, one, other in zip(missing, chosen, rejected, strict=True):
                self._base[each] = float(one.sum()), float(other.sum())
        return [self._base[each] for each in batch]


def prefer(
    base: Path,
    pairs: Path,
    out: Path,
    *,
    how: Preferring,
    shape: Shape,
    course: Course,
    guard: Path | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Make an adapter and tell how it went; raises as `train.finetune.finetune`."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="watchword-preference-") as kept:
        found = read(pairs, Path(kept) / "pairs", pairs=True, skip_bad=skip_bad)
        guarded = read(guard, Path(kept) / "guard", skip_bad=skip_bad).good[:MOST_DESCRIBED] if guard else []
        examples, held = split(found.good, course)
        learner = Learner(base, shape, seed=course.seed)
        lesson = learn(learner, examples, held, Preference(how), course, say=lambda line: print(json.dumps(line), flush=True))
        made = {"made_by": "train.preference", "clips": len(examples), "epoch": lesson.best}
        learner.save(out, made)
        del learner
        # Whoever was asked something else than to describe the scene cannot be compared by descriptions.
        described = [each for each in held if each.asked == QUESTION][:MOST_DESCRIBED]
        report = {
            **made, "base": base.name, "held_out": len(held), "left_out": found.bad, "lesson": asdict(lesson), "shape": asdict(shape),
            "course": asdict(course), "preferring": asdict(how), **judged(base, out, described, guarded),
        }  # fmt: skip
    return write_report(report, out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says; ends with 1 where something is wrong with what is given."""
    parser = argparse.ArgumentParser(prog="python -m train.preference", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--guard", type=Path, help="JSONL of clips with right texts that should stay as they are")
    parser.add_argument("--beta", type=float, help="0.1, and 2 with --reference-free, if not given")
    parser.add_argument("--reference-free", action="store_true")
    parser.add_argument("--anchor", type=float, default=Preferring.anchor)
    parser.add_argument("--smoothing", type=float, default=Preferring.smoothing)
    add_options(parser)
    options = parser.parse_args(arguments)
    beta = options.beta or (2.0 if options.reference_free else Preferring.beta)
    how = Preferring(beta, options.reference_free, anchor=options.anchor, smoothing=options.smoothing)
    try:
        report = prefer(
            base_of(options.base), options.pairs, options.out, how=how, shape=shape_of(options), course=course_of(options),
            guard=options.guard, skip_bad=options.skip_bad,
        )  # fmt: skip
    except (BadLines, WatchwordError, ValueError, ArithmeticError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    print(report["text"])


if __name__ == "__main__":
    main()
