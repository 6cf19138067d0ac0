"""Fades: where a picture has come out of nothing, or has been gone for a while, judged by the contrast of successive looks.

A fade goes through pictures without contrast. It ends where the contrast has stopped to rise, soon after it began to, or where there
has been none for a while, unless the picture after it is the one from before.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from pipeline.timeline import MediaTime

BLANK = 0.015
"""Contrast, as a share of white, of which a picture shows nothing."""
_BLANK_FOR = MediaTime.of(1.5)
"""Less of it belongs to the fade on either side."""
_SHOWS = 0.04
"""A picture that fades has had more, or comes to have it: what a dark camera sees is near to nothing all the time."""
_STEADY = 1.06
"""A fade has ended when the contrast grew by less than this factor in the last two looks."""
_LATELY = MediaTime.of(1.3)
"""It has had half of its contrast for no longer; what rises later is another matter."""
_IN_STEPS = 2
_RISES = 1.03
"""It rose by this factor in so many looks at least: writing that appears on an empty slide comes at once."""
_ROSE = 7
_GREW = 1.25
"""It grew by this factor within so many looks, where a fade has ended just now."""
_SAME = 0.8
"""Correlation from which a picture is the one from before the fade."""


def has_faded(nanos: Sequence[int], contrasts: Sequence[float], likeness: Callable[[int], float]) -> bool:
    """Whether a fade has ended with the latest look, in a picture or in none; one of the looks at least is blank.

    `likeness` tells the correlation of the look of an index and the latest.
    """
    if contrasts[-1] < BLANK:
        return _is_gone(nanos, contrasts)
    now = contrasts[-1]
    begin = 1 + max(index for index, each in enumerate(contrasts) if each < BLANK)
    since = contrasts[begin:]
    if len(since) < 3 or now < _SHOWS or now > _STEADY * since[-3]:
        return False
    half = next(at for at, each in zip(nanos[begin:], since, strict=True) if 2 * each >= now)
    if nanos[-1] - half > _LATELY.nanos:
        return False
    if sum(0.15 * now < after < 0.85 * now and after > _RISES * before for before, after in pairwise(since)) < _IN_STEPS:
        return False
    before = next((index for index in reversed(range(begin - 1)) if contrasts[index] >= _SHOWS), None)
    if before is None:
        # What was before is out of reach: it must have ended just now, or it has been judged already.
        return now >= _GREW * min(since[-_ROSE:])
    return likeness(before) < _SAME


def _is_gone(nanos: Sequence[int], contrasts: Sequence[float]) -> bool:
    """Whether a picture was seen, and nothing has been for just so long that it is a scene of its own."""
    if max(contrasts) < _SHOWS:
        return False
    shown = max(at for at, each in zip(nanos, contrasts, strict=True) if each >= BLANK)
    return nanos[-1] - shown >= _BLANK_FOR.nanos > nanos[-2] - shown
