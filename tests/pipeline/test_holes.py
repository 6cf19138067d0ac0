"""Where a source holds nothing for a while, told by the times of its packets."""

from collections.abc import Sequence
from fractions import Fraction

import pytest

from pipeline.media.holes import Holes
from pipeline.media.tracks import Kind

pytestmark = pytest.mark.unit

STEP: dict[Kind, Fraction] = {"audio": Fraction(1, 50), "video": Fraction(1, 25)}


def steady(kind: Kind, start: float, end: float) -> list[tuple[Kind, Fraction]]:
    count = round((Fraction(end) - Fraction(start)) / STEP[kind])
    return [(kind, Fraction(start) + number * STEP[kind]) for number in range(count)]


def holes(packets: Sequence[tuple[Kind, Fraction]]) -> list[tuple[float, float]]:
    watch = Holes({kind for kind, _ in packets})
    for kind, time in sorted(packets, key=lambda packet: packet[1]):
        watch.see(kind, time, time + STEP[kind])
    told = [(float(hole.start), float(hole.end)) for hole in watch.take()]
    assert watch.take() == [], "each is told once"
    return told


def test_where_both_tracks_have_nothing_is_a_hole_and_each_is_told_once() -> None:
    both = [*steady("audio", 0, 2), *steady("audio", 4, 6), *steady("audio", 7, 8)]
    both += [*steady("video", 0, 2), *steady("video", 4, 6), *steady("video", 7, 8)]
    assert holes(both) == [(2, 4), (6, 7)]


def test_of_tracks_that_stop_at_different_times_only_what_neither_has_is_missing() -> None:
    assert holes([*steady("audio", 0, 2), *steady("audio", 4, 6), *steady("video", 0, 3), *steady("video", 5, 6)]) == [(3, 4)]


@pytest.mark.parametrize(
    "packets",
    [
        [*steady("audio", 0, 2), *steady("audio", 4, 6), *steady("video", 0, 6)],
        [*steady("audio", 0, 6), *steady("video", 0, 2), *steady("video", 4, 6)],
        [*steady("audio", 0, 2), *steady("audio", 2.375, 6), *steady("video", 0, 2), *steady("video", 2.375, 6)],
        [*steady("audio", 0, 2), *steady("audio", 4, 6), *steady("video", 2, 4)],
        [*steady("video", 0, 2), *steady("video", 4, 6)],
        [*steady("audio", 3, 6), *steady("video", 0, 6)],
        [*steady("audio", 0, 2), *steady("video", 0, 6)],
    ],
    ids=["sound pauses", "pictures rest", "silence", "they take turns", "pictures alone", "sound begins late", "sound ends early"],
)
def test_what_is_no_hole(packets: list[tuple[Kind, Fraction]]) -> None:
    assert holes(packets) == []


def test_of_sound_alone_a_pause_is_a_hole() -> None:
    assert holes([*steady("audio", 0, 2), *steady("audio", 4, 6)]) == [(2, 4)]
