"""The scene memory in PostgreSQL, on a real server."""

import asyncio
import itertools
from collections.abc import Iterator

import numpy as np
import psycopg
import pytest
from watchword.v1.safety_pb2 import AuditRecord

from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.memory import ranking
from pipeline.memory.folding import folded
from pipeline.memory.migrations import statements
from pipeline.memory.open import open_store
from pipeline.memory.postgres import PostgresStore
from pipeline.memory.schema_postgres import FIRST
from pipeline.memory.store import Kind, Scope, Span
from pipeline.memory.summarise import Summariser
from pipeline.safety.audit_log import AuditLog
from tests.pipeline.store_suite import (
    EMBEDDER,
    OPTIONS,
    Opened,
    StoreSuite,
    at,
    entry,
    find,
    look,
    looked,
    picture,
    put,
    running,
    spoken,
    state,
    texts,
)
from tests.postgres import PASSWORD, Server

pytestmark = pytest.mark.connected

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def schema() -> str:
    return f"test{next(NUMBERS)}"


class TestPostgresStore(StoreSuite):
    @pytest.fixture
    def opened(self, server: Server) -> Opened:
        return running(lambda: PostgresStore(server.address, schema=schema(), **OPTIONS))


def test_several_processes_fill_one_memory_and_all_see_what_is_in_it(server: Server) -> None:
    async def test() -> None:
        name = schema()
        stores = await asyncio.gather(*(asyncio.to_thread(PostgresStore, server.address, schema=name) for _ in range(3)))
        said = [(store, number) for number in range(10) for store in stores]
        await asyncio.gather(*(put(store, spoken(f"sentence {number}", 3.0 * number)) for store, number in said))
        for store in stores:
            assert len(await texts(store)) == 10
            assert len(await find(store, "sentence")) == 10
        state = await stores[0].stream("s")
        assert state is not None
        assert state.moments == 10
        await stores[0].end("s")
        steps = await asyncio.gather(*(Summariser(store).catch_up() for store in stores))
        assert sum(steps) >= 2
        assert len(await stores[0].between("s", Kind.SUMMARY)) == 9
        for store in stores:
            await store.close()

    asyncio.run(test())


def test_a_server_that_crashes_while_it_is_written_to_loses_nothing_and_has_nothing_twice(server: Server) -> None:
    async def test() -> None:
        store = PostgresStore(server.address, schema=schema(), patience_s=60)

        some = asyncio.Event()

        async def fill(stream: str) -> None:
            for number in range(60):
                said = await entry(spoken(f"sentence {number}", 3.0 * number, stream=stream))
                await store.put_all([said, picture(3.0 * number, stream=stream)])
                if number == 10:
                    some.set()

        async def crash() -> None:
            await some.wait()
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)

        await asyncio.gather(crash(), *(fill(f"s{number}") for number in range(4)))
        for number in range(4):
            assert await texts(store, stream=f"s{number}") == [f"sentence {n}" for n in range(24)]
            assert await store.count(Scope((f"s{number}",))) == {Kind.SPEECH: 60, Kind.DESCRIPTION: 0, Kind.ON_SCREEN_TEXT: 0}
            state = await store.stream(f"s{number}")
            assert state is not None
            assert (state.moments, state.pictures) == (60, 60)
        await store.close()

    asyncio.run(test())


def test_a_server_that_is_gone_is_told_and_a_question_is_answered_when_it_is_back(server: Server) -> None:
    async def test() -> None:
        store = PostgresStore(server.address, schema=schema(), patience_s=0.2)
        await put(store, spoken("kept", 1))
        server.stop()
        try:
            gone = r"Storing what stream s said and showed in the scene memory postgresql:.* is the server up"
            with pytest.raises(StoreUnavailable, match=gone):
                await put(store, spoken("lost", 5))
            with pytest.raises(StoreUnavailable, match="Searching stream s"):
                await find(store, "kept")
            with pytest.raises(StoreUnavailable, match="Connecting to the scene memory"):
                PostgresStore(server.address, patience_s=0.2)
        finally:
            server.start()
        assert await find(store, "kept") == ["kept"]
        await put(store, spoken("there again", 5))
        await store.close()

    asyncio.run(test())


