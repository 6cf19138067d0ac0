"""What waits for the worker of a captioner: seats, answers one by one, places given up, and a worker that breaks."""

import asyncio
import threading

import pytest

from pipeline.caption.vlm.intake import Intake
from pipeline.errors import InternalError, Overloaded

pytestmark = pytest.mark.unit


class Worker:
    """Takes one scene at a time when it is let go on; "bad" breaks it, "lost" is never answered, "refused" fails by itself."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.pictures: list[str] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()

    def __call__(self, intake: Intake[str, str]) -> None:
        self.begun.set()
        assert self.go_on.wait(20)
        while True:
            scenes, pictures = intake.take(1, 8)
            if not scenes and not pictures:
                return
            self.taken += scenes
            self.pictures += pictures
            for item in pictures:
                intake.settle(item, None)
            for item in scenes:
                if item == "bad":
                    raise OSError("broken")
                if item != "lost":
                    intake.settle(item, KeyError(item) if item == "refused" else None)


async def _submitted(intake: Intake[str, str], *items: str) -> list["asyncio.Task[None]"]:
    tasks = [asyncio.ensure_future(intake.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_each_is_answered_in_turn_and_an_error_is_its_own() -> None:
    worker = Worker()
    intake = Intake(worker, name="test")

    async def run() -> list[object]:
        tasks = await _submitted(intake, "a", "refused", "b")
        worker.go_on.set()
        await intake.submit_picture("p")
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = asyncio.run(run())
    assert worker.taken == ["a", "refused", "b"]
    assert worker.pictures == ["p"]
    assert (first, third) == (None, None)
    assert isinstance(second, KeyError)


def test_a_worker_that_breaks_fails_what_it_had_taken_and_serves_the_rest() -> None:
    worker = Worker()
    intake = Intake(worker, name="test")

    async def run() -> list[object]:
        tasks = await _submitted(intake, "bad", "a", "lost")
        worker.go_on.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    bad, good, lost = asyncio.run(run())
    assert isinstance(bad, OSError)
    assert good is None
    assert isinstance(lost, InternalError)


def test_a_caller_that_leaves_gives_its_place_up() -> None:
    worker = Worker()
    intake = Intake(worker, name="test", waiting=2)

    async def run() -> None:
        staying, leaving = await _submitted(intake, "a", "b")
        with pytest.raises(Overloaded, match="2 scenes wait"):
            await intake.submit("c")
        leaving.cancel()
        await asyncio.sleep(0)
        (late,) = await _submitted(intake, "d")
        worker.go_on.set()
        await asyncio.gather(staying, late)

    asyncio.run(run())
    assert worker.taken == ["a", "d"]


def test_what_waits_when_it_is_closed_is_still_done_and_nothing_more_is_taken() -> None:
    worker = Worker()
    intake = Intake(worker, name="test")

    async def run() -> None:
        tasks = await _submitted(intake, "a", "b")
        intake.close()
        with pytest.raises(RuntimeError, match="closed"):
            await intake.submit("c")
        worker.go_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert worker.taken == ["a", "b"]


def test_it_serves_again_after_it_had_nothing_to_do() -> None:
    worker = Worker()
    worker.go_on.set()
    intake = Intake(worker, name="test")
    for item in "abc":
        asyncio.run(intake.submit(item))
    assert worker.taken == ["a", "b", "c"]
