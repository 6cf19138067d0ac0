"""Whether a scene looks like the one before, so that it need not be described again.

Pictures are compared by the mean colours of small tiles: noise and compression vanish in them, while a line of text or a person in the
picture does not. What the sampler calls a change, a peak of motion or new writing is never the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.pictures import thumbnail

TILES = (32, 18)
SAME_WITHIN = 0.04
"""Difference of the mean colour of a tile, 0 to 1, up to which it shows the same."""
_QUIET = (KeyframeReason.KEYFRAME_REASON_FIRST, KeyframeReason.KEYFRAME_REASON_CUT, KeyframeReason.KEYFRAME_REASON_INTERVAL)

Look = NDArray[np.uint8]
"""A picture's tiles [rows, columns, 3]."""


def look_of(picture: Image.Image) -> Look:
    """The tiles of a picture of any shape."""
    return thumbnail(picture, TILES)


def same_scene(before: Sequence[Look], looks: Sequence[Look], reasons: Sequence[KeyframeReason]) -> bool:
    """Whether each picture of a scene looks like one of the scene before, and nothing happened between them."""
    return all(reason in _QUIET for reason in reasons) and bool(looks) and all(any(_same(look, each) for each in before) for look in looks)


def _same(one: Look, other: Look) -> bool:
    return bool(np.abs(one.astype(np.int16) - other).max() <= SAME_WITHIN * 255)
