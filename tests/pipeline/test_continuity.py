"""Missing and damaged packets, told by the bitstream itself."""

from collections.abc import Iterator

import pytest

from pipeline.media.continuity import Continuity, continuity
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

SPECS = {
    "b-frames": Spec(seconds=4, audio=None, b_frames=3, gop=60),
    "no b-frames": Spec(seconds=4, audio=None, b_frames=0, gop=60),
    "transport stream": Spec(seconds=4, audio=None, container="ts", gop=60),
    "hevc": Spec(seconds=4, audio=None, video="libx265", gop=60),
}


def packets(spec: Spec) -> Iterator[bytes]:
    for piece in chunks(clip(spec), "video"):
        for packet in piece.packets:
            yield packet.data


def watcher(spec: Spec) -> Continuity:
    found = continuity(chunks(clip(spec), "video")[0].video)
    assert found is not None
    return found


@pytest.mark.parametrize("name", SPECS)
def test_of_a_whole_stream_nothing_is_missing(name: str) -> None:
    watch = watcher(SPECS[name])
    assert {watch.check(data) for data in packets(SPECS[name])} == {None}


@pytest.mark.parametrize("name", ["b-frames", "no b-frames", "transport stream"])
def test_each_picture_of_h264_that_others_refer_to_is_missed(name: str) -> None:
    everything = list(packets(SPECS[name]))
    noticed = 0
    for lost in range(5, 50):
        watch = watcher(SPECS[name])
        found = [watch.check(data) for number, data in enumerate(everything) if number != lost]
        noticed += "missing" in found
        assert found.index("missing") - lost <= 4 if "missing" in found else name == "b-frames" or name == "transport stream"
    assert noticed == 45 if name == "no b-frames" else noticed >= 15


def test_what_was_left_out_on_purpose_is_not_missing() -> None:
    everything = list(packets(SPECS["no b-frames"]))
    watch = watcher(SPECS["no b-frames"])
    assert [watch.check(data) for data in everything[:10]] == [None] * 10
    watch.restart()
    assert [watch.check(data) for data in everything[60:70]] == [None] * 10


@pytest.mark.parametrize("name", ["no b-frames", "transport stream", "hevc"])
@pytest.mark.parametrize("data", [b"\x00\x00\x00\x04\x46\x01\x02\x03", b"x", bytes(100)])
def test_a_packet_without_a_picture_is_damaged(name: str, data: bytes) -> None:
    assert watcher(SPECS[name]).check(data) == "damaged"


def test_others_are_not_watched() -> None:
    assert continuity(chunks(clip(Spec(audio=None, video="mjpeg", container="mov")), "video")[0].video) is None
