"""Which keyframes of a long scene are described."""

from collections.abc import Sequence

from watchword.v1.scene_pb2 import Keyframe


def choose(keyframes: Sequence[Keyframe], most: int) -> list[Keyframe]:
    """At most `most` (2 or more) of a scene's keyframes in order: the first, the last, and the most novel of the others.

    Of equally novel ones the earlier stays.
    """
    if len(keyframes) <= most:
        return list(keyframes)
    inner = sorted(range(1, len(keyframes) - 1), key=lambda index: (-keyframes[index].score, index))[: most - 2]
    return [keyframes[index] for index in sorted({0, *inner, len(keyframes) - 1})]
