"""Cuts, dissolves, events and costs, side by side: `PYTHONPATH=. python -m bench.sampling --media DIR --clips DIR [--peers DIR]`.

"ours" is the Sample stage as it runs, fed chunk by chunk from what a publisher sends. "adaptive" and "content" are
PySceneDetect's detectors over OpenCV, in the environment that `peers/setup.sh` made, each once with every length of shot
allowed and once with its defaults. "TransNet V2" is the network of that name with the weights of its package. "decode" is
PyAV's decoder alone, one thread, nothing looked at. Costs are processor seconds. Prints a table of borders found for each set
of clips, one of events and keyframes, and with `--costs` one of costs by codec and size. Synthetic clips are named by a seed;
the rules were tuned on the media and on seeds 1 to 4, and fitted to seeds 100 to 107 (`bench.sampling.fitting`).

    python -m bench.sampling --media shared/media --clips /tmp/clips --peers /tmp/scenedetect --transnet /tmp/transnet
    python -m bench.sampling --costs --clips /tmp/clips --peers /tmp/scenedetect
    python -m bench.sampling --still 3600 --clips /tmp/clips
"""

import argparse
import platform
from collections import Counter, defaultdict
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from bench.sampling import actions, costs, synthetic, truth
from bench.sampling.metrics import Borders, Count, borders, covered, uniform
from bench.sampling.runs import Run, ours, peers
from bench.sampling.truth import Clip
from bench.transcription.__main__ import processor

DETECTORS = {
    "adaptive": ("adaptive",),
    "adaptive, its defaults": ("adaptive", "--defaults"),
    "content": ("content",),
    "content, its defaults": ("content", "--defaults"),
}


def figure(count: Count) -> str:
    """F1 and what it is made of."""
    return "" if count.f1 is None else f"{count.f1:.3f} ({count.found}/{count.missed}/{count.false})"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])


def borders_table(clips: Sequence[Clip], runs: dict[str, list[Run]], *, notes: bool) -> None:
    """F1 of each system in each set of clips."""
    totals: dict[str, dict[str, Borders]] = {name: defaultdict(Borders) for name in runs}
    for name, each in runs.items():
        for clip, run in zip(clips, each, strict=True):
            found = borders(clip, run.borders)
            totals[name][clip.group] += found
            totals[name]["all"] += found
    groups = [*dict.fromkeys(clip.group for clip in clips), "all"]
    for title, which in (("hard cuts", "cuts"), ("dissolves and fades", "gradual")):
        print(f"\n{title}: F1 (found/missed/false)\n")
        rows = []
        for group in groups:
            counts = [getattr(totals[name][group], which) for name in runs]
            if any(count.found + count.missed for count in counts):
                rows.append([group, *(figure(count) for count in counts)])
        print(table(["set", *runs], rows))
    quiet = [g for g in groups[:-1] if not any(c.found + c.missed for c in (totals["ours"][g].cuts, totals["ours"][g].gradual))]
    for group in quiet:
        print(f"\n{group}: no borders; told {', '.join(f'{name} {totals[name][group].cuts.false}' for name in runs)}")
    if notes:
        print("\n" + "\n".join(totals["ours"]["all"].notes))


def events_table(clips: Sequence[Clip], runs: Sequence[Run]) -> None:
    """How many of the described events have a keyframe, and how many keyframes that takes."""
    rows = []
    for group in dict.fromkeys(clip.group for clip in clips):
        kinds: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        keyframes, opening, evenly = 0, 0, 0
        for clip, run in zip(clips, runs, strict=True):
            if clip.group != group or not clip.events:
                continue
            even = uniform(clip, run.keyframes[0][0] if run.keyframes else 0.0)
            found, found_evenly = covered(clip.events, [at for at, _ in run.keyframes]), covered(clip.events, even)
            for event in clip.events:
                kinds[event.kind][0] += event in found
                kinds[event.kind][1] += event in found_evenly
                kinds[event.kind][2] += 1
            keyframes, evenly, opening = keyframes + len(run.keyframes), evenly + len(even), opening + 1 + len(run.borders)
        if kinds:
            of = "; ".join(f"{kind} {a}/{c} (evenly {b})" for kind, (a, b, c) in kinds.items())
            share = sum(a for a, _, _ in kinds.values()) / sum(c for _, _, c in kinds.values())
            rows.append([group, f"{100 * share:.1f}", of, str(keyframes), str(opening), str(evenly), f"{keyframes / evenly:.2f}"])
    if rows:
        head = ["set", "covered %", "events with a keyframe", "keyframes", "of them opening a scene", "one a second", "ratio"]
        print("\nevents\n")
        print(table(head, rows))
    reasons = Counter(reason for run in runs for _, reason in run.keyframes)
    minutes = sum(clip.seconds for clip in clips) / 60
    print(f"\nkeyframes a minute over all: {sum(reasons.values()) / minutes:.1f}; {dict(reasons)}")


def main() -> None:
    """Run, and print the tables."""
    parser = argparse.ArgumentParser(prog="bench.sampling", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, help="directory with manifest.json")
    parser.add_argument("--sample", type=Path, default=Path("samples/demo.mp4"))
    parser.add_argument("--clips", type=Path, required=True, help="directory for the clips that are made, kept there")
    parser.add_argument("--seed", type=int, action="append", help="of the seventy synthetic clips; may be repeated")
    parser.add_argument("--peers", type=Path, help="environment that peers/setup.sh made")
    parser.add_argument("--transnet", type=Path, help="environment that peers/setup.sh made for TransNet V2")
    parser.add_argument("--keep", type=Path, help="directory for what the peers found; what is there is not run again")
    parser.add_argument("--costs", action="store_true", help="costs by codec and size")
    parser.add_argument("--still", type=float, help="seconds of a still picture to sample")
    parser.add_argument("--notes", action="store_true", help="name what ours missed and told wrongly")
    arguments = parser.parse_args()
    print(f"{processor()}; Python {platform.python_version()}, PyAV {version('av')}, numpy {version('numpy')}; one thread")
    if arguments.still:
        print(costs.still(arguments.clips, arguments.still))
        return
    if arguments.costs:
        for line in costs.table(arguments.clips, arguments.peers):
            print(line, flush=True)
        return
    clips = truth.media(arguments.media / "manifest.json") if arguments.media else []
    if arguments.media and arguments.sample.exists():
        clips.append(truth.sample(arguments.sample))
    for seed in arguments.seed or ([] if arguments.media else [1]):
        clips += [*synthetic.make(arguments.clips, seed), *actions.make(arguments.clips, seed)]
    runs = {"ours": ours(clips)}
    if arguments.peers:
        detectors = DETECTORS.items()
        runs |= {name: peers(arguments.peers, "pyscenedetect", clips, *options, keep=arguments.keep) for name, options in detectors}
    if arguments.transnet:
        runs["TransNet V2"] = peers(arguments.transnet, "transnetv2", clips, keep=arguments.keep)
    for name, each in runs.items():
        first = next((run.versions for run in each if run.versions), {})
        seconds = sum(run.cpu_s for run in each)
        frames = sum(run.frames for run in each)
        of = ", ".join(f"{package} {number}" for package, number in first.items())
        print(f"{name}: {1000 * seconds / max(frames, 1):.3f} ms a frame; {of}".rstrip("; "))
    borders_table(clips, runs, notes=arguments.notes)
    events_table(clips, runs["ours"])


if __name__ == "__main__":
    main()