def test_a_password_opens_the_door_and_is_never_told(server: Server, capfd: pytest.CaptureFixture[str]) -> None:
    store = PostgresStore(server.over_tcp(PASSWORD), schema=schema())
    assert store.database.shown == f"postgresql://watchword@127.0.0.1:{server.port}/postgres"
    asyncio.run(store.close())
    secret = "not the pass:word"
    for address, message in (
        (server.over_tcp(secret), "password authentication failed"),
        (server.over_tcp(PASSWORD, database="nothing"), 'database "nothing" does not exist'),
        (server.over_tcp(secret) + "?no_such_option=1", "look at its options"),
        (f"postgresql://watchword:{secret}@127.0.0.1:port/x", "cannot be read|is wrong"),
    ):
        with pytest.raises(SettingInvalid, match=message) as refused:
            open_store(address, patience_s=0.1)
        shown = str(refused.value)
        assert not any(part in shown for part in (PASSWORD, secret, secret.replace(" ", "%20"), "pass"[:4] + ":"))
    assert secret not in capfd.readouterr().out


def test_without_pgvector_and_the_right_to_make_it_the_help_is_told(server: Server) -> None:
    with psycopg.connect(server.address, autocommit=True) as administrator:
        administrator.execute("CREATE USER guest PASSWORD 'guest'")
        administrator.execute("CREATE DATABASE bare OWNER guest")
    guest = server.over_tcp("guest", user="guest", database="bare")
    with pytest.raises(SettingInvalid, match=r"needs the extension pgvector, .*run CREATE EXTENSION vector as an administrator"):
        PostgresStore(guest)
    with psycopg.connect(server.address.replace("/postgres?", "/bare?"), autocommit=True) as administrator:
        administrator.execute("CREATE EXTENSION vector")
    asyncio.run(PostgresStore(guest).close())


