"""What each kernel costs beside its reference and beside what one would use instead, in one run on one machine.

    python -m kernels.bench [--only log_mel] [--on gpu] [--rounds 15] [--csv FILE]

All ways of a case take turns, so that whatever else the machine does meets them alike; a figure is the median. On a CPU it is processor
time, on one thread of torch; set OPENBLAS_NUM_THREADS=1 for numpy as well. On a GPU it is time until the device is done. The
right column is how many times the fast path's cost a way has. Alternatives that are not installed are left out.
"""

import argparse
import csv
import importlib.metadata
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from kernels.bench import frame_difference, frame_to_patches, log_mel, rotary_time
from kernels.bench.cases import FAST, Case, gpu, installed, measure

KERNELS: dict[str, Callable[[], Iterator[Case]]] = {
    "frame_to_patches": frame_to_patches.cases,
    "frame_difference": frame_difference.cases,
    "rotary_time": rotary_time.cases,
    "log_mel": log_mel.cases,
}
PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "triton",
    "transformers",
    "openai-whisper",
    "faster-whisper",
    "av",
    "pillow",
    "opencv-python-headless",
)


def main() -> None:
    """Print the machine, then a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(KERNELS), help="one kernel")
    parser.add_argument("--on", choices=("all", "cpu", "gpu"), default="all", help="where")
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is measured")
    parser.add_argument("--csv", type=Path, help="a file for the same figures")
    arguments = parser.parse_args()
    told = machine()
    sys.stdout.write("".join(f"{key}: {value}\n" for key, value in told.items()))
    rows = []
    for kernel in [arguments.only] if arguments.only else KERNELS:
        for case in KERNELS[kernel]():
            if arguments.on not in ("all", "gpu" if case.on_gpu else "cpu"):
                continue
            found = measure(case, arguments.rounds)
            sys.stdout.write(f"\n{case.kernel}: {case.title} (ms a {case.unit})\n")
            for way, cost in found.items():
                sys.stdout.write(f"  {way:<58} {cost:10.4f} {cost / found[FAST]:8.2f}\n")
                rows.append({**told, "kernel": case.kernel, "case": case.title, "way": way, "ms": f"{cost:.4f}", "unit": case.unit})
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} cores" if names else cpu
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if installed(name)]
    return {"machine": cpu, "gpu": gpu() or "none", "python": platform.python_version(), "packages": ", ".join(versions)}


if __name__ == "__main__":
    main()
