"""Summaries: which sentences are chosen, and that the work goes on, starts again, and never says what is gone."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import EVIDENCE, Kind, Level, Moment, Scope, Span
from pipeline.memory.summarise import Summariser
from pipeline.memory.summary import Stretch, summarise
from tests.pipeline.store_suite import EMBEDDER, at, dump, entry, shown, spoken

pytestmark = pytest.mark.unit

FIVE = Stretch(Level.FIVE_MINUTES, at(0), at(300))

TALK = [
    "The harbour is open today.",
    "The harbour is open today for ships.",
    "The harbour opens for ships today.",
    "Yes.",
    "Nine cats sleep on the roof.",
    "A storm is coming from the north.",
]


def lines_of(texts: list[str], stretch: Stretch = FIVE) -> list[Moment]:
    moments = [spoken(text, 3.0 * number) for number, text in enumerate(texts)]
    return summarise(stretch, "s", moments, asyncio.run(EMBEDDER.embed(texts)))[0]


def test_the_chosen_sentences_are_central_differ_and_are_quoted_as_they_are() -> None:
    lines = lines_of(TALK, Stretch(Level.SCENE, at(0), at(300)))
    assert [line.text for line in lines] == [TALK[1], TALK[4], TALK[5]]
    assert [line.cites for line in lines] == [(f"segment-{start}000/speech/0",) for start in (3, 12, 15)]
    assert [(line.kind, line.source_id, line.part, line.start) for line in lines][1] == (Kind.SUMMARY, "summary-scene-0", 1, at(12))


def test_the_order_in_which_moments_come_and_the_last_digits_of_vectors_change_nothing() -> None:
    moments = [spoken(text, 3.0 * number) for number, text in enumerate(TALK)]
    vectors = asyncio.run(EMBEDDER.embed(TALK))
    first = summarise(FIVE, "s", moments, vectors)[0]
    noise = np.random.default_rng(1).standard_normal(vectors.shape).astype(np.float32) * 1e-7
    assert summarise(FIVE, "s", moments[::-1], (vectors + noise)[::-1])[0] == first


def test_a_line_that_stays_on_the_screen_is_said_once_and_a_word_alone_only_where_there_is_nothing_else() -> None:
    assert [line.text for line in lines_of(["Room 42 is closed"] * 5 + ["Yes."])] == ["Room 42 is closed"]
    assert [line.text for line in lines_of(["Yes.", "yes"])] == ["Yes."]
    assert lines_of([]) == []


async def talk(store: SqliteStore, minutes: int = 61, *, end: bool = True) -> None:
    """A sentence every twenty seconds, and a scene of two minutes after another."""
    entries = [await entry(spoken(f"topic {n // 15} sentence number {n} says word{n}", 20.0 * n)) for n in range(3 * minutes)]
    for n in range(minutes // 2):
        scene = shown(f"a picture of thing{n}", 120.0 * n)
        whole = Moment(scene.stream_id, scene.source_id, scene.kind, 0, scene.text, at(120.0 * n), at(120.0 * (n + 1)), "m")
        entries.append(await entry(whole))
    await store.put_all(entries)
    if end:
        await store.end("s")


async def summaries(store: SqliteStore) -> dict[Level, list[Moment]]:
    return {level: await store.summaries("s", level, limit=200) for level in Level}


def test_every_level_cites_the_one_below_down_to_what_was_said() -> None:
    async def test() -> None:
        store = SqliteStore()
        await talk(store)
        assert await Summariser(store).catch_up() == 13 + 2
        made = await summaries(store)
        evidence = {m.id: m.text for kind in EVIDENCE for m in await store.between("s", kind, limit=200)}
        lines = {line.id: line.text for level in Level for line in made[level]}
        assert len({line.source_id for line in made[Level.FIVE_MINUTES]}) == 13
        assert {line.source_id for line in made[Level.HOUR]} == {"summary-1h-0", "summary-1h-3600000"}
        for level, below in ((Level.SCENE, evidence), (Level.FIVE_MINUTES, lines), (Level.HOUR, lines)):
            for line in made[level]:
                (cited,) = line.cites
                assert below[cited] == line.text
        assert all(cite.startswith("summary-5m-") for line in made[Level.HOUR] for cite in line.cites)
        assert {line.source_id for line in made[Level.SCENE]} >= {"summary-scene-0", "summary-scene-120000", "summary-scene-300000"}
        hits = await store.search(Scope(("s",), frozenset([Kind.SUMMARY])), ["picture"], (await EMBEDDER.embed(["a picture"]))[0])
        assert {found.moment.kind for found in hits.by_words} == {Kind.SUMMARY}
        state = await store.stream("s")
        assert state is not None
        assert state.ended
        await store.close()

    asyncio.run(test())


def test_what_is_not_complete_waits_and_what_comes_late_is_taken_in() -> None:
    async def test() -> None:
        store = SqliteStore()
        await talk(store, minutes=7, end=False)
        summariser = Summariser(store)
        assert await summariser.catch_up() == 1
        assert {line.source_id for line in (await summaries(store))[Level.FIVE_MINUTES]} == {"summary-5m-0"}
        assert await summariser.catch_up() == 0
        await store.put_all([await entry(spoken("a late and most unusual remark", 301))])
        await store.put_all([await entry(spoken("an early and most unusual remark", 1, source="late"))])
        assert await summariser.catch_up() == 1
        await store.end("s")
        assert await summariser.catch_up() == 2
        await store.close()

    asyncio.run(test())


def test_after_a_restart_in_the_middle_the_same_comes_of_it(tmp_path: Path) -> None:
    async def test() -> list[object]:
        store = SqliteStore(tmp_path / "m.db", clock=lambda: 7.0)
        if await store.stream("s") is None:
            await talk(store)
        else:
            claimed = await store.claim(1000.0)
            assert claimed is not None  # and its owner dies: another takes it up a minute later
        summariser = Summariser(store, clock=lambda: 2000.0)
        for _ in range(4):
            await summariser.step()
        told = await dump(store)
        await store.close()
        return told

    async def at_once() -> list[object]:
        store = SqliteStore(clock=lambda: 7.0)
        await talk(store)
        await Summariser(store).catch_up()
        told = await dump(store)
        await store.close()
        return told

    ends = [asyncio.run(test()) for _ in range(4)]
    assert ends[0] != ends[-1]
    assert ends[-1] == asyncio.run(at_once())


def test_what_is_forgotten_or_withheld_while_it_is_summarised_does_not_come_in() -> None:
    async def test() -> None:
        store = SqliteStore()
        await store.put_all([await entry(spoken("a secret that goes", 1)), await entry(spoken("a thing that stays", 9))])
        await store.end("s")
        work = await store.claim(1000.0)
        assert work is not None
        made = await Summariser(store)._five_minutes(work)
        assert "a secret that goes" in [line.text for line in made[-1].moments]
        await store.remove("s", "segment-1000")
        assert await store.summarised(work, made) is False
        await store.end("s")
        await Summariser(store).catch_up()
        assert {line.text for line in await store.between("s", Kind.SUMMARY)} == {"a thing that stays"}
        await store.forget("s", Span(at(9), at(10)))
        await Summariser(store).catch_up()
        assert await store.between("s", Kind.SUMMARY) == []
        await store.close()

    asyncio.run(test())
