"""What is new against a keyframe in spite of a camera that moves: the camera is followed from look to look.

A camera that is held, turns or zooms makes every edge differ from the keyframe. What its movement explains is not new, but what it
has brought into view is; and what moves beside it, moves.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.sample.camera import RESTS, Pixels, differences, follow
from pipeline.sample.looks import Look
from pipeline.sample.novelty import MUCH, block_differences, novelty, novelty_of

_KEPT = 1.3
"""Makes up for the half pixel of each edge that is explained: so much more was there before."""
_LITTLE, _SPREAD = 0.01, 0.2
"""The camera moves where more than this part of the blocks change by more than the other: what else moves is smaller."""
_STEADY = 0.5
"""Pixels by which a corner may have moved while the camera counts as at rest."""


class View:
    """One camera, seen from a keyframe on."""

    def __init__(self, keyframe: Look) -> None:
        self._keyframe = keyframe
        self._latest, self._camera = keyframe, RESTS

    def follow(self, now: Look) -> tuple[NDArray[np.float32], float]:
        """Take the next look: what moved since the look before, light left out.

        The mean change of each of 6x8 blocks beside the camera's motion, and that of the whole picture with it, 0 to 1.
        """
        before, was = self._latest, self._camera
        self._latest = now
        blocks = block_differences(before, now, light=False)
        whole = float(np.mean(blocks))
        if np.count_nonzero(blocks > _LITTLE) > _SPREAD * blocks.size:
            self._camera = follow(_square(self._keyframe), _square(now), was)
        blocks, _ = differences(_square(before), _square(now), self._camera.since(was), light=False)
        return np.float32(_KEPT) * blocks, whole

    def set_keyframe(self, keyframe: Look) -> None:
        """What is new is new against this picture, at which the camera looks now."""
        self._keyframe, self._camera = keyframe, RESTS

    def novelty(self, now: Look, *, least: float = 0.0) -> float:
        """How new the latest look is, or one shortly before it, 0 to 1: what is other than the camera explains, or has come into view.

        Below `least` it may be told too high.
        """
        bound = _KEPT * novelty(self._keyframe, now)
        if bound < least:
            return bound
        blocks, appeared = self._new(now)
        return max(novelty_of(blocks), appeared)

    def is_another(self, now: Look, needed: float) -> bool:
        """Whether nearly the whole picture is new, not only a part of it."""
        if _KEPT * novelty(self._keyframe, now) < needed:
            return False
        blocks, appeared = self._new(now)
        return max(MUCH * float(np.mean(blocks)), appeared) >= needed

    def _new(self, now: Look) -> tuple[NDArray[np.float32], float]:
        before, after = _square(self._keyframe), _square(now)
        camera = self._camera
        if now is not self._latest and camera is not RESTS:
            camera = follow(before, after, camera)
        blocks, appeared = differences(before, after, camera)
        return np.float32(_KEPT) * blocks, appeared

    @property
    def is_steady(self) -> bool:
        """Whether the camera looks where it did at the keyframe."""
        camera = self._camera
        return abs(camera.right) + abs(camera.down) + 32 * abs(camera.zoom - 1) < _STEADY


def _square(look: Look) -> Pixels:
    return look.luma.reshape(36, 64)
