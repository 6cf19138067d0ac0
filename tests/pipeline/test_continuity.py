"""Missing and damaged packets, told by the bitstream itself."""

from collections.abc import Iterator

import numpy as np
import pytest

from pipeline.media.cadence import Cadence
from pipeline.media.chunks import coded, media_start
from pipeline.media.continuity import Continuity, continuity
from pipeline.media.decoders import CodedPacket
from pipeline.media.video import VideoDecoder
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

SPECS = {
    "b-frames": Spec(seconds=4, audio=None, b_frames=3, gop=60),
    "no b-frames": Spec(seconds=4, audio=None, b_frames=0, gop=60),
    "transport stream": Spec(seconds=4, audio=None, container="ts", gop=60),
    "hevc": Spec(seconds=4, audio=None, video="libx265", gop=60),
}


def packets(spec: Spec) -> Iterator[CodedPacket]:
    for piece in chunks(clip(spec), "video"):
        yield from coded(piece)


def watcher(spec: Spec) -> Continuity:
    found = continuity(chunks(clip(spec), "video")[0].video)
    assert found is not None
    return found


@pytest.mark.parametrize("name", SPECS)
def test_of_a_whole_stream_nothing_is_missing(name: str) -> None:
    watch = watcher(SPECS[name])
    assert {watch.check(packet) for packet in packets(SPECS[name])} == {None}


@pytest.mark.parametrize("name", ["b-frames", "no b-frames", "transport stream"])
def test_each_picture_of_h264_that_others_refer_to_is_missed(name: str) -> None:
    everything = list(packets(SPECS[name]))
    noticed = 0
    for lost in range(5, 50):
        watch = watcher(SPECS[name])
        found = [watch.check(packet) for number, packet in enumerate(everything) if number != lost]
        noticed += "missing" in found
        assert found.index("missing") - lost <= 4 if "missing" in found else name == "b-frames" or name == "transport stream"
    assert noticed == 45 if name == "no b-frames" else noticed >= 15


def test_what_was_left_out_on_purpose_is_not_missing() -> None:
    everything = list(packets(SPECS["no b-frames"]))
    watch = watcher(SPECS["no b-frames"])
    assert [watch.check(packet) for packet in everything[:10]] == [None] * 10
    watch.restart()
    assert [watch.check(packet) for packet in everything[60:70]] == [None] * 10


@pytest.mark.parametrize("name", ["no b-frames", "transport stream", "hevc"])
@pytest.mark.parametrize("data", [b"\x00\x00\x00\x04\x46\x01\x02\x03", b"x", bytes(100)])
def test_a_packet_without_a_picture_is_damaged(name: str, data: bytes) -> None:
    assert watcher(SPECS[name]).check(CodedPacket(0, 0, keyframe=True, data=data)) == "damaged"


BY_THE_CLOCK = {
    "vp8": Spec(seconds=4, audio=None, video="libvpx", container="webm", gop=60),
    "vp9": Spec(seconds=4, audio=None, video="libvpx-vp9", container="webm", gop=60),
    "av1": Spec(seconds=4, audio=None, video="libsvtav1", gop=60),
    "mpeg-2": Spec(seconds=4, audio=None, video="mpeg2video", container="ts", gop=60),
    "mpeg-4": Spec(seconds=4, audio=None, video="mpeg4", gop=60),
}


@pytest.mark.parametrize("name", BY_THE_CLOCK)
def test_a_packet_lost_out_of_a_chunk_shows_no_wrong_picture(name: str) -> None:
    pieces = chunks(clip(BY_THE_CLOCK[name]), "video")
    whole = VideoDecoder("s")
    right = {frame.time: frame.surface.small(64, 36).luma for piece in pieces for frame in whole.decode(piece)}
    assert whole.missing == 0, "nothing is"
    torn = chunks(clip(BY_THE_CLOCK[name]), "video")
    lost = torn[3].packets[2]
    del torn[3].packets[2]
    decoder = VideoDecoder("s")
    frames = [frame for piece in torn for frame in decoder.decode(piece)]
    assert decoder.missing == 1
    assert all(np.array_equal(frame.surface.small(64, 36).luma, right[frame.time]) for frame in frames)
    lost_at = media_start(torn[3]).seconds + 0.08
    assert not lost.keyframe
    shown = [frame.time.seconds for frame in frames]
    assert max(time for time in shown if time < lost_at) >= lost_at - 0.2
    assert any(time > lost_at for time in shown), "it goes on at the next keyframe"


@pytest.mark.parametrize(
    ("steps", "durations"),
    [
        ([40] * 20 + [120] + [40] * 20, [40] * 20 + [120] + [40] * 20),
        ([33, 34, 33, 17, 50, 33, 34, 66, 33, 34, 33, 100] * 4, [33] * 48),
        ([40] * 20 + [3000] + [40] * 20, [40] * 41),
        ([40] * 5 + [80] + [40] * 5 + [80] + [40] * 5, [40] * 17),
    ],
    ids=["said to last longer", "uneven", "a pause", "seldom even"],
)
def test_pictures_that_nobody_sent_are_not_missing(steps: list[int], durations: list[int]) -> None:
    watch, at = Cadence(), 0
    for step, duration in zip(steps, durations, strict=True):
        assert watch.check(CodedPacket(at, at, keyframe=False, data=b"x", duration=duration * 1_000_000)) is None
        at += step * 1_000_000


def test_others_are_not_watched() -> None:
    assert continuity(chunks(clip(Spec(audio=None, video="mjpeg", container="mov")), "video")[0].video) is None
