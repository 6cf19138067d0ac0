"""Packets that are kept undecoded while the picture stays as it is, and what can be told of them without decoding any."""

from collections.abc import Iterable

from pipeline.media.decoders import CodedPacket
from pipeline.sample.liveliness import SOON
from pipeline.sample.quiet import OTHER_SIZE, say_nothing

MOST_KEPT_BYTES = 4_000_000
"""Of packets that are kept undecoded; with more a picture is looked at before its time."""

_MANY = 100
"""Packets that cost more to decode than four keyframes."""


class Kept:
    """Packets since the latest picture of one stretch of a stream, in the order of decoding."""

    def __init__(self, pixels: int) -> None:
        """`pixels` is how many a picture has."""
        self.packets: list[CodedPacket] = []
        self._bytes = 0
        self._pixels = pixels

    def add(self, packets: Iterable[CodedPacket]) -> None:
        """Keep packets that follow."""
        for packet in packets:
            self.packets.append(packet)
            self._bytes += len(packet.data)

    def take(self) -> list[CodedPacket]:
        """All of them; none is left."""
        packets, self.packets, self._bytes = self.packets, [], 0
        return packets

    @property
    def is_full(self) -> bool:
        """Whether they take as much memory as they may."""
        return self._bytes > MOST_KEPT_BYTES

    def at(self, time: int) -> int:
        """Which of them has the picture of this time, in nanoseconds."""
        return next(number for number, packet in enumerate(self.packets) if packet.pts == time)

    def latest_before(self, time: int) -> int:
        """The time of the latest picture before this one, in nanoseconds; -1 if there is none."""
        return max((packet.pts for packet in self.packets if packet.pts < time), default=-1)

    def keyframes(self, after: int) -> list[int]:
        """Which of them are keyframes of pictures later than this, in nanoseconds."""
        return [number for number, packet in enumerate(self.packets) if packet.keyframe and packet.pts > after]

    def are_alike(self, shown: int) -> bool:
        """Whether the first is the keyframe of the picture that was `shown` last, and those of the later ones are of its size."""
        first, *others = self.packets
        if not first.keyframe or first.pts != shown:
            return False
        size = len(first.data)
        return all(abs(len(each.data) - size) <= OTHER_SIZE * size for each in others if each.keyframe)

    def is_quiet(self, number: int, shown: int) -> bool:
        """Whether all that was sent between a keyframe packet and that of this number is that the picture stays.

        The former must be the first, and its picture the one that was `shown` last, at that time in nanoseconds. Or there is none, and all
        before these has been decoded: then they must be many, since what is written is found more surely where pictures lead up to it.
        """
        before = self.packets[:number]
        keyframes = [n for n, packet in enumerate(before) if packet.keyframe]
        leads = keyframes == [0] and before[0].pts == shown
        if not leads and (keyframes or number < _MANY):
            return False
        return say_nothing(before, self._pixels, len(self.packets[number].data))

    def stays(self, since: int, latest: int) -> bool | None:
        """Whether what was sent after the first, a keyframe, says that its picture stays; `None` where that is not known yet.

        Its time is `since`, that of the latest packet `latest`, in nanoseconds.
        """
        soon = [packet for packet in self.packets if packet.pts < since + SOON.nanos]
        if not say_nothing(soon, self._pixels, len(soon[0].data)):
            return False
        return None if latest < since + SOON.nanos else True
