"""Mono sound of any rate to 16 kHz at exact positions."""

from math import gcd

import numpy as np
from numpy.typing import NDArray

from pipeline.media.grid import RATE

Samples = NDArray[np.float32]


class Resampler:
    """Brings one gapless run of mono sound to 16 kHz, on the absolute grid.

    A polyphase resampler repeats itself every `rate / gcd(rate, 16000)` input samples. This one always begins on a
    multiple of that, filled up with silence, so that the same input sample always meets the same phase and the results
    do not depend on where the run began, but for the filter's run-in of about a millisecond.
    """

    def __init__(self, start: int, rate: int) -> None:
        """`start` is the absolute number of the first input sample, `rate` the number of them in a second."""
        import av

        self._rate = rate
        self._next = start
        common = gcd(rate, RATE)
        period, self._fill = divmod(start, rate // common)
        self._out = period * (RATE // common)
        self._first = -(-start * RATE // rate)
        self._resampler = None if rate == RATE else av.AudioResampler(format="fltp", layout="mono", rate=RATE)

    def follows(self, start: int, rate: int) -> bool:
        """Whether a run that starts here goes on without a gap."""
        return start == self._next and rate == self._rate

    def push(self, samples: Samples) -> list[tuple[int, Samples]]:
        """Take the next samples: absolute number of the first, and samples at 16 kHz; or nothing yet.

        `samples` are float32, shape (n,), finite, -1 to 1; so is what is handed out.
        """
        self._next += len(samples)
        if self._resampler is None:
            return self._number([samples])
        import av

        if self._fill:
            samples = np.concatenate([np.zeros(self._fill, np.float32), samples])
            self._fill = 0
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None, :]), format="fltp", layout="mono")
        frame.sample_rate = self._rate
        return self._number([part.to_ndarray()[0] for part in self._resampler.resample(frame)])

    def finish(self) -> list[tuple[int, Samples]]:
        """What was held back; nothing may follow."""
        if self._resampler is None:
            return []
        return self._number([part.to_ndarray()[0] for part in self._resampler.resample(None)])

    def _number(self, parts: list[Samples]) -> list[tuple[int, Samples]]:
        numbered = []
        for part in parts:
            # The filter overshoots where sound is clipped.
            part = np.clip(part, -1, 1)
            skip = min(max(self._first - self._out, 0), len(part))
            if skip < len(part):
                numbered.append((self._out + skip, part[skip:]))
            self._out += len(part)
        return numbered
