"""The scene memory in SQLite."""

import asyncio
import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.media_pb2 import StreamEnd
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.bus import Origin, Position
from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.graph import BRANCHES, STEPS
from pipeline.memory import codes, rarest_first, sqlite
from pipeline.memory.common import CommonWords
from pipeline.memory.engine import sqlite3
from pipeline.memory.schema_sqlite import FIRST
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import DIMENSIONS, EVIDENCE, Entry, Kind, Scope, Span, Vectors
from pipeline.memory.summarise import Summariser
from pipeline.runtime import run
from pipeline.safety.audit_log import GENESIS, AuditLog
from services.embedded.flow import telling
from tests.fakes import ScriptedEmbedder
from tests.pipeline.store_suite import (
    EMBEDDER,
    OPTIONS,
    Opened,
    StoreSuite,
    at,
    entry,
    find,
    looked,
    names,
    picture,
    put,
    running,
    spoken,
    state,
    texts,
)

pytestmark = pytest.mark.unit


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def opened(self) -> Opened:
        return running(lambda: SqliteStore(**OPTIONS))


class TestSqliteStoreWithoutExtension(StoreSuite):
    @pytest.fixture
    def opened(self) -> Opened:
        return running(lambda: SqliteStore(extension=False, **OPTIONS))


class TestSqliteStoreAsOneTooLargeToLookAtWhole(StoreSuite):
    @pytest.fixture
    def opened(self) -> Opened:
        def make() -> SqliteStore:
            store = SqliteStore(**OPTIONS)
            store.file._common = CommonWords(few=0)
            return store

        return running(make)


def test_a_file_remembers_beyond_the_process_and_either_way_of_cosines_reads_it(tmp_path):
    async def write() -> None:
        store = SqliteStore(tmp_path / "m.db", extension=False)
        await put(store, spoken("it stays", 1))
        await store.end("s")
        await store.close()

    async def read() -> None:
        store = SqliteStore(tmp_path / "m.db")
        assert await texts(store) == ["it stays"]
        hits = await store.search(Scope(("s",)), ["stays"], (await EMBEDDER.embed(["it stays"]))[0])
        assert [found.cosine for found in hits.by_words] == pytest.approx([1.0], abs=1e-5)
        state = await store.stream("s")
        assert state is not None
        assert state.ended
        await store.close()

    asyncio.run(write())
    asyncio.run(read())


def test_it_says_how_cosines_are_computed():
    loads = hasattr(sqlite3.Connection, "enable_load_extension")
    for extension, expected in ((True, "sqlite-vec" if loads else "python"), (False, "python")):
        store = SqliteStore(extension=extension)
        assert store.near_by == expected
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


FIRST_AUDIT = """
CREATE TABLE audit (seq INTEGER PRIMARY KEY, kind TEXT NOT NULL CHECK (kind IN ('verdict', 'review')), id TEXT NOT NULL UNIQUE,
    stream TEXT NOT NULL, body TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX audit_by_stream ON audit (stream, seq);
CREATE TABLE audit_head (only INTEGER PRIMARY KEY CHECK (only = 1), rows INTEGER NOT NULL, hash TEXT NOT NULL);
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
"""
"""As the first Watchword laid it out."""


def first_layout(path: Path, *texts: str) -> None:
    """A memory as the first Watchword left it: two streams, what was said on each, and two rows of the audit log."""
    vectors = asyncio.run(EMBEDDER.embed(texts))
    db = sqlite3.connect(path)
    db.executescript(FIRST + FIRST_AUDIT + "PRAGMA user_version = 1;")
    for number, (text, vector) in enumerate(zip(texts, vectors, strict=True)):
        stream = f"s{number % 2}"
        db.execute("INSERT OR IGNORE INTO streams VALUES (?, ?, ?, ?, 3)", (stream, 5.0 + number, 99_000_000_000, number % 2))
        times = (number * 10**9, (number + 2) * 10**9)
        row = (stream, f"segment-{number}000", "speech", 0, *times, text, "m", vector.tobytes())
        db.execute(
            "INSERT INTO moments (stream, source, kind, part, start_ns, end_ns, text, model, vector) VALUES (?,?,?,?,?,?,?,?,?)", row
        )
    previous = GENESIS
    for seq in (1, 2):
        said = [previous, "verdict", f"audit-{seq}", "s0", "{}"]
        digest = hashlib.sha256(json.dumps(said).encode()).hexdigest()
        db.execute("INSERT INTO audit VALUES (?, 'verdict', ?, 's0', '{}', ?, ?)", (seq, f"audit-{seq}", previous, digest))
        previous = digest
    db.execute("INSERT INTO audit_head VALUES (1, 2, ?)", (previous,))
    db.commit()
    db.close()


