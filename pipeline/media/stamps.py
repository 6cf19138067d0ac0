"""Time stamps as they should have been: missing ones filled in, clocks that jump joined up, rounded ones made exact."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from watchword.v1.media_pb2 import Packet

from pipeline.media.grid import SampleGrid

MAX_LEAP_S = 10
"""Seconds by which packets of a container that may be cut and glued (MPEG-TS) can be ahead before it is taken for another clock;
FFmpeg's own threshold."""
MAX_SKIP_S = 60
"""The same for HLS, where a segment that its server has lost, or several that a slow reader came too late for, are passed over."""
MAX_STEP_BACK_S = 1
"""Seconds by which decoding times can go back before it is taken for another clock, in any container."""
MAX_SILENCE_S = 30 * 3600
"""Seconds by which packets of any other container can be ahead; FFmpeg's own threshold."""


@dataclass(frozen=True)
class Demuxed:
    """One packet as a container gives it, in the units of its track."""

    data: bytes
    keyframe: bool
    pts: int | None
    dts: int | None
    duration: int
    """0 if unknown."""


@dataclass(frozen=True)
class Stamped:
    """One packet as it is sent."""

    packet: Packet
    """Times in units of `TrackStamps.unit`."""
    shift: Fraction
    """Seconds to add to the packet's times so that they are on the clock of the source's first packets."""


@dataclass
class Shifts:
    """The jumps of a source's clock so far; shared by its tracks, so that they stay in step."""

    longest_leap_s: float
    """Seconds by which a track's packets can be ahead before they are taken to be on another clock."""
    seconds: list[Fraction] = field(default_factory=lambda: [Fraction(0)])
    """What to add to raw times, one entry for each clock."""
    reached: Fraction | None = None
    """The latest time, after shifting, at which any track's packets so far end."""

    def plausible(self, raw: Fraction, clock: int, expected: Fraction | None) -> bool:
        """Whether a packet at `raw` seconds of a clock may come now; `expected` is the end of the track's packet before."""
        time = raw + self.seconds[clock]
        most = self.longest_leap_s
        if expected is not None:
            return -MAX_STEP_BACK_S <= time - expected <= most
        return self.reached is None or abs(time - self.reached) <= most


class TrackStamps:
    """Stamps the packets of one track, in the order in which they are decoded."""

    def __init__(
        self,
        unit: Fraction,
        shifts: Shifts,
        *,
        sample_rate: int | None = None,
        samples: Callable[[Demuxed], int] | None = None,
        frame_seconds: Fraction | None = None,
    ) -> None:
        """`unit` is the container's time base in seconds.

        For audio, `sample_rate` is in Hz and `samples` tells how many samples a packet holds, or 0 where it cannot be
        told. `frame_seconds` is how long a packet lasts that does not say.
        """
        self._unit = unit
        self._shifts = shifts
        self._rate = sample_rate
        self._samples = samples
        self._exact = bool(sample_rate and samples and unit != Fraction(1, sample_rate))
        self._frame_seconds = frame_seconds or Fraction(0)
        self._clock = 0
        self._expected: Fraction | None = None
        self._next_dts = 0
        self._grid: SampleGrid | None = None

    @property
    def unit(self) -> Fraction:
        """The unit of the stamped packets' times in seconds: a sample where the container's times were made exact."""
        return Fraction(1, self._rate) if self._exact and self._rate else self._unit

    def stamp(self, packet: Demuxed) -> Stamped:
        """The packet with times that follow from those before it."""
        duration = packet.duration if packet.duration > 0 else round(self._frame_seconds / self._unit)
        dts = packet.dts if packet.dts is not None else packet.pts if packet.pts is not None else self._next_dts
        pts = packet.pts if packet.pts is not None else dts
        self._next_dts = dts + duration
        if self._follow(dts * self._unit):
            self._grid = None
        self._expected = (dts + duration) * self._unit + self.shift
        end = (max(dts, pts) + duration) * self._unit + self.shift
        self._shifts.reached = end if self._shifts.reached is None else max(end, self._shifts.reached)
        if self._exact:
            pts, duration = self._on_grid(packet, pts, duration)
            dts = pts
        stamped = Packet(pts=pts, duration=duration, keyframe=packet.keyframe, data=packet.data)
        if dts != pts:
            stamped.dts = dts
        return Stamped(stamped, self.shift)

    @property
    def shift(self) -> Fraction:
        """Seconds to add to the latest packet's times."""
        return self._shifts.seconds[self._clock]

    def _follow(self, raw: Fraction) -> bool:
        """Choose the clock that a packet at `raw` seconds belongs to; whether it is another than before."""
        shifts, known = self._shifts, self._shifts.seconds
        if shifts.plausible(raw, self._clock, self._expected):
            return False
        if self._clock == len(known) - 1 or not shifts.plausible(raw, len(known) - 1, self._expected):
            known.append((shifts.reached or Fraction(0)) - raw)
        self._clock = len(known) - 1
        return True

    def _on_grid(self, packet: Demuxed, pts: int, duration: int) -> tuple[int, int]:
        """Time and duration in samples, counted rather than rounded."""
        assert self._rate is not None
        assert self._samples is not None
        stated = int((pts * self._unit * self._rate + Fraction(1, 2)).__floor__())
        length = self._samples(packet) or round(duration * self._unit * self._rate)
        if self._grid is None:
            self._grid = SampleGrid(self._rate)
        start, skip = self._grid.place(stated, length, rounding=int(self._unit * self._rate))
        return start - skip, length
