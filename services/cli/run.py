"""`watchword run`: the whole flow in this process, with a terminal as its viewer."""

import asyncio
import os
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.v1 import answer_pb2

from pipeline.errors import WatchwordError
from services.cli import logs
from services.cli.events import EventsFile
from services.cli.outputs import write_outputs
from services.cli.terminal import Terminal
from services.cli.viewer import Viewer
from services.settings import Settings, read

if TYPE_CHECKING:
    from services.embedded.flow import Flow


def run(source: str, *, speed: float | None, out: Path | None, questions: Sequence[str], events: Path | None, stream_id: str) -> None:
    """Understand a source; raises what went wrong, after the files of what could be understood are written."""
    settings = replace(read(os.environ), store=":memory:")
    logs.configure(settings.log or "error")
    file = EventsFile(events) if events is not None else None
    with Terminal() as terminal:
        viewer = Viewer([sink for sink in (terminal, file) if sink is not None])
        try:
            asyncio.run(_run(source, stream_id or _id_of(source), speed, settings, viewer, terminal, questions))
        except (KeyboardInterrupt, asyncio.CancelledError):
            terminal.say("stopped")
            _finish(terminal, viewer, out, events, file)
            raise KeyboardInterrupt from None
        except WatchwordError:
            if viewer.heard_anything:
                _finish(terminal, viewer, out, events, file)
            raise
        _finish(terminal, viewer, out, events, file)


async def _run(
    source: str, stream_id: str, speed: float | None, settings: Settings, viewer: Viewer, terminal: Terminal, questions: Sequence[str]
) -> None:
    from pipeline.media.source import open_source
    from services.embedded.flow import Flow

    begun = time.monotonic()
    if "://" not in source and not source.startswith("/dev/"):
        # A recording that cannot be opened is told before the models are loaded; a camera is opened only once.
        await asyncio.to_thread(lambda: open_source(source).close())
    flow = await Flow.load(settings)
    try:
        terminal.say(f"Watchword: {source} as stream {stream_id}, {_pace(speed)}; models loaded in {time.monotonic() - begun:.1f} s")
        await flow.run(source, stream_id, speed=speed, cleared=viewer.cleared, failed=viewer.error)
        for question in questions:
            await _ask(flow, stream_id, question, viewer, terminal)
    finally:
        await flow.close()


async def _ask(flow: "Flow", stream_id: str, question: str, viewer: Viewer, terminal: Terminal) -> None:
    terminal.ask(question)
    async for part in flow.ask(stream_id, question):
        if isinstance(part, answer_pb2.Answer):
            terminal.end_answer(part)
            viewer.answer(part)
        else:
            terminal.answer(part)


def _finish(terminal: Terminal, viewer: Viewer, out: Path | None, events: Path | None, file: EventsFile | None) -> None:
    if file is not None:
        file.close()
    paths = write_outputs(viewer, out) if out is not None else []
    if events is not None:
        paths.append(events)
    terminal.summary(viewer, paths)


def _pace(speed: float | None) -> str:
    match speed:
        case None:
            return "as fast as it goes"
        case 1:
            return "at its own speed"
        case _:
            return f"at {speed:g} times its speed"


def _id_of(source: str) -> str:
    """A stream id from a source's name, such as "demo" from "samples/demo.mp4"."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source.split("?")[0]).stem).strip("-")
    return name[:200] or "stream"
