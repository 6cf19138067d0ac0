"""Batches across streams: who goes with whom, whose turn it is, and who hears of an error; nobody sleeps."""

import asyncio
import itertools
import threading
from collections.abc import Sequence

import pytest

from pipeline.batcher import LONGEST_PATIENCE, Batcher, Gathering
from pipeline.errors import InternalError, Overloaded

pytestmark = pytest.mark.unit


def items(gathering: Gathering[str], now: float = 0.0, active: Sequence[str] = ()) -> str:
    return " ".join(waiting.item for waiting in gathering.take(now, active))


def gathering(*waiting: str, most: int = 8, patience: float = 0.0, idle: bool = False, workers: int = 1) -> Gathering[str]:
    """Items such as "a1": stream "a", first item; one behind a "/" has a key of its own."""
    found = Gathering[str](most=most, patience=patience, workers=workers)
    for item in waiting:
        name, _, key = item.partition("/")
        found.add(name, key=key, stream=name[0], now=0.0, idle=idle)
    return found


class TestGathering:
    def test_what_has_one_key_goes_together(self) -> None:
        found = gathering("a1/x", "b1/y", "c1/x", "d1/y")
        assert [items(found), items(found), items(found)] == ["a1 c1", "b1 d1", ""]

    def test_no_batch_is_larger_than_it_may_be(self) -> None:
        found = gathering("a1", "b1", "c1", "d1", "e1", most=2)
        assert [items(found), items(found), items(found)] == ["a1 b1", "c1 d1", "e1"]

    def test_what_waits_is_shared_among_the_workers(self) -> None:
        found = gathering("a1", "b1", "c1", "d1", "e1", workers=2)
        assert [items(found), items(found), items(found)] == ["a1 b1 c1", "d1", "e1"]

    def test_a_stream_that_asks_for_much_is_not_served_before_the_others(self) -> None:
        found = gathering("a1", "a2", "a3", "a4", "b1", "c1", "b2", most=2)
        assert [items(found) for _ in range(4)] == ["a1 b1", "c1 a2", "b2 a3", "a4"]

    def test_a_key_that_nobody_shares_gets_its_turn(self) -> None:
        found = gathering("a1/x", "b1/y", "a2/x", "c1/x", "a3/x", most=1)
        assert [items(found) for _ in range(5)] == ["a1", "b1", "c1", "a2", "a3"]

    def test_one_stream_alone_waits_for_nobody(self) -> None:
        found = gathering("a1", patience=0.05, idle=True)
        assert items(found, active=["a"]) == "a1"

    def test_with_others_about_company_is_waited_for_and_no_longer_than_the_patience(self) -> None:
        found = gathering("a1", patience=0.05, idle=True)
        assert items(found, 0.049, active=["b"]) == ""
        assert found.next_start() == 0.05
        found.add("c1", key="", stream="c", now=0.049, idle=True)
        assert items(found, 0.05, active=["b"]) == "a1 c1"
        assert found.next_start() is None

    def test_a_full_batch_waits_no_longer(self) -> None:
        found = gathering("a1", "b1", patience=0.05, idle=True, most=2)
        assert items(found, active=["c"]) == "a1 b1"

    def test_when_the_others_are_done_nobody_is_waited_for(self) -> None:
        found = gathering("a1", patience=0.05, idle=True)
        assert items(found, active=["b"]) == ""
        assert items(found) == "a1"

    def test_what_came_while_the_workers_were_busy_starts_with_the_next_free_one(self) -> None:
        found = gathering("a1", patience=0.05, idle=True)
        found.add("b1", key="other", stream="b", now=0.0, idle=False)
        assert items(found, active=["c"]) == "b1"
        assert items(found, active=["c"]) == ""

    def test_a_removed_item_frees_its_place_once(self) -> None:
        found = gathering("a1")
        waiting = found.add("a2", key="", stream="a", now=0.0, idle=False)
        assert found.remove(waiting)
        assert not found.remove(waiting)
        assert len(found) == 1
        assert items(found) == "a1"

    @pytest.mark.parametrize(("most", "patience"), [(0, 0.0), (1, -0.1), (1, LONGEST_PATIENCE * 1.1)])
    def test_an_impossible_rule_is_refused(self, most: int, patience: float) -> None:
        with pytest.raises(ValueError, match=f"batches of {most} after"):
            Gathering[str](most=most, patience=patience)


class Worker:
    """Answers "x" with "X" when it is let go on, and remembers batches; an item "bad" breaks its batch, "refused" only itself."""

    def __init__(self, *, free: bool = True) -> None:
        self.batches: list[list[str]] = []
        self.started = threading.Semaphore(0)
        self.go_on = threading.Event()
        if free:
            self.go_on.set()

    def __call__(self, batch: Sequence[str]) -> Sequence[str | Exception]:
        self.batches.append(list(batch))
        self.started.release()
        assert self.go_on.wait(20)
        if "bad" in batch:
            raise OSError("broken")
        return [KeyError(item) if item == "refused" else item.upper() for item in batch]

    async def begun(self) -> None:
        """Return when another batch has begun."""
        assert await asyncio.to_thread(self.started.acquire, timeout=20)


