"""What a peer reports of one file, as a JSON line; imported by the programs beside it, in their environments."""

import json
import time
from collections.abc import Sequence
from pathlib import Path


class Watch:
    """Measures from where it is made."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._begun, self._clock = time.process_time(), time.perf_counter()

    def tell(self, borders: Sequence[float], frames: int, **versions: str) -> None:
        """Print borders, in seconds, how many frames there were, and what it took."""
        cost = {"cpu_s": time.process_time() - self._begun, "wall_s": time.perf_counter() - self._clock, "peak_mib": _peak_mib()}
        told = {"file": self._file, "borders": [round(border, 4) for border in borders], "frames": frames, "versions": versions}
        print(json.dumps(told | cost), flush=True)


def _peak_mib() -> float:
    """Largest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024
