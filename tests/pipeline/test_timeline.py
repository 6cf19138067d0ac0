"""Media time: exact, ordered, and the same wherever it is written."""

from fractions import Fraction

import pytest
from google.protobuf.duration_pb2 import Duration

from pipeline.timeline import NANOS, ZERO, MediaTime

pytestmark = pytest.mark.unit

NTSC = Fraction(1001, 30000)


@pytest.mark.parametrize(
    ("pts", "time_base", "nanos"),
    [
        (0, Fraction(1, 90000), 0),
        (90000, Fraction(1, 90000), NANOS),
        (1, NTSC, 33_366_667),
        (2, NTSC, 66_733_333),
        (30000, NTSC, 1001 * NANOS),
        (-1, Fraction(1, 48000), -20_833),
        (1, Fraction(1, 2 * NANOS), 0),
        (3, Fraction(1, 2 * NANOS), 2),
    ],
)
def test_a_pts_becomes_the_nearest_nanosecond(pts: int, time_base: Fraction, nanos: int) -> None:
    assert MediaTime.from_pts(pts, time_base) == MediaTime(nanos)


def test_an_hour_of_ntsc_frames_does_not_drift() -> None:
    frames = 107_892
    assert abs(MediaTime.from_pts(frames, NTSC).nanos - frames * 1001 * NANOS // 30000) <= 1


def test_an_offset_moves_the_clock_either_way() -> None:
    assert MediaTime.from_pts(1, Fraction(1, 1000), MediaTime(-5_000_000)) == MediaTime(-4_000_000)
    assert MediaTime.from_pts(1, Fraction(1, 1000), MediaTime(5_000_000)) == MediaTime(6_000_000)


def test_seconds_are_taken_exactly_where_they_can_be() -> None:
    assert MediaTime.of(Fraction(1, 3)) == MediaTime(333_333_333)
    assert MediaTime.of(1.5) == MediaTime(1_500_000_000)
    assert MediaTime(1_500_000_000).seconds == 1.5


@pytest.mark.parametrize("nanos", [0, 1, -1, NANOS, -NANOS, NANOS + 1, -NANOS - 1, 12_345_678_901, -12_345_678_901])
def test_a_message_carries_the_time_unchanged(nanos: int) -> None:
    assert MediaTime.from_proto(MediaTime(nanos).to_proto()) == MediaTime(nanos)


def test_seconds_and_nanoseconds_of_a_message_have_one_sign() -> None:
    assert MediaTime(-1_500_000_000).to_proto() == Duration(seconds=-1, nanos=-500_000_000)
    assert MediaTime(-1).to_proto() == Duration(seconds=0, nanos=-1)


def test_an_absent_time_is_zero() -> None:
    assert MediaTime.from_proto(Duration()) == ZERO


@pytest.mark.parametrize(
    ("nanos", "millis"), [(0, 0), (499_999, 0), (500_000, 1), (1_499_999, 1), (-500_000, 0), (-500_001, -1), (-1_500_000, -1)]
)
def test_milliseconds_are_rounded_half_up(nanos: int, millis: int) -> None:
    assert MediaTime(nanos).millis == millis


def test_times_are_ordered_and_can_be_added() -> None:
    early, late = MediaTime(-1), MediaTime(2)
    assert early < ZERO < late
    assert late >= early
    assert max(early, late) == late
    assert late - early == MediaTime(3)
    assert early + late == MediaTime(1)
    assert len({MediaTime(2), late}) == 1


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [(0, "0:00"), (7.999, "0:07"), (59.9, "0:59"), (60, "1:00"), (751, "12:31"), (3600, "1:00:00"), (3723, "1:02:03"), (-3, "0:00")],
)
def test_a_clock_is_read_as_people_write_it(seconds: float, clock: str) -> None:
    assert MediaTime.of(seconds).clock() == clock
