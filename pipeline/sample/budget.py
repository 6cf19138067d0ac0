"""How many keyframes may be chosen: a token bucket that each scene begins anew, in debt where scenes follow each other quickly."""

from pipeline.sample.options import Options
from pipeline.timeline import MediaTime

OWED = MediaTime.of(4)
"""A scene that begins later than this after the one before owes nothing, however few keyframes are allowed."""
_SOON = 0.25
_SOON_OF_FIRST = 0.5
"""Keyframes in the budget of a new scene, and of one that nothing was chosen before."""


class Budget:
    """What one scene may spend. A scene's first keyframe is free, but what the time since the last such has not earned is owed."""

    def __init__(self, options: Options, start: MediaTime, *, before: MediaTime | None) -> None:
        """`before` is when the scene before began; `None` where nothing came before."""
        self._earned_a_second = options.keyframes_a_minute / 60
        self._most = float(options.at_once)
        self._at = start
        self._tokens = _SOON_OF_FIRST
        if before is not None:
            took = min((start - before).seconds, OWED.seconds)
            self._tokens = _SOON - max(0.0, 1 - took * max(self._earned_a_second, 1 / OWED.seconds))

    def at(self, time: MediaTime) -> float:
        """Keyframes that may be chosen at a time no earlier than the last payment; below zero what is owed."""
        return min(self._tokens + max(0.0, (time - self._at).seconds) * self._earned_a_second, self._most)

    def pay(self, time: MediaTime, price: float) -> None:
        """A keyframe was chosen."""
        self._tokens, self._at = self.at(time) - price, time
