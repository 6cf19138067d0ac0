"""What is told of packets that are lost one by one: soon, in full, and not again and again."""

import pytest

from pipeline.media.losses import Losses
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def test_the_first_is_told_at_once_and_the_rest_once_a_minute_and_in_the_end() -> None:
    losses, told = Losses("s", "audio"), []
    for second, lost in ((0, 0), (1, 1), (2, 3), (30, 9), (61, 9), (100, 0), (122, 0), (123, 5), (124, 1)):
        told += [(second, event.message) for event in losses.note(lost, MediaTime.of(second))]
    assert [(second, text.split()[2]) for second, text in told] == [(1, "1"), (61, "21"), (123, "5")]
    assert told[0][1] == "stream s: 1 packet of its sound up to 0:01 could not be decoded; what was said there is missing"
    assert [event.message.split()[2] for event in losses.rest()] == ["1"]
    assert list(losses.rest()) == [], "nothing is told twice"


def test_of_a_whole_stream_nothing_is_told() -> None:
    losses = Losses("s", "video")
    assert [event for second in range(200) for event in losses.note(0, MediaTime.of(second))] == []
    assert list(losses.rest()) == []
