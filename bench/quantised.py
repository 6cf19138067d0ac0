"""What weights in 8 and 4 bits cost and save: bytes, words that are right, and time.

    python -m bench.quantised                            # Watchword-Tiny: accuracy on held-out clips
    python -m bench.quantised --random half-billion      # a random model of that size: time to the first token, and for each further one

The precisions take turns within each round; times are medians of the rounds. bfloat16 is what the others are made of.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.captioning import SHAPES, save, scene_of
from pipeline.caption.vlm import load_vlm
from pipeline.caption.vlm.captioner import VlmCaptioner
from pipeline.caption.vlm.checkpoint import Precision
from pipeline.caption.vlm.worker import Job
from train.evaluate import ATTRIBUTES, held_out, score, tally, view
from train.finetune import base_of

PRECISIONS: Sequence[Precision] = ("float32", "bfloat16", "int8", "int4")
TOKENS = 24


def megabytes(captioner: VlmCaptioner) -> float:
    """What all weights take."""
    network = captioner.worker._family.network
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers())) / 1e6


def accuracy(directory: Path, clips: int) -> None:
    """Print what is right of held-out clips, for each precision, in Markdown."""
    scenes = held_out(clips)
    names = [name for name in ATTRIBUTES if name != "within 1 s"]
    print(f"| | MB | ms a clip | {' | '.join(names)} |\n| --- | ---: | ---: |{' ---: |' * len(names)}")
    for precision in PRECISIONS:
        captioner = load_vlm(directory, precision=precision)
        jobs = [Job(view(scene, seed=index), 64, lambda _: None) for index, scene in enumerate(scenes)]
        began = time.process_time()
        for first in range(0, len(jobs), 8):
            assert not any(captioner.worker.run(jobs[first : first + 8]))
        spent = (time.process_time() - began) / clips
        found = tally(score(scene, captioner._text(job.tokens)) for scene, job in zip(scenes, jobs, strict=True))
        shares = " | ".join(f"{found[name][0] / found[name][1]:.3f}" for name in names)
        print(f"| {precision} | {megabytes(captioner):.1f} | {1000 * spent:.0f} | {shares} |", flush=True)


def speed(shape: str, rounds: int) -> None:
    """Print how long a random model takes, for each precision, in Markdown."""
    with tempfile.TemporaryDirectory() as directory:
        save(Path(directory), shape)
        captioners = {precision: load_vlm(Path(directory), precision=precision) for precision in PRECISIONS[1:]}
    firsts: dict[str, list[float]] = {precision: [] for precision in captioners}
    others: dict[str, list[float]] = {precision: [] for precision in captioners}
    for number in range(rounds):
        for precision, captioner in captioners.items():
            stamps = [time.perf_counter()]
            job = Job(scene_of(number, 2), TOKENS, lambda _, stamps=stamps: stamps.append(time.perf_counter()))
            assert captioner.worker.run([job]) == [None]
            firsts[precision].append(stamps[1] - stamps[0])
            others[precision].append((stamps[-1] - stamps[1]) / max(1, len(stamps) - 2))
    print("| | MB | first token, s | each further one, ms |\n| --- | ---: | ---: | ---: |")
    for precision, captioner in captioners.items():
        first, other = statistics.median(firsts[precision]), 1000 * statistics.median(others[precision])
        print(f"| {precision} | {megabytes(captioner):.0f} | {first:.2f} | {other:.0f} |")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.quantised", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", nargs="?", default="watchword-tiny")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--random", choices=tuple(SHAPES))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.random:
        speed(options.random, options.rounds)
    else:
        accuracy(base_of(options.model), options.clips)


if __name__ == "__main__":
    main()
