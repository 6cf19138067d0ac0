"""`watchword run`: the whole flow in this process, with a terminal as its viewer."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from watchword.v1 import answer_pb2

from pipeline.bus.codec import STREAM_ID
from pipeline.errors import RequestInvalid, SourceError, StreamUnknown, reason_name
from pipeline.memory.store import EVERYTHING
from pipeline.qa.answer import check
from services.cli import logs
from services.cli.session import Session
from services.cli.status import INCOMPLETE
from services.settings import Settings, read
from services.speech import Asked

if TYPE_CHECKING:
    from services.embedded.flow import Flow


def run(
    source: str,
    *,
    speed: float | None,
    out: Path | None,
    questions: Sequence[str],
    events: Path | None,
    stream_id: str,
    asked: Asked,
    sampling: Mapping[str, float | None],
) -> None:
    """Understand a source; raises what went wrong, after the files of what could be understood are written.

    `sampling` holds settings of the sampler by name; `None` leaves what the environment says.
    """
    given: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    settings = replace(read(os.environ), store=":memory:", **given)
    logs.configure(settings.log or "error")
    stream_id = stream_id or id_of(source)
    options = asked.over(settings.options(stream_id))
    settings = replace(settings, language=options.language, translate=options.translate, glossary=options.glossary, streams=())
    _require_usable(source, stream_id)
    for question in questions:
        check(stream_id, question, EVERYTHING)
    with Session(events=events, out=out) as session:
        asyncio.run(_run(source, stream_id, speed, settings, session, questions))
    if session.viewer.errors:
        for message in dict.fromkeys(f"{error.message} [{reason_name(error.reason)}]" for error in session.viewer.errors):
            print(f"watchword: {message}", file=sys.stderr)
        sys.exit(INCOMPLETE)


async def _run(source: str, stream_id: str, speed: float | None, settings: Settings, session: Session, questions: Sequence[str]) -> None:
    from services.embedded.flow import Flow

    terminal, viewer = session.terminal, session.viewer
    begun = time.monotonic()
    flow = await Flow.load(settings)
    try:
        terminal.say(f"Watchword: {source} as stream {stream_id}, {_pace(speed)}; models loaded in {time.monotonic() - begun:.1f} s")
        try:
            await flow.run(source, stream_id, speed=speed, cleared=viewer.cleared, failed=viewer.error)
        except SourceError:
            # What could be read is understood, and is asked about all the same.
            with contextlib.suppress(StreamUnknown):
                await _ask(flow, stream_id, questions, session)
            raise
        await _ask(flow, stream_id, questions, session)
    finally:
        await flow.close()


async def _ask(flow: "Flow", stream_id: str, questions: Sequence[str], session: Session) -> None:
    for question in questions:
        session.terminal.ask(question)
        async for part in flow.ask(stream_id, question):
            if isinstance(part, answer_pb2.Answer):
                session.terminal.end_answer(part)
                session.viewer.answer(part)
            elif isinstance(part, str):
                session.terminal.answer(part)


def _require_usable(source: str, stream_id: str) -> None:
    """Tell what can be told before the models are loaded: a live source is opened only once, a recording is opened twice."""
    from pipeline.media.address import LIVE_SCHEMES, address, shown
    from pipeline.media.source import open_source

    if not STREAM_ID.fullmatch(stream_id):
        raise RequestInvalid(f"{stream_id[:50]!r} is not a stream id: 1 to 200 letters, digits, '.', '_', '-' and ':'")
    address(source, shown(source))
    if not source.startswith("/dev/") and source.partition("://")[0].lower() not in LIVE_SCHEMES:
        open_source(source).close()


def _pace(speed: float | None) -> str:
    match speed:
        case None:
            return "as fast as it goes"
        case 1:
            return "at its own speed"
        case _:
            return f"at {speed:g} times its speed"


def id_of(source: str) -> str:
    """A stream id from a source's name, such as "demo" from "samples/demo.mp4"."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(source.split("?")[0]).stem).strip("-")
    return name[:200] or "stream"
