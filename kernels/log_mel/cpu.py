"""Frames of the log-mel spectrogram on a CPU, those that are asked for and no others, in float32."""

from functools import cache

import numpy as np

from kernels.log_mel.reference import FLOOR, HALF, HOP_LENGTH, N_FFT, SPAN, Floats, mel_filters


@cache
def _hann() -> Floats:
    return np.hanning(N_FFT + 1)[:-1].astype(np.float32)


def fill(frames: Floats, samples: Floats, first: int, end: int) -> None:
    """Compute `frames[first:end]`, log10 of power, of the samples around them."""
    from scipy.fft import rfft  # 1.6 times as fast as numpy 2.4

    if end <= first:
        return
    begin, close = first * HOP_LENGTH - HALF, (end - 1) * HOP_LENGTH + HALF
    around = np.zeros(close - begin, np.float32)
    part = samples[max(0, begin) : max(0, close)]
    around[max(0, -begin) :][: len(part)] = part
    if begin < 0:
        mirror = np.zeros(-begin, np.float32)
        source = samples[1 : 1 - begin]
        mirror[: len(source)] = source
        around[:-begin] = mirror[::-1]
    shifted = np.lib.stride_tricks.sliding_window_view(around, N_FFT)[::HOP_LENGTH]
    spectrum = rfft(shifted * _hann())
    power = spectrum.real**2 + spectrum.imag**2
    np.log10(np.maximum(power @ mel_filters(frames.shape[1]), np.float32(1e-10)), out=frames[first:end])


def scale(frames: Floats, count: int) -> Floats:
    """The spectrogram, shape (mels, `count`), C-contiguous: everything within `SPAN` of the loudest, silence behind."""
    sounding, mels = frames.shape
    floor = max(float(frames.max(initial=FLOOR)), FLOOR) - SPAN
    found = np.full((mels, count), (max(FLOOR, floor) + 4) / 4, np.float32)
    heard = found[:, :sounding]
    np.maximum(frames.T, np.float32(floor), out=heard)
    heard += 4
    heard /= 4
    return found
