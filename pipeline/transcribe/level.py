"""What is done to sound before it is listened to: no constant offset, and quiet speech as loud as any other.

Everything here is a function of samples that are near by, so that a stage that starts again later hears the same to the
bit. Two steps, because they need two kinds of nearness:

- `Conditioner` takes away what is constant, on each block of new samples, from what the `RUN_IN` before them holds;
- `gain` looks at a whole stretch that is to be listened to, and says by what it is multiplied. A gain that follows the
  sound as it comes would raise the noise before a phrase and fade its first word in; one for the whole stretch does not.

    conditioner = Conditioner()
    samples = conditioner.push(block.start, block.samples)      # before a block is kept
    if not is_silent(window):                                   # before the detector is asked from a fresh state,
        factor = gain(window)                                   # and the same factor as long as its state goes on
        probabilities = detector(window * factor)
    words = model(raised(passage))                              # before the model is asked

Samples are float32 mono at 16 kHz, shape (n,), where full scale is 1; levels are in dBFS, of which 0 is a constant 1.
"""

from math import log2

import numpy as np
from numpy.typing import NDArray

from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import RATE

BLOCK = RATE // 100
"""Samples over which an offset is averaged, counted from sample 0: 10 ms."""
BLOCKS = 8
"""Blocks before a sample that tell its offset. A moving mean over 80 ms leaves a voice of 85 Hz as it is within 0.5 dB."""
RUN_IN = (BLOCKS + 2) * BLOCK
"""Samples after which what a `Conditioner` gives depends no more on where it began: 100 ms."""

FRAME = RATE // 50
"""Samples of which a level is taken: 20 ms."""
QUIETEST = -70.0
"""dBFS: where no 20 ms are louder, nobody speaks. 16-bit sound cannot carry speech much below, its own noise is at -101."""
TARGET = -26.0
"""dBFS to which the loudest tenth of a quiet stretch is raised: the speech level of ITU-T P.56 that codecs are tested with."""
CEILING = -14.0
"""dBFS that the loudest frame is not raised beyond: a knock in a quiet room stays a knock."""
MOST = 64.0
"""The largest gain, 36 dB: speech at -62 dBFS reaches the target."""


class Conditioner:
    """Takes the constant offset out of one stream's sound, as it comes.

    Of each sample the mean of the 80 ms before its block is subtracted, which moves from one block to the next in a
    straight line: a high-pass filter with its zero at 0 Hz and its edge near 10 Hz. Blocks lie on absolute sample numbers,
    so after `RUN_IN` samples the result is the same to the bit wherever the run began and however it was cut into pushes.
    Until then the mean of all samples so far is subtracted. It looks at no later sample and adds no delay.
    """

    def __init__(self) -> None:
        """Nothing is known of any sample."""
        self.reset()

    def reset(self) -> None:
        """Begin a new run with the next push; for when what was pushed last is taken back."""
        self._next: int | None = None
        self._total, self._count = 0.0, 0
        # NaN stands for what was before the run, and so makes unknown all that depends on it.
        self._means = np.full(BLOCKS + 1, np.nan)
        self._open = np.zeros(0)

    def push(self, start: int, samples: Samples) -> Samples:
        """The samples without their offset, float32, shape (n,), a new array; they may reach beyond 1 by as much as the offset.

        `start` is the absolute number of the first; one that does not follow the sample pushed last begins a new run.
        `samples` are finite.
        """
        if start != self._next:
            self.reset()
            self._open = np.full(start % BLOCK, np.nan)
        self._next = start + len(samples)
        before = len(self._open)
        sound = np.concatenate([self._open, samples], dtype=np.float64)
        offsets = self._offsets(sound)[before:]
        if len(offsets) and np.isnan(offsets[0]):
            offsets = np.where(np.isnan(offsets), self._means_so_far(sound[before:]), offsets)
        self._count += len(samples)
        return (sound[before:] - offsets).astype(np.float32)

    def _offsets(self, sound: NDArray[np.float64]) -> NDArray[np.float64]:
        """The offset at each sample, from the start of a block on; NaN where too few blocks before it are known."""
        whole = len(sound) // BLOCK
        self._open = sound[whole * BLOCK :].copy()
        means = np.concatenate([self._means, sound[: whole * BLOCK].reshape(whole, BLOCK).mean(axis=1)])
        self._means = means[-BLOCKS - 1 :]
        # Added up in a fixed order, so that the last bit does not depend on how many there are.
        moving = sum((means[n : n + whole + 2] for n in range(1, BLOCKS)), start=means[: whole + 2]) / BLOCKS
        steps = np.arange(1, BLOCK + 1) / BLOCK
        return np.asarray((moving[:-1, None] + (moving[1:] - moving[:-1])[:, None] * steps).reshape(-1)[: len(sound)])

    def _means_so_far(self, sound: NDArray[np.float64]) -> NDArray[np.float64]:
        """At each sample the mean of the run up to it."""
        totals = np.cumsum(np.concatenate([[self._total], sound]))[1:]
        self._total = float(totals[-1])
        return totals / np.arange(self._count + 1, self._count + len(sound) + 1)


def frame_levels(samples: Samples) -> Samples:
    """Root mean square of each 20 ms, float32, shape (n // 320,), 0 to 1 and beyond for what is beyond full scale."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return np.asarray(np.sqrt(np.einsum("ij,ij->i", frames, frames) / FRAME), np.float32)


def is_silent(samples: Samples) -> bool:
    """Whether nothing in it is loud enough to be speech: no 20 ms are above `QUIETEST`. So is what is shorter than that.

    Such a stretch need not be shown to a detector or a model. `samples` have no offset.
    """
    return _is_silent(frame_levels(samples))


def gain(samples: Samples) -> float:
    """By what a stretch of sound is to be multiplied before it is listened to: 1 unless it is quiet; a power of 2, up to `MOST`.

    The level that a tenth of its frames (20 ms each) exceed is brought within 3 dB of `TARGET`, or the loudest frame to
    `CEILING` if that is less. Powers of two lose no bit, and do not change with every few samples more. Nothing that is loud
    is made quiet, and what `is_silent` stays as it is. `samples` have no offset.
    """
    levels = frame_levels(samples)
    if _is_silent(levels):
        return 1.0
    rank = len(levels) * 9 // 10
    loud = max(float(np.partition(levels, rank)[rank]), _amplitude(QUIETEST))
    factor = min(_amplitude(TARGET) / loud, _amplitude(CEILING) / float(levels.max()))
    return min(max(2.0 ** round(log2(factor)), 1.0), MOST)


def raised(samples: Samples) -> Samples:
    """The stretch times its `gain`, float32, shape (n,); single samples may reach beyond 1."""
    factor = gain(samples)
    return samples if factor == 1 else (samples * np.float32(factor)).astype(np.float32, copy=False)


def _is_silent(levels: Samples) -> bool:
    return not len(levels) or float(levels.max()) < _amplitude(QUIETEST)


def _amplitude(dbfs: float) -> float:
    return float(10.0 ** (dbfs / 20))
