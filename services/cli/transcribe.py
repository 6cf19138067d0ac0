"""`watchword transcribe`: the captions of recordings, written to files or printed."""

import asyncio
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from watchword.v1.events_pb2 import AudioEvent, TranscriptEvent

from pipeline.errors import SettingInvalid, SourceInvalid, WatchwordError, reason_name
from pipeline.media import chunks as chunk_rules
from pipeline.media.address import shown
from pipeline.media.source import open_source
from pipeline.timeline import MediaTime
from pipeline.transcribe.options import Options
from services.cli import logs
from services.cli.documents import FORMATS, Heard, documents, printed
from services.cli.progress import Progress, Reached
from services.cli.run import INCOMPLETE, id_of
from services.cli.session import require_folder
from services.settings import Settings, read
from services.speech import Asked
from services.transcriber.sound import Sound, chunks, length
from services.transcriber.stages import Stages

FAILED = 1
MOST_AT_ONCE = 4
"""Files that are heard at once, at most, unless more are asked for: each has a model of its own in memory."""


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
        _File(source, _name(source), replace(asked.over(settings.options(id_of(source))), interim=False), Heard(shown(source)))
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
            asyncio.run(_hear_all(usable, settings, jobs or min(os.cpu_count() or 1, MOST_AT_ONCE), progress, out, chosen))
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
    """Hear files side by side, each with a model of its own; raises `SettingInvalid` where the model cannot do what is asked."""
    waiting: asyncio.Queue[_File] = asyncio.Queue()
    for file in files:
        waiting.put_nowait(file)

    async def work(stages: Stages) -> None:
        while not waiting.empty():
            file = waiting.get_nowait()
            begun = time.monotonic()
            with progress.file(file.heard.source, file.length) as reached:
                await _hear(file, stages, reached)
            if out is not None:
                for suffix, text in documents(formats, file.heard).items():
                    (out / f"{file.name}.{suffix}").write_text(text, encoding="utf-8")
            progress.done(file.heard.source, file.heard.words, file.heard.media_end, time.monotonic() - begun)

    loaded: list[Stages] = []
    try:
        for _ in range(min(jobs, len(files))):
            loaded.append(await Stages.load(settings.model, api_key=settings.model_key))
            for file in files:
                loaded[0].require(file.options)
        async with asyncio.TaskGroup() as group:
            for stages in loaded:
                group.create_task(work(stages))
    finally:
        for stages in loaded:
            stages.close()


async def _hear(file: _File, stages: Stages, reached: Reached) -> None:
    """Hear one file; what goes wrong is noted with it."""
    loop = asyncio.get_running_loop()
    stream_id = id_of(file.source)
    stage = stages.make(stream_id, file.options)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="demux") as thread:
        sound: Sound | None = None
        try:
            try:
                sound = await loop.run_in_executor(thread, lambda: Sound(open_source(file.source), shown(file.source)))
                found = chunks(sound, stream_id)
                while (chunk := await loop.run_in_executor(thread, next, found, None)) is not None:
                    try:
                        async for said in stage.process(AudioEvent(chunk=chunk)):
                            _keep(said, file.heard)
                    except WatchwordError as error:
                        file.heard.problems.append(error)
                    file.heard.media_end = max(chunk_rules.media_end(chunk), file.heard.media_end)
                    reached(file.heard.media_end)
            except WatchwordError as error:
                file.heard.failure = error
            async for said in stage.flush():
                _keep(said, file.heard)
        finally:
            stage.close()
            if sound is not None:
                thread.submit(sound.close)


def _keep(said: object, heard: Heard) -> None:
    # A final without words only takes back what a partial said.
    if isinstance(said, TranscriptEvent) and said.segment.is_final and said.segment.text:
        heard.finals.append(said.segment)


def _tell_problems(files: Sequence[_File]) -> None:
    for file in files:
        for error in [*file.heard.problems[:1], *([file.heard.failure] if file.heard.failure else [])]:
            more = (
                f" (and {len(file.heard.problems) - 1} more like it)"
                if error is not file.heard.failure and len(file.heard.problems) > 1
                else ""
            )
            print(f"watchword: {error}{more} [{reason_name(error.reason)}]", file=sys.stderr)
    if any(file.heard.failure is not None for file in files):
        sys.exit(FAILED)
    if any(file.heard.problems for file in files):
        sys.exit(INCOMPLETE)
