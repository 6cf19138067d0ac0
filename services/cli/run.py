"""`watchword run`: the whole flow in this process, with a terminal as its viewer."""

import asyncio
import contextlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from watchword.v1 import answer_pb2
from watchword.v1.errors_pb2 import ErrorReason

from pipeline.bus.codec import STREAM_ID
from pipeline.errors import RequestInvalid, SourceError, StreamUnknown, reason_name
from pipeline.media.address import shown
from pipeline.memory.store import EVERYTHING
from pipeline.qa.answer import check
from services.cli import logs
from services.cli.session import Session
from services.cli.status import INCOMPLETE
from services.settings import Settings, read
from services.speech import Asked

if TYPE_CHECKING:
    from services.cli.run_page import RunPage
    from services.embedded.flow import Flow


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a user wants of a run."""

    speed: float | None = 1.0
    """How many times its own speed a recording is played at; `None` is as fast as it goes."""
    out: Path | None = None
    questions: tuple[str, ...] = ()
    events: Path | None = None
    page: bool = False


def run(source: str, wanted: Wanted, *, stream_id: str, asked: Asked, sampling: Mapping[str, float | None]) -> None:
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
    for question in wanted.questions:
        check(stream_id, question, EVERYTHING)
    status = asyncio.run(_run(_Run(source, stream_id, settings, wanted)))
    if status:
        sys.exit(status)


@dataclass(frozen=True)
class _Run:
    """One source to be understood."""

    source: str
    stream_id: str
    settings: Settings
    wanted: Wanted


async def _run(run: _Run) -> int:
    """Understand the source, show it for as long as is wanted, and tell the exit status."""
    async with contextlib.AsyncExitStack() as held:
        status = 0
        with Session(events=run.wanted.events, out=run.wanted.out) as session:
            page = await _page(run, session, held) if run.wanted.page else None
            try:
                await _understand(run, session, held, page)
            except SourceError as error:
                if page is None or not session.viewer.told_anything:
                    raise
                # What could be read is shown all the same.
                _tell(error.reason, str(error))
                status = 1
        for reason, message in dict.fromkeys((error.reason, error.message) for error in session.viewer.errors):
            _tell(reason, message)
        if page is not None:
            print(f"the page stays at {page.address} until Ctrl-C", flush=True)
            await page.until_stopped()
        return status or (INCOMPLETE if session.viewer.errors else 0)


def _tell(reason: ErrorReason, message: str) -> None:
    print(f"watchword: {message} [{reason_name(reason)}]", file=sys.stderr)


async def _page(run: _Run, session: Session, held: contextlib.AsyncExitStack) -> "RunPage":
    """The page, served until `held` is let go of."""
    from services.cli.run_page import RunPage

    page = RunPage(run.source, run.stream_id, run.settings)
    await held.enter_async_context(page.serving())
    session.terminal.say(f"Watchword: the page is at {page.address}")
    return page


async def _understand(run: _Run, session: Session, held: contextlib.AsyncExitStack, page: "RunPage | None") -> None:
    """Understand the source and ask about it; the flow can be asked until `held` is let go of."""
    from services.embedded.flow import Flow

    viewer, questions = session.viewer, run.wanted.questions
    begun = time.monotonic()
    flow = await Flow.load(run.settings)
    held.push_async_callback(flow.close)
    if page is not None:
        page.answer_by(flow)
    loaded_s = time.monotonic() - begun
    what = f"{shown(run.source)} as stream {run.stream_id}"
    session.terminal.say(f"Watchword: {what}, {_pace(run.wanted.speed)}; models loaded in {loaded_s:.1f} s")
    bus = page.bus if page is not None else None
    try:
        await flow.run(run.source, run.stream_id, speed=run.wanted.speed, cleared=viewer.cleared, failed=viewer.error, bus=bus)
    except SourceError:
        # What could be read is understood, and is asked about all the same.
        with contextlib.suppress(StreamUnknown):
            await _ask(flow, run.stream_id, questions, session)
        raise
    await _ask(flow, run.stream_id, questions, session)


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
    from pipeline.media.address import LIVE_SCHEMES, address
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
    """A stream id from a source's name, such as "demo" from "samples/demo.mp4"; of an address without a path from its host."""
    parts = urlsplit(shown(source))
    stem = (Path(parts.path).stem or parts.hostname or "") if parts.netloc else Path(source.split("?")[0]).stem
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-")
    return name[:200] or "stream"
