"""Where a dissolve has ended, told once."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sample.dissolves import DissolveFinder
from pipeline.sample.looks import look
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def picture(seed: int) -> NDArray[np.float64]:
    """A thumbnail of patches, of no other's shape."""
    return np.kron(np.random.default_rng(seed).integers(40, 200, (12, 16)), np.ones((3, 4)))


@pytest.mark.parametrize("pause", [0.1, 2.0])
def test_a_dissolve_is_told_once_also_where_nothing_is_looked_at_for_a_while_after_it(pause: float) -> None:
    finder, told = DissolveFinder(), []
    one, other = picture(1), picture(2)
    times = [*np.arange(0, 4.25, 0.1), *np.arange(4.2 + pause, 8, 0.1)]
    for time in times:
        share = min(max((time - 3) / 1, 0), 1)
        luma = ((1 - share) * one + share * other).astype(np.uint8)
        if finder.push(MediaTime.of(float(time)), look(luma), cut=False):
            told.append(round(float(time), 1))
    assert len(told) == 1
    assert told[0] == pytest.approx(4.1, abs=0.15)
