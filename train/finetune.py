"""Makes an adapter from clips and the texts that are right of them.

    python -m train.finetune BASE CLIPS.jsonl OUT
    python -m train.finetune BASE CLIPS.jsonl OUT --guard OTHERS.jsonl

BASE is a checkpoint directory or a model of the catalog; a line of the JSONL is what `train.examples` says. A part is held out: learning
ends when its loss gets no better, and its clips are described before and after by the captioner itself. The clips of `--guard` are ones
that the base describes well; the report says how often the adapter, when it is on, spoils them, and that nothing changes when it is off.
OUT gets the adapter, `report.json`, `report.md` and `loss.svg`.
"""

import argparse
import asyncio
import json
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from pipeline.caption.model import Description
from pipeline.caption.style import Style
from pipeline.caption.vlm.thinning import Thinning, read_thinning
from pipeline.errors import WatchwordError
from train.curve import curves
from train.examples import BadLines, Example, read
from train.learner import Learner, Shape
from train.lesson import Course, learn, split

MOST_DESCRIBED = 200
"""Clips that are described before and after, of those held out and of those guarded."""
WHOLE_NAME = "adapter"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says; ends with 1 where something is wrong with what is given."""
    parser = argparse.ArgumentParser(prog="python -m train.finetune", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("base")
    parser.add_argument("clips", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--guard", type=Path, help="JSONL of clips that should stay as they are")
    parser.add_argument("--thin", metavar="WAY:COSINE", default="", help="show scenes as WATCHWORD_CAPTION_THIN does, such as plain:0.98")
    add_options(parser)
    options = parser.parse_args(arguments)
    try:
        report = finetune(
            base_of(options.base), options.clips, options.out, guard=options.guard,
            shape=shape_of(options), course=course_of(options), thinning=thinning_of(options), skip_bad=options.skip_bad,
        )  # fmt: skip
    except (BadLines, WatchwordError, ValueError, ArithmeticError, OSError) as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None
    print(report["text"])


def finetune(
    base: Path,
    clips: Path,
    out: Path,
    *,
    guard: Path | None = None,
    shape: Shape,
    course: Course,
    thinning: Thinning | None = None,
    skip_bad: bool = False,
) -> dict[str, Any]:
    """Make an adapter and tell how it went. Raises `BadLines`, `ValueError`, `ArithmeticError`, and what opening the base raises."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="watchword-finetune-") as kept:
        found = read(clips, Path(kept) / "clips", skip_bad=skip_bad)
        guarded = read(guard, Path(kept) / "guard", skip_bad=skip_bad).good[:MOST_DESCRIBED] if guard else []
        examples, held = split(found.good, course)
        learner = Learner(base, shape, thinning=thinning, seed=course.seed)
        lesson = learn(learner, examples, held, said_wrong, course, say=lambda line: print(json.dumps(line), flush=True))
        made = {"made_by": "train.finetune", "clips": len(examples), "epoch": lesson.best}
        learner.save(out, made)
        del learner
        report = {
            **made, "base": base.name, "held_out": len(held), "left_out": found.bad, "lesson": asdict(lesson), "shape": asdict(shape),
            "course": asdict(course), "thinning": asdict(thinning or Thinning()), **judged(base, out, held[:MOST_DESCRIBED], guarded),
        }  # fmt: skip
    return write_report(report, out)


def said_wrong(learner: Learner, batch: Sequence[Example]) -> tuple[torch.Tensor, dict[str, float]]:
    """How unlikely the right texts are: the mean over the examples of the mean over each text's tokens, in nats."""
    return -torch.stack([each.mean() for each in learner.says(batch, [example.right for example in batch])]).mean(), {}


@dataclass(frozen=True)
class _Score:
    """How near texts are to the right ones."""

    clips: int
    exact: float
    words: float
    """Mean F1 of the words."""


def judged(base: Path, adapter: Path, held: Sequence[Example], guarded: Sequence[Example]) -> dict[str, Any]:
    """What the captioner says of clips without the adapter anywhere, with it off, and with it on."""
    from pipeline.caption.vlm import load_vlm

    seen, kept = ([each for each in examples if each.pictures] for examples in (held, guarded))
    bare = _descriptions(load_vlm(base), [*seen, *kept], "")
    beside = load_vlm(base, adapters={WHOLE_NAME: adapter})
    off, on = _descriptions(beside, [*seen, *kept], ""), _descriptions(beside, [*seen, *kept], WHOLE_NAME)
    before, after = ([each.text for each in texts] for texts in (bare, on))
    told: dict[str, Any] = {
        "before": asdict(_scored(seen, before[: len(seen)])),
        "after": asdict(_scored(seen, after[: len(seen)])),
        "off": {"clips": len(off), "changed": sum(one != other for one, other in zip(bare, off, strict=True))},
    }
    if kept:
        was, now = ([text == example.right for text, example in zip(texts[len(seen) :], kept, strict=True)] for texts in (before, after))
        right, spoilt = sum(was), sum(one and not other for one, other in zip(was, now, strict=True))
        told["guard"] = {
            "clips": len(kept), "right_before": right, "right_after": sum(now), "spoilt": spoilt, "chance": wilson(spoilt, right),
            "changed": sum(one != other for one, other in zip(before[len(seen) :], after[len(seen) :], strict=True)),
        }  # fmt: skip
    return told


