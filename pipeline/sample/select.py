"""Which frames become keyframes, and where scenes begin and end. A pure rule: frames in order, decisions out.

A scene begins with the stream, with a hard cut, with the end of a dissolve, and where it would get too long otherwise.
What is remembered is chosen so that a reader who starts in the middle, as after a crash, comes to the same state:

- Cuts and ends of dissolves are decided by the frames of the last `MEMORY` alone, and everything else that is remembered
  begins anew with each scene. Who starts `MEMORY` before such a scene comes to it, and agrees from there on.
- How long a scene has lasted cannot be known without its start. So a scene that got too long ends at a frame where
  decoding can start, and there everything is forgotten (`Chosen.anew`): who starts with that very frame agrees. Only where
  no such frame comes for a while, a scene is ended without.
"""

from dataclasses import dataclass
from typing import Generic

import numpy as np
from numpy.typing import NDArray
from watchword.v1 import scene_pb2

from kernels.frame_difference import Thumbnails, block_difference, luma_difference
from pipeline.sample import cuts, dissolves
from pipeline.sample.cuts import CutFinder, Payload, Seen
from pipeline.sample.dissolves import DissolveFinder
from pipeline.timeline import ZERO, MediaTime

MEMORY = cuts.REACH + cuts.NEAR + cuts.NEAR + dissolves.REACH
"""How far back the frames lie that decide whether a frame is a cut or the end of a dissolve."""

_MAXIMUM_GAP = MediaTime.of(5)
_LONGEST_SCENE = MediaTime.of(30)
_MINIMUM_GAP = MediaTime.of(0.5)
_CHANGE_EVERY = MediaTime.of(2)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How readily frames are chosen."""

    maximum_gap: MediaTime = _MAXIMUM_GAP
    """A keyframe is never older than this, up to the next frame."""
    longest_scene: MediaTime = _LONGEST_SCENE
    """A longer scene ends at the next frame where decoding can start, and without one after a third of it more."""
    change: float = 0.4
    """Novelty from which a frame is chosen without a cut."""
    minimum_gap: MediaTime = _MINIMUM_GAP
    """Within a scene, a change is noticed no sooner than this after the last keyframe."""
    changes_at_once: int = 4
    """How many changes may follow each other in a scene before `change_every` binds. Cuts are never left out."""
    change_every: MediaTime = _CHANGE_EVERY
    """The mean time between changes that a scene is allowed in the long run."""

    def __post_init__(self) -> None:
        if min(self.maximum_gap, self.longest_scene, self.change_every) <= ZERO or self.minimum_gap < ZERO:
            raise ValueError("the times between keyframes and of scenes must be positive")
        if not 0 < self.change <= 1 or self.changes_at_once < 1:
            raise ValueError("a change must have a novelty above 0 and at most 1, and at least one must be allowed")


DEFAULTS = Options()


@dataclass(frozen=True)
class Chosen(Generic[Payload]):
    """A frame was chosen."""

    time: MediaTime
    reason: scene_pb2.KeyframeReason
    score: float
    """Novelty against the last keyframe, 0 to 1; 1 for the first."""
    motion: float
    """Mean absolute luma difference of successive frames since the last keyframe, 0 to 1; the step of a cut is no motion."""
    scene: MediaTime
    """Where its scene starts; a scene's first frame is always chosen."""
    anew: bool
    """Whether nothing before this frame matters to what follows, not even to what counts as a cut."""
    payload: Payload


@dataclass(frozen=True)
class Closed:
    """A scene has closed; all its keyframes have been told."""

    start: MediaTime
    end: MediaTime


