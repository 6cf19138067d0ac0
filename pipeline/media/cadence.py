"""Whether a packet is missing, by the clock: for codecs whose pictures have no numbers.

Where packets came at even distances for a while and then one after two or more such distances, those between were lost. Not so
where the one before was said to last that long, as containers say of pictures that were shown for longer, nor where the distances
vary anyway, nor after a second, for that is a source that paused. A recorder that leaves out pictures which are like the one before,
and says nothing of it, looks the same: there the pictures up to the next keyframe are withheld for nothing.
"""

from pipeline.media.decoders.port import CodedPacket

CODECS = frozenset({"vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4"})
"""Those in which a picture leans on the one before, and nothing in the bitstream tells that it is not there."""
_EVEN = 12
"""So many distances in a row must be even."""
_ROUNDING = 1_100_000
_DRIFT = 0.02
"""Nanoseconds, and part of the distance, by which even ones differ: containers count in milliseconds."""
_LEAST = 1.5
_PAUSE = 1_000_000_000


class Cadence:
    """Follows the decoding times of one track's packets."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """See `Continuity.restart`."""
        self._before: CodedPacket | None = None
        self._distance = 0
        self._even = 0

    def check(self, packet: CodedPacket) -> str | None:
        """See `Continuity.check`."""
        before, self._before = self._before, packet
        if before is None:
            return None
        step = packet.dts - before.dts
        tolerance = _ROUNDING + _DRIFT * self._distance
        if abs(step - self._distance) <= tolerance:
            self._even += 1
            return None
        covered = step - before.duration <= tolerance
        missing = self._even >= _EVEN and _LEAST * self._distance < step <= _PAUSE and not covered and self._is_multiple(step)
        if not missing:
            self._distance, self._even = step, 0
        return "missing" if missing else None

    def _is_multiple(self, step: int) -> bool:
        times = round(step / self._distance)
        return abs(step - times * self._distance) <= times * _DRIFT * self._distance + _ROUNDING
