"""What is measured, and how."""

import importlib.metadata
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FAST = "fast path"
"""The way that the others are compared with."""


@dataclass(frozen=True)
class Case:
    """Ways to do the same, and by how much to divide what a call costs."""

    kernel: str
    title: str
    ways: dict[str, Callable[[], object]]
    unit: str = "call"
    per_call: float = 1
    on_gpu: bool = False


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Milliseconds of each way."""
    clock = time.perf_counter if case.on_gpu else time.process_time
    wait: Callable[[], object] = _synchronize if case.on_gpu else lambda: None
    spent: dict[str, list[float]] = {way: [] for way in case.ways}
    repeats = {}
    for way, run in case.ways.items():
        run()
        wait()
        begin = clock()
        run()
        wait()
        # Short ones are repeated: a clock of processor time may tick no oftener than every millisecond.
        repeats[way] = max(1, min(1000, int(0.01 / max(clock() - begin, 1e-6))))
    for _ in range(rounds):
        for way, run in case.ways.items():
            begin = clock()
            for _ in range(repeats[way]):
                run()
            wait()
            spent[way].append((clock() - begin) / repeats[way])
    return {way: statistics.median(each) * 1e3 / case.per_call for way, each in spent.items()}


def planes(count: int, height: int, width: int) -> tuple[Any, Any, Any]:
    """Planes of studio range with structure of all sizes."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = 126 + 60 * np.sin(x / 9) * np.cos(y / 13)
    luma = np.clip(waves + random.normal(0, 10, (count, height, width)), 16, 235).astype(np.uint8)
    blue, red = (random.integers(100, 156, (count, height // 2, width // 2), dtype=np.uint8) for _ in range(2))
    return luma, blue, red


def installed(package: str) -> bool:
    """Whether a package is there to be compared with."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def gpu() -> str | None:
    """The name of the GPU that torch sees."""
    if not installed("torch"):
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _synchronize() -> None:
    import torch

    torch.cuda.synchronize()
