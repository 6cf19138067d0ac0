"""Descriptions of synthetic clips that were put right, as reviewers would: `python -m train.corrections BASE FILE`.

The base describes clips that it never saw. Where it is wrong, what is true is preferred to what it said; the truth of a synthetic clip is
known, so nobody has to look. With `--wording appears=arrives` reviewers want another word: what the base said, with that word in its
place, is preferred. For your own streams, what reviewers wrote takes the place of either.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train.evaluate import view
from train.finetune import base_of
from train.novel import write
from train.scenes import Scene, caption, draw_scene

SEED = 2**42


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m train.corrections", description=__doc__)
    parser.add_argument("base")
    parser.add_argument("file", type=Path, help="the JSONL; frames go into a folder beside it")
    parser.add_argument("--clips", type=int, default=1000, help="how many are described; of those that are right nothing is learned")
    parser.add_argument("--wording", metavar="WORD=OTHER", default="", help="a word that is to be said in another's place")
    options = parser.parse_args(arguments)
    scenes = [draw_scene(np.random.default_rng((SEED, index))) for index in range(options.clips)]
    said = described(base_of(options.base), scenes)
    word, _, other = options.wording.partition("=")
    better = [re.sub(rf"\b{word}\b", other, text) if word else caption(scene) for scene, text in zip(scenes, said, strict=True)]
    chosen = [(scene, text, right) for scene, text, right in zip(scenes, said, better, strict=True) if text != right]
    write([scene for scene, _, _ in chosen], options.file)
    frames = [json.loads(line)["frames"] for line in options.file.read_text("utf-8").splitlines()]
    pairs = [{"frames": each, "chosen": right, "rejected": text} for each, (_, text, right) in zip(frames, chosen, strict=True)]
    options.file.write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs), "utf-8")
    print(json.dumps({"described": len(scenes), "corrected": len(pairs)}))


def described(base: Path, scenes: Sequence[Scene]) -> list[str]:
    """What a checkpoint says of scenes, eight at a time."""
    from pipeline.caption.vlm import load_vlm

    captioner = load_vlm(base)

    async def everything() -> list[str]:
        said: list[str] = []
        for first in range(0, len(scenes), 8):
            views = [view(scene, seed=first + index) for index, scene in enumerate(scenes[first : first + 8])]
            said += [each.text for each in await asyncio.gather(*map(captioner.describe, views))]
        return said

    return asyncio.run(everything())


if __name__ == "__main__":
    main()
