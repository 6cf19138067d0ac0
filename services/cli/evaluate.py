"""`watchword eval`: question sets asked in this process or of a running system, and a report of how well they were answered."""

import asyncio
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingInvalid
from pipeline.evaluation import report
from pipeline.evaluation.questions import QuestionSet, load
from services.cli import logs
from services.cli.files import write
from services.cli.session import require_folder
from services.cli.status import INCOMPLETE
from services.evaluation.cleared import Shelf
from services.evaluation.run import Outcome, stream_of
from services.settings import Settings, read, require_address


@dataclass(frozen=True)
class Options:
    """How it is evaluated."""

    part: str = ""
    gateway: str = ""
    answerer: str = ""
    speed: float | None = None
    cache: Path = Path("out/eval-cache")
    fresh: bool = False
    small: int = 0


def evaluate(sets: Sequence[Path], *, out: Path, against: Path | None, options: Options) -> None:
    """Evaluate and write the report; exits with 3 where questions could not be asked, or the system failed at one."""
    settings = read(os.environ)
    logs.configure(settings.log or "error")
    questions = _merged([load(path) for path in sets])
    before = _read_report(against) if against is not None else None
    require_folder(out)
    outcome = asyncio.run(_evaluate(questions, settings, options))
    found = report.numbers(
        outcome.system,
        outcome.asked,
        blind=outcome.blind,
        small=outcome.small,
        heard=[(each.medium, each.errors, each.words, each.delays_s) for each in outcome.heard],
        problems=outcome.problems,
        about={
            "sets": ", ".join(map(str, sets)),
            "part": options.part or "all",
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        },
    )
    _write(out, found, before)
    for name, share in {**found["answers"], **{f"abstention {key}": value for key, value in found["abstention"].items()}}.items():
        print(f"{name:22} {share['part']:4} of {share['of']}")
    print(f"wrote: {out / 'report.md'}, {out / 'report.json'} and charts")
    wanted = sum(options.part in ("", each.part) for each in questions.questions)
    if cause := _incomplete(wanted, outcome, found["failures"]):
        print(f"watchword: {cause}", file=sys.stderr)
        sys.exit(INCOMPLETE)


def _incomplete(wanted: int, outcome: Outcome, failures: Sequence[str]) -> str:
    """What is missing in an evaluation; empty where every question was asked and answered in some way."""
    if not wanted:
        return "there is no question to ask"
    if len(outcome.asked) < wanted:
        cause = next(iter(outcome.problems), "no cause is known")
        return f"{wanted - len(outcome.asked)} of {wanted} questions could not be asked: {cause}"
    return f"{len(failures)} of {wanted} questions failed: {failures[0]}" if failures else ""


async def _evaluate(questions: QuestionSet, settings: Settings, options: Options) -> Outcome:
    from services.evaluation.run import evaluate as run_evaluation

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    if options.gateway:
        from services.evaluation.systems import Running
        from services.rpc import channel

        async with channel(require_address(options.gateway), settings) as link:
            return await run_evaluation(questions, Running(options.gateway, link, options.answerer), None, part=options.part, tell=tell)
    from pipeline.qa import model
    from services.evaluation.systems import InProcess, answerer_of
    from services.memory.answerers import load_looks, load_reranker

    shelf = Shelf(options.cache, settings, speed=options.speed, fresh=options.fresh)
    embedder = await asyncio.to_thread(model.load)
    looks = await asyncio.to_thread(load_looks, settings, embedder)
    reranker = await asyncio.to_thread(load_reranker, settings)
    name, make = answerer_of(settings, options.answerer, reranker)
    system = InProcess(name, embedder, make, looks, reranker)
    try:
        return await run_evaluation(questions, system, shelf, part=options.part, tell=tell, small=options.small)
    finally:
        await shelf.close()
        await system.close()
        for model_of in (looks, reranker):
            if model_of is not None:
                await model_of.close()
        await embedder.close()


def _merged(sets: Sequence[QuestionSet]) -> QuestionSet:
    media = {name: medium for each in sets for name, medium in each.media.items()}
    if len(media) < sum(len(each.media) for each in sets):
        raise SettingInvalid("two of the question sets name the same media: evaluate them one after the other")
    streams: dict[str, str] = {}
    for medium in media.values():
        other = streams.setdefault(stream_of(medium), medium.name)
        if other != medium.name:
            raise SettingInvalid(f"{other} and {medium.name} would be one stream, {stream_of(medium)}: give one of them another name")
    return QuestionSet(media, [question for each in sets for question in each.questions])


def _read_report(path: Path) -> report.Numbers:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingInvalid(f"--against {path} cannot be read: {error}") from error
    if not isinstance(found, dict) or found.get("format") != report.FORMAT:
        raise SettingInvalid(f"--against {path} is no report.json of this version")
    return found


def _write(out: Path, found: report.Numbers, before: report.Numbers | None) -> None:
    write(out / "report.json", json.dumps(found, ensure_ascii=False, indent=1) + "\n")
    drawn = report.charts(found, before)
    shown = "".join(f"\n![{name.removesuffix('.svg')}]({name})\n" for name in drawn)
    write(out / "report.md", report.markdown(found, before) + shown)
    for name, svg in drawn.items():
        write(out / name, svg)
