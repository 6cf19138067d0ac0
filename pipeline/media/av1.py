"""AV1 without the pictures that no other refers to, as their headers say.

A packet is a temporal unit: some pictures that are kept for others, perhaps, and one that is shown (AV1 specification, 7.5). Where
that refreshes none of the eight places of pictures to refer to (`refresh_frame_flags`, 5.9.2), leaving it out changes no other picture.
dav1d, which decodes AV1 here, can be told to do so when it is opened, but not picture by picture.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline.media.bits import Bits

_SEQUENCE, _FRAME = 1, 6
_PICTURES = (3, 4, _FRAME, 8)
"""Units that are a picture or parts of one: headers, groups of tiles, all in one, lists of tiles."""
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_HEADER_BYTES = 24
"""Of a picture's header that are looked at: what is asked for stands in the first few."""
_CHOICE = 2
"""A tool about which each picture says itself whether it is used."""


@dataclass(frozen=True)
class _Sequence:
    """What a sequence header (5.5) says about how pictures' headers are to be read."""

    ids: int = 0
    """Bits of a picture's number; 0 where it has none."""
    orders: int = 0
    """Bits of its place in the order of showing."""
    screen_tools: int = _CHOICE
    whole_motion: int = _CHOICE
    times: int = 0
    """Bits of the time at which it is to be shown; 0 where it has none."""
    removals: int = 0
    """Bits of the time at which it leaves the decoder."""
    timed_points: list[int] = field(default_factory=list)
    """Layers of each operating point that has such times."""
    is_one_picture: bool = False


class Av1Headers:
    """Reads the headers of one track in the order of decoding."""

    def __init__(self, extradata: bytes) -> None:
        """`extradata` is an AV1CodecConfigurationRecord (AV1 in ISOBMFF, 2.3.3), or empty."""
        self._sequence: _Sequence | None = None
        self.thinned(extradata[4:])

    def thinned(self, packet: bytes) -> bytes:
        """The packet without pictures that are shown and to which none refers; no bytes where none is left, all where that cannot be told.

        Keyframe packets must be asked about, whose sequence headers say how those that follow are to be read.
        """
        kept, pictures = [], 0
        try:
            for unit in _units(packet):
                if unit.kind == _SEQUENCE:
                    self._sequence = _read_sequence(unit.payload)
                elif unit.kind == _FRAME and self._sequence is not None and _is_free(unit, self._sequence):
                    continue
                pictures += unit.kind in _PICTURES
                kept.append(unit.whole)
        except IndexError:
            return packet
        return b"".join(kept) if pictures else b""


class _Unit(NamedTuple):
    """An open bitstream unit (5.3)."""

    kind: int
    extension: int
    """The byte that says which layer it is of; 0 where there is none."""
    payload: bytes
    whole: bytes


def _units(data: bytes) -> Iterator[_Unit]:
    """Raises `IndexError` where they do not fit."""
    at = 0
    while at < len(data):
        start, header = at, data[at]
        at += 1
        if header & 0x80:
            raise IndexError
        extension = 0
        if header & 4:
            extension = data[at]
            at += 1
        size = len(data) - at
        if header & 2:
            size, at = _number(data, at)
        if at + size > len(data):
            raise IndexError
        yield _Unit(header >> 3 & 15, extension, data[at : at + size], data[start : at + size])
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte (4.10.5), and where it ends."""
    value = 0
    for place in range(8):
        byte = data[at]
        at += 1
        value |= (byte & 127) << 7 * place
        if not byte & 128:
            return value, at
    raise IndexError


def _read_sequence(payload: bytes) -> _Sequence:
    bits = Bits(payload)
    bits.take(4)
    if bits.take(1):
        return _Sequence(is_one_picture=True)
    delays, removals, times, even = 0, 0, 0, True
    if bits.take(1):
        bits.take(64)
        even = bits.take(1) == 1
        if even:
            bits.number()
        if bits.take(1):
            delays = bits.take(5) + 1
            bits.take(32)
            removals, times = bits.take(5) + 1, bits.take(5) + 1
    displayed = bits.take(1)
    points = []
    for _ in range(bits.take(5) + 1):
        layers = bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if removals and bits.take(1):
            bits.take(2 * delays + 1)
            points.append(layers)
        if displayed and bits.take(1):
            bits.take(4)
    across, along = bits.take(4) + 1, bits.take(4) + 1
    bits.take(across + along)
    ids = 0
    if bits.take(1):
        ids = bits.take(4) + 2
        ids += bits.take(3) + 1
    bits.take(7)
    ordered = bits.take(1)
    if ordered:
        bits.take(2)
    screen_tools = _CHOICE if bits.take(1) else bits.take(1)
    whole_motion = _CHOICE
    if screen_tools and not bits.take(1):
        whole_motion = bits.take(1)
    orders = bits.take(3) + 1 if ordered else 0
    return _Sequence(ids, orders, screen_tools, whole_motion, 0 if even else times, removals, points)


def _is_free(unit: _Unit, sequence: _Sequence) -> bool:
    """Whether a picture with its header (5.9.2) is shown, and none refers to it."""
    extension = unit.extension
    if sequence.is_one_picture:
        return False
    bits = Bits(unit.payload[:_HEADER_BYTES])
    if bits.take(1):
        return False
    kind = bits.take(2)
    if not bits.take(1) or kind in (_KEY, _SWITCH):
        return False
    bits.take(sequence.times)
    resilient = bits.take(1)
    bits.take(1)
    tools = bits.take(1) if sequence.screen_tools == _CHOICE else sequence.screen_tools
    if tools and sequence.whole_motion == _CHOICE:
        bits.take(1)
    bits.take(sequence.ids + 1 + sequence.orders)
    if kind != _INTRA_ONLY and not resilient:
        bits.take(3)
    if sequence.removals and bits.take(1):
        for layers in sequence.timed_points:
            if not layers or (layers >> (extension >> 5) & 1 and layers >> (8 + (extension >> 3 & 3)) & 1):
                bits.take(sequence.removals)
    return bits.take(8) == 0
