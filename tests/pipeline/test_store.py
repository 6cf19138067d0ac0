"""The scene memory in SQLite and the stage that fills it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf.message import Message
from prometheus_client import REGISTRY
from watchword.v1.events_pb2 import CaptionEvent, ClearedEvent
from watchword.v1.media_pb2 import Gap
from watchword.v1.safety_pb2 import Withheld
from watchword.v1.scene_pb2 import Keyframe, SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment, Word

from pipeline.errors import InternalError, MessageInvalid, ModelMissing, RequestInvalid, SettingInvalid
from pipeline.qa.engine import sqlite3
from pipeline.qa.sentences import Timed, sentences
from pipeline.qa.sqlite import MAX_LIMIT, SqliteStore
from pipeline.qa.stage import Index
from pipeline.qa.store import EVERYTHING, Kind, Moment, Span
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.unit

EMBEDDER = ScriptedEmbedder()


def at(seconds: float) -> MediaTime:
    return MediaTime.of(seconds)


def spoken(text: str, start: float, *, stream: str = "s", part: int = 0, source: str = "") -> Moment:
    return Moment(stream, source or f"segment-{at(start).millis}", Kind.SPEECH, part, text, at(start), at(start + 2), "m")


async def put(store: SqliteStore, *moments: Moment) -> None:
    for moment in moments:
        await store.put(moment.stream_id, moment.source_id, [moment], await EMBEDDER.embed([moment.text]))


async def texts(store: SqliteStore, *, stream: str = "s", kind: Kind = Kind.SPEECH, span: Span = EVERYTHING) -> list[str]:
    return [moment.text for moment in await store.between(stream, kind, span=span)]


async def find(store: SqliteStore, *words: str, stream: str = "s", span: Span = EVERYTHING, limit: int = 24) -> list[str]:
    vector = (await EMBEDDER.embed(["nothing"]))[0]
    return [found.moment.text for found in (await store.search(stream, words, vector, span=span, limit=limit)).by_words]


@pytest.fixture(params=["file", "memory", "numpy"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[[SqliteStore], Awaitable[None]]], None]:
    """Runs a test on a fresh store and closes it: on a file, in memory, and without sqlite-vec."""

    def run(test: Callable[[SqliteStore], Awaitable[None]]) -> None:
        path = tmp_path / "memory.db" if request.param == "file" else ":memory:"
        store = SqliteStore(path, max_moments=5, max_ended=2, clock=lambda: 7.0, extension=request.param != "numpy")

        async def whole() -> None:
            try:
                await test(store)
            finally:
                await store.close()

        asyncio.run(whole())

    return run


def test_a_repeat_is_harmless_and_a_new_version_replaces_the_old_one(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("the old harbour", 1), spoken("the old harbour", 1))
        assert await texts(store) == ["the old harbour"]
        await put(store, spoken("a new station", 1))
        assert await texts(store) == ["a new station"]
        assert await find(store, "harbour") == []
        assert await find(store, "station") == ["a new station"]

    opened(test)


def test_fewer_parts_than_before_leave_none_behind(opened):
    async def test(store: SqliteStore) -> None:
        parts = [spoken(f"part {n}", n, part=n, source="x") for n in range(3)]
        for kept in (3, 1):
            await store.put("s", "x", parts[:kept], await EMBEDDER.embed([part.text for part in parts[:kept]]))
        assert await texts(store) == ["part 0"]

    opened(test)


def test_of_ended_streams_the_latest_are_kept_and_live_ones_all(opened):
    async def test(store: SqliteStore) -> None:
        for stream in ("a", "live", "b", "c", "d"):
            await put(store, spoken(f"said on {stream}", 1, stream=stream))
            if stream != "live":
                await store.end(stream)
        assert [state.stream_id for state in await store.streams()] == ["c", "d", "live"]
        assert await texts(store, stream="a") == []
        assert await texts(store, stream="live") == ["said on live"]
        await put(store, spoken("it goes on", 2, stream="c"))
        state = await store.stream("c")
        assert state is not None
        assert not state.ended

    opened(test)


def test_what_is_removed_is_found_no_more_in_any_way(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("a secret word", 1), spoken("an open word", 4))
        assert await store.remove("s", "segment-1000") == 1
        assert await store.remove("s", "segment-1000") == 0
        assert await find(store, "secret", "word") == ["an open word"]
        vector = (await EMBEDDER.embed(["a secret word"]))[0]
        assert [found.moment.text for found in (await store.search("s", [], vector)).by_vector] == ["an open word"]

    opened(test)


def test_streams_do_not_see_each_other(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("red boat", 1), spoken("red boat of another", 1, stream="t"))
        assert await find(store, "boat") == ["red boat"]
        assert await find(store, "boat", stream="t") == ["red boat of another"]
        assert await store.remove("s", "segment-1000") == 1
        assert await find(store, "boat", stream="t") == ["red boat of another"]

    opened(test)


def test_words_are_found_in_other_forms_and_the_nearest_vector_comes_first(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("The conferences were opening.", 1), spoken("A cat sleeps.", 4))
        assert await find(store, "opens", "conference") == ["The conferences were opening."]
        hits = await store.search("s", [], (await EMBEDDER.embed(["A cat sleeps."]))[0])
        assert hits.by_words == ()
        assert [found.moment.text for found in hits.by_vector] == ["A cat sleeps.", "The conferences were opening."]
        assert hits.by_vector[0].cosine == pytest.approx(1, abs=1e-5)
        assert -1e-5 < hits.by_vector[1].cosine < 0.5

    opened(test)


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


@pytest.mark.parametrize("word", HOSTILE)
def test_a_word_is_taken_literally(opened, word):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("A quiet day.", 1))
        assert await find(store, word) == []
        assert await find(store, word, "day") == ["A quiet day."]

    opened(test)


@pytest.mark.parametrize("text", ["Ünïcödé wörds", "Здравствуй мир", "日本語 です", "emoji 🚢 here", "a\0b"])
def test_any_text_comes_back_as_it_was(opened, text):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken(text, 1))
        assert await texts(store) == [text]
        assert await find(store, text.split()[0].lower()) == [text]

    opened(test)


def test_only_what_overlaps_the_span_counts(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, *(spoken(f"word {start}", start) for start in (0, 2, 4)))
        for span, expected in (
            (Span(at(2), at(4)), ["word 2"]),
            (Span(at(1), at(2.5)), ["word 0", "word 2"]),
            (Span(end=at(2)), ["word 0"]),
            (Span(at(4)), ["word 4"]),
            (Span(at(100)), []),
        ):
            assert await texts(store, span=span) == expected
            assert sorted(await find(store, "word", span=span)) == expected
            assert [text for text in ("word 0", "word 2", "word 4") if spoken(text, float(text[-1])) in span] == expected

    opened(test)


def test_the_oldest_goes_when_a_stream_has_too_many_and_is_counted(opened):
    async def test(store: SqliteStore) -> None:
        labels = {"step": "index", "policy": "drop-oldest"}
        before = REGISTRY.get_sample_value("watchword_records_dropped_total", labels) or 0
        await put(store, *(spoken(f"number {start}", start) for start in (6, 0, 1, 2, 3, 4, 5)), spoken("another", 0, stream="t"))
        assert await texts(store) == [f"number {start}" for start in (2, 3, 4, 5, 6)]
        assert await texts(store, stream="t") == ["another"]
        state = await store.stream("s")
        assert state is not None
        assert (state.moments, state.dropped) == (5, 2)
        assert REGISTRY.get_sample_value("watchword_records_dropped_total", labels) == before + 2

    opened(test)


def test_a_stream_is_known_from_its_first_event_to_its_end(opened):
    async def test(store: SqliteStore) -> None:
        assert await store.stream("s") is None
        assert await store.streams() == []
        await store.see("s", at(3))
        await store.see("s", at(1))
        state = await store.stream("s")
        assert state is not None
        assert (state.first_seen, state.latest, state.ended, state.moments) == (7.0, at(3), False, 0)
        await store.end("s")
        assert [(each.stream_id, each.ended, each.latest) for each in await store.streams()] == [("s", True, at(3))]

    opened(test)


def test_queries_are_bounded(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, *(spoken(f"word {start}", start) for start in range(5)))
        assert len(await find(store, "word", limit=2)) == 2
        assert await find(store, *[f"absent{n}" for n in range(1000)]) == []
        for limit in (0, MAX_LIMIT + 1):
            with pytest.raises(RequestInvalid, match=str(limit)):
                await find(store, "word", limit=limit)

    opened(test)


def test_vectors_that_do_not_fit_are_refused_and_change_nothing(opened):
    async def test(store: SqliteStore) -> None:
        await put(store, spoken("kept", 1))
        with pytest.raises(InternalError, match=r"\(1, 3\)"):
            await store.put("s", "segment-1000", [spoken("lost", 1)], np.zeros((1, 3), np.float32))
        assert await texts(store) == ["kept"]

    opened(test)


def test_calls_at_the_same_time_do_not_get_in_each_others_way(opened):
    async def test(store: SqliteStore) -> None:
        await asyncio.gather(*(put(store, spoken(f"word {n}", n)) for n in range(5)), *(find(store, "word") for _ in range(5)))
        assert len(await texts(store)) == 5

    opened(test)


def test_a_file_remembers_beyond_the_process_and_either_way_of_cosines_reads_it(tmp_path):
    async def write() -> None:
        store = SqliteStore(tmp_path / "m.db", extension=False)
        await put(store, spoken("it stays", 1))
        await store.end("s")
        await store.close()

    async def read() -> None:
        store = SqliteStore(tmp_path / "m.db")
        assert await texts(store) == ["it stays"]
        hits = await store.search("s", ["stays"], (await EMBEDDER.embed(["it stays"]))[0])
        assert [found.cosine for found in hits.by_words] == pytest.approx([1.0], abs=1e-5)
        state = await store.stream("s")
        assert state is not None
        assert state.ended
        await store.close()

    asyncio.run(write())
    asyncio.run(read())


def test_it_says_how_cosines_are_computed():
    loads = hasattr(sqlite3.Connection, "enable_load_extension")
    for extension, expected in ((True, "sqlite-vec" if loads else "numpy"), (False, "numpy")):
        store = SqliteStore(extension=extension)
        assert store.cosine_by == expected
        asyncio.run(store.close())


def test_a_file_that_cannot_be_used_is_named_with_the_cause(tmp_path):
    (tmp_path / "text.db").write_text("this is no database, whatever its name says. " * 100)
    with pytest.raises(SettingInvalid, match=r"text\.db cannot be used: file is not a database"):
        SqliteStore(tmp_path / "text.db")
    with pytest.raises(SettingInvalid, match=r"cannot be opened: unable to open"):
        SqliteStore(tmp_path / "absent" / "m.db")
    later = sqlite3.connect(tmp_path / "later.db")
    later.execute("PRAGMA user_version = 9")
    later.close()
    with pytest.raises(SettingInvalid, match="layout 9"):
        SqliteStore(tmp_path / "later.db")


def test_a_failing_disk_is_told_with_the_stream_and_changes_nothing(tmp_path):
    async def test() -> None:
        store = SqliteStore(tmp_path / "m.db")
        await put(store, spoken("kept", 1))
        other = sqlite3.connect(tmp_path / "m.db")
        other.execute("DROP TABLE streams")
        other.close()
        with pytest.raises(InternalError, match=r"stream 's' in the scene memory .* failed: no such table"):
            await put(store, spoken("lost", 1))
        assert await texts(store) == ["kept"]
        await store.close()

    asyncio.run(test())


# The stage


def word(text: str, start: float, end: float) -> Word:
    return Word(text=text, media_start=at(start).to_proto(), media_end=at(end).to_proto())


def segment(text: str, *, start: float = 1.0, each: float = 0.5, final: bool = True, words: list[Word] | None = None) -> ClearedEvent:
    written = text.split()
    if words is None:
        words = [word(part, start + n * each, start + (n + 1) * each) for n, part in enumerate(written)]
    said = TranscriptSegment(stream_id="s", id=f"segment-{at(start).millis}", is_final=final, text=text, words=words, model="w")
    said.media_start.CopyFrom(at(start).to_proto())
    said.media_end.CopyFrom(at(start + each * len(written)).to_proto())
    return ClearedEvent(segment=said)


def caption(text: str, *lines: str, stream: str = "s") -> ClearedEvent:
    scene = SceneCaption(stream_id=stream, id="scene-0", text=text, on_screen_text=lines, model="c")
    scene.media_start.CopyFrom(at(0).to_proto())
    scene.media_end.CopyFrom(at(9).to_proto())
    return ClearedEvent(caption=scene)


async def feed(stage: Index, *items: Message) -> list[Message]:
    return [output for item in items for output in [each async for each in stage.process(item)]]


def indexed(*items: Message) -> dict[Kind, list[tuple[str, str, float, float]]]:
    """What is stored of each kind when a stage has taken the items: source, text, start and end."""

    async def test() -> dict[Kind, list[tuple[str, str, float, float]]]:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        assert await feed(stage, *items) == []
        assert [each async for each in stage.flush()] == []
        assert stage.held == 0
        stage.close()
        found = {kind: await store.between("s", kind) for kind in Kind}
        state = await store.stream("s")
        assert state is not None
        assert state.ended
        await store.close()
        return {kind: [(m.source_id, m.text, m.start.seconds, m.end.seconds) for m in moments] for kind, moments in found.items()}

    return asyncio.run(test())


def test_what_happens_in_a_scene_is_stored_with_its_own_time() -> None:
    described = caption("A man at a door.", "EXIT")
    described.caption.detail = "He wears a hat."
    described.caption.actions.add(what="He waves.", media_start=at(2).to_proto(), media_end=at(3.5).to_proto())
    found = indexed(described)
    assert found[Kind.DESCRIPTION] == [
        ("scene-0", "A man at a door.", 0.0, 9.0), ("scene-0", "He wears a hat.", 0.0, 9.0), ("scene-0", "He waves.", 2.0, 3.5),
    ]  # fmt: skip


@pytest.mark.parametrize("order", [(1, 100), (100, 1), (1, 100, 2)])
def test_of_two_descriptions_of_a_scene_the_higher_revision_is_stored(order: tuple[int, ...]) -> None:
    told = []
    for revision in order:
        described = caption(f"Revision {revision}.")
        described.caption.revision = revision
        told.append(described)
    assert [text for _, text, _, _ in indexed(*told)[Kind.DESCRIPTION]] == ["Revision 100."]


def test_a_final_is_stored_by_sentence_with_word_times_and_a_partial_is_not():
    stored = indexed(segment("Not yet fin", final=False), segment("It opens at nine. Come early, Mr. Bell! Good."))
    assert stored[Kind.SPEECH] == [
        ("segment-1000", "It opens at nine.", 1.0, 3.0),
        ("segment-1000", "Come early, Mr. Bell!", 3.0, 5.0),
        ("segment-1000", "Good.", 5.0, 5.5),
    ]


def test_a_caption_is_stored_as_description_and_lines():
    stored = indexed(caption("A slide.", "ROOM 42", " ", "Doors open"))
    assert stored[Kind.DESCRIPTION] == [("scene-0", "A slide.", 0.0, 9.0)]
    assert [text for _, text, _, _ in stored[Kind.ON_SCREEN_TEXT]] == ["ROOM 42", "Doors open"]


def test_what_is_withheld_is_forgotten_and_other_events_store_nothing():
    stored = indexed(
        segment("This stays."),
        segment("This goes.", start=9),
        caption("So does this."),
        ClearedEvent(withheld=Withheld(stream_id="s", id="segment-9000", kind="transcript")),
        ClearedEvent(withheld=Withheld(stream_id="s", id="scene-0", kind="scene")),
        ClearedEvent(keyframe=Keyframe(stream_id="s", id="keyframe-0")),
        ClearedEvent(gap=Gap(stream_id="s", id="gap-0")),
    )
    assert stored == {Kind.SPEECH: [("segment-1000", "This stays.", 1.0, 2.0)], Kind.DESCRIPTION: [], Kind.ON_SCREEN_TEXT: []}


def test_an_item_read_again_changes_nothing():
    items = [segment("One. Two."), caption("A picture.", "a line")]
    assert indexed(*items, *items) == indexed(*items)


def test_the_text_as_cleared_counts_where_words_were_masked_together():
    stored = indexed(
        segment("My number is ███.", words=[word(w, n, n + 1) for n, w in enumerate(["My", "number", "is", "5", "5", "5."], start=1)])
    )
    assert [text for _, text, _, _ in stored[Kind.SPEECH]] == ["My number is ███."]


def test_a_stream_is_known_by_its_first_event_of_any_sort():
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        await feed(stage, segment("Not yet", start=4, final=False))
        assert (await store.stream("s")) is not None
        await store.close()

    asyncio.run(test())


@pytest.mark.parametrize("item", [caption("x", stream="t"), CaptionEvent()], ids=["of another stream", "of another topic"])
def test_a_wrong_item_is_refused_and_the_next_one_taken(item):
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder())
        with pytest.raises(MessageInvalid, match="stream s"):
            await feed(stage, item)
        await feed(stage, caption("A picture."))
        assert await texts(store, kind=Kind.DESCRIPTION) == ["A picture."]
        assert await store.stream("t") is None
        await store.close()

    asyncio.run(test())


def test_an_embedder_that_fails_refuses_only_its_item():
    async def test() -> None:
        store = SqliteStore()
        stage = Index("s", store, ScriptedEmbedder(ModelMissing("gone")))
        with pytest.raises(ModelMissing):
            await feed(stage, segment("Lost."))
        await feed(stage, segment("Found."))
        assert await texts(store) == ["Found."]
        await store.close()

    asyncio.run(test())


def timed(text: str, *, each: float = 1.0, pause_after: int = -1) -> list[Timed]:
    words, time = [], 0.0
    for number, written in enumerate(text.split()):
        words.append(Timed(written, at(time), at(time + each)))
        time += each + (0.9 if number == pause_after else 0.0)
    return words


def test_a_long_sentence_is_parted_at_its_longest_pause():
    text = "we walked along the river for a long while and then we saw the mill"
    words = timed(text, pause_after=8)
    parts = sentences(text, words, words[0].start, words[-1].end)
    assert [part.text for part in parts] == ["we walked along the river for a long while", "and then we saw the mill"]
    assert all(part.end - part.start <= at(12) for part in parts)
    assert parts[1].start == words[9].start


def test_a_text_without_words_or_with_too_few_has_the_segments_times():
    assert sentences("One. Two.", [], at(1), at(3)) == [Timed("One.", at(1), at(3)), Timed("Two.", at(1), at(3))]
    assert sentences(" ", [], at(1), at(3)) == []


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("It costs 3.50 now. Yes.", 2),
        ("Dr. Lee and J. Smith came.", 1),
        ("Wait... what? No!", 2),
        ("at nine a.m. we met", 1),
        ("“Go.” She went.", 2),
    ],
)
def test_sentences_end_where_they_end(text, count):
    assert len(sentences(text, timed(text, each=0.1), at(0), at(1))) == count
