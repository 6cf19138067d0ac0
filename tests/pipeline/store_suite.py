"""How every scene memory behaves; `test_memory_sqlite.py` and `test_memory_postgres.py` run it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import REGISTRY
from watchword.v1.safety_pb2 import Action, Verdict

from pipeline.errors import InternalError, RequestInvalid, StreamUnknown
from pipeline.memory.store import (
    EVERYTHING,
    MAX_LIMIT,
    Entry,
    Facts,
    Forgotten,
    Judgement,
    Kind,
    Moment,
    Picture,
    SceneStore,
    Scope,
    Span,
    Word,
)
from pipeline.safety.audit_log import AuditLog
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedEmbedder

EMBEDDER = ScriptedEmbedder()

Opened = Callable[[Callable[[SceneStore], Awaitable[None]]], None]
"""Runs a test on a fresh memory of five moments and three pictures a stream and two ended streams, and closes it; its clock says 7."""

OPTIONS: dict[str, Any] = {"max_moments": 5, "max_pictures": 3, "max_ended": 2, "clock": lambda: 7.0, "patience_s": 0.2}


def running(make: Callable[[], SceneStore]) -> Opened:
    """What the fixture `opened` is, of a way to make a memory."""

    def run(test: Callable[[SceneStore], Awaitable[None]]) -> None:
        store = make()

        async def whole() -> None:
            try:
                await test(store)
            finally:
                await store.close()

        asyncio.run(whole())

    return run


def at(seconds: float) -> MediaTime:
    return MediaTime.of(seconds)


def spoken(text: str, start: float, *, stream: str = "s", part: int = 0, source: str = "") -> Moment:
    return Moment(stream, source or f"segment-{at(start).millis}", Kind.SPEECH, part, text, at(start), at(start + 2), "m")


def shown(text: str, start: float, *, kind: Kind = Kind.DESCRIPTION, stream: str = "s", source: str = "") -> Moment:
    return Moment(stream, source or f"scene-{at(start).millis}", kind, 0, text, at(start), at(start + 2), "m")


def summary(text: str, start: float, end: float, *cites: str, stream: str = "s") -> Moment:
    return Moment(stream, f"summary-{at(start).millis}", Kind.SUMMARY, 0, text, at(start), at(end), "m", cites)


async def entry(*moments: Moment, **more: Any) -> Entry:
    return Entry(moments[0].stream_id, moments[0].source_id, moments, await EMBEDDER.embed([each.text for each in moments]), **more)


def picture(start: float, jpeg: bytes = b"jpeg", *, stream: str = "s") -> Entry:
    name = f"keyframe-{at(start).millis}"
    return Entry(stream, name, picture=Picture(stream, name, at(start), "scene-0", 32, 18, jpeg, 0.5))


async def looked(start: float) -> Entry:
    """A thumbnail that is found by what it looks like."""
    shown = picture(start)
    moment = Moment("s", shown.source_id, Kind.PICTURE, 0, "a dog", at(start), at(start), "m")
    return replace(shown, moments=(moment,), vectors=await EMBEDDER.embed(["a dog"]))


def judged(item: str, start: float, action: "Action.ValueType" = Action.ACTION_ALLOW) -> Judgement:
    return Judgement("s", item, "transcript", at(start), at(start + 2), Verdict(action=action, cause="a policy"))


async def put(store: SceneStore, *moments: Moment) -> None:
    for moment in moments:
        await store.put_all([await entry(moment)])


async def texts(store: SceneStore, *, stream: str = "s", kind: Kind = Kind.SPEECH, span: Span = EVERYTHING) -> list[str]:
    return [moment.text for moment in await store.between(stream, kind, span=span)]


async def find(store: SceneStore, *words: str, stream: str = "s", span: Span = EVERYTHING, limit: int = 24) -> list[str]:
    return await look(store, Scope((stream,), span=span), *words, limit=limit)


async def look(store: SceneStore, scope: Scope, *words: str, limit: int = 24) -> list[str]:
    vector = (await EMBEDDER.embed(["nothing"]))[0]
    return [found.moment.text for found in (await store.search(scope, words, vector, limit=limit)).by_words]


async def state(store: SceneStore, stream: str = "s") -> Any:
    found = await store.stream(stream)
    assert found is not None
    return found


async def names(store: Any) -> list[str]:
    """The streams that a memory knows."""
    return sorted(each.stream_id for each in await store.ages())


async def dump(store: SceneStore) -> list[object]:
    """All that a memory knows, as far as its port tells it."""
    told: list[object] = []
    for stream in await names(store):
        told.append(await store.stream(stream))
        for kind in Kind:
            moments = await store.between(stream, kind, limit=MAX_LIMIT)
            told += [moments, (await store.vectors(moments)).tolist() if moments else []]
            told.append(await store.words(stream, [moment.id for moment in moments]) if moments else {})
        told.append(await store.pictures(stream, limit=MAX_LIMIT))
        told.append([(each.item_id, str(each.verdict)) for each in await store.judgements(stream, limit=MAX_LIMIT)])
    return told


HOSTILE = [
    "foo* OR (",
    '"',
    '""""',
    "a AND NOT b",
    "text:boat",
    "NEAR(a b, 3)",
    "boat^2",
    "-boat",
    "{boat}",
    "'; DROP TABLE moments; --",
    "\0",
    "",
    "*",
]


