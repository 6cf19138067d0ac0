"""The file of events, one JSON object a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from services.cli.writing import writing
from services.events import Event


class EventsFile:
    """Writes events as lines, each complete before the next begins; raises `SettingInvalid` where they cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with writing("--events", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = path.open("w", encoding="utf-8")

    def write(self, events: Iterable[Event]) -> None:
        """Append events and make them readable at once."""
        with writing("--events", self._path):
            for event in events:
                self._file.write(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Nothing more comes."""
        with writing("--events", self._path):
            self._file.close()
