"""The files that a command leaves: contact sheets, written while a stream goes on, and what is left where there is no room."""

import io
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image
from watchword.v1 import events_pb2, scene_pb2, transcript_pb2

from pipeline.errors import SettingInvalid
from pipeline.timeline import MediaTime
from services.cli import files
from services.cli.events_file import EventsFile
from services.cli.outputs import COLUMNS, ROWS, ContactSheets
from services.cli.session import Session

pytestmark = pytest.mark.unit

FULL = COLUMNS * ROWS


def keyframe(number: int) -> scene_pb2.Keyframe:
    jpeg = io.BytesIO()
    Image.new("RGB", (448, 252), (number * 5 % 256, 80, 120)).save(jpeg, format="JPEG")
    return scene_pb2.Keyframe(id=f"keyframe-{number}", media_time=MediaTime.of(number).to_proto(), jpeg=jpeg.getvalue())


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_a_sheet_is_written_as_soon_as_it_is_full_and_old_ones_go(tmp_path: Path) -> None:
    for number in (1, 2, 3, 4):
        (tmp_path / f"keyframes-{number}.jpg").write_bytes(b"of an earlier run")
    sheets = ContactSheets(tmp_path)
    for number in range(2 * FULL + 3):
        sheets.add(keyframe(number))
        assert len(sheets.paths) == (number + 1) // FULL
    sheets.add(scene_pb2.Keyframe(id="withheld"))
    sheets.finish()
    names = [f"keyframes-{number}.jpg" for number in (1, 2, 3)]
    assert [path.name for path in sheets.paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    sizes = [size_of(path) for path in sheets.paths]
    assert sizes[0] == sizes[1]
    assert sizes[2][1] * ROWS == sizes[0][1], "three pictures take one row"


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """As on a disk that is full after so many bytes of a file."""
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_without_room_a_file_is_named_with_the_cause_and_what_was_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "captions.vtt"
    files.write(path, "whole")
    with room_for(1000), pytest.raises(SettingInvalid, match=r"captions\.vtt cannot be written: File too large"):
        files.write(path, "x" * 5000)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("captions.vtt", "whole")]


def write_numbers(events: EventsFile) -> None:
    for number in range(50):
        events.write([{"number": number, "text": "x" * 50}])


def test_without_room_the_events_end_with_a_whole_line_and_go_on_when_there_is_some(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = EventsFile(path)
    with room_for(1000), pytest.raises(SettingInvalid, match=r"events\.jsonl cannot be written: File too large"):
        write_numbers(events)
    whole = [json.loads(line)["number"] for line in path.read_text().splitlines()]
    events.write([{"number": "last"}])
    events.close()
    assert len(whole) > 5
    assert [json.loads(line)["number"] for line in path.read_text().splitlines()] == [*whole, "last"]
    assert whole == list(range(len(whole)))


def test_a_file_that_was_there_keeps_its_permissions_and_its_links(tmp_path: Path) -> None:
    place, link = tmp_path / "private.jsonl", tmp_path / "link.jsonl"
    place.touch(0o600)
    link.symlink_to(place)
    files.write(link, "content")
    assert (place.read_text(), place.stat().st_mode & 0o777, link.is_symlink()) == ("content", 0o600, True)


def test_a_place_below_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingInvalid, match="file/below cannot be written: Not a directory"):
        files.write(tmp_path / "file" / "below", "x")


def test_what_is_no_file_is_written_to_as_it_is() -> None:
    with pytest.raises(SettingInvalid, match="/dev/full cannot be written: No space left on device"):
        files.write(Path("/dev/full"), "x")
    assert Path("/dev/full").is_char_device()


def watched_until_stopped(out: Path) -> None:
    said = transcript_pb2.TranscriptSegment(id="segment-0", text="Welcome.", is_final=True, media_end=MediaTime.of(1).to_proto())
    with Session(out=out) as session:
        session.viewer.cleared(events_pb2.ClearedEvent(segment=said), None)
        os.kill(os.getpid(), signal.SIGTERM)


def test_what_was_told_is_written_when_a_run_is_asked_to_stop(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        watched_until_stopped(tmp_path)
    assert "Welcome." in (tmp_path / "captions.vtt").read_text()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
