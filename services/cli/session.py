"""One viewing of a stream from a terminal: what is shown, and the files that are left of it."""

import signal
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.errors import SettingInvalid
from services.cli.events_file import EventsFile
from services.cli.outputs import ContactSheets, write_words
from services.cli.terminal import Terminal
from services.cli.viewer import Sink, Viewer


class Session:
    """A terminal, a viewer that tells it everything, and the files a user asked for. Use it as a context manager.

    In the end, also after a failure, Ctrl-C or SIGTERM, the files of what was told are written and the summary is shown; where nothing
    was told because of a failure, nothing is. Raises `SettingInvalid` at once for a place that cannot be written.
    """

    def __init__(self, *, events: Path | None = None, out: Path | None = None, summary: bool = True) -> None:
        self._summary = summary
        self._out = out
        self._events = events
        if out is not None:
            require_folder(out)
        self._file = _open(events) if events is not None else None
        self.terminal = Terminal()
        sinks: list[Sink] = [self.terminal]
        if self._file is not None:
            sinks.append(self._file)
        self._sheets = ContactSheets(out) if out is not None else None
        self.viewer = Viewer(sinks, pictures=self._sheets.add) if self._sheets is not None else Viewer(sinks)

    def __enter__(self) -> Self:
        # Who stops a container or a unit wants the captions as much as who presses Ctrl-C.
        self._before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        self.terminal.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._summary and (error is None or self.viewer.told_anything):
                self.terminal.summary(self.viewer, self._write())
        finally:
            self.terminal.__exit__(kind, error, trace)
            signal.signal(signal.SIGTERM, self._before)
            if self._file is not None:
                self._file.close()

    def _write(self) -> list[Path]:
        paths: list[Path] = []
        if self._out is not None and self._sheets is not None:
            paths += write_words(self.viewer, self._out)
            self._sheets.finish()
            paths += self._sheets.paths
        return paths + ([self._events] if self._events is not None else [])


def _open(path: Path) -> EventsFile:
    try:
        return EventsFile(path)
    except OSError as error:
        raise SettingInvalid(f"--events {path} cannot be written: {error.strerror}") from None


def require_folder(path: Path) -> None:
    """Make the folder where there is none; raises `SettingInvalid` where nothing can be written into it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SettingInvalid(f"--out {path} cannot be written: {error.strerror}") from None
