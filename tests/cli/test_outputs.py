"""What is left of a stream: contact sheets, written while it goes on, events, and what is printed; and places that take nothing."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from watchword.v1 import scene_pb2

from pipeline.errors import SettingInvalid
from pipeline.timeline import MediaTime
from services.cli.events_file import EventsFile
from services.cli.outputs import COLUMNS, ROWS, ContactSheets
from tests.processes import ROOT

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


def test_a_full_disk_is_told_with_the_option_that_leads_there(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    events = EventsFile(full)
    with pytest.raises(SettingInvalid, match="--events /dev/full cannot be written: No space left"):
        events.write([{"type": "gap"}])
    with pytest.raises(SettingInvalid, match="--events"):
        events.close()
    sheets = ContactSheets(tmp_path)
    sheets.add(keyframe(1))
    sheets.paths.append(tmp_path / "keyframes-1.jpg")
    (tmp_path / "keyframes-2.jpg").symlink_to(full)
    with pytest.raises(SettingInvalid, match=f"--out {tmp_path} cannot be written"):
        sheets.finish()


def test_where_nobody_reads_on_what_goes_on_is_ended_in_good_order() -> None:
    """As of `watchword run talk.mp4 | head`: an ordinary error goes through whatever holds something."""
    code = (
        "import sys\n"
        "from services.cli.terminal import Terminal\n"
        "try:\n"
        "    with Terminal() as terminal:\n"
        "        for _ in range(10_000):\n"
        "            terminal.say('Is anybody there?')\n"
        "except BrokenPipeError:\n"
        "    sys.exit(7)\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, text=True, timeout=60)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (7, "")