class StoreSuite:
    """Tests that a module runs on its own kind of memory, which its fixture `opened` opens."""

    def test_a_repeat_is_harmless_and_a_new_version_replaces_the_old_one(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("the old harbour", 1), spoken("the old harbour", 1))
            assert await texts(store) == ["the old harbour"]
            await put(store, spoken("a new station", 1))
            assert await texts(store) == ["a new station"]
            assert await find(store, "harbour") == []
            assert await find(store, "station") == ["a new station"]

        opened(test)

    def test_fewer_parts_than_before_leave_none_behind(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            parts = [spoken(f"part {n}", n, part=n, source="x") for n in range(3)]
            for kept in (3, 1):
                await store.put("s", "x", parts[:kept], await EMBEDDER.embed([part.text for part in parts[:kept]]))
            assert await texts(store) == ["part 0"]

        opened(test)

    def test_of_ended_streams_the_latest_are_kept_and_live_ones_all(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            for stream in ("a", "live", "b", "c", "d"):
                await put(store, spoken(f"said on {stream}", 1, stream=stream))
                if stream != "live":
                    await store.end(stream)
            assert await names(store) == ["c", "d", "live"]
            assert await texts(store, stream="a") == []
            assert await texts(store, stream="live") == ["said on live"]
            await put(store, spoken("it goes on", 2, stream="c"))
            known = await state(store, "c")
            assert not known.ended

        opened(test)

    def test_what_is_removed_is_found_no_more_in_any_way(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("a secret word", 1), spoken("an open word", 4))
            assert await store.remove("s", "segment-1000") == 1
            assert await store.remove("s", "segment-1000") == 0
            assert await find(store, "secret", "word") == ["an open word"]
            vector = (await EMBEDDER.embed(["a secret word"]))[0]
            assert [found.moment.text for found in (await store.search(Scope(("s",)), [], vector)).by_vector] == ["an open word"]

        opened(test)

    def test_streams_do_not_see_each_other(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("red boat", 1), spoken("red boat of another", 1, stream="t"))
            assert await find(store, "boat") == ["red boat"]
            assert await find(store, "boat", stream="t") == ["red boat of another"]
            assert await store.remove("s", "segment-1000") == 1
            assert await find(store, "boat", stream="t") == ["red boat of another"]

        opened(test)

    def test_words_are_found_in_other_forms_and_the_nearest_vector_comes_first(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("The conferences were opening.", 1), spoken("A cat sleeps.", 4))
            assert await find(store, "opens", "conference") == ["The conferences were opening."]
            hits = await store.search(Scope(("s",)), [], (await EMBEDDER.embed(["A cat sleeps."]))[0])
            assert hits.by_words == ()
            assert [found.moment.text for found in hits.by_vector] == ["A cat sleeps.", "The conferences were opening."]
            assert hits.by_vector[0].cosine == pytest.approx(1, abs=1e-5)
            assert -1e-5 < hits.by_vector[1].cosine < 0.5

        opened(test)

    @pytest.mark.parametrize("word", HOSTILE)
    def test_a_word_is_taken_literally(self, opened: Opened, word: str) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("A quiet day.", 1))
            assert await find(store, word) == []
            assert await find(store, word, "day") == ["A quiet day."]

        opened(test)

    @pytest.mark.parametrize("text", ["Ünïcödé wörds", "Здравствуй мир", "日本語 です", "emoji 🚢 here", "a\tb"])
    def test_any_text_comes_back_as_it_was(self, opened: Opened, text: str) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken(text, 1))
            assert await texts(store) == [text]
            assert await find(store, text.split()[0].lower()) == [text]

        opened(test)

    def test_only_what_overlaps_the_span_counts(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, *(spoken(f"word {start}", start) for start in (0, 2, 4)))
            for span, expected in (
                (Span(at(2), at(4)), ["word 2"]),
                (Span(at(1), at(2.5)), ["word 0", "word 2"]),
                (Span(end=at(2)), ["word 0"]),
                (Span(at(4)), ["word 4"]),
                (Span(at(100)), []),
                (Span(at(-1e11), at(1e11)), ["word 0", "word 2", "word 4"]),
                (Span(at(1e11)), []),
            ):
                assert await texts(store, span=span) == expected
                assert sorted(await find(store, "word", span=span)) == expected
                assert [text for text in ("word 0", "word 2", "word 4") if spoken(text, float(text[-1])) in span] == expected

        opened(test)

    def test_the_oldest_goes_when_a_stream_has_too_many_and_is_counted(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            labels = {"step": "index", "policy": "drop-oldest"}
            before = REGISTRY.get_sample_value("watchword_records_dropped_total", labels) or 0
            await put(store, *(spoken(f"number {start}", start) for start in (6, 0, 1, 2, 3, 4, 5)), spoken("another", 0, stream="t"))
            assert await texts(store) == [f"number {start}" for start in (2, 3, 4, 5, 6)]
            assert await texts(store, stream="t") == ["another"]
            known = await state(store, "s")
            assert (known.moments, known.dropped) == (5, 2)
            assert REGISTRY.get_sample_value("watchword_records_dropped_total", labels) == before + 2

        opened(test)

    def test_of_too_many_moments_the_oldest_of_every_kind_go(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            for second in range(12):
                await put(store, shown(f"a room {second}", second))
                await put(store, shown(f"a cup {second}", second, kind=Kind.IN_VIEW, source=f"scene-{second}000/in view"))
            assert await texts(store, kind=Kind.DESCRIPTION) == ["a room 10", "a room 11"]
            assert await texts(store, kind=Kind.IN_VIEW) == ["a cup 9", "a cup 10", "a cup 11"]
            assert ((await state(store)).moments, (await state(store)).dropped) == (5, 19)

        opened(test)

    def test_what_a_thumbnail_looks_like_goes_with_it(self, opened: Opened) -> None:
        async def test(store: Any) -> None:
            for second in range(8):
                await store.put_all([await looked(second)])
            assert [each.start for each in await store.between("s", Kind.PICTURE)] == [at(5), at(6), at(7)]
            assert ((await state(store)).moments, (await state(store)).pictures, (await state(store)).dropped) == (3, 3, 0)
            assert await store.forget("s", Span(at(0), at(6))) == Forgotten(moments=1, pictures=1)
            assert [each.start for each in await store.between("s", Kind.PICTURE)] == [at(6), at(7)]
            assert await store.expire("s", at(7), limit=500) == 2
            assert await store.count(Scope(("s",), frozenset([Kind.PICTURE]))) == {Kind.PICTURE: 0}
            assert (await state(store)).moments == 0

        opened(test)

    def test_verdicts_go_with_what_they_were_said_of(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            for second in range(60):
                said = f"segment-{second}000"
                await store.put_all([await entry(spoken(f"number {second}", second), judgement=judged(said, second))])
                await store.put_all([replace(picture(second), judgement=judged(f"keyframe-{second}000", second))])
                await store.remove("s", f"scene-{second}000", judged(f"scene-{second}000", second, Action.ACTION_BLOCK))
            kept = [each.item_id for each in await store.judgements("s", limit=MAX_LIMIT)]
            assert {f"segment-{second}000" for second in range(55, 60)} <= set(kept)
            assert {f"keyframe-{second}000" for second in range(57, 60)} <= set(kept)
            assert len(kept) <= 24, "those of the last five moments and of what was withheld beside them"

        opened(test)

    def test_of_an_item_whose_beginning_was_dropped_the_rest_can_be_removed(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await store.put_all([await entry(spoken("its beginning", 0, source="x"), spoken("its end", 9, part=1, source="x"))])
            await put(store, *(spoken(f"number {second}", second) for second in (10, 11, 12, 13)))
            assert (await texts(store))[0] == "its end"
            assert await store.remove("s", "x") == 1
            assert (await texts(store))[0] == "number 10"

        opened(test)

    def test_a_stream_is_known_from_its_first_event_to_its_end(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            assert await store.stream("s") is None
            assert await names(store) == []
            await store.see("s", at(3))
            await store.see("s", at(1))
            known = await state(store, "s")
            assert (known.first_seen, known.latest, known.ended, known.moments) == (7.0, at(3), False, 0)
            await store.end("s")
            known = await state(store, "s")
            assert (known.latest, known.ended) == (at(3), True)
            assert await names(store) == ["s"]

        opened(test)

    def test_queries_are_bounded(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, *(spoken(f"word {start}", start) for start in range(5)))
            assert len(await find(store, "word", limit=2)) == 2
            assert await find(store, *[f"absent{n}" for n in range(1000)]) == []
            for limit in (0, MAX_LIMIT + 1):
                with pytest.raises(RequestInvalid, match=str(limit)):
                    await find(store, "word", limit=limit)

        opened(test)

    def test_vectors_that_do_not_fit_are_refused_and_change_nothing(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("kept", 1))
            with pytest.raises(InternalError, match=r"\(1, 3\)"):
                await store.put("s", "segment-1000", [spoken("lost", 1)], np.zeros((1, 3), np.float32))
            assert await texts(store) == ["kept"]

        opened(test)

    def test_calls_at_the_same_time_do_not_get_in_each_others_way(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await asyncio.gather(*(put(store, spoken(f"word {n}", n)) for n in range(5)), *(find(store, "word") for _ in range(5)))
            assert len(await texts(store)) == 5

        opened(test)

    def test_a_line_of_text_with_a_nul_is_kept_without_it(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("a\0b", 1))
            assert await texts(store) == ["a\ufffdb"]

        opened(test)

    def test_everything_said_twice_leaves_what_was_there(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            said = spoken("the ferry leaves", 1)
            words = {said.id: (Word("the", at(1), at(2)), Word("ferry", at(2), at(3)))}
            facts = Facts(started_at=1_700_000_000.5, language="en")
            entries = [
                await entry(said, words=words, judgement=judged(said.source_id, 1), facts=facts),
                await entry(shown("a quay", 2), shown("FERRY", 2, kind=Kind.ON_SCREEN_TEXT), revision=1),
                picture(3),
                await entry(spoken("for one day", 1, stream="t")),
            ]

            async def replay() -> list[object]:
                await store.put_all(entries)
                for each in entries:
                    await store.put_all([each])
                await store.remove("s", "segment-9000", judged("segment-9000", 9, Action.ACTION_BLOCK))
                await store.end("s")
                return await dump(store)

            first = await replay()
            assert len(str(first)) > 1000
            assert await replay() == first
            assert await replay() == first

        opened(test)

    def test_of_two_revisions_the_higher_holds_in_whatever_order_they_come(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            draft, better = await entry(shown("a draft", 1), revision=1), await entry(shown("a better one", 1), revision=2)
            for order in ([draft, better], [better, draft], [draft]):
                await store.put_all(order)
                assert await texts(store, kind=Kind.DESCRIPTION) == ["a better one"]
            assert await find(store, "draft") == []

        opened(test)

    def test_a_scope_leaves_only_its_streams_and_kinds(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await put(store, spoken("a boat", 1), shown("a boat", 5), spoken("a boat", 1, stream="t"), spoken("a boat", 1, stream="u"))
            assert len(await look(store, Scope(), "boat")) == 4
            assert len(await look(store, Scope(("s", "t", "nobody")), "boat")) == 3
            assert len(await look(store, Scope(("s",), frozenset([Kind.DESCRIPTION])), "boat")) == 1
            assert await look(store, Scope(("nobody",)), "boat") == []
            assert await look(store, Scope(kinds=frozenset()), "boat") == []
            assert await store.count(Scope(("s",))) == {Kind.SPEECH: 1, Kind.DESCRIPTION: 1, Kind.ON_SCREEN_TEXT: 0}
            assert (await store.count(Scope()))[Kind.SPEECH] == 3
            vector = (await EMBEDDER.embed(["a boat"]))[0]
            near = await store.search(Scope(("t", "u")), [], vector)
            assert sorted(found.moment.stream_id for found in near.by_vector) == ["t", "u"]

        opened(test)

    def test_a_rare_word_counts_more_than_a_common_one_and_a_short_text_more_than_a_long_one(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            said = ["the boat and the sea", "the boat and the harbour", "a boat", "zebra and many more words that say nothing at all"]
            await put(store, *(spoken(text, 3.0 * number) for number, text in enumerate(said)))
            assert (await find(store, "boat", "zebra"))[0] == said[3]
            assert (await find(store, "boat"))[0] == "a boat"

        opened(test)

    def test_neighbours_stand_around_a_moment_in_order_of_time(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            line = [spoken(f"sentence {number}", float(number)) for number in range(5)]
            await put(store, *reversed(line))
            assert await store.neighbours(line[2], before=1, after=1) == line[1:4]
            assert await store.neighbours(line[0]) == line[:3]
            assert await store.between("s", Kind.SPEECH, limit=2) == line[:2]
            assert await store.between("s", Kind.SPEECH, limit=2, last=True) == line[3:]

        opened(test)

    def test_vectors_and_words_are_had_by_id(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            one, two = spoken("one thing", 1), spoken("another", 4)
            heard = (Word("one", at(1), at(1.5)), Word("thing", at(1.5), at(3)))
            await store.put_all([await entry(one, words={one.id: heard}), await entry(two)])
            assert await store.words("s", [one.id, two.id]) == {one.id: heard}
            vectors = await store.vectors([two, spoken("never", 9), one])
            np.testing.assert_allclose(vectors[[0, 2]], await EMBEDDER.embed(["another", "one thing"]), atol=1e-6)
            assert not vectors[1].any()

        opened(test)

    def test_pictures_are_bounded_and_spread_over_the_span(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await store.put_all([picture(start, bytes([start]) * 9) for start in range(5)])
            assert [each.at for each in await store.pictures("s")] == [at(2), at(3), at(4)]
            assert [each.jpeg for each in await store.pictures("s", limit=2)] == [b"\2" * 9, b"\3" * 9]
            assert await store.pictures("s", span=Span(at(3), at(4))) == [picture(3, b"\3" * 9).picture]
            assert (await state(store)).pictures == 3

        opened(test)

    def test_what_was_judged_is_kept_with_its_verdict_and_withheld_content_is_not(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await store.put_all([await entry(spoken("it passed", 1), judgement=judged("segment-1000", 1))])
            await store.remove("s", "segment-1000", judged("segment-1000", 1, Action.ACTION_BLOCK))
            (kept,) = await store.judgements("s")
            assert (kept.item_id, kept.verdict.action, kept.verdict.cause) == ("segment-1000", Action.ACTION_BLOCK, "a policy")
            assert await texts(store) == []
            assert await store.judgements("s", span=Span(at(50))) == []

        opened(test)

    def test_facts_of_a_stream_stay_when_less_is_known_and_the_most_spoken_language_is_its_own(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await store.see("s", at(1), Facts(started_at=99.5, width=448, height=252))
            await store.see("s", at(2))
            for start, language in ((1, "de"), (3, "en"), (5, "en")):
                await store.put_all([await entry(spoken(f"word {start}", start), facts=Facts(language=language))])
            assert (await state(store)).facts == Facts(99.5, "en", 448, 252)
            for start in (3, 5):
                await store.remove("s", f"segment-{start}000")
            assert (await state(store)).facts.language == "de"

        opened(test)

    def test_a_stream_that_is_forgotten_leaves_nothing_and_does_not_come_back(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            entries = [
                await entry(spoken("a secret", 1), facts=Facts(language="en"), judgement=judged("segment-1000", 1)),
                await entry(summary("a secret", 0, 300, "segment-1000/speech/0")),
                picture(2),
            ]
            await store.put_all(entries)
            await put(store, spoken("of another", 1, stream="t"))
            gone = await store.forget("s")
            assert gone == Forgotten(moments=1, summaries=1, pictures=1, judgements=1)
            await store.put_all(entries)
            await store.see("s", at(5))
            await store.remove("s", "segment-5000", judged("segment-5000", 5, Action.ACTION_BLOCK))
            await store.end("s")
            assert await names(store) == ["t"]
            assert await store.judgements("s") == []
            assert await look(store, Scope(), "secret") == []
            assert await texts(store, stream="t") == ["of another"]
            with pytest.raises(StreamUnknown, match="'nobody'"):
                await store.forget("nobody")

        opened(test)

    def test_a_stretch_that_is_forgotten_takes_what_was_made_of_it_and_does_not_come_back(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            entries = [
                await entry(spoken("before", 1)),
                await entry(spoken("half a secret", 9.5, source="x"), spoken("the rest of the item", 11.5, part=1, source="x")),
                await entry(spoken("after", 20)),
                await entry(summary("half a secret", 0, 300, "x/speech/0")),
                picture(10),
                picture(20),
            ]
            await store.put_all(entries)
            gone = await store.forget("s", Span(at(10), at(11)))
            assert gone == Forgotten(moments=2, summaries=1, pictures=1, judgements=0)
            await store.put_all(entries[:3] + entries[4:])
            assert await texts(store) == ["before", "after"]
            assert [each.at for each in await store.pictures("s")] == [at(20)]
            assert ((await state(store)).moments, (await state(store)).pictures) == (2, 1)
            assert await store.forget("s", Span(at(10), at(11))) == Forgotten()
            times = [at(1), at(9.9), at(10), at(10.9), at(11), at(20)]
            assert await store.kept_times("s", times) == [at(1), at(9.9), at(11), at(20)]
            assert await store.kept_times("unknown", times) == []
            await store.forget("s")
            assert await store.kept_times("s", times) == []

        opened(test)

    def test_keyframes_kept_for_review_go_with_their_stream(self, opened: Opened) -> None:
        async def test(store: Any) -> None:
            log = AuditLog(store.database)
            for stream in ("s", "t"):
                await put(store, spoken("of a stream", 1, stream=stream))
                for second in (1, 10):
                    await log.add_frame(stream, "segment-1000", f"keyframe-{second}", at(second), b"jpeg")
            await store.forget("s", Span(at(9), at(11)))
            assert await log.frames("s", "segment-1000") == [("keyframe-1", b"jpeg")]
            await store.forget("s")
            assert await log.frames("s", "segment-1000") == []
            assert len(await log.frames("t", "segment-1000")) == 2

        opened(test)

    def test_keyframes_kept_for_review_are_no_older_than_the_thumbnails(self, opened: Opened) -> None:
        async def test(store: Any) -> None:
            log = AuditLog(store.database)
            for second in range(5):
                await store.put_all([picture(second)])
                for stream in ("s", "t"):
                    await log.add_frame(stream, f"segment-{second}", f"keyframe-{second}", at(second), b"jpeg")
            assert [each.at for each in await store.pictures("s")] == [at(2), at(3), at(4)]
            kept = [[await log.frames(stream, f"segment-{second}") for second in range(5)] for stream in ("s", "t")]
            assert [len(frames) for frames in kept[0]] == [0, 0, 1, 1, 1]
            assert [len(frames) for frames in kept[1]] == [1, 1, 1, 1, 1]

        opened(test)

    def test_a_summary_goes_with_what_it_cites(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            await store.put_all([await entry(spoken("it is red", 1)), await entry(summary("it is red", 0, 300, "segment-1000/speech/0"))])
            (made,) = await store.between("s", Kind.SUMMARY)
            assert made.cites == ("segment-1000/speech/0",)
            assert (await state(store)).moments == 1
            assert await look(store, Scope(), "red") == ["it is red"]
            assert len(await look(store, Scope(kinds=frozenset(Kind)), "red")) == 2
            await put(store, spoken("it is blue", 1))
            assert await store.between("s", Kind.SUMMARY) == []

        opened(test)

    def test_of_writes_that_wait_together_one_that_fails_does_not_harm_the_others(self, opened: Opened) -> None:
        async def test(store: SceneStore) -> None:
            wrong = [await entry(spoken("wrong", 1), words={"segment-1000/speech/0": (Word("x", None, None),)})]  # type: ignore[arg-type]
            right = [[await entry(spoken(f"word {start}", start, stream=f"s{start}"))] for start in range(20)]
            done = await asyncio.gather(store.put_all(wrong), *map(store.put_all, right), return_exceptions=True)
            assert isinstance(done[0], AttributeError)
            assert done[1:] == [None] * 20
            assert await store.count(Scope(kinds=frozenset([Kind.SPEECH]))) == {Kind.SPEECH: 20}

        opened(test)
