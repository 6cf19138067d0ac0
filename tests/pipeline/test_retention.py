"""How long what belongs to a stream is kept."""

import asyncio

import pytest

from pipeline.memory import retention
from pipeline.memory.retention import Retention, Rule, keep_s, read
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Facts, Kind
from tests.pipeline.store_suite import at, entry, judged, names, picture, spoken, state, summary, texts

pytestmark = pytest.mark.unit

DAY = 86_400


def test_the_first_rule_that_matches_a_stream_holds() -> None:
    rules = read("lobby-*=12h, meeting-?=forever, 30d")
    assert rules == (Rule("lobby-*", 12 * 3600), Rule("meeting-?", None), Rule("*", 30 * DAY))
    assert [keep_s(stream, rules) for stream in ("lobby-1", "meeting-1", "meeting-10")] == [12 * 3600, None, 30 * DAY]
    assert keep_s("any", ()) is None


@pytest.mark.parametrize("text", ["", "30", "d", "30y", "lobby-*=", "=30d", "0d", "-1d", "99999d", "a b=1d", "30d,,"])
def test_a_rule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no NAME=TIME|at least a minute"):
        read(text)


def test_what_is_too_old_goes_in_small_steps_with_what_was_made_of_it_and_stays_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEP", 2)

    async def test() -> None:
        now = 1_000_000.0
        store = SqliteStore(clock=lambda: now - 7200)
        entries = [await entry(spoken(f"minute {n}", 60.0 * n), facts=Facts(started_at=now - 3600)) for n in range(20)]
        entries += [picture(30), picture(601), await entry(summary("minute 0", 0, 299, "segment-0/speech/0"))]
        await store.put_all(entries)
        await store.remove("s", "segment-1", judged("segment-1", 1))
        await store.put_all([await entry(spoken("kept for ever", 0, stream="t"))])
        sweeping = Retention(store, read("t=forever,48m"), clock=lambda: now)
        assert await sweeping.sweep() == 10
        assert await texts(store) == [f"minute {n}" for n in range(10, 20)]
        assert [each.at for each in await store.pictures("s")] == [at(601)]
        assert await store.between("s", Kind.SUMMARY) == []
        assert await store.judgements("s") == []
        assert ((await state(store)).moments, (await state(store)).pictures) == (10, 1)
        await store.put_all(entries[:20])
        assert len(await texts(store)) == 10
        assert await sweeping.sweep() == 0
        assert await texts(store, stream="t") == ["kept for ever"]
        await store.end("s")
        assert await Retention(store, read("t=forever,1m"), clock=lambda: now + DAY).sweep() == 10
        assert await names(store) == ["t"]
        await store.close()

    asyncio.run(test())


def test_where_everything_is_kept_nothing_is_looked_for() -> None:
    async def test() -> None:
        store = SqliteStore()
        await asyncio.wait_for(Retention(store, read("forever")).run(), 5)
        await store.close()

    asyncio.run(test())
