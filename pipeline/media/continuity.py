"""Whether a packet follows the one before it, as far as the bitstream itself says.

FFmpeg's decoder hides the loss of an H.264 picture: it repeats the one before and goes on, and everything up to the next
keyframe is built on the wrong picture without a word. But the pictures that others refer to are numbered (ITU-T H.264,
7.4.3, `frame_num`), and a number that is left out is a picture that is missing. A packet of H.264 or HEVC without any part
of a picture is damaged, which a decoder that skips does not notice. Of other codecs only the clock tells (`pipeline.media.cadence`).
"""

from collections.abc import Iterator
from typing import Protocol

from watchword.v1.media_pb2 import VideoParameters

from pipeline.media import cadence
from pipeline.media.bits import Bits
from pipeline.media.cadence import Cadence
from pipeline.media.decoders.port import CodedPacket

_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
"""Profiles whose parameter sets say something about chroma (H.264, 7.3.2.1.1)."""
_HEADER_BYTES = 40
"""Of a slice that are looked at: the number stands among the first few."""


class Continuity(Protocol):
    """Looks at the packets of one track in the order of decoding."""

    def restart(self) -> None:
        """Packets are left out here; the next one begins anew."""
        ...

    def check(self, packet: CodedPacket) -> str | None:
        """What is wrong with the next packet: "missing" where a picture before it is, "damaged" where it holds none."""
        ...


def continuity(parameters: VideoParameters) -> Continuity | None:
    """What watches a track's packets; `None` where each picture stands for itself, or nothing can be told."""
    if parameters.codec == "h264":
        return H264Continuity(parameters.extradata)
    if parameters.codec == "hevc":
        return HevcContinuity(parameters.extradata)
    return Cadence() if parameters.codec in cadence.CODECS else None


class H264Continuity:
    """Follows `frame_num`."""

    def __init__(self, extradata: bytes) -> None:
        """`extradata` is an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3) or an Annex B stream, or empty."""
        self._length = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
        self._bits: int | None = None
        self._planes = self._gaps_allowed = False
        self._before: int | None = None
        for unit in _record_units(extradata) if self._length else _units(extradata, 0):
            if unit[0] & 31 == 7:
                self._read_parameters(unit)

    def restart(self) -> None:
        """See `Continuity.restart`."""
        self._before = None

    def check(self, packet: CodedPacket) -> str | None:
        """See `Continuity.check`."""
        for unit in _units(packet.data, self._length):
            kind = unit[0] & 31
            if kind == 7:
                self._read_parameters(unit)
            elif kind in (1, 2, 5):
                return self._check_slice(unit, instant=kind == 5)
        return "damaged"

    def _check_slice(self, unit: bytes, *, instant: bool) -> str | None:
        if self._bits is None or self._gaps_allowed:
            return None
        try:
            bits = _bits(unit[1:_HEADER_BYTES])
            for _ in range(3):
                bits.number()
            if self._planes:
                bits.take(2)
            number = bits.take(self._bits)
        except IndexError:
            return "damaged"
        before, most = self._before, 1 << self._bits
        missing = not instant and before is not None and number not in (before, (before + 1) % most)
        if unit[0] >> 5 & 3:
            self._before = number
        elif before is None:
            self._before = (number - 1) % most
        return "missing" if missing else None

    def _read_parameters(self, unit: bytes) -> None:
        """Take from a sequence parameter set (7.3.2.1.1) how many bits the number has."""
        try:
            bits = _bits(unit[1:])
            profile = bits.take(8)
            bits.take(16)
            bits.number()
            planes = False
            if profile in _HIGH_PROFILES:
                chroma = bits.number()
                planes = chroma == 3 and bits.take(1) == 1
                bits.number()
                bits.number()
                bits.take(1)
                if bits.take(1):
                    for index in range(12 if chroma == 3 else 8):
                        if bits.take(1):
                            _pass_scaling_list(bits, 16 if index < 6 else 64)
            length = bits.number() + 4
            order = bits.number()
            if order == 0:
                bits.number()
            elif order == 1:
                bits.take(1)
                bits.signed()
                bits.signed()
                for _ in range(bits.number()):
                    bits.signed()
            bits.number()
            gaps_allowed = bits.take(1) == 1
        except IndexError:
            return
        if length <= 16:
            self._bits, self._planes, self._gaps_allowed = length, planes, gaps_allowed


class HevcContinuity:
    """Looks for parts of a picture only: a missing picture is marked by FFmpeg's decoder itself."""

    def __init__(self, extradata: bytes) -> None:
        """`extradata` is an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3) or an Annex B stream, or empty."""
        self._length = (extradata[21] & 3) + 1 if len(extradata) > 22 and extradata[0] == 1 else 0

    def restart(self) -> None:
        """See `Continuity.restart`."""

    def check(self, packet: CodedPacket) -> str | None:
        """See `Continuity.check`."""
        return None if any(unit[0] >> 1 & 63 < 32 for unit in _units(packet.data, self._length)) else "damaged"


def _units(data: bytes, length: int) -> Iterator[bytes]:
    """The beginnings of the NAL units: with lengths of so many bytes before them, or with start codes."""
    at = 0
    if not length:
        at = data.find(b"\0\0\1")
        while at >= 0:
            end = data.find(b"\0\0\1", at + 3, at + 3 + 4096)
            if unit := data[at + 3 : end if end >= 0 else at + 3 + 4096]:
                yield unit
            at = end if end >= 0 else data.find(b"\0\0\1", at + 3 + 4096)
        return
    while at + length < len(data):
        size = int.from_bytes(data[at : at + length], "big")
        at += length
        if size == 0 or at + size > len(data):
            # A length that leads beyond the packet: the rest is not what it says, but may begin with a whole picture.
            if size and at < len(data):
                yield data[at : at + 4096]
            return
        yield data[at : at + min(size, 4096)]
        at += size


def _record_units(extradata: bytes) -> list[bytes]:
    """The sequence parameter sets of a configuration record."""
    units = []
    at = 6
    for _ in range(extradata[5] & 31):
        size = int.from_bytes(extradata[at : at + 2], "big")
        units.append(extradata[at + 2 : at + 2 + size])
        at += 2 + size
    return [unit for unit in units if unit]


def _pass_scaling_list(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _bits(unit: bytes) -> Bits:
    """The payload of a NAL unit (7.2)."""
    return Bits(unit.replace(b"\0\0\3", b"\0\0"))
