"""`watchword forget` on a real memory: nothing of what it removes is left in the files, and the audit log says who had it removed."""

import asyncio
import json
from pathlib import Path

import pytest

from pipeline.errors import SettingInvalid, StreamUnknown
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Kind
from pipeline.memory.summarise import Summariser
from pipeline.safety.audit_log import AuditLog
from services.cli.forget import forget
from tests.pipeline.store_suite import entry, judged, picture, shown, spoken, texts

pytestmark = pytest.mark.unit

SECRET = "xylophonist"
JPEG = b"thumbnail of the secret" * 40


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A memory in which two streams speak of a secret, one of them in its second minute too."""
    path = tmp_path / "m.db"

    async def fill() -> None:
        memory = SqliteStore(path)
        for stream in ("s", "t"):
            for number in range(40):
                text = f"the {SECRET} number {number} of {stream}" if number < 20 else f"harmless sentence {number} of {stream}"
                await memory.put_all([await entry(spoken(text, 3.0 * number, stream=stream))])
        await memory.put_all([await entry(shown(SECRET.upper(), 5, kind=Kind.ON_SCREEN_TEXT), judgement=judged("scene-5000", 5))])
        await memory.put_all([picture(5, JPEG), picture(100, b"another" * 100)])
        for stream in ("s", "t"):
            await memory.end(stream)
        await Summariser(memory).catch_up()
        await memory.close()

    asyncio.run(fill())
    return path


def files(store: Path) -> bytes:
    """All bytes of the database, its log of pages and what else lies beside it, in small letters."""
    return b"".join(path.read_bytes() for path in sorted(store.parent.iterdir())).lower()


def run(store: Path, stream: str, start: str = "", end: str = "") -> None:
    forget(stream, str(store), None, start=start, end=end, by="ben", reason="asked for")


def test_a_stream_is_removed_to_the_last_byte_and_it_is_on_record(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert SECRET.encode() in files(store)
    run(store, "t")
    run(store, "s")
    told = capsys.readouterr().out
    assert "removed of stream s, with vectors and words:\n         41 moments\n" in told
    assert "          2 thumbnails\n          1 verdict\n" in told
    assert "Not removed: what Kafka still holds" in told
    left = files(store)
    assert SECRET.encode() not in left
    assert SECRET[:6].encode() not in left, "the word index holds stems"
    assert JPEG[:23] not in left

    async def look() -> None:
        memory = SqliteStore(store)
        assert await memory.ages() == []
        log = AuditLog(memory.database)
        assert (await log.verify()).problems == ()
        rows = await log.rows(stream_id="s")
        assert [row.kind for row in rows] == ["erasure"]
        assert (rows[0].body["by"], rows[0].body["reason"], rows[0].body["removed"]["moments"]) == ("ben", "asked for", 41)
        assert SECRET not in json.dumps(rows[0].body)
        await memory.close()

    asyncio.run(look())


def test_a_stretch_is_removed_and_the_rest_stays(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(store, "t")
    run(store, "s", "0", "1:01")
    assert "removed of 0 to 1:01 of stream s, with vectors and words:\n         22 moments" in capsys.readouterr().out
    assert SECRET.encode() not in files(store)
    assert JPEG[:23] not in files(store)

    async def look() -> None:
        memory = SqliteStore(store)
        assert len(await texts(memory)) == 19
        assert len(await memory.pictures("s")) == 1
        assert await memory.between("s", Kind.SUMMARY) == []
        await Summariser(memory).catch_up()
        made = await memory.between("s", Kind.SUMMARY)
        assert made
        assert all("harmless" in line.text for line in made)
        await memory.close()

    asyncio.run(look())


def test_what_cannot_be_removed_is_told(store: Path, tmp_path: Path) -> None:
    with pytest.raises(StreamUnknown, match="'nobody'"):
        run(store, "nobody")
    with pytest.raises(SettingInvalid, match="not after"):
        run(store, "s", "10", "5")
    with pytest.raises(SettingInvalid, match="--from soon"):
        run(store, "s", "soon")
    with pytest.raises(SettingInvalid, match="there is no store"):
        run(tmp_path / "absent.db", "s")
