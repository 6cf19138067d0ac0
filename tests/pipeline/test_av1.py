"""AV1 without the pictures that no other refers to, on streams of a real encoder."""

import random
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.media import chunks as rules
from pipeline.media.av1 import Av1Headers
from pipeline.media.decoders import CodedPacket, Skip
from pipeline.media.decoders.cpu import open_cpu
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

MOVES = Spec(seconds=3, audio=None, video="libsvtav1", container="mp4", gop=40)


@cache
def stream() -> tuple[bytes, list[CodedPacket]]:
    """The header and the packets."""
    pieces = list(chunks(clip(MOVES), "video"))
    return pieces[0].video.extradata, [packet for piece in pieces for packet in rules.coded(piece)]


def decoded(skip: Skip) -> dict[int | None, NDArray[np.uint8]]:
    piece = next(iter(chunks(clip(MOVES), "video")))
    decoder = open_cpu("s", piece.video)
    frames = [frame for packet in stream()[1] for frame in decoder.decode(packet, skip)] + decoder.drain()
    return {frame.pts: frame.surface.frame.to_ndarray() for frame in frames}


def test_what_nothing_refers_to_is_left_out_and_all_else_is_the_same_to_the_bit() -> None:
    every, some = decoded(Skip.NOTHING), decoded(Skip.UNREFERENCED)
    assert len(every) == 75
    assert len(some) < 50
    assert set(some) < set(every)
    assert all(np.array_equal(picture, every[time]) for time, picture in some.items())


def test_whether_headers_come_in_the_container_or_in_the_stream() -> None:
    extradata, packets = stream()
    by_container, by_stream, unknown = Av1Headers(extradata), Av1Headers(b""), Av1Headers(b"")
    thinned = [by_container.thinned(packet.data) for packet in packets]
    assert thinned == [by_stream.thinned(packet.data) for packet in packets]
    assert all(packet.data == thin for packet, thin in zip(packets, thinned, strict=True) if packet.keyframe)
    assert any(not thin for thin in thinned)
    assert any(0 < len(thin) < len(packet.data) for packet, thin in zip(packets, thinned, strict=True))
    later = [packet.data for packet in packets if not packet.keyframe]
    assert [unknown.thinned(data) for data in later] == later, "without a sequence header nothing is left out"


def test_what_cannot_be_read_stays_as_it_is() -> None:
    extradata, packets = stream()
    chance = random.Random(4)
    for packet in packets:
        cut = packet.data[: chance.randrange(len(packet.data))]
        Av1Headers(extradata).thinned(cut)
        noise = chance.randbytes(len(packet.data))
        assert len(Av1Headers(extradata).thinned(noise)) <= len(noise)
    assert Av1Headers(extradata).thinned(b"\xff\xff") == b"\xff\xff"
    assert Av1Headers(extradata).thinned(b"\x32\xff\xff") == b"\x32\xff\xff"
