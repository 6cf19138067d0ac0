"""Position ids of a prompt with a video follow the clock."""

import numpy as np
import pytest

from pipeline.caption.positions import position_ids, temporal_ids
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def _times(*seconds: float) -> list[MediaTime]:
    return [MediaTime.of(each) for each in seconds]


@pytest.mark.parametrize(
    ("interval", "ids"),
    [(0.25, [0, 0, 1, 1]), (0.5, [0, 1, 2, 3]), (1, [0, 2, 4, 6]), (1.5, [0, 3, 6, 9]), (4, [0, 8, 16, 24])],
)
def test_even_times_give_the_published_ids(interval: float, ids: list[int]) -> None:
    assert temporal_ids(_times(*(7 + index * interval for index in range(4))), 2) == ids


def test_uneven_times_follow_the_clock() -> None:
    assert temporal_ids(_times(10, 10.4, 13.5, 25), 2) == [0, 0, 7, 30]


def test_times_are_exact_where_floats_are_not() -> None:
    tenths = [MediaTime(index * 100_000_000) for index in range(8)]
    assert temporal_ids(tenths, 10) == list(range(8))


def test_the_whole_prompt() -> None:
    ids = position_ids(before=3, times=_times(5, 6.5), rows=1, columns=2, after=2, tokens_per_second=2)
    assert ids.shape == (4, 1, 9)
    assert ids[:, 0].tolist() == [
        [0, 1, 2, 3, 4, 5, 6, 7, 8],
        [0, 1, 2, 3, 3, 6, 6, 7, 8],
        [0, 1, 2, 3, 3, 3, 3, 7, 8],
        [0, 1, 2, 3, 4, 3, 4, 7, 8],
    ]


def test_text_starts_after_the_largest_id_also_of_a_wide_picture() -> None:
    ids = position_ids(before=1, times=_times(0), rows=2, columns=9, after=1, tokens_per_second=2)
    assert ids[1:, 0, -1].tolist() == [10, 10, 10]
    assert np.unique(ids[1, 0, 1:-1]).tolist() == [1]