def test_what_only_has_frequent_words_is_looked_at_where_it_could_win_and_the_ranking_is_the_same(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(3)
    words = [f"{chr(97 + n % 26)}ord{n}" for n in range(60)]
    shares = 1 / np.arange(1, len(words) + 1)
    said = [" ".join(random.choice(words, random.integers(3, 12), p=shares / shares.sum())) for _ in range(120)]
    asked = [list(random.choice(words, 4, p=shares / shares.sum())) for _ in range(12)]

    async def test() -> None:
        store = PostgresStore(server.address, schema=schema())
        entries = [await entry(spoken(text, 3.0 * number, stream=f"s{number % 2}")) for number, text in enumerate(said)]
        await store.put_all(entries)
        for scope in (Scope(("s0",)), Scope(), Scope(("s1",), span=Span(at(60), at(200)))):
            for query in asked:
                whole = None
                for ranked in (10**9, 40, 1):
                    monkeypatch.setattr(ranking, "RANKED", ranked)
                    found = await look(store, scope, *query, limit=5)
                    whole = found if whole is None else whole
                    assert found == whole
        await store.close()

    asyncio.run(test())


def test_a_memory_of_the_first_layout_is_brought_up_to_date_with_all_it_holds(server: Server) -> None:
    name, said = schema(), ["the ferry leaves the harbour", "well-known harbours, harbours", "a cat sleeps"]
    vectors = asyncio.run(EMBEDDER.embed(said))
    with psycopg.connect(server.address, autocommit=True) as administrator:
        run = administrator.execute
        run(f"CREATE SCHEMA {name}".encode())
        run(f"SET search_path = {name}, public".encode())
        run("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        for statement in statements(FIRST):
            run(statement.encode())
        run("CREATE TABLE layout (version integer NOT NULL)")
        run("INSERT INTO layout VALUES (1)")
        run("INSERT INTO streams (stream, first_seen, latest_ns, moments, handed_out) VALUES ('s', 5, 0, 3, 3)")
        for number, (text, vector) in enumerate(zip(said, vectors, strict=True)):
            times, code = (number * 10**9, (number + 2) * 10**9), "".join("1" if each > 0 else "0" for each in vector)
            moment = (2**40 + number, *times, code, f"segment-{number}000", text, folded(text))
            run(
                "INSERT INTO moments VALUES (%s, 1, 'speech', %s, %s, %s::bit(384), %s, 0, %s, 'm', '', '', to_tsvector('stemmed', %s))",
                moment,
            )
            run("INSERT INTO vectors VALUES (%s, %s::vector)", (2**40 + number, str(vector.tolist())))

    async def test() -> None:
        store = PostgresStore(server.address, schema=name)
        assert await find(store, "harbour") == [said[1], said[0]], "what has it twice comes first"
        assert await find(store, "well-known") == [said[1]]
        hits = await store.search(Scope(), [], vectors[2])
        assert (hits.by_vector[0].moment.text, round(hits.by_vector[0].cosine, 4)) == (said[2], 1.0)
        await put(store, spoken("another harbour", 9))
        assert len(await find(store, "harbour")) == 3
        await store.close()

    asyncio.run(test())


def test_what_a_memory_of_the_second_layout_kept_of_thumbnails_that_had_gone_goes(server: Server) -> None:
    name = schema()

    async def fill() -> None:
        store = PostgresStore(server.address, schema=name)
        await store.put_all([await looked(1), await looked(2), await entry(spoken("it stays", 1))])
        await store.close()

    async def test() -> None:
        store = PostgresStore(server.address, schema=name)
        assert [each.start for each in await store.between("s", Kind.PICTURE)] == [at(2)]
        assert await texts(store) == ["it stays"]
        assert (await state(store)).moments == 2
        await store.close()

    asyncio.run(fill())
    with psycopg.connect(server.address, autocommit=True) as administrator:
        for change in ("DELETE FROM {}.pictures WHERE id = 'keyframe-1000'", "DELETE FROM {}.sources WHERE source = 'keyframe-1000'"):
            administrator.execute(change.format(name).encode())
        administrator.execute(f"UPDATE {name}.layout SET version = 2".encode())
    asyncio.run(test())


def test_a_memory_of_a_newer_layout_is_refused(server: Server) -> None:
    name = schema()
    asyncio.run(PostgresStore(server.address, schema=name).close())
    with psycopg.connect(server.address, autocommit=True) as administrator:
        administrator.execute(f"UPDATE {name}.layout SET version = 9".encode())
    with pytest.raises(SettingInvalid, match="has the layout 9"):
        PostgresStore(server.address, schema=name)


def test_the_audit_log_is_in_the_same_database_and_cannot_be_changed_by_accident(server: Server) -> None:
    name = schema()

    async def test() -> None:
        store = PostgresStore(server.address, schema=name)
        log = AuditLog(store.database, key=b"k" * 32)
        for number in range(3):
            assert await log.append(AuditRecord(id=f"audit-{number}", stream_id="s"))
            assert not await log.append(AuditRecord(id=f"audit-{number}", stream_id="s"))
        await log.review("audit-1", "uphold", reviewer="ann")
        await put(store, spoken("a secret", 1))
        await store.forget("s", Span(at(0), at(9)), noted=log.erased("s", {"by": "ben"}))
        report = await log.verify()
        assert (report.rows, report.problems) == (5, ())
        assert [row.kind for row in await log.rows(stream_id="s")] == ["verdict"] * 3 + ["review", "erasure"]
        await store.close()

    asyncio.run(test())
    for statement in ("UPDATE", "DELETE FROM", "TRUNCATE"):
        change = f"{statement} {name}.audit" + (" SET body = ''" if statement == "UPDATE" else "")
        with psycopg.connect(server.address) as administrator, pytest.raises(psycopg.Error, match="append-only"):
            administrator.execute(change.encode())
