"""The scene memory in SQLite."""

import asyncio

import pytest

from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.memory.engine import sqlite3
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Scope
from tests.pipeline.store_suite import EMBEDDER, OPTIONS, Opened, StoreSuite, put, running, spoken, texts

pytestmark = pytest.mark.unit


class TestSqliteStore(StoreSuite):
    @pytest.fixture
    def opened(self) -> Opened:
        return running(lambda: SqliteStore(**OPTIONS))


class TestSqliteStoreWithoutExtension(StoreSuite):
    @pytest.fixture
    def opened(self) -> Opened:
        return running(lambda: SqliteStore(extension=False, **OPTIONS))


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


def test_a_failing_disk_is_told_with_the_stream_and_changes_nothing(tmp_path):
    async def test() -> None:
        store = SqliteStore(tmp_path / "m.db")
        await put(store, spoken("kept", 1))
        other = sqlite3.connect(tmp_path / "m.db")
        other.execute("DROP TABLE streams")
        other.close()
        with pytest.raises(StoreUnavailable, match=r"stream s .* in the scene memory .* failed: no such table"):
            await put(store, spoken("lost", 1))
        await store.close()

    asyncio.run(test())
