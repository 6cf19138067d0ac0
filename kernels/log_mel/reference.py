"""The log-mel spectrogram of Whisper, of a whole window at once and in float64: the meaning of the operation."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

RATE = 16_000
N_FFT = 400
HOP_LENGTH = 160
HALF = N_FFT // 2
FLOOR = -10.0
"""log10 of the least power that counts, 1e-10."""
SPAN = 8.0
"""Powers of ten that a spectrogram covers, below its loudest value."""

Floats = NDArray[np.float32]


@cache
def mel_filters(mels: int) -> Floats:
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


def log_mel(samples: Floats, length: int, mels: int) -> Floats:
    """Shape (`mels`, `length` // 160), nothing taken over from before."""
    sound = np.zeros(length, np.float64)
    sound[: len(samples)] = samples
    sound = np.concatenate([sound[HALF:0:-1], sound, sound[-2 : -HALF - 2 : -1]])
    shifted = np.lib.stride_tricks.sliding_window_view(sound, N_FFT)[::HOP_LENGTH][: length // HOP_LENGTH]
    power = np.abs(np.fft.rfft(shifted * np.hanning(N_FFT + 1)[:-1])) ** 2
    logarithm = np.log10(np.maximum(power @ mel_filters(mels), 10.0**FLOOR))
    loud = np.maximum(logarithm, logarithm.max(initial=FLOOR) - SPAN)
    return np.ascontiguousarray(((loud + 4) / 4).T, np.float32)
