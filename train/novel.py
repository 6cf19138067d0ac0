"""Clips of a shape that Watchword-Tiny never saw, for an adapter to learn: `python -m train.novel clips|measure`."""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from train.evaluate import HELD_OUT_SEED, view
from train.finetune import base_of
from train.scenes import SHAPES, Scene, caption, draw_scene, plural

NEW_SHAPE = "arrow"
SEEDS = {"clips": 2**41, "measured": 2**41 + 1}
"""Training of the base draws from other seeds, and so does each of these."""


def novel_scene(rng: np.random.Generator, shape: str = NEW_SHAPE) -> Scene:
    """A scene in which one of the things is of the new shape; its colour and all else as ever."""
    assert shape not in SHAPES
    while True:
        scene = draw_scene(rng)
        shapes = [index for index, event in enumerate(scene.events) if not event.thing.word]
        if shapes:
            chosen = shapes[rng.integers(len(shapes))]
            events = [
                replace(each, thing=replace(each.thing, shape=shape)) if index == chosen else each
                for index, each in enumerate(scene.events)
            ]
            return replace(scene, events=tuple(events))


def novel(count: int, of: str = "measured") -> list[Scene]:
    """So many scenes of the new shape; `of` is one of `SEEDS`."""
    return [novel_scene(np.random.default_rng((SEEDS[of], index))) for index in range(count)]


def write(scenes: Sequence[Scene], file: Path) -> None:
    """Write scenes as `train.finetune` reads them: a JSONL, and the frames in a folder beside it."""
    folder = file.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, scene in enumerate(scenes):
        frames = []
        for index, shot in enumerate(view(scene, seed=number).shots):
            path = folder / f"{number:05}-{index}.jpg"
            path.write_bytes(shot.jpeg)
            frames.append({"image": f"{folder.name}/{path.name}", "time": round(shot.time.seconds, 6)})
        lines.append(json.dumps({"frames": frames, "text": caption(scene)}))
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


def names_it(text: str, shape: str = NEW_SHAPE) -> bool:
    """Whether a caption speaks of the shape."""
    words = text.lower().replace(".", " ").replace(",", " ").split()
    return shape in words or plural(shape) in words


def measured(base: Path, adapter: Path | None, scenes: Sequence[Scene]) -> dict[str, float | int]:
    """How often captions name the new shape, and are right to the word; with the adapter on, if there is one."""
    from pipeline.caption.style import Style
    from pipeline.caption.vlm import load_vlm

    captioner = load_vlm(base, adapters={"new": adapter} if adapter else {})
    style = Style(adapter="new") if adapter else Style()

    async def everything() -> list[str]:
        return [(await captioner.describe(replace(view(scene, seed=index), style=style))).text for index, scene in enumerate(scenes)]

    said = asyncio.run(everything())
    return {
        "clips": len(scenes),
        "named": sum(map(names_it, said)) / len(scenes),
        "exact": sum(text == caption(scene) for text, scene in zip(said, scenes, strict=True)) / len(scenes),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m train.novel", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    clips = commands.add_parser("clips", help=f"write clips of a {NEW_SHAPE} and ordinary ones for train.finetune")
    clips.add_argument("directory", type=Path)
    clips.add_argument("--count", type=int, default=300)
    clips.add_argument("--rehearse", type=int, default=100, help="so many ordinary clips among them, so that little else is forgotten")
    clips.add_argument("--guard", type=int, default=100, help="so many other ordinary clips, to see what an adapter does to them")
    measure = commands.add_parser("measure", help=f"score captions of held-out clips of a {NEW_SHAPE}; prints JSON")
    measure.add_argument("base", help="a checkpoint directory or a model of the catalog")
    measure.add_argument("--adapter", type=Path)
    measure.add_argument("--clips", type=int, default=200)
    options = parser.parse_args(arguments)
    if options.command == "measure":
        print(json.dumps(measured(base_of(options.base), options.adapter, novel(options.clips))))
        return
    options.directory.mkdir(parents=True, exist_ok=True)
    rehearsed = [draw_scene(np.random.default_rng((SEEDS["clips"] + 2, index))) for index in range(options.rehearse)]
    write([*novel(options.count, "clips"), *rehearsed], options.directory / "clips.jsonl")
    guard = [draw_scene(np.random.default_rng((HELD_OUT_SEED + 5, index))) for index in range(options.guard)]
    write(guard, options.directory / "guard.jsonl")


if __name__ == "__main__":
    main()
