"""Everything awkward as raw chunks: each picture that is shown is the right one, whatever was lost, cut off or moved."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from watchword.v1.media_pb2 import MediaChunk

from pipeline.errors import WatchwordError
from pipeline.media.decode import VideoDecoder
from pipeline.media.decoders.cpu import open_cpu
from pipeline.sample.needs import Outcome
from pipeline.sample.scout import Picture
from pipeline.sample.sparse import SparseDecoder
from pipeline.timeline import MediaTime
from tests.pipeline.decoder_suite import luma, shared
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

MADE = {
    "h264": Spec(seconds=6, audio=None, gop=50, b_frames=2),
    "h264 without b-frames": Spec(seconds=6, audio=None, gop=50, b_frames=0),
    "h264 in a transport stream": Spec(seconds=6, audio=None, gop=50, container="ts"),
    "h264, still": Spec(seconds=12, audio=None, gop=100, still=True, cuts=(130, 220)),
    "hevc": Spec(seconds=6, audio=None, gop=50, video="libx265"),
    "vp8": Spec(seconds=6, audio=None, gop=50, video="libvpx", container="webm"),
    "vp9": Spec(seconds=6, audio=None, gop=50, video="libvpx-vp9", container="webm"),
    "av1": Spec(seconds=6, audio=None, gop=50, video="libsvtav1"),
    "mpeg4": Spec(seconds=6, audio=None, gop=50, video="mpeg4"),
    "mpeg2": Spec(seconds=6, audio=None, gop=12, video="mpeg2video", container="ts"),
    "mjpeg": Spec(seconds=3, audio=None, video="mjpeg", container="mov"),
}
SOURCES: dict[str, Callable[[], Path]] = {name: lambda spec=spec: clip(spec) for name, spec in MADE.items()} | {
    path.name: lambda path=path: path for path in shared() if path is not None and not path.name.startswith("uhd")
}


def decode(pieces: list[MediaChunk]) -> dict[int, NDArray[np.uint8]]:
    """What a decoder shows that decodes everything, by nanoseconds."""
    shown = {}
    decoder = VideoDecoder("s")
    for piece in pieces:
        try:
            frames = decoder.decode(piece)
        except WatchwordError:
            continue
        shown |= {frame.time.nanos: luma(frame.surface) for frame in frames}
    return shown | {frame.time.nanos: luma(frame.surface) for frame in decoder.flush()}


def look(pieces: list[MediaChunk]) -> dict[int, NDArray[np.uint8]]:
    """What a decoder shows that decodes what is needed."""
    shown: dict[int, NDArray[np.uint8]] = {}
    chosen: list[MediaTime] = []

    def show(picture: Picture) -> Outcome:
        frame = picture.frame
        shown[frame.time.nanos] = picture.small.luma
        if not chosen or picture.due or frame.time - chosen[-1] >= MediaTime.of(5):
            chosen.append(frame.time)
            return Outcome(frame.time)
        return Outcome()

    decoder = SparseDecoder("s", open_cpu, longest_gap=MediaTime.of(5), small=lambda frame: frame.surface.small(64, 36), show=show)
    for piece in pieces:
        try:
            decoder.take(piece)
        except WatchwordError:
            continue
    decoder.finish()
    decoder.close()
    return shown


NUMBERED = frozenset({"h264", "hevc", "mjpeg"})
"""Codecs of which a lost packet is noticed, or costs no other: the others say nothing of what came before."""
AMBIGUOUS = frozenset({"raw_annexb.h264", "res_change.ts"})
"""Of these two pictures can be meant for one time: one has no times of its own, in the other two parts overlap."""


def require_numbers(source: Path) -> None:
    if source.name in AMBIGUOUS or chunks(source, "video")[0].video.codec not in NUMBERED:
        pytest.skip("a lost picture is not noticed, or its time is not known")


VIEWERS = {"all of it": decode, "what is needed": look}


def wrong(shown: dict[int, NDArray[np.uint8]], right: dict[int, NDArray[np.uint8]], moved: int = 0) -> list[int]:
    """The times of pictures that are not what is shown then when nothing is lost."""
    return [nanos for nanos, picture in shown.items() if nanos - moved in right and not np.array_equal(picture, right[nanos - moved])]


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Path:
    found = SOURCES[request.param]()
    if not chunks(found, "video"):
        pytest.skip("no video in it")
    return found


@pytest.fixture(params=VIEWERS)
def view(request: pytest.FixtureRequest) -> Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]]:
    return VIEWERS[request.param]


def test_whole(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]]) -> None:
    right, shown = decode(chunks(source, "video")), view(chunks(source, "video"))
    assert shown or not right
    assert wrong(shown, right) == []
    assert list(shown) == sorted(shown)


@pytest.mark.parametrize("seed", [1, 2])
def test_with_packets_lost(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]], seed: int) -> None:
    require_numbers(source)
    right = decode(chunks(source, "video"))
    rng = np.random.default_rng(seed)
    pieces = chunks(source, "video")
    for piece in pieces:
        kept = [packet for packet in piece.packets if rng.random() > 0.03]
        del piece.packets[:]
        piece.packets.extend(kept)
    assert wrong(view([piece for piece in pieces if piece.packets]), right) == []


def test_with_chunks_lost(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]]) -> None:
    if source.name in AMBIGUOUS:
        pytest.skip("two pictures can be meant for one time")
    right = decode(chunks(source, "video"))
    rng = np.random.default_rng(3)
    assert wrong(view([piece for piece in chunks(source, "video") if rng.random() > 0.1]), right) == []


def test_begun_in_the_middle_of_a_group_of_pictures(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]]) -> None:
    if source.name in AMBIGUOUS:
        pytest.skip("two pictures can be meant for one time")
    right = decode(chunks(source, "video"))
    pieces = chunks(source, "video")
    del pieces[0].packets[0]
    assert wrong(view([piece for piece in pieces if piece.packets]), right) == []


def test_cut_off_packets(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]]) -> None:
    """Nothing is promised of the pictures but their order: a part of a packet can be a whole picture to the codec."""
    rng = np.random.default_rng(5)
    pieces = chunks(source, "video")
    for piece in pieces:
        for packet in piece.packets:
            if rng.random() < 0.05:
                packet.data = packet.data[: len(packet.data) // 2 + 1]
    shown = view(pieces)
    assert list(shown) == sorted(shown)


@pytest.mark.parametrize("seconds", [100.0, -0.4])
def test_with_a_clock_that_jumps(source: Path, view: Callable[[list[MediaChunk]], dict[int, NDArray[np.uint8]]], seconds: float) -> None:
    right = decode(chunks(source, "video"))
    pieces = chunks(source, "video")
    half = len(pieces) // 2
    for piece in pieces[half:]:
        piece.media_offset.CopyFrom((MediaTime.from_proto(piece.media_offset) + MediaTime.of(seconds)).to_proto())
    shown = view(pieces)
    assert list(shown) == sorted(shown)
    if seconds > 0:
        before = {nanos: picture for nanos, picture in shown.items() if nanos < MediaTime.of(seconds).nanos}
        after = {nanos: picture for nanos, picture in shown.items() if nanos not in before}
        assert wrong(before, right) == []
        assert wrong(after, right, MediaTime.of(seconds).nanos) == []
