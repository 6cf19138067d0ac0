"""A cache of computed results, bounded in bytes; the least recently used goes first."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

from pipeline.telemetry import CAPTION_REUSE

Value = TypeVar("Value")


class Shelf(Generic[Value]):
    """Values by keys; may be used from any thread."""

    def __init__(self, name: str, most_bytes: int) -> None:
        """`name` is what its use is counted under; with `most_bytes` of 0 nothing is kept."""
        self._most = most_bytes
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._found, self._missed = (CAPTION_REUSE.labels(name, outcome) for outcome in ("reused", "computed"))
        self.nbytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: Hashable) -> Value | None:
        """What was put under the key, if it is still there."""
        with self._lock:
            held = self._held.get(key)
            if held is None:
                self._missed.inc()
                return None
            self._held.move_to_end(key)
            self._found.inc()
            return held[0]

    def holds(self, key: Hashable) -> bool:
        """Whether something is there; does not count as use."""
        return key in self._held

    def put(self, key: Hashable, value: Value, nbytes: int) -> None:
        """Keep a value of so many bytes; one that is larger than the whole shelf is not kept."""
        with self._lock:
            self._drop(key)
            if nbytes > self._most:
                return
            self._held[key] = value, nbytes
            self.nbytes += nbytes
            while self.nbytes > self._most:
                self._drop(next(iter(self._held)))

    def clear(self) -> None:
        """Let go of everything, to make room."""
        with self._lock:
            self._held.clear()
            self.nbytes = 0

    def _drop(self, key: Hashable) -> None:
        _, nbytes = self._held.pop(key, (None, 0))
        self.nbytes -= nbytes


def digest(jpeg: bytes) -> bytes:
    """What a picture is known by."""
    return hashlib.blake2b(jpeg, digest_size=16).digest()
