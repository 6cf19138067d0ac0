"""What is worth a keyframe within a scene: change, peaks of motion, writing that appears, and that none came for long.

Everything here begins anew with each scene and depends on its frames alone. Frames are looked at ten times a second, however
many there are.

- A frame is a **change** when it is new against the last keyframe, now and a tenth of a second before: so a flash is none, nor
  is light that flickers. Of a pan only what has come into view is new, and what changed beside the camera's motion.
- At a **peak of motion** the frames around it are chosen, up to four, a tenth of a second apart, so that whoever looks at them
  sees which way things move and how fast. The peak is known when two later looks have less motion.
- **Writing** that has appeared and stays is told by its strokes (`pipeline.sample.writing`).
- A keyframe is never older than the **gap** allows.

The budget is a token bucket that each scene starts with half a keyframe in: what is less new needs a fuller bucket, so that the
least novel frames are left out first. A scene's first keyframe is never left out and costs nothing.
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from watchword.v1 import scene_pb2

from pipeline.sample.cuts import SPARSE, Payload, Seen
from pipeline.sample.looks import Look, shape_distance
from pipeline.sample.options import Options
from pipeline.sample.pans import pan
from pipeline.sample.writing import Strokes, appeared, cell_differences, strokes
from pipeline.timeline import MediaTime

_PERIOD = MediaTime.of(0.1)
_WRITING_PERIOD = MediaTime.of(0.2)
_WRITING_BEFORE = MediaTime.of(0.5)
_SOON = 0.25
_SOON_OF_FIRST = 0.5
"""Keyframes in the budget of a new scene, and of one that nothing was chosen before."""
_LEAST_CHANGE = 0.45
_EASIER = 0.12
"""Of `Options.change` so much less is enough for each second that is waited, down to the least part."""
_FULLER = 0.8
_ROWS, _COLUMNS = 6, 8
_MUCH = 4.0
"""Unrelated pictures differ by about a quarter in mean luma."""
_SAME_SHAPE = 0.25
"""Distance of shapes below which two pictures differ in their light alone."""
_LIGHT_LOOKS = 4
_GLOBAL = 0.6
"""Share of the blocks that must have changed before a pan is looked for."""
_EXPLAINED = 0.5
"""A shift is a pan when it leaves less than this part of the difference."""
_MOTION = 0.05
_FAST = 0.1
_MOVING_BLOCKS = 6
"""Mean change of the six blocks that change most in a tenth of a second: a peak has more than the one, a burst than the other."""
_LASTS = 0.3
"""What moves is seen to move in a look before or after the peak, too, by this part of it; what appears is not."""
_LOCAL = 3.0
_WAIT_FOR_PEAK = 10
"""While a part moves fast, by so many times the mean of the picture, a change waits for the peak, for so many looks."""
_ABOVE_MEAN = 1.25
_MOTION_LOOKS = 40
_LATELY = 10
_STIRRED = 0.04
_CALM = 0.6
_SETTLED_NEEDS = 0.5
"""When six blocks moved more than the one within a second, and now less than that part of it, less novelty is needed."""
_BURST = 4


@dataclass(frozen=True)
class Pick(Generic[Payload]):
    """A frame that is chosen."""

    frame: Seen[Payload]
    reason: scene_pb2.KeyframeReason
    score: float
    """Novelty against the last keyframe before the frame, 0 to 1."""


@dataclass(frozen=True)
class _Moving(Generic[Payload]):
    """A look, and how much moved since the one before; the frame itself is kept only while something moves."""

    motion: float
    frame: Seen[Payload] | None


class SceneWatch(Generic[Payload]):
    """Watches one scene, from its first keyframe."""

    def __init__(self, options: Options, first: Seen[Payload], *, anew: bool) -> None:
        self._options = options
        self._reference: Look = first.look
        self._reference_at = first.time
        self._reference_strokes = strokes(first.luma)
        self._tokens, self._tokens_at = _SOON_OF_FIRST if anew else _SOON, first.time
        self._slot = first.time.nanos // _PERIOD.nanos
        self._last: tuple[MediaTime, Look] = (first.time, first.look)
        self._moving: deque[_Moving[Payload]] = deque(maxlen=4)
        self._motions: deque[float] = deque(maxlen=_MOTION_LOOKS)
        self._fast_for = 0
        self._light: deque[float] = deque(maxlen=_LIGHT_LOOKS)
        self._was_new = False
        self._writing: deque[tuple[MediaTime, Look, Strokes]] = deque([(first.time, first.look, self._reference_strokes)], maxlen=6)

    def take(self, frame: Seen[Payload], *, due: bool = False) -> list[Pick[Payload]]:
        """Take the scene's next frame; what is chosen now, in order of time, this frame last.

        `due` tells that no later frame comes in time for the longest gap.
        """
        slot, self._slot = self._slot, frame.time.nanos // _PERIOD.nanos
        picks = self._look(frame) if slot != self._slot else []
        if not picks and (due or frame.time - self._reference_at >= self._options.maximum_gap):
            picks = [self._pick(frame, scene_pb2.KEYFRAME_REASON_INTERVAL)]
        return picks

    def _look(self, frame: Seen[Payload]) -> list[Pick[Payload]]:
        (before, last), self._last = self._last, (frame.time, frame.look)
        close = frame.time - before <= SPARSE
        self._note_motion(frame, last, close)
        if self._has_writing(frame):
            return [self._pick(frame, scene_pb2.KEYFRAME_REASON_TEXT)]
        tokens = self._budget(frame.time)
        if tokens < 1:
            self._was_new = False
            return []
        needed = self._needed(tokens, frame.time)
        if burst := self._burst(tokens, needed):
            return burst
        if self._has_settled():
            needed *= _SETTLED_NEEDS
        new = frame.time - self._reference_at >= self._options.minimum_gap and self._is_new(frame.look, needed)
        was_new, self._was_new = self._was_new, new
        if not new or (close and not was_new) or 0 < self._fast_for <= _WAIT_FOR_PEAK:
            return []
        writing = close and self._shows_writing(frame, last)
        return [self._pick(frame, scene_pb2.KEYFRAME_REASON_TEXT if writing else scene_pb2.KEYFRAME_REASON_CHANGE)]

    def _pick(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason) -> Pick[Payload]:
        """Choose the frame, and pay for it."""
        picked = Pick(frame, reason, novelty(self._reference, frame.look))
        self._tokens, self._tokens_at = self._budget(frame.time) - 1, frame.time
        self._reference, self._reference_at = frame.look, frame.time
        self._reference_strokes = strokes(frame.luma)
        self._light.clear()
        self._was_new = False
        return picked

    def _budget(self, time: MediaTime) -> float:
        """Keyframes that may be chosen now."""
        earned = max(0, (time - self._tokens_at).nanos) * self._options.keyframes_a_minute / 60e9
        return min(self._tokens + earned, float(self._options.at_once))

    def _needed(self, tokens: float, time: MediaTime) -> float:
        """The novelty that is needed: the less, the longer the last keyframe is past and the more may still be chosen."""
        waited = max(0.0, (time - self._reference_at - self._options.minimum_gap).seconds)
        fuller = _FULLER if tokens >= 2 else 1.0
        return self._options.change * max(_LEAST_CHANGE, 1 - _EASIER * waited) * fuller

    def _is_new(self, now: Look, needed: float) -> bool:
        """Whether the picture is new enough against the last keyframe."""
        blocks = block_differences(self._reference, now)
        found = _novelty(blocks)
        if shape_distance(self._reference, now) < _SAME_SHAPE:
            # Only the light is another: it must stay so.
            self._light.append(found)
            return len(self._light) == _LIGHT_LOOKS and min(self._light) >= needed
        if found < needed:
            return False
        if float(np.mean(blocks > needed / _MUCH)) > _GLOBAL:
            shift = pan(self._reference.luma.reshape(36, 64), now.luma.reshape(36, 64))
            if shift is not None and float(shift.residual.mean()) < _EXPLAINED * 255 * float(blocks.mean()):
                return max(1 - shift.left_in, _MUCH * float(shift.residual.mean()) / 255) >= needed
        return True

    def _note_motion(self, frame: Seen[Payload], last: Look, close: bool) -> None:
        if not close:
            self._moving.clear()
            self._fast_for = 0
            return
        blocks = block_differences(last, frame.look, light=False).ravel().tolist()
        motion = sum(sorted(blocks)[-_MOVING_BLOCKS:]) / _MOVING_BLOCKS
        local = motion > _LOCAL * sum(blocks) / len(blocks)
        self._moving.append(_Moving(motion, frame if motion > _MOTION / 2 else None))
        self._motions.append(motion)
        self._fast_for = self._fast_for + 1 if local and motion >= _FAST else 0

    def _burst(self, tokens: float, needed: float) -> list[Pick[Payload]]:
        """The frames around a peak of motion two looks ago, as many as it is fast and the budget allows."""
        if len(self._moving) < 4:
            return []
        looks = list(self._moving)
        peak = looks[1]
        if peak.frame is None or peak.motion < _MOTION or peak.motion < max(each.motion for each in looks):
            return []
        if max(looks[0].motion, looks[2].motion) < _LASTS * peak.motion:
            return []
        if peak.motion < _ABOVE_MEAN * sum(self._motions) / len(self._motions):
            return []
        if peak.frame.time - self._reference_at < self._options.minimum_gap or not self._is_new(peak.frame.look, 0.75 * needed):
            return []
        count = min(_BURST, int(tokens)) if peak.motion >= _FAST else 1
        around = {1: (1,), 2: (1, 2), 3: (0, 1, 2)}.get(count, (0, 1, 2, 3))
        frames = [looks[index].frame for index in around]
        self._moving.clear()
        return [self._pick(frame, scene_pb2.KEYFRAME_REASON_MOTION_PEAK) for frame in frames if frame is not None]

    def _shows_writing(self, frame: Seen[Payload], last: Look) -> bool:
        """Whether what is new against the last keyframe is writing."""
        now = strokes(frame.luma)
        changed = cell_differences(self._reference, frame.look)
        return appeared(now, now, self._reference_strokes, moved=cell_differences(last, frame.look), changed=changed)

    def _has_settled(self) -> bool:
        """Whether much moved a moment ago and little does now: what came of it can be seen, and nothing blurs it."""
        if len(self._motions) < 3:
            return False
        lately = list(self._motions)[-_LATELY:]
        return max(lately) > _STIRRED and max(lately[-2:]) < _CALM * max(lately)

    def _has_writing(self, frame: Seen[Payload]) -> bool:
        """Whether writing has appeared that the last keyframe does not show."""
        latest_at, latest, lately = self._writing[-1]
        if frame.time - latest_at < _WRITING_PERIOD:
            return False
        now = strokes(frame.luma)
        earlier = [each for each in self._writing if frame.time - each[0] >= _WRITING_BEFORE and each[0] < latest_at]
        self._writing.append((frame.time, frame.look, now))
        if not earlier or self._budget(frame.time) < 0:
            return False
        before = np.maximum(self._reference_strokes, np.maximum.reduce([each[2] for each in earlier[-2:]]))
        if int((now - before).max()) < 4:
            return False
        moved = cell_differences(latest, frame.look)
        changed = cell_differences(earlier[-1][1], frame.look)
        return appeared(now, lately, before, moved=moved, changed=changed)


def novelty(before: Look | None, now: Look) -> float:
    """How new a picture is against another: all of it a little or a part of it much, 0 to 1; 1 against none."""
    return 1.0 if before is None else _novelty(block_differences(before, now))


def _novelty(blocks: NDArray[np.float32]) -> float:
    return min(1.0, max(_MUCH * float(np.add.reduce(blocks, axis=None)) / blocks.size, float(np.maximum.reduce(blocks, axis=None))))


def block_differences(before: Look, after: Look, *, light: bool = True) -> NDArray[np.float32]:
    """Mean absolute luma difference of each of 6x8 blocks, 0 to 1; without the difference of the means unless `light`."""
    difference = after.luma - before.luma
    if not light:
        difference -= np.float32(float(np.add.reduce(difference)) / difference.size)
    np.abs(difference, out=difference)
    means: NDArray[np.float32] = np.add.reduce(difference.reshape(_ROWS, 6, 64), axis=1) @ _MEANS
    return means


_MEANS = np.kron(np.eye(_COLUMNS), np.full((8, 1), 1 / (255 * 48))).astype(np.float32)
