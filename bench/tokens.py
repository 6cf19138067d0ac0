"""What fewer vision tokens cost: Watchword-Tiny's captions of held-out clips, by how many tokens of each scene are shown.

    python -m bench.tokens --svg docs/tokens.svg          # the shipped model
    python -m bench.tokens DIRECTORY --clips 300 --json FILE

The ways are those of `pipeline.caption.vlm.thinning`, each with the cosine from which tokens are alike. A scene's tokens are those of all
its pictures; captions are right when every word is.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.caption.style import Style
from pipeline.caption.vlm import load_vlm
from pipeline.caption.vlm.captioner import VlmCaptioner
from pipeline.caption.vlm.thinning import Thinning, Way
from pipeline.caption.vlm.worker import Job, Limits
from train.curve import curves
from train.evaluate import held_out, score, tally, view
from train.finetune import base_of
from train.scenes import Scene

ALIKE: Mapping[Way, Sequence[float]] = {
    "plain": (0.999, 0.995, 0.99, 0.98, 0.95),
    "unchanged": (0.999, 0.995, 0.99, 0.97, 0.9),
    "pooled": (0.99, 0.95, 0.9),
}


@dataclass(frozen=True)
class Point:
    """What came out at one setting."""

    way: Way
    at: float
    share: float
    """Tokens shown, of all."""
    right: float
    """Captions that are right to the word."""
    attributes: dict[str, tuple[int, int]]


def measured(captioner: VlmCaptioner, scenes: Sequence[Scene], way: Way, at: float) -> Point:
    """The scenes described with one setting."""
    worker = captioner.worker
    worker.limits = Limits(feature_bytes=2**30, thinning=Thinning(way, at))
    style = Style(adapter=next(iter(captioner.adapters), ""))
    jobs = [Job(replace(view(scene, seed=index), style=style), 64, lambda _: None) for index, scene in enumerate(scenes)]
    for first in range(0, len(jobs), 8):
        assert not any(worker.run(jobs[first : first + 8]))
    scores = [score(scene, captioner._text(job.tokens)) for scene, job in zip(scenes, jobs, strict=True)]
    whole = sum(len(scene.times) * 16 for scene in scenes)
    return Point(
        way, at, sum(job.picture_tokens for job in jobs) / whole, sum(each["caption"] for each in scores) / len(scores), tally(scores)
    )


def table(points: Sequence[Point]) -> str:
    """The points as a table in Markdown."""
    names = ("colour", "shape", "count", "word", "direction", "speed", "order", "second")
    lines = [
        f"| | tokens shown | fewer by | captions right | {' | '.join(names)} |",
        f"| --- | ---: | ---: | ---: |{' ---: |' * len(names)}",
    ]
    for each in points:
        cells = [f"{each.attributes[name][0] / each.attributes[name][1]:.3f}" for name in names]
        named = "all" if each.way == "none" else f"{each.way}, {each.at:g}"
        lines.append(f"| {named} | {100 * each.share:.0f} % | {1 / each.share:.2f}x | {each.right:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def lines(points: Sequence[Point], told: str = "") -> dict[str, list[tuple[float, float]]]:
    """For a picture: captions right by tokens shown, for each way; its name followed by what else is `told`."""
    ways = dict.fromkeys(each.way for each in points if each.way != "none")
    return {f"{way}{told}": [(each.share, each.right) for each in points if each.way in ("none", way)] for way in ways}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.tokens", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="watchword-tiny")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--ways", default=",".join(ALIKE), help="which of the ways, between commas")
    parser.add_argument("--adapter", type=Path, help="an adapter that is on meanwhile, such as one taught on thinned scenes")
    parser.add_argument("--beside", type=Path, help="JSON of another run, such as one without the adapter, for the picture")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    captioner = load_vlm(base_of(options.model), adapters={"taught": options.adapter} if options.adapter else {})
    scenes, points = held_out(options.clips), []
    for way, settings in {"none": (1.0,), **{way: ALIKE[way] for way in options.ways.split(",")}}.items():
        points += [measured(captioner, scenes, way, at) for at in settings]
    print(table(points))
    if options.svg:
        series = lines(points, ", taught" if options.adapter else "")
        if options.beside:
            series = lines([Point(**each) for each in json.loads(options.beside.read_text("utf-8"))]) | series
        options.svg.write_text(curves(series, across="vision tokens shown, of all", up="captions right to the word", low=0), "utf-8")
    if options.json:
        options.json.write_text(json.dumps([each.__dict__ for each in points], indent=1), "utf-8")


if __name__ == "__main__":
    main()
