"""Where sound stands on a stream's absolute grid of samples: counting against what the container states."""

RATE = 16_000
"""Samples per second of the sound that is handed out."""

MAX_REVERSAL_S = 1
"""Seconds by which sound may be stated earlier than what was already heard; further back is another clock."""
MAX_JITTER_S = 0.02
"""Seconds by which a stated position may deviate before it is believed; capture devices stamp when they are read."""
MAX_JITTER_AFTER_LOSS_S = 0.002
"""The same where a packet was lost just before, at most: twice the rounding of containers that count in milliseconds."""
PATIENCE = 16
"""How many runs in a row may deviate to one side by more than rounding explains: jitter comes back, an offset does not."""


class SampleGrid:
    """Places runs of samples of one rate on the grid.

    Stated positions jitter: Matroska and FLV round to milliseconds, capture devices stamp late. Following each one would
    tear the sound; never following them would let it drift. So a run joins the one before while it is stated within
    20 ms, or three quarters of its own length if that is less (a lost frame must not be taken for jitter), or within
    rounding. It starts where it is stated if it deviates more, or if it is the sixteenth in a row that deviates to the
    same side by more than rounding.
    """

    def __init__(self, rate: int) -> None:
        """`rate` is the number of samples in a second."""
        self.rate = rate
        self._next: int | None = None
        self._expected = 0
        self._lost = False
        self._exact = False
        self._deviating = 0

    def at(self, rate: int) -> "SampleGrid":
        """A grid of another rate that goes on where this one ends."""
        grid = SampleGrid(rate)
        if self._next is not None:
            grid._next = -(-self._next * rate // self.rate)
            grid._expected = -(-self._expected * rate // self.rate)
        grid._lost, grid._exact = self._lost, self._exact
        return grid

    @property
    def is_new(self) -> bool:
        """Whether nothing has been placed yet."""
        return self._next is None

    @property
    def next(self) -> int:
        """The number of the sample after the last one placed; 0 if none was."""
        return self._next or 0

    def is_reversed(self, stated: int) -> bool:
        """Whether a run stated here would go back by more than a second."""
        return self._next is not None and stated < self._next - MAX_REVERSAL_S * self.rate

    def lose(self) -> None:
        """What came next was lost, or is of another source: the run to come should not be taken to join the one before."""
        self._lost = True

    def restart(self) -> None:
        """The run to come stands exactly where it is stated, as the first one does; what was heard already is still left out."""
        self._exact = True

    def place(self, stated: int | None, length: int, rounding: int = 1) -> tuple[int, int]:
        """Where the run's first used sample stands, and how many of its leading samples overlap and are left out.

        `stated` is the number of its first sample, or `None` where it is only known to follow; `length` is in samples,
        and so is `rounding`, the unit in which the container states times.
        """
        start = self._start(stated, length, rounding)
        end = self._expected = start + length
        if self._next is None:
            self._next = end
            return start, 0
        skip = min(max(self._next - start, 0), length)
        self._next = max(end, self._next)
        return start + skip, skip

    def _start(self, stated: int | None, length: int, rounding: int) -> int:
        lost, self._lost = self._lost, False
        if self._next is None or stated is None:
            return self._expected if stated is None else stated
        if self._exact:
            self._exact, self._deviating = False, 0
            return stated
        # Not from the sample that is wanted next: where runs overlap, each follows the one before it all the same.
        deviation = stated - self._expected
        side = 0 if abs(deviation) <= rounding + 1 else 1 if deviation > 0 else -1
        self._deviating = self._deviating + side if side * self._deviating > 0 else side
        if lost:
            jitter = min(MAX_JITTER_AFTER_LOSS_S * self.rate, 2 * rounding + 1)
        else:
            jitter = max(min(MAX_JITTER_S * self.rate, 0.75 * length), rounding + 1)
        if abs(deviation) <= jitter and abs(self._deviating) < PATIENCE:
            return self._expected
        self._deviating = 0
        return stated
