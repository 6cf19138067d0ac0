"""`watchword transcribe`: the captions of recordings, written to files or printed."""

import asyncio
import os
import sys
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from watchword.v1.events_pb2 import AudioEvent, TranscriptEvent

from pipeline.errors import (
    MediaError,
    MediaUndecodable,
    MessageError,
    SettingInvalid,
    SourceError,
    SourceInvalid,
    WatchwordError,
    reason_name,
)
from pipeline.media import chunks as chunk_rules
from pipeline.media.address import shown
from pipeline.media.source import open_source
from pipeline.stage import Stage
from pipeline.timeline import MediaTime
from pipeline.transcribe.options import Options
from services.cli import logs
from services.cli.documents import FORMATS, Heard, documents, printed
from services.cli.files import write
from services.cli.progress import Progress, Reached
from services.cli.run import id_of
from services.cli.session import require_folder
from services.cli.status import FAILED, INCOMPLETE
from services.incoming.sound import Sound, chunks, length, missing
from services.settings import Settings, read
from services.speech import Asked
from services.transcriber.stages import Stages


@dataclass
class _File:
    """One source on its way."""

    source: str
    name: str
    """What its files are called."""
    options: Options
    heard: Heard
    length: MediaTime | None = None
    """As its header states it; `None` where it does not."""


def transcribe(sources: Sequence[str], *, out: Path | None, formats: str, model: str, asked: Asked, jobs: int) -> None:
    """Write the captions of recordings; exits with 1 where one could not be heard to its end, 3 where a part of one was unusable."""
    settings = read({**os.environ, **({"WATCHWORD_MODEL": model} if model else {})})
    logs.configure(settings.log or "error")
    chosen = _formats(formats, out, asked.translate or settings.translate)
    files = [
        _File(
            source, _name(source), replace(asked.over(settings.options(id_of(source))), interim=False, recorded=True), Heard(shown(source))
        )
        for source in sources
    ]
    if out is not None:
        require_folder(out)
        _require_different(files)
    for file in files:
        _look_at(file)
    usable = [file for file in files if file.heard.failure is None]
    if usable:
        with Progress() as progress:
            asyncio.run(_hear_all(usable, settings, jobs or os.cpu_count() or 1, progress, out, chosen))
    if out is None:
        for file in usable:
            print(("" if len(files) == 1 else f"==> {file.heard.source} <==\n") + printed(chosen[0], file.heard), end="")
    _tell_problems(files)


def _formats(text: str, out: Path | None, translate: bool) -> list[str]:
    """The formats that were asked for; all of them for files, text for the terminal."""
    chosen = list(dict.fromkeys(text.split(","))) if text else list(FORMATS) if out is not None else ["txt"]
    if unknown := next((name for name in chosen if name not in FORMATS), None):
        raise SettingInvalid(f"--format {text}: {unknown!r} is none; {', '.join(FORMATS)} are")
    if out is None and len(chosen) > 1:
        raise SettingInvalid(f"--format {text}: several formats are written to files, so --out is needed")
    if out is None and translate and chosen[0] in ("srt", "vtt"):
        raise SettingInvalid(f"--format {text}: with a translation there are two tracks, which are written to files, so --out is needed")
    return chosen


def _name(source: str) -> str:
    """What a source's files are called, such as "talk" for "videos/talk.mp4"."""
    return Path(shown(source)).stem or "captions"


def _require_different(files: Sequence[_File]) -> None:
    taken: dict[str, str] = {}
    for file in files:
        other = taken.setdefault(file.name, file.source)
        if other != file.source:
            raise SettingInvalid(f"{other} and {file.source} would both be written to {file.name}.*: give them to separate commands")


def _look_at(file: _File) -> None:
    """Tell what can be told of a source before a model is loaded."""
    try:
        source = open_source(file.source)
        try:
            Sound(source, shown(file.source))
            if source.live:
                raise SourceInvalid(f"{shown(file.source)} is live: follow it with `watchword run`; `transcribe` takes recordings")
        finally:
            source.close()
        file.length = length(file.source)
    except WatchwordError as error:
        file.heard.failure = error


