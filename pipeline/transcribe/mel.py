"""The log-mel spectrogram that a Whisper encoder hears, made of a stream's new samples only.

`kernels.log_mel` says what it is and reckons it; here is remembered what each stream has heard. A window that has grown at its end,
or lost a whole number of hops at its start, takes the earlier frames over. What has not been heard unchanged is computed: the
answer is that of the direct computation (the tests allow 1e-5, and 1e-4 to other implementations, of values that span 2).
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.log_mel import HOP_LENGTH, MIRRORED, N_FFT, Heard, log_mel, mel_filters, whole_frames
from pipeline.transcribe.audio import Samples

__all__ = ["HOP_LENGTH", "N_FFT", "LogMel", "mel_filters"]

Frames = NDArray[np.float32]


@dataclass(frozen=True)
class _Window:
    """A window of a stream: its samples, and the frames that lie wholly within what was heard."""

    start: int
    samples: Samples
    frames: Frames


class LogMel:
    """Makes spectrograms, and remembers the last window of each of the latest `streams` streams; may be used from any thread.

    A remembered window of 15 s takes 1.4 MB.
    """

    def __init__(self, mels: int = 80, *, streams: int = 64) -> None:
        """`mels` is 80, or 128 for large-v3."""
        self.mels = mels
        self._most = streams
        self._heard: OrderedDict[Hashable, _Window] = OrderedDict()
        self._lock = threading.Lock()

    def window(self, samples: Samples, length: int, *, stream: Hashable = None, start: int = 0) -> Frames:
        """The spectrogram of `samples` with silence behind, float32 of shape (mels, `length` // 160), C-contiguous.

        `samples` is float32 mono at 16 kHz, `length` counts samples. `stream` tells whose audio it is and `start` the absolute
        number of its first sample, so that what overlaps the stream's last window costs nothing; `None` remembers nothing.
        Raises `ValueError` if less than half a frame of silence would follow, which is where the definition mirrors the end.
        """
        values, frames = log_mel(samples, length, mels=self.mels, heard=self._known(samples, stream, start))
        if stream is not None:
            self._remember(stream, _Window(start, samples.copy(), frames[: whole_frames(len(samples))]))
        found: Frames = values
        return found

    def _known(self, samples: Samples, stream: Hashable, start: int) -> Heard | None:
        """Frames that the stream's last window has in common with this one, and the number of the first of them here."""
        with self._lock:
            last = self._heard.get(stream) if stream is not None else None
        if last is None:
            return None
        lost = start - last.start
        both = min(len(last.samples) - lost, len(samples))
        if lost < 0 or lost % HOP_LENGTH or both < N_FFT or not np.array_equal(last.samples[lost : lost + both], samples[:both]):
            return None
        first = MIRRORED if lost else 0
        return Heard(first, last.frames[lost // HOP_LENGTH :][first : whole_frames(both)])

    def _remember(self, stream: Hashable, window: _Window) -> None:
        with self._lock:
            self._heard[stream] = window
            self._heard.move_to_end(stream)
            while len(self._heard) > self._most:
                self._heard.popitem(last=False)
