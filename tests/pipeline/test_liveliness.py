"""How much has to be decoded: what pictures allow, and what packets end at once."""

from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sample.liveliness import SOON, Liveliness, State
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit

PIXELS = 1280 * 720
FRAME = MediaTime.of(0.04)


def luma(level: int = 100, *, square: int = 0, left: int = 0, bright: int = 255) -> NDArray[np.uint8]:
    """A thumbnail of one brightness with a brighter square of so many pixels."""
    picture = np.full((36, 64), level, np.uint8)
    picture[10 : 10 + square, left : left + square] = bright
    return picture


class Stream:
    """A stream as the rule sees it, a frame each 40 ms, every picture decoded."""

    def __init__(self, *, strict: bool = False) -> None:
        self.rule = Liveliness(PIXELS)
        self.time = MediaTime(0)
        if strict:
            self.rule.be_strict()

    def go(self, pictures: Iterable[NDArray[np.uint8]], size: int = 600, *, gop: int = 50) -> list[bool]:
        """Packets of a size and the pictures in them; which packets ended a state."""
        woken = []
        for picture in pictures:
            number = self.time.nanos // FRAME.nanos
            keyframe = number % gop == 0
            woken.append(self.rule.packet(self.time.nanos, 60_000 if keyframe else size, keyframe=keyframe))
            self.rule.picture(self.time, picture)
            self.time += FRAME
        return woken

    def packets(self, *sizes: int, leads: bool = True) -> list[bool]:
        """Packets of these sizes, of which no picture is decoded; which ended a state."""
        woken = []
        for size in sizes:
            woken.append(self.rule.packet((self.time if leads else self.time - FRAME - FRAME).nanos, size, keyframe=False))
            self.time += FRAME
        return woken


def still() -> Stream:
    """A stream that has been seen to be still."""
    stream = Stream()
    stream.go([luma()] * 30)
    assert stream.rule.state is State.STILL
    return stream


def test_a_picture_is_still_when_a_second_has_been_looked_at_and_all_is_decoded_for_most_of_it() -> None:
    stream = Stream()
    stream.go([luma(100 + 4 * (n % 2)) for n in range(17)])
    assert stream.rule.state is State.LIVELY
    stream.go([luma(100 + 4 * (n % 2)) for n in range(17, 25)])
    assert stream.rule.state is State.CALM
    stream.go([luma(104)])
    assert stream.rule.state is State.STILL


def test_half_a_second_is_enough_where_nothing_moves_at_all() -> None:
    stream = Stream()
    stream.go([luma()] * 13)
    assert stream.rule.state is State.LIVELY
    stream.go([luma()])
    assert stream.rule.state is State.STILL


def test_after_a_cut_everything_is_decoded_for_most_of_a_second() -> None:
    stream = Stream()
    stream.go([luma(square=8, left=n) for n in range(40)])
    assert stream.rule.state is State.CALM
    stream.rule.forget(stream.time)
    stream.go([luma(square=8, left=n) for n in range(17)])
    assert stream.rule.state is State.LIVELY
    stream.go([luma(square=8, left=n) for n in range(17, 20)])
    assert stream.rule.state is State.CALM


def test_a_state_does_not_fall_while_the_decoder_holds_a_packet_that_promises_more() -> None:
    stream = Stream()
    stream.go([luma()] * 13)
    ahead = stream.time + FRAME + FRAME + FRAME
    stream.rule.packet(ahead.nanos, 20_000, keyframe=False)
    stream.go([luma()] * 3)
    assert stream.rule.state is State.LIVELY