async def _hear_all(
    files: Sequence[_File], settings: Settings, jobs: int, progress: Progress, out: Path | None, formats: Sequence[str]
) -> None:
    """Hear files side by side, all with one model; raises `SettingInvalid` where it cannot do what is asked."""
    stages = await Stages.load(settings.model, api_key=settings.model_key)
    waiting = deque(files)

    async def work() -> None:
        while waiting:
            file = waiting.popleft()
            begun = time.monotonic()
            with progress.file(file.heard.source, file.length) as reached:
                await _hear(file, stages, reached)
            if out is not None:
                _write(out, file, formats)
            progress.done(file.heard.source, file.heard.words, file.heard.media_end, time.monotonic() - begun)

    try:
        for file in files:
            stages.require(file.options)
        async with asyncio.TaskGroup() as group:
            for _ in range(min(jobs, len(files))):
                group.create_task(work())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    finally:
        stages.close()


def _write(out: Path, file: _File, formats: Sequence[str]) -> None:
    for suffix, text in documents(formats, file.heard).items():
        write(out / f"{file.name}.{suffix}", text)


async def _hear(file: _File, stages: Stages, reached: Reached) -> None:
    """Hear one file; what goes wrong is noted with it."""
    stage = stages.make(id_of(file.source), file.options)
    try:
        await _take_in(file, stage, reached)
        async for said in stage.flush():
            _keep(said, file.heard)
        if stage.damaged and not file.heard.problems and file.heard.failure is None:
            packets = "1 packet" if stage.damaged == 1 else f"{stage.damaged} packets"
            told = f"{file.heard.source}: of its sound {packets} could not be decoded; what was said there is missing"
            file.heard.problems.append(MediaUndecodable(told))
    except WatchwordError as error:
        file.heard.failure = error
    finally:
        stage.close()


async def _take_in(file: _File, stage: Stage, reached: Reached) -> None:
    """Let the stage hear all that can be read. Raises what has nothing to do with the file, such as a model that does not answer."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="demux") as thread:
        sound: Sound | None = None
        try:
            sound = await loop.run_in_executor(thread, lambda: Sound(open_source(file.source), shown(file.source)))
            found = chunks(sound, id_of(file.source))
            while (chunk := await loop.run_in_executor(thread, next, found, None)) is not None:
                try:
                    async for said in stage.process(AudioEvent(chunk=chunk)):
                        _keep(said, file.heard)
                except (MediaError, MessageError) as error:
                    file.heard.problems.append(error)
                file.heard.problems += missing(sound, file.heard.source)
                file.heard.media_end = max(chunk_rules.media_end(chunk), file.heard.media_end)
                reached(file.heard.media_end)
        except SourceError as error:
            file.heard.failure = error
        finally:
            if sound is not None:
                thread.submit(sound.close)


def _keep(said: object, heard: Heard) -> None:
    # A final without words only takes back what a partial said.
    if isinstance(said, TranscriptEvent) and said.segment.is_final and said.segment.text:
        heard.finals.append(said.segment)


def _tell_problems(files: Sequence[_File]) -> None:
    for heard in (file.heard for file in files):
        if heard.problems:
            more = f" (and {len(heard.problems) - 1} more like it)" if len(heard.problems) > 1 else ""
            _tell(heard.problems[0], more)
        if heard.failure is not None:
            _tell(heard.failure)
    if any(file.heard.failure is not None for file in files):
        sys.exit(FAILED)
    if any(file.heard.problems for file in files):
        sys.exit(INCOMPLETE)


def _tell(error: WatchwordError, more: str = "") -> None:
    print(f"watchword: {error}{more} [{reason_name(error.reason)}]", file=sys.stderr)
