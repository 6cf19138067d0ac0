"""What `log_mel` is compared with."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from kernels.bench.cases import FAST, Case, gpu, installed


def cases() -> Iterator[Case]:
    """A stream whose window of 15 s is heard again every 0.7 s."""
    from kernels.log_mel import HOP_LENGTH, MIRRORED, N_FFT, RATE, Heard, log_mel, mel_filters, reference, whole_frames

    window, step, count = 15 * RATE, 70 * HOP_LENGTH, 10
    time = np.arange(window + count * step) / RATE
    noise = np.random.default_rng(0).standard_normal(len(time))
    sound = (0.1 * np.sin(2 * np.pi * 220 * time) + 0.01 * noise).astype(np.float32)
    seconds = count * step / RATE

    def windows(of: Any = sound) -> Iterator[Any]:
        return (of[n * step : n * step + window] for n in range(1, count + 1))

    def incremental(of: Any = sound) -> None:
        frames = log_mel(of[:window], window + RATE).frames
        for samples in windows(of):
            known = Heard(MIRRORED, frames[: whole_frames(window)][step // HOP_LENGTH + MIRRORED :])
            frames = log_mel(samples, window + RATE, heard=known).frames

    ways: dict[str, Callable[[], object]] = {
        FAST: incremental,
        "fast path, the whole window each time": lambda: [log_mel(samples, window + RATE) for samples in windows()],
        "reference": lambda: [reference.log_mel(samples, window + RATE, 80) for samples in windows()],
    }
    if installed("openai-whisper"):
        import torch
        import whisper

        torch.set_num_threads(1)
        ways["openai-whisper, the window"] = lambda: [whisper.log_mel_spectrogram(np.pad(samples, (0, RATE))) for samples in windows()]
        ways["openai-whisper, padded to 30 s as it does"] = lambda: [
            whisper.log_mel_spectrogram(whisper.pad_or_trim(samples)) for samples in windows()
        ]
    if installed("faster-whisper"):
        from faster_whisper.feature_extractor import FeatureExtractor

        extractor = FeatureExtractor()
        ways["faster-whisper, the window"] = lambda: [extractor(np.pad(samples, (0, RATE)), padding=0) for samples in windows()]
    yield Case("log_mel", "a window of 15 s, 0.7 s further each time", ways, "second of audio", seconds)
    if gpu():
        import torch

        there = torch.from_numpy(sound).cuda()
        on_gpu: dict[str, Callable[[], object]] = {
            FAST: lambda: [log_mel(samples, window + RATE) for samples in windows(there)],
        }
        filters = torch.from_numpy(mel_filters(80)).float().cuda().T
        window_of = torch.hann_window(N_FFT, device="cuda")

        def by_stft(samples: Any) -> object:
            padded = torch.nn.functional.pad(samples, (0, RATE))
            power = torch.stft(padded, N_FFT, HOP_LENGTH, window=window_of, return_complex=True)[:, :-1].abs() ** 2
            logarithm = (filters @ power).clamp(min=1e-10).log10()
            return (torch.maximum(logarithm, logarithm.max() - 8) + 4) / 4

        on_gpu["torch.stft as openai-whisper uses it, the window"] = lambda: [by_stft(samples) for samples in windows(there)]
        if installed("openai-whisper"):
            on_gpu["openai-whisper on the GPU, the window"] = lambda: [
                whisper.log_mel_spectrogram(torch.nn.functional.pad(samples, (0, RATE)), device="cuda") for samples in windows(there)
            ]
        yield Case("log_mel", "the same on the GPU", on_gpu, "second of audio", seconds, on_gpu=True)
