"""Frames of the log-mel spectrogram in Triton: one program makes a few frames, from samples to the logarithm.

The discrete Fourier transform of 400 samples is a matrix product with the window inside the matrix, and so are the filters; the
spectrum itself is never written down. Window and cosines are the same forwards and backwards, and sines but for their sign, so what
is as far from a frame's middle on either side is added first, and half the products do. Sums are in full float32 ("ieee"): TF32 would
keep 10 bits; and a sum of 32 products is made by itself before it is added to the others, for in one chain the small ones would be lost.
"""

import functools

import numpy as np
import torch
import triton
import triton.language as tl

from kernels.log_mel.reference import FLOOR, HALF, HOP_LENGTH, N_FFT, SPAN, mel_filters

_FRAMES = 16
_STEP = 32
"""Samples and bins taken at a time; the matrices are padded with zeros to multiples of it."""
_PAIRS, _BINS = 224, 224


@triton.jit
def _frames_kernel(
    samples, count, stride, cosines, sines, filters, out, first, end, mels, frame_stride, unit,
    HOP: tl.constexpr, REACH: tl.constexpr, PAIRS: tl.constexpr, BINS: tl.constexpr, MELS: tl.constexpr, FRAMES: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    frame = first + tl.program_id(0) * FRAMES + tl.arange(0, FRAMES)
    middle = frame * HOP
    mel = tl.arange(0, MELS)
    energy = tl.zeros((FRAMES, MELS), tl.float32)
    for low in range(0, BINS, STEP):
        bins = low + tl.arange(0, STEP)
        real = tl.zeros((FRAMES, STEP), tl.float32)
        imaginary = tl.zeros((FRAMES, STEP), tl.float32)
        for start in range(0, PAIRS, STEP):
            pair = start + tl.arange(0, STEP)
            away = REACH - 1 - pair
            # Before the first sample the sound is mirrored, behind the last there is silence.
            place = tl.abs(middle[:, None] - away[None, :])
            before = tl.load(samples + place * stride, mask=place < count, other=0.0)
            place = tl.abs(middle[:, None] + away[None, :])
            after = tl.load(samples + place * stride, mask=place < count, other=0.0)
            matrix = pair[:, None] * BINS + bins[None, :]
            # `unit` is 1, which the compiler does not know: else it would make one chain of all products.
            real += unit * tl.dot(before + after, tl.load(cosines + matrix), input_precision="ieee")
            imaginary += unit * tl.dot(before - after, tl.load(sines + matrix), input_precision="ieee")
        power = real * real + imaginary * imaginary
        energy += tl.dot(power, tl.load(filters + bins[:, None] * MELS + mel[None, :]), input_precision="ieee")
    logarithm = tl.log2(tl.maximum(energy, 1e-10)) * 0.30102999566398120
    places = out + frame[:, None] * frame_stride + mel[None, :]
    tl.store(places, logarithm, mask=(frame < end)[:, None] & (mel < mels)[None, :])


@functools.cache
def _matrices(mels: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    window = np.hanning(N_FFT + 1)[1 : HALF + 1, None]  # the first sample of a frame has no weight
    bins = N_FFT // 2 + 1
    # Whole turns are taken off as integers, so that the angles are exact.
    angles = 2 * np.pi / N_FFT * (np.outer(np.arange(1, HALF + 1), np.arange(bins)) % N_FFT)
    transform = np.zeros((2, _PAIRS, _BINS), np.float32)
    transform[0, :HALF, :bins] = np.cos(angles) * window
    transform[0, HALF - 1] /= 2  # the middle is a pair with itself
    transform[1, :HALF, :bins] = np.sin(angles) * window
    filters = np.zeros((_BINS, triton.next_power_of_2(max(16, mels))), np.float32)
    filters[:bins, :mels] = mel_filters(mels)
    cosines, sines, bank = (torch.from_numpy(each).to(device) for each in (transform[0], transform[1], filters))
    return cosines, sines, bank


def fill(frames: torch.Tensor, samples: torch.Tensor, first: int, end: int) -> None:
    """Compute `frames[first:end]`, log10 of power, of the samples around them."""
    if end <= first:
        return
    mels = frames.shape[1]
    cosines, sines, filters = _matrices(mels, samples.device)
    _frames_kernel[(triton.cdiv(end - first, _FRAMES),)](
        samples, len(samples), samples.stride(0), cosines, sines, filters, frames, first, end, mels, frames.stride(0), 1.0,
        HOP=HOP_LENGTH, REACH=HALF, PAIRS=_PAIRS, BINS=_BINS, MELS=filters.shape[1], FRAMES=_FRAMES, STEP=_STEP,
    )  # fmt: skip


def scale(frames: torch.Tensor, count: int) -> torch.Tensor:
    """The spectrogram, shape (mels, `count`): everything within `SPAN` of the loudest, silence behind."""
    sounding, mels = frames.shape
    quiet = torch.full((), FLOOR, device=frames.device)
    # The loudest value stays on the device: asking for it would wait for the kernel.
    floor = torch.maximum(frames.amax() if sounding else quiet, quiet) - SPAN
    found = torch.maximum(floor, quiet).repeat(mels, count)
    found[:, :sounding] = torch.maximum(frames.T, floor)
    return found.add_(4).div_(4)
