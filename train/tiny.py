"""Trains Watchword-Tiny, measures it, and puts what was measured into a table and bars: `python -m train.tiny train|measure|report`."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from train.batches import Clock
from train.evaluate import held_out, score, tally, view
from train.recipe import Recipe
from train.report import Tally, bars, table
from train.scenes import Scene

CLOCKS: tuple[Clock, ...] = ("time", "index", "zero")
TOGETHER = 16
"""Clips that wait for the captioner at a time; it describes as many of them in a batch as it does of streams."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m train.tiny", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train from random weights and write a checkpoint directory")
    train.add_argument("directory", type=Path)
    train.add_argument("--steps", type=int, default=Recipe.steps)
    train.add_argument("--decay", type=int, default=Recipe.decay, help="over how many last steps the learning rate falls to nothing")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--clock", choices=CLOCKS, default="time", help="where temporal positions come from")
    train.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: cuda where there is one")
    train.add_argument("--workers", type=int, default=1, help="processes that make the clips; they change nothing but the time")
    train.add_argument("--state", type=Path, help="a file to resume from and to save progress in")
    measure = commands.add_parser("measure", help="score a checkpoint directory on held-out clips; prints JSON")
    measure.add_argument("directory", type=Path)
    measure.add_argument("--clips", type=int, default=300)
    measure.add_argument("--clock", choices=CLOCKS, default="time", help="where the times that the model is given come from")
    measure.add_argument("--combinations", action="store_true", help="colours and shapes that training never shows together")
    report = commands.add_parser("report", help="print what was measured as a table in Markdown; with --svg, draw it too")
    report.add_argument("columns", nargs="+", type=_column, metavar="NAME=FILE", help="JSON of `measure`; files of one name are seeds")
    report.add_argument("--svg", type=Path, help="the file to draw bars in")
    options = parser.parse_args(arguments)
    if options.command == "train":
        _train(options)
    elif options.command == "report":
        _report(options.columns, options.svg)
    else:
        print(json.dumps(measured(options.directory, held_out(options.clips, combinations=options.combinations), options.clock)))


def _column(text: str) -> tuple[str, Tally]:
    name, _, path = text.partition("=")
    try:
        return name, json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FILE with JSON of `measure` ({error})") from error


def _report(told: Sequence[tuple[str, Tally]], svg: Path | None) -> None:
    columns: dict[str, list[Tally]] = {}
    for name, tally_of in told:
        columns.setdefault(name, []).append(tally_of)
    print(table(columns))
    if svg is not None:
        svg.write_text(bars(columns), "utf-8")


def _train(options: argparse.Namespace) -> None:
    import torch

    from train.save import save
    from train.trainer import train

    # Threads of one process that share contended cores are slower than one.
    torch.set_num_threads(1)
    recipe = Recipe(steps=options.steps, decay=options.decay, seed=options.seed, clock=options.clock)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if options.device == "auto" else options.device
    run = train(recipe, device=device, workers=options.workers, checkpoint=options.state, say=partial(print, flush=True))
    save(run.average.cpu(), run.tokenizer, options.directory)


def measured(directory: Path, scenes: Sequence[Scene], clock: Clock = "time") -> dict[str, tuple[int, int]]:
    """(right, all) by attribute, of a checkpoint's captions of scenes."""
    from pipeline.caption.vlm import load_vlm

    captioner = load_vlm(directory)

    async def everything() -> dict[str, tuple[int, int]]:
        said = []
        for first in range(0, len(scenes), TOGETHER):
            shown = [view(scene, clock=clock, seed=first + index) for index, scene in enumerate(scenes[first : first + TOGETHER])]
            said += await asyncio.gather(*map(captioner.describe, shown))
        return tally(score(scene, each.text) for scene, each in zip(scenes, said, strict=True))

    return asyncio.run(everything())


if __name__ == "__main__":
    main()