def test_a_memory_of_the_first_layout_is_brought_up_to_date_with_all_it_holds(tmp_path: Path) -> None:
    said = ["the ferry leaves", "a cat sleeps", "the harbour opens", "the last word"]
    first_layout(tmp_path / "m.db", *said)

    async def test() -> None:
        store = SqliteStore(tmp_path / "m.db")
        assert await texts(store, stream="s0") == [said[0], said[2]]
        assert await texts(store, stream="s1") == [said[1], said[3]]
        assert await find(store, "harbours", stream="s0") == [said[2]]
        hits = await store.search(Scope(("s1",)), [], (await EMBEDDER.embed([said[3]]))[0])
        assert (hits.by_vector[0].moment.text, round(hits.by_vector[0].cosine, 4)) == (said[3], 1.0)
        states = [await state(store, stream) for stream in await names(store)]
        told = [(each.stream_id, each.first_seen, each.latest, each.ended, each.moments, each.dropped) for each in states]
        assert told == [("s0", 5.0, at(99), False, 2, 3), ("s1", 6.0, at(99), True, 2, 3)]
        log = AuditLog(store.database)
        assert (await log.verify()).problems == ()
        assert len(await log.rows()) == 2
        await store.put_all([await entry(spoken("said now", 50, stream="s0"))])
        await store.put_all([await entry(spoken(said[0], 0, stream="s0", source="segment-0000"))])
        assert await texts(store, stream="s0") == [said[0], said[2], "said now"]
        await Summariser(store).catch_up()
        assert len(await store.between("s1", Kind.SUMMARY)) > 0
        await store.close()

    asyncio.run(test())


def test_what_a_memory_of_the_second_layout_kept_of_thumbnails_that_had_gone_goes(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "m.db")
        await store.put_all([await looked(1), await looked(2), await entry(spoken("it stays", 1))])
        await store.close()

    async def test() -> None:
        store = SqliteStore(tmp_path / "m.db")
        assert [each.start for each in await store.between("s", Kind.PICTURE)] == [at(2)]
        assert await texts(store) == ["it stays"]
        assert (await state(store)).moments == 2
        await store.close()

    asyncio.run(fill())
    db = sqlite3.connect(tmp_path / "m.db")
    db.executescript(
        "DELETE FROM pictures WHERE id = 'keyframe-1000'; DELETE FROM sources WHERE source = 'keyframe-1000'; PRAGMA user_version = 2;"
    )
    db.close()
    asyncio.run(test())


def test_several_processes_may_bring_a_memory_up_to_date_at_once(tmp_path: Path) -> None:
    first_layout(tmp_path / "m.db", *(f"sentence number {number}" for number in range(200)))
    script = (
        "import sys; from pipeline.memory.sqlite import SqliteStore; import asyncio\n"
        "sys.stdin.readline(); store = SqliteStore(sys.argv[1]); print((asyncio.run(store.stream('s0'))).moments)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.db")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    told = [process.communicate("go\n", timeout=60)[0].splitlines()[-1] for process in processes]
    assert told == ["100"] * 2
    assert [process.returncode for process in processes] == [0] * 2


# What goes wrong


def with_writer(store: SqliteStore, *statements: str) -> None:
    """Run statements with the connection that writes."""
    asyncio.run(store.file._workers.alone(lambda connection: [connection.run(statement) for statement in statements]))


