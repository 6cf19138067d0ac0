"""The file of events, one JSON object a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from services.events import Event


class EventsFile:
    """Writes events as lines, each complete before the next begins."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("w", encoding="utf-8")

    def write(self, events: Iterable[Event]) -> None:
        """Append events and make them readable at once."""
        for event in events:
            self._file.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()
