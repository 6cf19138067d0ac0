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

from kernels.frame_difference import Thumbnails
from pipeline.sample import budget, cuts, dissolves
from pipeline.sample.cuts import CutFinder, Payload, Seen
from pipeline.sample.dissolves import DissolveFinder
from pipeline.sample.looks import Look
from pipeline.sample.novelty import novelty
from pipeline.sample.options import Options
from pipeline.sample.within import Pick, SceneWatch
from pipeline.timeline import ZERO, MediaTime

MEMORY = cuts.REACH + cuts.NEAR + cuts.NEAR + dissolves.REACH + budget.OWED
"""How far back the frames lie that decide whether a frame is a cut or the end of a dissolve, and what its scene owes."""


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
        self._due: MediaTime | None = None
        self._watch: SceneWatch[Payload] | None = None
        self._reference: Look | None = None
        self._steps: list[float] = []

    def push(
        self,
        time: MediaTime,
        luma: Thumbnails,
        payload: Payload,
        *,
        chroma: NDArray[np.uint8] | None = None,
        restart: bool = False,
        due: bool = False,
        passed: int = 0,
    ) -> list[Chosen[Payload] | Closed]:
        """Take the next frame and its `uint8` thumbnails; what is decided now, in order of time.

        `chroma` holds Cb and Cr, shape (2, 18, 32); without it cuts are judged by brightness alone. `restart` says that
        decoding can start with this frame, `due` that no later one comes in time for the longest gap. A frame that looks
        like a cut is decided about when two more frames have come, or one after `cuts.NEAR`. So many frames were `passed` over
        before it, because it `may_hide` nothing.
        """
        if due:
            self._due = time
        decisions = []
        for frame, cut in self._cuts.push(time, luma, payload, chroma, passed=passed):
            decisions += self._decide(frame, cut, restart=restart and frame.time == time)
        return decisions

    def may_hide(self, luma: Thumbnails, chroma: NDArray[np.uint8] | None = None) -> bool:
        """Whether the frames between the latest that was taken and this one must be taken as well."""
        return self._cuts.may_hide(luma, chroma)

    def finish(self, end: MediaTime) -> list[Chosen[Payload] | Closed]:
        """No frame follows: the last decisions; the scene that is open closes at `end`."""
        decisions = [decision for frame, cut in self._cuts.flush() for decision in self._decide(frame, cut, restart=False)]
        if self._scene is not None and self._watch is not None:
            decisions += self._chosen(self._watch.finish())
            decisions.append(Closed(self._scene, max(end, self._latest)))
            self._scene = None
        return decisions

    def _decide(self, frame: Seen[Payload], cut: bool, *, restart: bool) -> list[Chosen[Payload] | Closed]:
        self._latest = frame.time
        dissolved = self._dissolves.push(frame.time, frame.look, cut=cut)
        if not cut:
            self._steps.append(frame.step)
        if self._scene is None or self._watch is None:
            return [self._open(frame, scene_pb2.KEYFRAME_REASON_FIRST, anew=True)]
        lasted = frame.time - self._scene
        if cut or dissolved:
            opening = scene_pb2.KEYFRAME_REASON_CUT if cut else scene_pb2.KEYFRAME_REASON_CHANGE
        elif lasted >= self._longest_without_restart or (restart and lasted >= self._options.longest_scene):
            opening = scene_pb2.KEYFRAME_REASON_INTERVAL
        else:
            return self._chosen(self._watch.take(frame, due=frame.time == self._due))
        last = self._chosen(self._watch.leave(frame.time, cut=not dissolved))
        anew = restart and opening == scene_pb2.KEYFRAME_REASON_INTERVAL
        if anew:
            self._forget(frame)
        return [*last, Closed(self._scene, frame.time), self._open(frame, opening, anew=anew)]

    def _forget(self, frame: Seen[Payload]) -> None:
        """Go on as if the stream began with this frame, the latest that was taken."""
        self._cuts, self._dissolves = CutFinder(), DissolveFinder()
        self._cuts.push(frame.time, frame.luma, frame.payload, frame.look.chroma)
        self._dissolves.push(frame.time, frame.look, cut=False)

    def _open(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason, *, anew: bool) -> Chosen[Payload]:
        """Begin a scene with its first keyframe."""
        before, self._scene = None if anew else self._scene, frame.time
        self._watch = SceneWatch(self._options, frame, before=before)
        return self._choose(frame, reason, novelty(self._reference, frame.look), anew=anew)

    def _chosen(self, picks: list[Pick[Payload]]) -> list[Chosen[Payload] | Closed]:
        return [self._choose(each.frame, each.reason, each.score) for each in picks]

    def _choose(self, frame: Seen[Payload], reason: scene_pb2.KeyframeReason, score: float, *, anew: bool = False) -> Chosen[Payload]:
        assert self._scene is not None
        motion = sum(self._steps) / len(self._steps) if self._steps else 0.0
        self._reference, self._steps = frame.look, []
        return Chosen(frame.time, reason, score, motion, self._scene, anew, frame.payload)