def failing(store: SqliteStore, message: str) -> None:
    """Storing fails with this message; what was there is still there."""

    async def test() -> None:
        with pytest.raises(StoreUnavailable, match=message):
            await put(store, *(spoken("lost " * 400, 10 + n) for n in range(400)))

    asyncio.run(test())


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteStore]:
    """A memory in a file that holds one moment and is not patient."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(tmp_path / "m.db", patience_s=0.1)
    asyncio.run(put(store, spoken("kept", 1)))
    yield store
    asyncio.run(store.close())


def test_a_memory_that_another_holds_is_read_all_the_same_and_waited_for(kept: SqliteStore) -> None:
    other = sqlite3.connect(kept.file.shown, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    failing(kept, r"what stream s said and showed in the scene memory .* failed: database is locked; another process holds it")
    assert asyncio.run(texts(kept)) == ["kept"]

    async def patient() -> None:
        asyncio.get_running_loop().call_later(0.3, other.execute, "COMMIT")
        kept.file._patience_s = 20
        await put(kept, spoken("late", 5))
        assert await texts(kept) == ["kept", "late"]

    asyncio.run(patient())
    other.close()


def test_a_full_disk_is_told_and_what_is_there_can_be_read(kept: SqliteStore) -> None:
    with_writer(kept, "PRAGMA max_page_count = 60")
    failing(kept, "failed: database or disk is full; make room")
    assert asyncio.run(texts(kept))[0] == "kept"
    with_writer(kept, "PRAGMA max_page_count = 100000")
    asyncio.run(put(kept, spoken("there is room", 5000)))


def test_a_limit_on_the_size_of_files_is_told(kept: SqliteStore) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        failing(kept, "failed: (disk I/O error|database or disk is full); ")
        assert asyncio.run(texts(kept))[0] == "kept"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_memory_that_may_only_be_read_is_told(kept: SqliteStore) -> None:
    with_writer(kept, "PRAGMA query_only = 1")
    failing(kept, "attempt to write a readonly database; let this process write")
    assert asyncio.run(texts(kept)) == ["kept"]


def test_a_damaged_file_is_told(kept: SqliteStore) -> None:
    asyncio.run(put(kept, *(spoken(f"word {n} " * 50, 10 + n) for n in range(30))))
    with_writer(kept, "PRAGMA wal_checkpoint(TRUNCATE)")
    with open(kept.file.shown, "r+b") as file:
        size = file.seek(0, 2)
        file.seek(4096)
        file.write(b"\x5a" * (size - 4096))

    with pytest.raises((SettingInvalid, StoreUnavailable), match=r"m\.db .*: database disk image is malformed; "):
        asyncio.run(texts(SqliteStore(kept.file.shown, patience_s=0.1)))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_removed_or_replaced_is_not_written_to_in_vain(kept: SqliteStore, replaced: bool) -> None:
    Path(kept.file.shown).unlink()
    if replaced:
        Path(kept.file.shown).write_bytes(b"")
    failing(kept, "the file is gone: .*; start the process again")


def test_a_process_that_is_killed_while_it_writes_leaves_a_memory_that_goes_on(tmp_path: Path) -> None:
    script = (
        "import asyncio, sys\n"
        "from pipeline.memory.sqlite import SqliteStore\n"
        "from tests.pipeline.store_suite import entry, picture, spoken\n"
        "async def fill(store):\n"
        "    for n in range(int(sys.argv[2])):\n"
        "        await store.put_all([await entry(spoken(f'sentence {n}', 3.0 * n)), picture(3.0 * n)])\n"
        "        print(n, flush=True)\n"
        "asyncio.run(fill(SqliteStore(sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.db")]
    killed = subprocess.Popen([*command, "100000"], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    told = [line for line in iter(killed.stdout.readline, "17\n") if line]
    killed.kill()
    killed.communicate()
    assert len(told) >= 17

    async def test() -> None:
        store = SqliteStore(tmp_path / "m.db")
        state = await store.stream("s")
        assert state is not None
        assert state.moments == state.pictures == (await store.count(Scope(("s",))))[Kind.SPEECH]
        assert state.moments >= 18, "what was told as stored is there"
        for number in range(50):
            await store.put_all([await entry(spoken(f"sentence {number}", 3.0 * number)), picture(3.0 * number)])
        after = await store.stream("s")
        assert after is not None
        assert after.moments == after.pictures == max(50, state.moments)
        assert len(await find(store, "sentence", limit=200)) == after.moments
        await store.close()

    asyncio.run(test())


def event(text: str, start: float) -> ClearedEvent:
    segment = TranscriptSegment(stream_id="s", id=f"segment-{at(start).millis}", is_final=True, text=text)
    segment.media_start.CopyFrom(at(start).to_proto())
    segment.media_end.CopyFrom(at(start + 1).to_proto())
    return ClearedEvent(segment=segment)


def test_a_memory_that_fails_ends_the_step_and_loses_nothing_of_the_topic(kept: SqliteStore) -> None:
    async def test() -> None:
        bus, embedder, step = MemoryBus(), ScriptedEmbedder(), STEPS["index"]

        def index(stream_id: str) -> Index:
            return Index(stream_id, kept, embedder)

        for number in range(4):
            origin = Origin("screen-transcripts", Position(number, 0))
            await bus.publish("cleared", "s", event(f"sentence {number}", 10.0 * number + 10), origin=origin)
        other = sqlite3.connect(kept.file.shown, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="database is locked"):
            await run(step, bus, index, commit_interval_s=0)
        other.execute("COMMIT")
        other.close()
        indexed = asyncio.Event()
        running = asyncio.create_task(run(step, bus, telling(index, indexed), commit_interval_s=0))
        for branch in BRANCHES:
            await bus.publish("cleared", "s", ClearedEvent(end=StreamEnd(stream_id="s")), origin=Origin(branch, Position(9, 0)))
        async with asyncio.timeout(20):
            await indexed.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert await texts(kept) == ["kept", *(f"sentence {number}" for number in range(4))]

    asyncio.run(test())


def test_words_that_most_moments_have_are_left_out_where_rarer_ones_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    common = CommonWords(few=4)

    async def asked(store: SqliteStore, *words: str) -> list[str]:
        return await store.file.read("asking for words", lambda db: common.without(db, words))

    async def test() -> None:
        store = SqliteStore(max_moments=100)
        monkeypatch.setattr(store.file, "_common", common)
        for number in range(4):
            await put(store, spoken(f"the Harbour {number}", 3.0 * number, stream=f"s{number % 2}"))
        assert await asked(store, "the", "harbour", "the") == ["the", "harbour"], "four moments are few"
        for number in range(4, 20):
            await put(store, spoken(f"the sea, {'at night' if number % 2 else 'a wave'}", 3.0 * number, stream=f"s{number % 2}"))
        assert await asked(store, "The", "harbour", "wavé", "lighthouse") == ["harbour", "lighthouse"]
        assert await asked(store, "the", "sea", "wave") == ["wave"], "all are common: the rarest of them"
        assert await find(store, "the", "harbour", stream="s1", limit=2) == ["the Harbour 1", "the Harbour 3"]
        assert len(await find(store, "the", stream="s0")) == 10
        for number in range(20, 60):
            await put(store, spoken("a lighthouse", 3.0 * number, stream="s0"))
        assert await asked(store, "the", "lighthouse", "wave") == ["wave"], "what is common is looked at again once there is twice as much"
        await store.forget("s0")
        await store.forget("s1")
        assert await find(store, "the", "harbour") == []
        await store.close()

    asyncio.run(test())


def test_a_word_that_is_common_in_another_stream_is_still_found_in_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    common = CommonWords(few=4)

    async def test() -> None:
        store = SqliteStore(max_moments=100)
        monkeypatch.setattr(store.file, "_common", common)
        goals = [await entry(spoken(f"goal {number}", 3.0 * number, stream="football")) for number in range(40)]
        said = ["our goal is peace" if number == 15 else f"nothing {number}" for number in range(20)]
        await store.put_all([*goals, *[await entry(spoken(text, 3.0 * number)) for number, text in enumerate(said)]])
        assert await find(store, "goal", "treaty") == ["our goal is peace"]
        assert await find(store, "nothing", "goal", "7", limit=3) == ["nothing 7", "our goal is peace", "nothing 0"]
        assert len(await find(store, "nothing", "goal", "7")) == 20, "each once"
        await store.forget("football")
        known = await store.file.read("asking for words", lambda db: common.without(db, ["goal", "treaty"]))
        assert known == ["goal", "treaty"], "what is common is looked at again once there is half as much"
        await store.close()

    asyncio.run(test())


def test_a_search_in_all_of_many_moments_finds_what_looking_at_each_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rarest_first, "CHEAP", 5)
    random = np.random.default_rng(3)
    rare, middling, common = ["heron", "osprey"], ["harbour", "tower", "ferry"], ["lake", "over", "looks"]

    def text(number: int) -> str:
        words = [word for word in common if random.random() < 0.2] + [word for word in middling if random.random() < 0.08]
        return " ".join([*words, *(word for word in rare if random.random() < 0.02), f"n{number}"])

    moments = [spoken(text(number), 3.0 * number, stream=f"s{number % 3}") for number in range(1500)]
    vectors = random.normal(size=(len(moments), DIMENSIONS)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    questions = [
        ["heron", "lake"],
        ["ferry", "over"],
        ["tower", "harbour", "looks"],
        ["osprey", "ferry", "lake"],
        ["lake", "over"],
        ["nothing"],
    ]

    async def found(store: SqliteStore, words: list[str], vector: Vectors) -> tuple[list[str], list[str]]:
        hits = await store.search(Scope((), EVIDENCE, Span()), words, vector, limit=12)
        return [each.moment.text for each in hits.by_words], [each.moment.text for each in hits.by_vector]

    async def both(store: SqliteStore) -> None:
        for number, words in enumerate(questions):
            vector = vectors[37 * number] + random.normal(size=DIMENSIONS).astype(np.float32) / 40
            monkeypatch.setattr(store.file, "_common", CommonWords())
            by_words, nearest = await found(store, words, vector)
            monkeypatch.setattr(store.file, "_common", CommonWords(few=0))
            worded, near = await found(store, words, vector)
            assert worded == by_words, words
            # Random vectors are all equally far away, and so are the last of those that are looked at closely.
            assert near[0] == nearest[0]
            assert len({*near} & {*nearest}) >= 8

    async def test() -> None:
        store = SqliteStore(max_moments=10_000)
        for place in range(0, len(moments), 250):
            await store.put_all(
                [
                    Entry(each.stream_id, each.source_id, (each,), vectors[place + n : place + n + 1])
                    for n, each in enumerate(moments[place : place + 250])
                ]
            )
        await both(store)
        gone = codes.encode(vectors[1:2])[0]
        await store.forget("s1")
        pages = await store.file.read("looking for codes", lambda db: db.rows("SELECT codes FROM code_pages"))
        assert pages
        assert not any(gone in page for (page,) in pages), "nothing is left of what was forgotten"
        await both(store)
        await store.close()

    asyncio.run(test())


def test_a_memory_of_the_third_layout_gets_its_codes_side_by_side(tmp_path: Path) -> None:
    async def fill() -> None:
        store = SqliteStore(tmp_path / "m.db")
        await store.put_all([await entry(spoken(f"sentence {number}", 3.0 * number, stream=f"s{number % 2}")) for number in range(150)])
        await store.forget("s0", Span(at(100), at(200)))
        await store.close()

    asyncio.run(fill())
    db = sqlite3.connect(tmp_path / "m.db")
    written = db.execute("SELECT page, codes FROM code_pages ORDER BY page").fetchall()
    db.executescript("DROP TRIGGER code_added; DROP TRIGGER code_removed; DROP TABLE code_pages; PRAGMA user_version = 3;")
    db.close()
    asyncio.run(SqliteStore(tmp_path / "m.db").close())
    db = sqlite3.connect(tmp_path / "m.db")
    assert db.execute("SELECT page, codes FROM code_pages ORDER BY page").fetchall() == written
    db.close()
