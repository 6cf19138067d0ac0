"""Contact sheets, written while a stream goes on."""

import io
from pathlib import Path

import pytest
from PIL import Image
from watchword.v1 import scene_pb2

from pipeline.timeline import MediaTime
from services.cli.outputs import COLUMNS, ROWS, ContactSheets

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
