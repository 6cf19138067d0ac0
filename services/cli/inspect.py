"""Commands that look at this machine: doctor and models."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.models import HubSource, ModelRow, ModelState, PackageSource, list_models, verify_all

STYLES = {"ok": "green", "present": "green", "warn": "yellow", "missing": "yellow", "mismatch": "red"}


def doctor(*, kafka: str, deep: bool) -> None:
    """Print what was found; exit with 1 if something is wrong (missing extras are not wrong)."""
    from pipeline.doctor import examine

    table = Table("what", "state", "found", "what to do", box=None, pad_edge=False)
    findings = examine(kafka=kafka, deep=deep)
    for finding in findings:
        state = finding.state.value
        table.add_row(finding.what, f"[{STYLES.get(state, '')}]{state}[/]", finding.detail, finding.advice)
    Console(highlight=False).print(table)


def models_list() -> None:
    """Print every model of the catalog."""
    _print(list_models())


def models_verify() -> None:
    """Print every model after hashing its files; exit with 1 if one that is here is not the right one."""
    rows = verify_all()
    _print(rows)
    if any(row.state is ModelState.MISMATCH for row in rows):
        sys.exit(1)


def models_pull(name: str, source: Path | None) -> None:
    """Fetch a model, or adopt it from a folder, and print where it lies."""
    from pipeline.models.pull import pull

    print(pull(name, source=source))


def _print(rows: list[ModelRow]) -> None:
    table = Table("model", "task", "state", "licence", "from", "where, or what to do", box=None, pad_edge=False)
    for row in rows:
        state = row.state.value
        where = str(row.directory) if row.directory is not None else row.detail
        mark = f"[{STYLES.get(state, '')}]{state}[/]"
        table.add_row(row.model.name, row.model.task, mark, row.model.licence, _source(row.model.source), where)
    Console(highlight=False).print(table)


def _source(source: PackageSource | HubSource) -> str:
    return f"package {source.package}" if isinstance(source, PackageSource) else f"hub {source.repo}"
