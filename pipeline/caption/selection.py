"""Which keyframes of a long scene are described."""

from collections.abc import Sequence
from typing import Protocol, TypeVar


class _Scored(Protocol):
    @property
    def score(self) -> float: ...


Scored = TypeVar("Scored", bound=_Scored)
"""A keyframe, as a message or as a captioner sees it."""


def choose(keyframes: Sequence[Scored], most: int) -> list[Scored]:
    """At most `most` (1 or more) of a scene's keyframes in order: the first, the last, and the most novel of the others.

    Of equally novel ones the earlier stays. If there can be only one, it is the most novel of all.
    """
    if len(keyframes) <= most:
        return list(keyframes)
    if most == 1:
        return [max(keyframes, key=lambda keyframe: keyframe.score)]
    inner = sorted(range(1, len(keyframes) - 1), key=lambda index: (-keyframes[index].score, index))[: most - 2]
    return [keyframes[index] for index in sorted({0, *inner, len(keyframes) - 1})]