async def _submit(batcher: Batcher[str, str], *items: str) -> list["asyncio.Task[str]"]:
    tasks = [asyncio.ensure_future(batcher.submit(item, key="k", stream=item)) for item in items]
    await asyncio.sleep(0)
    return tasks


def test_what_queues_while_the_worker_is_busy_is_the_next_batch() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test")

    async def run() -> list[str]:
        first = await _submit(batcher, "a")
        await worker.begun()
        rest = await _submit(batcher, "b", "c", "d")
        worker.go_on.set()
        return list(await asyncio.gather(*first, *rest))

    assert asyncio.run(run()) == ["A", "B", "C", "D"]
    assert worker.batches == [["a"], ["b", "c", "d"]]
    batcher.close()


def test_as_many_batches_run_at_once_as_there_are_workers() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test", workers=2)

    async def run() -> None:
        tasks = await _submit(batcher, "a")
        await worker.begun()
        tasks += await _submit(batcher, "b")
        await worker.begun()
        tasks += await _submit(batcher, "c")
        assert worker.batches == [["a"], ["b"]]
        worker.go_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert worker.batches == [["a"], ["b"], ["c"]]
    batcher.close()


def test_the_clock_decides_how_long_company_is_waited_for() -> None:
    worker, seconds = Worker(free=False), itertools.count()
    batcher = Batcher(worker, name="test", workers=2, patience=LONGEST_PATIENCE, clock=lambda: float(next(seconds)))

    async def run() -> None:
        tasks = await _submit(batcher, "a")
        await worker.begun()
        tasks += await _submit(batcher, "b")
        await worker.begun()
        worker.go_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())
    assert worker.batches == [["a"], ["b"]]
    batcher.close()


def test_an_error_reaches_its_callers_and_nobody_else() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test")

    async def run() -> list[str | BaseException]:
        first = await _submit(batcher, "first")
        await worker.begun()
        rest = await _submit(batcher, "good", "bad", "refused", "fine")
        worker.go_on.set()
        return list(await asyncio.gather(*first, *rest, return_exceptions=True))

    first, good, bad, refused, fine = asyncio.run(run())
    assert (first, good, fine) == ("FIRST", "GOOD", "FINE")
    assert isinstance(bad, OSError)
    assert isinstance(refused, KeyError)
    assert worker.batches[1:] == [["good", "bad", "refused", "fine"], ["good"], ["bad"], ["refused"], ["fine"]]
    batcher.close()


def test_a_cancelled_caller_frees_its_place_and_leaves_the_others_alone() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test", waiting=2)

    async def run() -> list[str | BaseException]:
        (running,) = await _submit(batcher, "running")
        await worker.begun()
        leaving, staying = await _submit(batcher, "leaving", "staying")
        with pytest.raises(Overloaded, match="2 items wait"):
            await batcher.submit("too many", key="k")
        leaving.cancel()
        running.cancel()
        await asyncio.sleep(0)
        rest = await _submit(batcher, "new")
        worker.go_on.set()
        return list(await asyncio.gather(running, leaving, staying, *rest, return_exceptions=True))

    running, leaving, staying, new = asyncio.run(run())
    assert isinstance(running, asyncio.CancelledError)
    assert isinstance(leaving, asyncio.CancelledError)
    assert (staying, new) == ("STAYING", "NEW")
    assert worker.batches == [["running"], ["staying", "new"]]
    batcher.close()


def test_it_outlives_the_loop_it_was_used_from() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test")

    async def leave() -> None:
        await _submit(batcher, "left behind")
        await worker.begun()

    asyncio.run(leave())
    worker.go_on.set()
    assert asyncio.run(batcher.submit("next", key="k")) == "NEXT"
    batcher.close()


def test_after_closing_what_waits_is_done_and_nothing_is_taken() -> None:
    worker = Worker(free=False)
    batcher = Batcher(worker, name="test")

    async def run() -> list[str]:
        first = await _submit(batcher, "a")
        await worker.begun()
        rest = await _submit(batcher, "b")
        batcher.close()
        with pytest.raises(RuntimeError, match="closed"):
            await batcher.submit("c", key="k")
        worker.go_on.set()
        return list(await asyncio.gather(*first, *rest))

    assert asyncio.run(run()) == ["A", "B"]


def test_a_run_that_loses_an_item_is_a_defect() -> None:
    batcher = Batcher[str, str](lambda batch: [], name="test")
    with pytest.raises(InternalError, match="1 items were run together and 0 results"):
        asyncio.run(batcher.submit("a", key="k"))
    batcher.close()
