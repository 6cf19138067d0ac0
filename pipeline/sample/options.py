"""How readily frames are chosen."""

from dataclasses import dataclass

from pipeline.timeline import ZERO, MediaTime

_MAXIMUM_GAP = MediaTime.of(10)
_LONGEST_SCENE = MediaTime.of(30)
_MINIMUM_GAP = MediaTime.of(0.5)


@dataclass(frozen=True, kw_only=True)
class Options:
    """How readily frames are chosen."""

    maximum_gap: MediaTime = _MAXIMUM_GAP
    """A keyframe is never older than this, up to the next frame."""
    longest_scene: MediaTime = _LONGEST_SCENE
    """A longer scene ends at the next frame where decoding can start, and without one after a third of it more."""
    change: float = 0.4
    """Novelty from which a frame is chosen without a cut when the budget has room for one; with a full budget less is enough."""
    minimum_gap: MediaTime = _MINIMUM_GAP
    """Within a scene, a change or a peak of motion is noticed no sooner than this after the last keyframe."""
    keyframes_a_minute: float = 30
    """The most a scene yields in the long run beyond its first. Those that open scenes are never left out."""
    at_once: int = 4
    """How many keyframes a scene in which little happened may yield at once before `keyframes_a_minute` binds."""

    def __post_init__(self) -> None:
        if min(self.maximum_gap, self.longest_scene) <= ZERO or self.minimum_gap < ZERO:
            raise ValueError("the times between keyframes and of scenes must be positive")
        if not 0 < self.change <= 1 or self.at_once < 1 or self.keyframes_a_minute <= 0:
            raise ValueError("a change must have a novelty above 0 and at most 1, and at least one keyframe must be allowed")


DEFAULTS = Options()
