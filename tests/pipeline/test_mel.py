"""The spectrogram: equal to Whisper's, and equal to itself however it was come by."""

import numpy as np
import pytest
import scipy.fft
from numpy.typing import NDArray

from pipeline.transcribe.mel import HOP_LENGTH, LogMel, mel_filters

pytestmark = pytest.mark.unit

RATE = 16_000
WITHIN = 1e-5
"""Of values that span 2; a tenth of how far Whisper's own implementations differ."""


def voice(seconds: float, seed: int = 0) -> NDArray[np.float32]:
    """Harmonics that come and go, over a little noise."""
    time = np.arange(round(seconds * RATE)) / RATE
    random = np.random.default_rng(seed)
    tones = sum(np.sin(2 * np.pi * 120 * n * time + n) / n for n in range(1, 20))
    return (0.1 * tones * np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1) + 0.003 * random.standard_normal(len(time))).astype(np.float32)


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 3.3333, 9.0])
def test_it_is_whispers(mels: int, seconds: float) -> None:
    extractor = pytest.importorskip("faster_whisper.feature_extractor").FeatureExtractor(feature_size=mels)
    samples, length = voice(seconds), RATE * 10
    padded = np.pad(samples, (0, length - len(samples)))
    found = LogMel(mels).window(samples, length)
    assert found.shape == (mels, length // HOP_LENGTH)
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    np.testing.assert_allclose(found, extractor(padded, padding=0), atol=1e-4)


def test_the_filters_have_unit_area() -> None:
    area = mel_filters(80).sum(axis=0) * RATE / 400
    assert mel_filters(80).shape == (201, 80)
    np.testing.assert_allclose(area[20:], 1, atol=0.1)


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.zeros(RATE, np.float32), np.full(RATE, 1e-9, np.float32)])
def test_silence_is_flat(samples: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(LogMel().window(samples, 2 * RATE), -1.5, atol=1e-6)


def test_a_window_that_grows_is_what_it_would_be_alone() -> None:
    samples, growing = voice(12), LogMel()
    for end in (0.3, 0.31, 1.0, 4.0, 4.0, 3.0, 7.77, 12.0):
        part = samples[: round(end * RATE)]
        alone = LogMel().window(part, RATE * 13)
        np.testing.assert_allclose(growing.window(part, RATE * 13, stream="s", start=5_000), alone, atol=WITHIN)


@pytest.mark.parametrize("step", [HOP_LENGTH * 30, HOP_LENGTH * 30 + 7, 1])
def test_a_window_that_moves_is_what_it_would_be_alone(step: int) -> None:
    samples, moving = voice(14), LogMel()
    for n in range(6):
        part = samples[n * step : n * step + RATE * 4 + n * 1000]
        alone = LogMel().window(part, RATE * 6)
        np.testing.assert_allclose(moving.window(part, RATE * 6, stream="s", start=n * step), alone, atol=WITHIN)


def test_other_audio_under_the_same_numbers_is_heard_afresh() -> None:
    before, after = voice(3, seed=1), voice(3, seed=2)
    after[: RATE * 2] = before[: RATE * 2]
    changed = LogMel()
    changed.window(before, RATE * 4, stream="s")
    np.testing.assert_array_equal(changed.window(after, RATE * 4, stream="s"), LogMel().window(after, RATE * 4))
    np.testing.assert_array_equal(changed.window(before, RATE * 4, stream="t"), LogMel().window(before, RATE * 4))


def test_what_the_caller_does_to_its_samples_later_is_not_believed() -> None:
    samples, changed = voice(3), LogMel()
    changed.window(samples, RATE * 4, stream="s")
    samples *= 0.5
    np.testing.assert_array_equal(changed.window(samples, RATE * 4, stream="s"), LogMel().window(samples, RATE * 4))


def test_only_new_frames_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[int] = []
    transform = scipy.fft.rfft
    monkeypatch.setattr(scipy.fft, "rfft", lambda frames: computed.append(len(frames)) or transform(frames))
    samples, growing = voice(12), LogMel(streams=1)
    growing.window(samples[: RATE * 10], RATE * 13, stream="s")
    growing.window(samples[: RATE * 11], RATE * 13, stream="s")
    growing.window(samples[RATE * 5 :], RATE * 13, stream="s", start=RATE * 5)
    assert sum(computed[1:]) <= 2 * 103 + 2
    growing.window(samples, RATE * 13, stream="other")
    growing.window(samples, RATE * 13, stream="s")
    assert sum(computed[-2:]) > 2 * 1100


def test_a_window_without_silence_behind_is_refused() -> None:
    with pytest.raises(ValueError, match="no silence behind 16000"):
        LogMel().window(voice(1), RATE + 199)
