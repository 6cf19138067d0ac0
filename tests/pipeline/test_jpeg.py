"""JPEGs from elsewhere: what is refused, and that nothing but the pixels goes on."""

import io
import struct
from collections.abc import Callable

import pytest
from PIL import Image

from pipeline.caption.pictures import decode
from pipeline.errors import MediaUndecodable
from pipeline.memory.pictures import thumbnail
from pipeline.safety.model import prepare
from pipeline.safety.pictures import redact
from pipeline.safety.policy import FrameRedaction

pytestmark = pytest.mark.unit

READERS: dict[str, Callable[[bytes], object]] = {
    "captioning": lambda jpeg: decode(jpeg, what="a shot"),
    "the thumbnail": thumbnail,
    "judging": prepare,
    "redaction": lambda jpeg: redact(jpeg, [FrameRedaction.PIXELATE]),
}
each_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())


def picture(file_format: str = "JPEG", **options: object) -> bytes:
    stored = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(stored, file_format, **options)
    return stored.getvalue()


@each_reader
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_what_is_no_whole_jpeg_of_a_sane_size_is_refused(read: Callable[[bytes], object]) -> None:
    whole = picture()
    size = whole.index(b"\xff\xc0") + 5
    huge = whole[:size] + struct.pack(">HH", 10_000, 10_000) + whole[size + 4 :]
    for broken in (b"", b"no picture", whole[: len(whole) // 2], picture("PNG"), huge):
        with pytest.raises(MediaUndecodable):
            read(broken)


@each_reader
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_whole_jpeg_is_read_whatever_it_says_in_exif(read: Callable[[bytes], object]) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    whole = picture(exif=exif)
    tag = whole.index(struct.pack(">H", 0x010F), whole.index(b"Exif"))
    for kind in range(14):
        read(whole[: tag + 2] + struct.pack(">H", kind) + whole[tag + 4 :])


@pytest.mark.parametrize("made", [lambda jpeg: thumbnail(jpeg)[0], *(lambda jpeg, way=way: redact(jpeg, [way]) for way in FrameRedaction)])
def test_notes_in_the_file_are_not_carried_over(made: Callable[[bytes], bytes]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a note in EXIF"
    made_of = made(picture(comment=b"a note beside the picture" * 2_000, exif=exif))
    assert b"a note" not in made_of
    assert len(made_of) < 2_000
