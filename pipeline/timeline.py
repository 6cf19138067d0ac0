"""Media time: one exact clock per stream."""

from dataclasses import dataclass
from fractions import Fraction

from google.protobuf.duration_pb2 import Duration

NANOS = 1_000_000_000
"""Nanoseconds in a second; the resolution of `Duration`."""
CLOCK_HZ = 90_000
"""Ticks of the clock of an MPEG-2 transport stream in a second (ISO/IEC 13818-1, 2.4.2.1)."""


@dataclass(frozen=True)
class MediaTime:
    """A point on a stream's clock, in nanoseconds from the stream's start; may be negative."""

    nanos: int

    @classmethod
    def of(cls, seconds: float | Fraction) -> "MediaTime":
        """The nearest representable time to `seconds`."""
        return cls(round(seconds * NANOS))

    @classmethod
    def from_pts(cls, pts: int, time_base: Fraction, offset: "MediaTime | None" = None) -> "MediaTime":
        """`pts` in units of `time_base` seconds, moved by `offset`; rounded to the nanosecond, a half to the even one."""
        return cls(nanos_of(pts, time_base.numerator, time_base.denominator) + (offset.nanos if offset else 0))

    @classmethod
    def from_proto(cls, duration: Duration) -> "MediaTime":
        """The time that a message carries."""
        return cls(duration.seconds * NANOS + duration.nanos)

    def to_proto(self) -> Duration:
        """The time as a message carries it: seconds and nanoseconds of one sign."""
        sign = -1 if self.nanos < 0 else 1
        seconds, nanos = divmod(abs(self.nanos), NANOS)
        return Duration(seconds=sign * seconds, nanos=sign * nanos)

    @property
    def seconds(self) -> float:
        """The time as seconds, for reading and for JSON."""
        return self.nanos / NANOS

    @property
    def millis(self) -> int:
        """Whole milliseconds, rounded half up; identities are built from it."""
        return (self.nanos + 500_000) // 1_000_000

    def __add__(self, other: "MediaTime") -> "MediaTime":
        return MediaTime(self.nanos + other.nanos)

    def __sub__(self, other: "MediaTime") -> "MediaTime":
        return MediaTime(self.nanos - other.nanos)

    def __lt__(self, other: "MediaTime") -> bool:
        return self.nanos < other.nanos

    def __le__(self, other: "MediaTime") -> bool:
        return self.nanos <= other.nanos

    def __gt__(self, other: "MediaTime") -> bool:
        return self.nanos > other.nanos

    def __ge__(self, other: "MediaTime") -> bool:
        return self.nanos >= other.nanos

    def clock(self) -> str:
        """As people write it: "0:07", "12:31", "1:02:03"; fractions are cut off."""
        minutes, seconds = divmod(max(self.nanos, 0) // NANOS, 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def nanos_of(pts: int, numerator: int, denominator: int) -> int:
    """`pts` units of `numerator / denominator` seconds in nanoseconds; rounded, a half to the even one. `denominator` is positive."""
    whole, rest = divmod(pts * numerator * NANOS, denominator)
    return whole + (2 * rest > denominator or (2 * rest == denominator and whole % 2 == 1))


ZERO = MediaTime(0)
"""The start of every stream."""
