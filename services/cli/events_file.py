"""The file of events, one JSON object a line."""

import contextlib
import json
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from services.cli.files import unwritable
from services.events import Event


class EventsFile:
    """Writes events as lines, each complete before the next begins."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file = FileIO(path, "w")
        self._whole = 0
        """Bytes of the lines that are complete."""

    def write(self, events: Iterable[Event]) -> None:
        """Append events and make them readable at once; raises `SettingInvalid` where there is no room, and leaves whole lines."""
        lines = "".join(json.dumps(event, ensure_ascii=False, separators=(",", ":")) + "\n" for event in events).encode()
        try:
            left = memoryview(lines)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._whole)
                self._file.seek(self._whole)
            raise unwritable(self._path, error) from error
        self._whole += len(lines)

    def close(self) -> None:
        """Nothing more comes."""
        self._file.close()
