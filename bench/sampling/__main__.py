"""Cuts found, missed and false, and what sampling costs, on given clips.

    python bench/sampling.py samples/demo.mp4
    python bench/sampling.py --truth clips/manifest.json

A clip's cuts are read from the JSON file beside it (`cuts`: seconds), or from a manifest whose `entries` name `file` and
`cuts`. Costs are CPU time of this process on one thread: of decoding alone, and of the luma thumbnail and the selection
that come on top; the JPEGs of the keyframes are counted apart.
"""

import argparse
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from watchword.v1 import scene_pb2

from pipeline.sample.pictures import Shrinker
from pipeline.sample.select import DEFAULTS, Chosen, Closed, Selector
from pipeline.timeline import ZERO, MediaTime

NEAR_S = 0.04
"""A cut counts as found when it is told within this time of the true one: one frame at 25 a second."""


def clips(files: list[Path], manifest: Path | None) -> Iterator[tuple[Path, list[float]]]:
    """Each clip with the times of its cuts in seconds."""
    for file in files:
        yield file, json.loads(file.with_suffix(".json").read_text())["cuts"]
    if manifest is not None:
        for entry in json.loads(manifest.read_text())["entries"]:
            if entry.get("cuts") is not None:
                yield manifest.parent / entry["file"], entry["cuts"]


def measure(path: Path, cuts: list[float]) -> np.ndarray:
    """Print a line about the clip; returns how many cuts were found, missed and false."""
    shrinker, selector = Shrinker(), Selector[av.VideoFrame](DEFAULTS)
    decisions: list[Chosen[av.VideoFrame] | Closed] = []
    spent = np.zeros(3)
    frames, last = 0, ZERO
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        decoded = container.decode(stream)
        while True:
            start = time.process_time()
            frame = next(decoded, None)
            spent[0] += time.process_time() - start
            if frame is None or frame.time is None:
                break
            start, last = time.process_time(), MediaTime.of(frame.time)
            new = selector.push(last, shrinker.luma(frame), frame)
            spent[1] += time.process_time() - start
            start = time.process_time()
            for each in new:
                if isinstance(each, Chosen):
                    shrinker.picture(each.payload)
            spent[2] += time.process_time() - start
            decisions += new
            frames += 1
    decisions += selector.finish(last)
    chosen = [each for each in decisions if isinstance(each, Chosen)]
    told = [each.time.seconds for each in chosen if each.reason == scene_pb2.KEYFRAME_REASON_CUT]
    missed = [cut for cut in cuts if not any(abs(cut - at) <= NEAR_S for at in told)]
    false = [at for at in told if not any(abs(cut - at) <= NEAR_S for cut in cuts)]
    decode, select, picture = spent / max(frames, 1) * 1000
    print(
        f"{path.name}: {frames} frames, {len(cuts) - len(missed)} of {len(cuts)} cuts, missed {missed}, false {false}; "
        f"{len(chosen)} keyframes, {len(decisions) - len(chosen)} scenes; "
        f"ms/frame: decode {decode:.3f}, thumbnail and selection {select:.3f}, JPEG {picture:.3f}"
    )
    return np.array([len(cuts) - len(missed), len(missed), len(false)])


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--truth", type=Path, help="a manifest of clips")
    arguments = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, PyAV {av.__version__}, numpy {np.__version__}"
    )
    if cpu := [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]:
        print(f"{len(cpu)} x {cpu[0].split(':')[1].strip()}")
    found, missed, false = sum((measure(*clip) for clip in clips(arguments.files, arguments.truth)), np.zeros(3))
    precision, recall = found / max(found + false, 1), found / max(found + missed, 1)
    print(f"all: precision {precision:.3f}, recall {recall:.3f}, F1 {2 * precision * recall / max(precision + recall, 1e-9):.3f}")


if __name__ == "__main__":
    main()
