"""Beginning again, as often as makes sense."""

import asyncio

import pytest
from structlog.typing import EventDict

from pipeline.bus import anew
from pipeline.errors import BrokerRenewed

pytestmark = pytest.mark.unit


def test_work_that_is_never_done_ends_in_the_error(monkeypatch: pytest.MonkeyPatch, logs: list[EventDict]) -> None:
    pauses = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    async def work() -> None:
        raise BrokerRenewed("the topic flickers")

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(BrokerRenewed, match="flickers"):
        asyncio.run(anew.begin_anew("step", work))
    assert [entry["event"] for entry in logs] == ["begun_anew"] * anew.MOST
    assert pauses == sorted(pauses)
    assert pauses[-1] > pauses[0] > 0


def test_work_that_is_begun_anew_now_and_then_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anew, "PAUSE_S", 0.0)
    monkeypatch.setattr(anew, "WITHIN_S", -1.0)
    outcomes = [BrokerRenewed("once more")] * (3 * anew.MOST)

    async def work() -> None:
        if outcomes:
            raise outcomes.pop()

    asyncio.run(anew.begin_anew("step", work))
    assert not outcomes
