"""H.264 and HEVC as NVIDIA's decoder wants them: with start codes and parameter sets in the stream (Annex B of both standards)."""

_START = b"\0\0\0\1"


class AnnexB:
    """Rewrites one track's packets."""

    def __init__(self, codec: str, extradata: bytes) -> None:
        """`codec` is "h264" or "hevc"; others, and streams that have start codes already, pass as they are."""
        self._length = 0
        self._header = b""
        if codec == "h264" and len(extradata) > 6 and extradata[0] == 1:
            self._length = (extradata[4] & 3) + 1
            self._header = _h264_header(extradata)
        elif codec == "hevc" and len(extradata) > 22 and extradata[0] == 1:
            self._length = (extradata[21] & 3) + 1
            self._header = _hevc_header(extradata)
        elif codec in ("h264", "hevc") and extradata[:3] in (b"\0\0\1", b"\0\0\0"):
            self._header = extradata

    def rewrite(self, data: bytes, *, keyframe: bool) -> bytes:
        """The packet; before a keyframe stand the parameter sets."""
        parts = [self._header] if keyframe else []
        if not self._length:
            return b"".join([*parts, data])
        at = 0
        while at + self._length <= len(data):
            size = int.from_bytes(data[at : at + self._length], "big")
            at += self._length
            parts += [_START, data[at : at + size]]
            at += size
        return b"".join(parts)


def _h264_header(record: bytes) -> bytes:
    """The parameter sets of an AVCDecoderConfigurationRecord (ISO/IEC 14496-15, 5.3.3)."""
    units: list[bytes] = []
    at = _take(record, 6, record[5] & 31, units)
    if at < len(record):
        _take(record, at + 1, record[at], units)
    return b"".join(_START + unit for unit in units)


def _hevc_header(record: bytes) -> bytes:
    """The parameter sets of an HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3)."""
    units: list[bytes] = []
    at = 23
    for _ in range(record[22]):
        at = _take(record, at + 3, int.from_bytes(record[at + 1 : at + 3], "big"), units)
    return b"".join(_START + unit for unit in units)


def _take(record: bytes, at: int, count: int, units: list[bytes]) -> int:
    """Add so many units, each with its length in two bytes before it; where the next thing stands."""
    for _ in range(count):
        size = int.from_bytes(record[at : at + 2], "big")
        units.append(record[at + 2 : at + 2 + size])
        at += 2 + size
    return at