class Selector(Generic[Payload]):
    """Decides about the frames of one uninterrupted stretch of one stream."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._longest_without_restart = MediaTime(options.longest_scene.nanos * 4 // 3)
        self._cuts: CutFinder[Payload] = CutFinder()
        self._dissolves = DissolveFinder()
        self._scene: MediaTime | None = None
        self._latest = ZERO
        self._reference: Seen[Payload] | None = None
        self._steps: list[float] = []
        self._allowed = 0.0
        self._allowed_at = ZERO

    def push(
        self,
        time: MediaTime,
        luma: Thumbnails,
        payload: Payload,
        *,
        chroma: NDArray[np.uint8] | None = None,
        restart: bool = False,
    ) -> list[Chosen[Payload] | Closed]:
        """Take the next frame and its `uint8` thumbnails; what is decided now, in order of time.

        `chroma` holds Cb and Cr, shape (2, ...); without it cuts are judged by brightness alone. `restart` says that decoding can start with this frame. A frame that looks like a cut is decided about when two
        more frames have come, or one after `cuts.NEAR`.
        """
        decisions = []
        for frame, cut in self._cuts.push(time, luma, payload, chroma):
            decisions += self._decide(frame, cut, restart=restart and frame.time == time)
        return decisions

    def finish(self, end: MediaTime) -> list[Chosen[Payload] | Closed]:
        """No frame follows: the last decisions; the scene that is open closes at `end`."""
        decisions = [decision for frame, cut in self._cuts.flush() for decision in self._decide(frame, cut, restart=False)]
        if self._scene is not None:
            decisions.append(Closed(self._scene, max(end, self._latest)))
            self._scene = None
        return decisions

    def _decide(self, frame: Seen[Payload], cut: bool, *, restart: bool) -> list[Chosen[Payload] | Closed]:
        self._latest = frame.time
        dissolved = self._dissolves.push(frame.time, frame.luma, cut=cut, chroma=frame.look.chroma)
        if not cut:
            self._steps.append(frame.step)
        if self._scene is None:
            return [self._open(frame, scene_pb2.KEYFRAME_REASON_FIRST, anew=True)]
        lasted = frame.time - self._scene
        if cut or dissolved:
            opening = scene_pb2.KEYFRAME_REASON_CUT if cut else scene_pb2.KEYFRAME_REASON_CHANGE
        elif lasted >= self._longest_without_restart or (restart and lasted >= self._options.longest_scene):
            opening = scene_pb2.KEYFRAME_REASON_INTERVAL
        else:
            reason = self._within(frame)
            return [] if reason is None else [self._choose(frame, reason)]
        anew = restart and opening == scene_pb2.KEYFRAME_REASON_INTERVAL
        if anew:
            self._forget(frame)
        return [Closed(self._scene, frame.time), self._open(frame, opening, anew=anew)]

    def _forget(self, frame: Seen[Payload]) -> None:
        """Go on as if the stream began with this frame, the latest that was taken."""
        self._cuts, self._dissolves = CutFinder(), DissolveFinder()
        self._cuts.push(frame.time, frame.luma, frame.payload, frame.look.chroma)
        self._dissolves.push(frame.time, frame.luma, cut=False, chroma=frame.look.chroma)

    def _open(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason, *, anew: bool) -> Chosen[Payload]:
        """Begin a scene with its first keyframe."""
        self._scene = frame.time
        self._allowed, self._allowed_at = float(self._options.changes_at_once), frame.time
        return self._choose(frame, reason, anew=anew)

    def _within(self, frame: Seen[Payload]) -> scene_pb2.KeyframeReason | None:
        """Why this frame of an open scene is chosen, if it is."""
        assert self._reference is not None
        since = frame.time - self._reference.time
        if since >= self._options.minimum_gap and self._novelty(frame) >= self._options.change and self._allow(frame.time):
            return scene_pb2.KEYFRAME_REASON_CHANGE
        return scene_pb2.KEYFRAME_REASON_INTERVAL if since >= self._options.maximum_gap else None

    def _allow(self, time: MediaTime) -> bool:
        """Whether the budget has room for a change now; if so, it is taken."""
        earned = (time - self._allowed_at).nanos / self._options.change_every.nanos
        allowed = min(self._allowed + earned, float(self._options.changes_at_once))
        if allowed < 1:
            return False
        self._allowed, self._allowed_at = allowed - 1, time
        return True

    def _novelty(self, frame: Seen[Payload]) -> float:
        """How new the picture is against the last keyframe: all of it a little or a part of it much, 0 to 1.

        Unrelated pictures differ by about a quarter in mean luma.
        """
        if self._reference is None:
            return 1.0
        before = self._reference.luma
        return min(1.0, max(4 * float(luma_difference(before, frame.luma)), float(block_difference(before, frame.luma))))

    def _choose(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason, *, anew: bool = False) -> Chosen[Payload]:
        assert self._scene is not None
        motion = sum(self._steps) / len(self._steps) if self._steps else 0.0
        chosen = Chosen(frame.time, reason, self._novelty(frame), motion, self._scene, anew, frame.payload)
        self._reference, self._steps = frame, []
        return chosen