def _descriptions(captioner: Any, examples: Sequence[Example], adapter: str) -> list[Description]:
    async def everything() -> list[Description]:
        return [await captioner.describe(each.view(Style(adapter=adapter))) for each in examples]

    try:
        return asyncio.run(everything())
    finally:
        captioner.worker.features.clear()


def _scored(examples: Sequence[Example], said: Sequence[str]) -> _Score:
    exact = [text.strip() == each.right.strip() for each, text in zip(examples, said, strict=True)]
    words = [_f1(each.right, text) for each, text in zip(examples, said, strict=True)]
    count = max(1, len(examples))
    return _Score(len(examples), round(sum(exact) / count, 4), round(sum(words) / count, 4))


def _f1(right: str, said: str) -> float:
    one, other = (Counter(text.lower().split()) for text in (right, said))
    return 2 * (one & other).total() / max(1, one.total() + other.total())


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Between which shares the true one lies with 95 % confidence (Wilson, 1927), where `count` of `of` were seen."""
    if not of:
        return 0.0, 1.0
    share, extra = count / of, z * z / of
    middle, half = share + extra / 2, z * math.sqrt(share * (1 - share) / of + extra / (4 * of))
    return round(max(0.0, (middle - half) / (1 + extra)), 4), round(min(1.0, (middle + half) / (1 + extra)), 4)


def write_report(report: dict[str, Any], out: Path) -> dict[str, Any]:
    """Write what was found as JSON, in words, and its losses as a picture; returns it with the words as `text`."""
    losses = report["lesson"]["losses"]
    series = {
        name: [(line["epoch"], line[key]) for line in losses if key in line]
        for name, key in (("learned", "train"), ("held out", "held out"))
    }
    (out / "loss.svg").write_text(curves(series, across="epoch", up="loss"), "utf-8")
    (out / "report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", "utf-8")
    text = in_words(report)
    (out / "report.md").write_text(text, "utf-8")
    return report | {"text": text}


def in_words(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    lesson, off, before, after = report["lesson"], report["off"], report["before"], report["after"]
    lines = [
        f"# An adapter for {report['base']}\n",
        f"Made by `{report['made_by']}` from {report['clips']} examples; {report['held_out']} more were held out, and",
        f"{len(report['left_out'])} lines left out. The weights of epoch {lesson['best']} were kept; it ended after {lesson['steps']}",
        f"steps because {lesson['stopped']}.\n",
        *_table(lesson["losses"]),
        "\n![Losses by epoch](loss.svg)\n",
        "| held-out clips, described by the captioner | without | with the adapter |",
        "| --- | ---: | ---: |",
        f"| right to the word, of {before['clips']} | {before['exact']:.3f} | {after['exact']:.3f} |",
        f"| words in common (F1) | {before['words']:.3f} | {after['words']:.3f} |\n",
        f"With the adapter beside it but off, {off['changed']} of {off['clips']} descriptions differed from the base's.",
        _harm(report["guard"])
        if "guard" in report
        else "What it does to other clips when it is on was not measured: no --guard was given.",
    ]
    return "\n".join(lines) + "\n"


def _table(losses: Sequence[Mapping[str, float]]) -> list[str]:
    names = [name for name in losses[-1] if name != "seconds"]
    rows = [[str(line.get(name, "–")) for name in names] for line in losses]
    return [f"| {' | '.join(row)} |" for row in [names, ["---:"] * len(names), *rows]]


def _harm(guard: Mapping[str, Any]) -> str:
    low, high = guard["chance"]
    return (
        f"With it on, {guard['changed']} of {guard['clips']} guarded clips are described otherwise; {guard['right_before']} were right "
        f"before and {guard['right_after']} after.\nOf those that were right it spoils {guard['spoilt']}: "
        f"{100 * low:.1f} to {100 * high:.1f} % with 95 % confidence."
    )


def base_of(named: str) -> Path:
    """The checkpoint directory, or where the catalog's model of that name lies."""
    from pipeline.models import load_catalog, locate

    return locate(named) if not Path(named).exists() and named in load_catalog() else Path(named)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every command that makes an adapter has."""
    parser.add_argument("--rank", type=int, default=Shape.rank)
    parser.add_argument("--vision", action="store_true", help="let it change how pictures are encoded, too; slower")
    parser.add_argument("--epochs", type=int, default=Course.epochs)
    parser.add_argument("--batch", type=int, default=Course.batch)
    parser.add_argument("--rate", type=float, default=Course.rate, help="learning rate; for a large model 2e-4 is usual")
    parser.add_argument("--patience", type=int, default=Course.patience, help="epochs without a better held-out loss before it ends")
    parser.add_argument("--held-out", type=float, default=Course.held_out, help="share of the examples")
    parser.add_argument("--seed", type=int, default=Course.seed)
    parser.add_argument("--skip-bad", action="store_true", help="leave out lines that cannot be used, rather than end")


def thinning_of(options: argparse.Namespace) -> Thinning | None:
    """What the options say of tokens that are not shown; raises `ValueError`."""
    return read_thinning(options.thin) if options.thin else None


def shape_of(options: argparse.Namespace) -> Shape:
    """What the options say of the adapter."""
    return Shape(rank=options.rank, vision=options.vision)


def course_of(options: argparse.Namespace) -> Course:
    """What the options say of the teaching."""
    return Course(options.epochs, options.batch, options.rate, options.patience, options.held_out, options.seed)


if __name__ == "__main__":
    main()
