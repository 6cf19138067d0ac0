"""The log-mel spectrogram that a Whisper encoder hears, made of new samples only."""

from typing import Any, NamedTuple

import numpy as np

from kernels.arrays import is_tensor, on_gpu
from kernels.log_mel.reference import HALF, HOP_LENGTH, N_FFT, RATE, mel_filters

MIRRORED = -(-HALF // HOP_LENGTH)
"""Frames that reach before the first sample: 2."""

__all__ = ["HALF", "HOP_LENGTH", "MIRRORED", "N_FFT", "RATE", "Heard", "Spectrogram", "log_mel", "mel_filters", "whole_frames"]


class Heard(NamedTuple):
    """Frames that an earlier call has computed, and where they belong in the window of this one."""

    first: int
    frames: Any


class Spectrogram(NamedTuple):
    """What the encoder hears, and what a later call can take over."""

    values: Any
    """Shape (mels, `length` // 160)."""
    frames: Any
    """log10 of power, shape (frames with sound, mels), before the window's loudest value had its say."""


def whole_frames(samples: int) -> int:
    """How many of a window's first frames lie within `samples` samples: those that more sound behind leaves as they are."""
    return max(0, (samples - HALF) // HOP_LENGTH + 1)


def log_mel(samples: Any, length: int, *, mels: int = 80, heard: Heard | None = None) -> Spectrogram:
    """The spectrogram of `samples` with silence behind, up to `length` samples.

    `samples` is float32 mono at 16 kHz, shape (n,), a numpy array or a torch tensor; on a GPU a Triton kernel does the work, for
    all frames each time. `mels` is 80, or 128 for large-v3.

    `heard.frames` are rows of an earlier result's `frames`, of the same samples; they are taken for frames `heard.first` to
    `heard.first + len(heard.frames)` and not computed again. Two kinds of rows must not be among them: those from
    `whole_frames` on, which heard silence where there may be sound now; and, where the earlier window began at other samples, the first
    `MIRRORED` frames of either window, which heard its mirrored start.

    The definition is that of openai-whisper (`whisper/audio.py`, `log_mel_spectrogram`; Radford et al. 2022, section 2.2): Hann
    windows of 400 samples every 160, power, a bank of triangular filters on Slaney's mel scale, log10, then all within 8
    of the loudest value, scaled by (x + 4) / 4. A frame is centred on its sample; before the first sample the sound is mirrored. Only
    the last step depends on the whole window. Values span 2; they are within 5e-5 of the reference, within 1e-4 of openai-whisper, and on a
    GPU within 1e-4 of the reference.

    Raises `TypeError` for samples that are not float32, and `ValueError` for another shape, if less than half a frame of silence would
    follow, which is where the definition mirrors the end, or if `heard` does not fit.
    """
    if str(samples.dtype).removeprefix("torch.") != "float32":
        raise TypeError(f"samples are float32, not {samples.dtype}")
    if samples.ndim != 1:
        raise ValueError(f"samples of one channel in a shape (n,) are needed, not {tuple(samples.shape)}")
    if length < len(samples) + HALF:
        raise ValueError(f"a window of {length} samples leaves no silence behind {len(samples)}; {HALF} are needed")
    count = length // HOP_LENGTH
    sounding = min(count, -(-(len(samples) + HALF) // HOP_LENGTH))
    first, end = (heard.first, heard.first + len(heard.frames)) if heard is not None else (0, 0)
    if heard is not None and (first < 0 or end > sounding or tuple(heard.frames.shape[1:]) != (mels,)):
        raise ValueError(f"frames {first} to {end} in a shape {tuple(heard.frames.shape)} do not fit into {sounding} frames of {mels} mels")
    if on_gpu(samples):
        return _on_gpu(samples, count, sounding, mels)
    from kernels.log_mel import cpu

    sound = samples.numpy() if is_tensor(samples) else samples
    frames = np.empty((sounding, mels), np.float32)
    if heard is not None and end > first:
        frames[first:end] = heard.frames
        cpu.fill(frames, sound, 0, first)
        cpu.fill(frames, sound, end, sounding)
    else:
        cpu.fill(frames, sound, 0, sounding)
    values = cpu.scale(frames, count)
    if not is_tensor(samples):
        return Spectrogram(values, frames)
    import torch

    return Spectrogram(torch.from_numpy(values), torch.from_numpy(frames))


def _on_gpu(samples: Any, count: int, sounding: int, mels: int) -> Spectrogram:
    """All of it each time: on an H100 a window of 15 s costs less than to launch what puts old and new frames together."""
    import torch

    from kernels.log_mel import gpu

    frames = torch.empty((sounding, mels), device=samples.device)
    gpu.fill(frames, samples, 0, sounding)
    return Spectrogram(gpu.scale(frames, count), frames)
