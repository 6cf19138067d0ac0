"""Which packets say that a picture stays as it is: sizes as encoders make them of slides, and of what is cheap and yet happens."""

from collections.abc import Sequence

import pytest

from pipeline.media.decoders import CodedPacket
from pipeline.sample.quiet import say_nothing

pytestmark = pytest.mark.unit

PIXELS = 1280 * 720
FRAME = 40_000_000
SLIDE = [59838, 3048, 168, 113, 37, 263, 39, 37, 37, 68, 39, 37, 37, *[41, 39, 37, 37] * 9]
"""x264's of a slide of fine print, from a keyframe on, in the order of decoding."""


def packets(sizes: Sequence[int], *, keyframe: bool = True) -> list[CodedPacket]:
    return [CodedPacket(n * FRAME, n * FRAME, keyframe and n == 0, bytes(size)) for n, size in enumerate(sizes)]


@pytest.mark.parametrize("count", [1, 2, 13, len(SLIDE)])
def test_a_slide_that_stays_says_nothing(count: int) -> None:
    assert say_nothing(packets(SLIDE[:count]), PIXELS, 54965)


def test_an_encoder_that_knows_of_a_cut_may_spend_a_little_more_before_it() -> None:
    assert say_nothing(packets([*SLIDE, 70, 59]), PIXELS, 54965)


@pytest.mark.parametrize("size", [140, 512, 1348, 20_000])
@pytest.mark.parametrize("place", [35, len(SLIDE) - 1])
def test_what_is_larger_than_the_others_says_something(place: int, size: int) -> None:
    """Writing that disappears, a page that fades in the headers of pictures, another page."""
    assert not say_nothing(packets([*SLIDE[:place], size, *SLIDE[place + 1 :]]), PIXELS, 54965)


def test_where_a_new_picture_is_cheap_a_small_packet_may_be_one() -> None:
    """A page is cleared with 36 bytes, beside 18 for nothing, and the keyframe after it has 75."""
    cleared = [720, *[18, 14, 14, 16] * 8, 36, *[18, 14, 14, 16] * 5]
    assert not say_nothing(packets(cleared), 426 * 240, 75)
    assert not say_nothing(packets(cleared, keyframe=False), 426 * 240, 75)
    assert not say_nothing(packets([75, *[18, 14, 14, 16] * 8]), 426 * 240, 720)


def test_a_head_that_speaks_noise_and_a_correction_as_large_as_a_picture_say_something() -> None:
    assert not say_nothing(packets([43_000, 3000, *[350, 120, 90, 80] * 12]), PIXELS, 43_000)
    assert not say_nothing(packets([43_000, *[9000] * 48]), PIXELS, 43_000)
    assert not say_nothing(packets([59838, 20_000, *SLIDE[2:]]), PIXELS, 54965)
