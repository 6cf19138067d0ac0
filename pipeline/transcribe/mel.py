"""The log-mel spectrogram that a Whisper encoder hears, made of a stream's new samples only.

The definition is that of openai-whisper (`whisper/audio.py`, `log_mel_spectrogram`; Radford et al. 2022, section 2.2): Hann
windows of 400 samples every 160 at 16 kHz, power, a bank of triangular filters on Slaney's mel scale, log10, then all within
8 of the window's loudest value and scaled by (x + 4) / 4. A frame is centred on its sample; before the first sample the sound is
mirrored, behind the last there is silence.

Only the last step depends on the whole window. So a window that has grown at its end, or lost a whole number of hops at its
start, takes the earlier frames over. What has not been heard unchanged is computed: the answer is that of the direct
computation (the tests allow 1e-5, and 1e-4 to other implementations, of values that span 2).
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import RATE

N_FFT = 400
HOP_LENGTH = 160
_HALF = N_FFT // 2
_MIRRORED = -(-_HALF // HOP_LENGTH)
"""Frames that reach before the first sample: 2."""
_SILENT = -10.0
"""log10 of the least power that counts, 1e-10."""
_RANGE = 8.0

Frames = NDArray[np.float32]


@cache
def mel_filters(mels: int) -> NDArray[np.float32]:
    """The filter bank, shape (`N_FFT` // 2 + 1, `mels`), from 0 to 8 kHz.

    Triangles between neighbours of equally spaced mels, each of unit area per Hz, as librosa makes them (`filters.mel`, Slaney's
    scale: linear to 1 kHz at 200/3 Hz a mel, then 27 mels for each factor of 6.4).
    """
    linear, log_step = 200 / 3, np.log(6.4) / 27
    top = 1000 / linear + np.log(RATE / 2 / 1000) / log_step
    points = np.linspace(0, top, mels + 2)
    hertz = np.where(points < 15, points * linear, 1000 * np.exp(log_step * (points - 15)))
    bins = np.fft.rfftfreq(N_FFT, 1 / RATE)[:, None]
    rising = (bins - hertz[:-2]) / np.diff(hertz)[:-1]
    falling = (hertz[2:] - bins) / np.diff(hertz)[1:]
    weights = np.maximum(0, np.minimum(rising, falling)) * 2 / (hertz[2:] - hertz[:-2])
    return np.ascontiguousarray(weights, np.float32)


@dataclass(frozen=True)
class _Heard:
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
        from scipy.fft import rfft  # seven times as fast as numpy's

        self.mels = mels
        self._transform: Callable[[Frames], NDArray[np.complex64]] = rfft
        self._filters = mel_filters(mels)
        self._hann = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        self._most = streams
        self._heard: OrderedDict[Hashable, _Heard] = OrderedDict()
        self._lock = threading.Lock()

    def window(self, samples: Samples, length: int, *, stream: Hashable = None, start: int = 0) -> Frames:
        """The spectrogram of `samples` with silence behind, float32 of shape (mels, `length` // 160), C-contiguous.

        `samples` is float32 mono at 16 kHz, `length` counts samples. `stream` tells whose audio it is and `start` the absolute
        number of its first sample, so that what overlaps the stream's last window costs nothing; `None` remembers nothing.
        Raises `ValueError` if less than half a frame of silence would follow, which is where the definition mirrors the end.
        """
        if length < len(samples) + _HALF:
            raise ValueError(f"a window of {length} samples leaves no silence behind {len(samples)}; {_HALF} are needed")
        count = length // HOP_LENGTH
        sounding = min(count, -(-(len(samples) + _HALF) // HOP_LENGTH))
        frames = np.empty((sounding, self.mels), np.float32)
        known, first = self._known(samples, stream, start)
        frames[first : first + len(known)] = known
        self._fill(frames, samples, 0, first if len(known) else 0)
        self._fill(frames, samples, first + len(known) if len(known) else 0, sounding)
        if stream is not None:
            whole = max(0, (len(samples) - _HALF) // HOP_LENGTH + 1)
            self._remember(stream, _Heard(start, samples.copy(), frames[:whole]))
        floor = max(float(frames.max(initial=_SILENT)), _SILENT) - _RANGE
        found = np.full((self.mels, count), (max(_SILENT, floor) + 4) / 4, np.float32)
        np.maximum(frames.T, np.float32(floor), out=found[:, :sounding])
        found[:, :sounding] += 4
        found[:, :sounding] /= 4
        return found

    def _known(self, samples: Samples, stream: Hashable, start: int) -> tuple[Frames, int]:
        """Frames that the stream's last window has in common with this one, and the number of the first of them here."""
        nothing = np.empty((0, self.mels), np.float32), 0
        with self._lock:
            heard = self._heard.get(stream) if stream is not None else None
        if heard is None:
            return nothing
        lost = start - heard.start
        both = min(len(heard.samples) - lost, len(samples))
        if lost < 0 or lost % HOP_LENGTH or both < N_FFT or not np.array_equal(heard.samples[lost : lost + both], samples[:both]):
            return nothing
        first = _MIRRORED if lost else 0
        end = (both - _HALF) // HOP_LENGTH + 1
        return heard.frames[lost // HOP_LENGTH :][first:end], first

    def _remember(self, stream: Hashable, heard: _Heard) -> None:
        with self._lock:
            self._heard[stream] = heard
            self._heard.move_to_end(stream)
            while len(self._heard) > self._most:
                self._heard.popitem(last=False)

    def _fill(self, frames: Frames, samples: Samples, first: int, end: int) -> None:
        """Compute `frames[first:end]`, log10 of power, of the samples around them."""
        if end <= first:
            return
        begin, close = first * HOP_LENGTH - _HALF, (end - 1) * HOP_LENGTH + _HALF
        around = np.zeros(close - begin, np.float32)
        part = samples[max(0, begin) : max(0, close)]
        around[max(0, -begin) :][: len(part)] = part
        if begin < 0:
            mirror = np.zeros(-begin, np.float32)
            source = samples[1 : 1 - begin]
            mirror[: len(source)] = source
            around[:-begin] = mirror[::-1]
        shifted = np.lib.stride_tricks.sliding_window_view(around, N_FFT)[::HOP_LENGTH]
        spectrum = self._transform(shifted * self._hann)
        power = spectrum.real**2 + spectrum.imag**2
        np.log10(np.maximum(power @ self._filters, np.float32(1e-10)), out=frames[first:end])
