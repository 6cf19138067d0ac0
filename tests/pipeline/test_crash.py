"""A crash at any point loses no final and says none twice: every point, over the memory bus."""

import asyncio

import pytest

from pipeline.bus.memory import MemoryBus
from tests.fakes import Crash, CrashingBus
from tests.pipeline import crashes
from tests.pipeline.crashes import FINALS, STREAMS, Viewer, publish, until_complete, viewing, work

pytestmark = pytest.mark.unit

PARTIALS = ["0", "0 1", "2", "2 3", "2 3 4", "2 3 4 5", "6", "7"]


async def crash_and_go_on(*ats: int, commit_interval_s: float) -> tuple[bool, Viewer]:
    """Crash at each of the points in turn and go on at last: whether it came to the last crash, and what a viewer has seen."""
    bus = MemoryBus()
    await publish(bus)
    async with viewing(bus) as viewer:
        for at in ats:
            crashing = CrashingBus(bus, at)
            try:
                await until_complete(viewer, work(crashing, commit_interval_s=commit_interval_s))
            except* Crash:
                pass
        if crashing.crashed:
            await until_complete(viewer, work(bus, commit_interval_s=commit_interval_s))
    return crashing.crashed, viewer


@pytest.mark.parametrize("commit_interval_s", [0.0, 10.0], ids=["commits all the time", "commits hardly ever"])
def test_no_final_is_lost_or_said_twice_wherever_it_crashes(commit_interval_s: float) -> None:
    repetitions = 0
    at = 0
    while True:
        at += 1
        crashed, viewer = asyncio.run(crash_and_go_on(at, commit_interval_s=commit_interval_s))
        viewer.check()
        if not crashed:
            break
        repetitions += viewer.repetitions
    # Each stream has 8 partials, 4 finals and an end, said by two steps: every crash before that really happened.
    assert at > 2 * 2 * (8 + 4 + 1)
    assert repetitions > 0, "a run that goes on says some things again, or this proves nothing about repetitions"


def test_crash_after_crash() -> None:
    crashed, viewer = asyncio.run(crash_and_go_on(5, 9, 14, 3, 20, 1, 2, 11, commit_interval_s=0))
    assert crashed
    viewer.check()


def test_partials_are_what_they_are_without_a_crash() -> None:
    crashed, calm = asyncio.run(crash_and_go_on(10_000, commit_interval_s=0))
    assert not crashed
    assert calm.partials == dict.fromkeys(STREAMS, PARTIALS)
    crashed, viewer = asyncio.run(crash_and_go_on(30, commit_interval_s=0))
    assert crashed
    assert viewer.partials == calm.partials


def test_a_stage_that_says_it_holds_nothing_loses_finals(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself: it notices when too little is read again."""
    monkeypatch.setattr(crashes.Windows, "held", 0)
    wrong = [at for at in range(1, 40) if asyncio.run(crash_and_go_on(at, commit_interval_s=0))[1].finals != dict.fromkeys(STREAMS, FINALS)]
    assert wrong
