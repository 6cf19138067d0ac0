"""How far recordings have been heard, on the standard error: bars in a terminal, a line for each file that is done anywhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from pipeline.timeline import MediaTime

Reached = Callable[[MediaTime], None]
"""Takes the media time up to which a file has been heard."""


class Progress:
    """Use it as a context manager."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[clock]}", markup=False))
        self._bars = Bars(*columns, console=self._console, transient=True, disable=not self._console.is_terminal)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bars.stop()

    @contextmanager
    def file(self, name: str, length: MediaTime | None) -> Iterator[Reached]:
        """A file is being heard; `length` is `None` where nobody knows it."""
        total = length.clock() if length is not None else "?"
        task = self._bars.add_task(name, total=length.seconds if length is not None else None, clock=f"0:00 of {total}")
        try:
            yield lambda time: self._bars.update(task, completed=time.seconds, clock=f"{time.clock()} of {total}")
        finally:
            self._bars.remove_task(task)

    def done(self, name: str, words: int, length: MediaTime, took_s: float) -> None:
        """A file has been heard."""
        speed = length.seconds / max(took_s, 0.001)
        told = f"{speed:.0f}" if speed >= 10 else f"{speed:.1f}"
        self._console.print(f"{name}: {words} words in {length.clock()}, heard in {took_s:.1f} s, {told} times real time", markup=False)
