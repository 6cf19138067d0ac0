"""What has appeared or gone, and stays, where all else rests: small writing, a cup put down, a bottle taken away.

It may be so small that little of the picture is new, and take so little that nothing was seen to move. But where nothing moves a
small difference is certain: in cells of 8x3 pixels the noise of cameras, the work of encoders and their keyframes were measured at
11 levels and less, writing and things at 13 and more.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.looks import Look
from pipeline.sample.writing import cell_differences

_LEAST = 12.0
"""Levels by which a cell must differ from the keyframe, beyond `_TIMES_USUAL` the difference of the median cell."""
_TIMES_USUAL = 2.0
_DIFFERS, _PART = 6.0, 0.25
"""A cell differs by more than the one; where more than the other part of them do, this is no small thing, or the light is another."""
_FEW = 0.15
"""A line or two of writing change no larger part of the cells."""
_RESTS = 4.0
"""Levels by which a cell at rest differs from the look before at most."""


def small_change(before: Look, now: Look) -> bool:
    """Whether a cell of one picture at rest differs from the other's, much and by itself."""
    differences = cell_differences(before, now)
    return int(np.count_nonzero(differences > _DIFFERS)) <= _FEW * differences.size and float(_by_itself(differences).max()) >= _LEAST


def _by_itself(differences: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the cells differ beyond what most do: the light may be another."""
    half = differences.size // 2
    lower, upper = np.sort(differences, axis=None)[half - 1 : half + 1].tolist()
    rest: NDArray[np.float32] = differences - np.float32(_TIMES_USUAL * (lower + upper) / 2)
    return rest


class Resting:
    """Compares the looks at a picture at rest with the last keyframe."""

    def __init__(self) -> None:
        self._differed: NDArray[np.float32] | None = None
        """By how much each cell differed at the look before."""

    def forget(self) -> None:
        """The keyframe is another, or something moves: what differed until now does not count."""
        self._differed = None

    def differs(self, keyframe: Look, before: Look, now: Look) -> bool:
        """Take the next look, while all rests; whether a part of it has differed from the keyframe for two looks, much and by itself."""
        beside = np.where(cell_differences(before, now) < _RESTS, cell_differences(keyframe, now), 0)
        if np.count_nonzero(beside > _DIFFERS) > _PART * beside.size:
            self._differed = None
            return False
        beside = _by_itself(beside)
        differed, self._differed = self._differed, beside
        return differed is not None and float(np.minimum(differed, beside).max()) >= _LEAST