@pytest.mark.parametrize("strict", [False, True], ids=["one picture is left out", "several are"])
@pytest.mark.parametrize(
    ("pictures", "state"),
    [
        ([luma(100 + n % 2) for n in range(60)], State.STILL),
        ([luma(square=2, left=n % 3, bright=150) for n in range(60)], State.STILL),
        ([luma(100 + n // 3) for n in range(60)], State.CALM),
        ([luma(square=8, left=n % 50) for n in range(60)], State.LIVELY),
        ([luma(100 + 3 * n) for n in range(51)], State.LIVELY),
        ([luma(60 if n % 3 else 120) for n in range(60)], State.LIVELY),
    ],
    ids=["noise", "a mouth", "daylight", "something walks", "a fade", "flicker"],
)
def test_pictures_tell_the_state(pictures: list[NDArray[np.uint8]], state: State, strict: bool) -> None:
    """What moves fast is decoded without the pictures that nothing refers to only where each of these lies between two that are seen."""
    stream = Stream(strict=strict)
    stream.go(pictures)
    assert stream.rule.state is (state if strict else min(state, State.CALM))


def test_noise_of_a_constant_bit_rate_is_still_and_what_comes_on_top_of_it_is_noticed() -> None:
    stream = Stream()
    stream.go([luma()] * 110, size=9000)
    assert stream.rule.state is State.STILL
    assert stream.packets(8000, 11_000, 9000, 7000) == [False] * 4
    assert stream.packets(30_000) == [True]
    assert stream.rule.state is State.LIVELY


def test_a_packet_of_three_times_the_usual_ends_a_still_state_at_once() -> None:
    stream = still()
    assert stream.packets(600, 700, 1700, 500) == [False] * 4
    assert stream.packets(1900) == [True]


def test_what_stood_out_for_nothing_ends_nothing_when_it_comes_again() -> None:
    """An AV1 encoder sends a larger picture in the middle of each group of pictures, also where nothing moves."""
    stream = still()
    assert stream.packets(5000) == [True]
    stream.go([luma()] * 30)
    assert stream.packets(5200, 600) == [False, False]
    assert stream.packets(9000) == [True]


def quiet() -> Stream:
    """A stream of a slide, of which hardly anything is sent: seen to be still, and then a packet that stands out."""
    stream = Stream()
    stream.go([luma()] * 30, 40)
    assert stream.rule.state is State.STILL
    assert stream.packets(800) == [True]
    return stream


def test_a_packet_that_wrote_something_small_is_not_harmless_and_the_next_such_is_noticed() -> None:
    stream = quiet()
    stream.go([luma(square=2)] * 40, 40)
    assert stream.rule.state is State.STILL
    assert stream.packets(800) == [True]
    without = quiet()
    without.go([luma()] * 40, 40)
    assert without.packets(800) == [False], "after it all was as before"


def test_a_look_that_shows_something_small_and_new_is_another_picture_only_where_hardly_anything_is_sent() -> None:
    slide, camera = Stream(), Stream()
    picture = np.kron(np.random.default_rng(3).integers(60, 190, (6, 8)), np.ones((6, 8), int)).astype(np.uint8)
    slide.go([picture] * 30, 40)
    camera.go([picture] * 30, 2000)
    written = picture.copy()
    written[9:12, 16:24] += 30
    assert slide.rule.probe(written)
    assert not camera.rule.probe(written)


def test_three_of_four_packets_of_twice_the_usual_end_it_too() -> None:
    assert still().packets(1300, 600, 1300, 1300) == [False, False, False, True]


def test_pictures_that_nothing_refers_to_are_judged_among_themselves() -> None:
    stream = Stream()
    for _ in range(30):
        stream.go([luma()])
        stream.rule.packet((stream.time - FRAME - FRAME).nanos, 300, keyframe=False)
    assert stream.rule.state is State.STILL
    assert stream.packets(250, leads=False) == [False]
    assert stream.packets(1100, leads=False) == [True]


def test_packets_that_hold_next_to_nothing_end_nothing() -> None:
    stream = Stream()
    stream.go([luma()] * 30, size=35)
    assert stream.packets(200, 35, 400, 35) == [False] * 4


def test_the_first_picture_after_a_keyframe_mends_it_and_ends_nothing() -> None:
    stream = still()
    assert not stream.rule.packet(stream.time.nanos, 60_000, keyframe=True)
    stream.time += FRAME
    assert stream.packets(30_000) == [False]
    assert stream.packets(30_000) == [True]


def test_a_cut_right_after_a_keyframe_is_noticed() -> None:
    stream = still()
    assert not stream.rule.packet(stream.time.nanos, 60_000, keyframe=True)
    stream.time += FRAME
    assert stream.packets(50_000) == [True]


def test_a_packet_of_a_new_picture_is_noticed_among_those_of_motion() -> None:
    stream = Stream()
    stream.go([luma(square=8, left=n % 50) for n in range(60)], size=20_000)
    assert stream.rule.state is State.CALM
    assert stream.packets(26_000) == [False]
    assert stream.packets(30_000) == [True]


def test_a_strict_stream_is_lively_with_the_first_picture_that_is_far_off() -> None:
    stream = Stream(strict=True)
    stream.go(luma(100 + n // 3) for n in range(60))
    assert stream.rule.state is State.CALM
    stream.go([luma(190)])
    stream.go([luma(190 - 4 * n) for n in range(5)])
    assert stream.rule.state is State.LIVELY


def test_a_state_falls_only_with_pictures_that_are_well_within_it() -> None:
    kept, fallen = Stream(), Stream()
    kept.go(luma(100 + 5 * (n % 2)) for n in range(60))  # 5 of 255 is just under what a still picture may change
    fallen.go(luma(100 + 3 * (n % 2)) for n in range(60))
    assert (kept.rule.state, fallen.rule.state) == (State.CALM, State.STILL)


def test_a_picture_that_looks_like_the_last_one_leaves_a_still_state_as_it_is() -> None:
    stream = still()
    assert not stream.rule.probe(luma(101))
    assert stream.rule.probe(luma(120))


def test_with_a_scene_everything_is_forgotten() -> None:
    stream = still()
    stream.rule.forget(stream.time)
    assert stream.rule.state is State.LIVELY
    start = stream.time
    while stream.time - start < SOON:
        stream.go([luma()], size=5000)
        assert stream.rule.state is State.LIVELY
    stream.go([luma()], size=5000)
    assert stream.rule.state is State.STILL
    assert stream.packets(5500, 6000) == [False, False], "the sizes from before the scene are no measure"


def keyframes(*packets: tuple[float, int]) -> list[bool]:
    rule = Liveliness(1280 * 720)
    odd = []
    for time, size in packets:
        rule.packet(MediaTime.of(time).nanos, size, keyframe=True)
        odd.append(rule.is_odd)
    return odd


def test_keyframe_packets_that_come_as_before_are_not_odd() -> None:
    assert keyframes((0, 30_000), (2, 31_000), (4, 29_500), (6, 30_100)) == [False] * 4


def test_where_keyframe_packets_hardly_differ_one_that_differs_a_little_is_odd() -> None:
    assert keyframes((0, 59_774), (2, 59_838), (4, 59_838), (6, 54_965), (8, 54_965)) == [False, False, False, True, False]


def test_a_keyframe_packet_of_another_size_or_out_of_turn_is_odd() -> None:
    assert keyframes((0, 30_000), (2, 30_000), (4, 36_000), (6, 30_000)) == [False, False, True, True]
    assert keyframes((0, 30_000), (2, 30_000), (2.5, 30_000), (4.5, 30_000), (6.5, 30_000)) == [False, False, True, True, False]


def test_a_look_at_another_dark_picture_is_no_still_one() -> None:
    stream = Stream()
    rng = np.random.default_rng(1)
    one, other = (np.kron(rng.integers(4, 10, (6, 8)), np.ones((6, 8))).astype(np.uint8) for _ in range(2))
    stream.rule.picture(stream.time, one)
    noisy = (one + rng.integers(-1, 2, one.shape)).astype(np.uint8)
    assert not stream.rule.probe(noisy)
    assert np.abs(one.astype(int) - other).mean() / 255 < 0.02
    assert stream.rule.probe(other)


def test_a_scene_is_presumed_to_be_still_as_long_as_little_is_sent_and_nothing_moves() -> None:
    stream = Stream()
    stream.rule.forget(stream.time)
    stream.go([luma()] * 3)
    assert stream.rule.presumes
    stream.packets(*[600] * 20)
    assert stream.rule.presumes
    stream.packets(5000)
    assert not stream.rule.presumes


def test_a_scene_of_which_much_is_sent_or_in_which_something_moves_is_not_presumed_to_be_still() -> None:
    for sizes, pictures in ((3000, [luma()] * 8), (600, [luma(square=9, left=n) for n in range(0, 40, 5)])):
        stream = Stream()
        stream.rule.forget(stream.time)
        stream.go(pictures, sizes)
        assert not stream.rule.presumes
        assert stream.rule.state is State.LIVELY


def test_where_packets_have_said_little_for_long_a_quarter_of_a_second_is_enough() -> None:
    stream = Stream()
    stream.rule.forget(stream.time)
    assert not stream.rule.is_late(MediaTime.of(2.4).nanos)
    assert stream.rule.is_late(MediaTime.of(2.6).nanos)
    stream.rule.presume_nothing(late=True)
    stream.go([luma()] * 7)
    assert stream.rule.state is State.LIVELY
    stream.go([luma()])
    assert stream.rule.state is State.STILL
