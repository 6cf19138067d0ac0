"""Commands that look at this machine: doctor and models."""

import os
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from pipeline.models import ModelRow, ModelState, list_models, load_catalog, verify_all

STYLES = {"ok": "green", "present": "green", "warn": "yellow", "missing": "yellow", "mismatch": "red"}


def doctor(*, kafka: str, deep: bool) -> None:
    """Print what was found, and below it what would help; exit with 1 if something that is needed is missing or wrong."""
    from pipeline.doctor import State, examine
    from pipeline.media.decoders.choose import WANTED

    asked = os.environ.get("WATCHWORD_DECODER")
    findings = examine(kafka=kafka, deep=deep, decoder=next((name for name in WANTED if name == asked), "auto"))
    for finding in findings:
        _line(finding.state.value, finding.what, finding.detail, finding.advice)
    if any(finding.state is State.MISSING for finding in findings):
        sys.exit(1)


def models_list(catalog: list[Path]) -> None:
    """Print every model of the catalog."""
    _print(list_models(catalog=load_catalog(*catalog)))


def models_verify(catalog: list[Path]) -> None:
    """Print every model after hashing its files; exit with 1 if one that is here is not the right one."""
    rows = verify_all(catalog=load_catalog(*catalog))
    _print(rows)
    if any(row.state is ModelState.MISMATCH for row in rows):
        sys.exit(1)


def models_pull(name: str, source: Path | None, catalog: list[Path]) -> None:
    """Fetch a model, or adopt it from a folder, and print where it lies."""
    from pipeline.models.pull import pull

    print(pull(name, source=source, catalog=load_catalog(*catalog)))


def _print(rows: list[ModelRow]) -> None:
    for row in rows:
        model = row.model
        where = str(row.directory) if row.directory is not None else ""
        about = f"{model.task}; {model.licence}; from {model.source.origin}"
        _line(row.state.value, model.name, about, row.detail or where)


def _line(state: str, what: str, found: str, more: str) -> None:
    """One finding: its state, what it is about, what was found, and below it what else there is to say."""
    console = Console(highlight=False, soft_wrap=True)
    first, *others = found.splitlines() or [""]
    console.print(Text(f"{state:<9}", style=STYLES.get(state, "")) + Text(f"{what:<25} ", style="bold") + Text(first))
    for line in [*others, *more.splitlines()]:
        console.print(Text(" " * 35 + line, style="dim"))
