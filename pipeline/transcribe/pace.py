"""How often a stream is heard when the machine is slow or serves many: partials come seldomer, and no audio is left out."""

from pipeline.transcribe.segmentation import RATE, Rules

SHARE = 0.7
"""Of the time until the next step, at most this much may be spent on hearing."""
SLOWEST = RATE * 2
"""Samples between two steps, at most, as long as partials are said at all."""
DEBT = 2.0
"""Seconds that hearing may be behind before partials are left out, so that finals are in time."""


class Pace:
    """Follows how long hearing takes. It is told of times, and reads no clock."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._latest_s = 0.0
        self._debt_s = 0.0

    def received(self, samples: int) -> None:
        """So much audio came: time to hear it in."""
        self._debt_s = max(0.0, self._debt_s - samples / RATE)

    def heard(self, seconds: float, *, quickly: bool) -> None:
        """A hearing took so long, with all the waiting for others."""
        self._debt_s += seconds
        if quickly:
            self._latest_s = seconds

    @property
    def step(self) -> int | None:
        """Samples after which the next partial is due; `None` while there is no time for one."""
        if self._debt_s > DEBT:
            return None
        return min(max(self._rules.step, round(self._latest_s / SHARE * RATE)), SLOWEST)
