"""The log-mel spectrogram: openai-whisper's, and each path against the reference, whole and in pieces."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels.log_mel import HOP_LENGTH, MIRRORED, RATE, Heard, log_mel, reference, whole_frames

pytestmark = pytest.mark.unit

WITHIN = 5e-5
"""Of values that span 2, in float32, the only dtype there is."""


def voice(samples: int, seed: int = 0) -> NDArray[np.float32]:
    """Harmonics that come and go, over a little noise."""
    time = np.arange(samples) / RATE
    tones = sum(np.sin(2 * np.pi * 120 * n * time + n) / n for n in range(1, 20))
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * tones * np.clip(np.sin(2 * np.pi * 1.5 * time), 0, 1) + 0.003 * noise).astype(np.float32)


@pytest.mark.parametrize("mels", [80, 128])
class TestPaths:
    @pytest.mark.parametrize("samples", [0, 1, 150, 399, 8_000, 53_333])
    def test_the_fast_one_is_the_reference(self, samples: int, mels: int) -> None:
        sound = voice(samples)
        found = log_mel(sound, 60_000, mels=mels).values
        assert found.flags.c_contiguous
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, reference.log_mel(sound, 60_000, mels), rtol=0, atol=WITHIN)

    def test_it_is_openai_whispers(self, mels: int) -> None:
        whisper = pytest.importorskip("whisper")
        sound = voice(47_111)
        theirs = whisper.log_mel_spectrogram(np.pad(sound, (0, 64_000 - len(sound))), n_mels=mels).numpy()
        np.testing.assert_allclose(log_mel(sound, 64_000, mels=mels).values, theirs, rtol=0, atol=1e-4)

    def test_the_interpreted_one_is_the_reference(self, interpreted: Callable[..., Any], mels: int) -> None:
        sound = voice(3_333)
        found = interpreted("log_mel", "log_mel", sound, 5_000, mels=mels).values
        np.testing.assert_allclose(found, reference.log_mel(sound, 5_000, mels), rtol=0, atol=WITHIN)


class TestOnlyWhatIsNew:
    @pytest.mark.parametrize("more", [1, HOP_LENGTH, 4_001])
    def test_a_window_that_grows(self, more: int) -> None:
        sound = voice(20_000 + more)
        before = log_mel(sound[:20_000], 30_000).frames[: whole_frames(20_000)]
        np.testing.assert_array_equal(log_mel(sound, 30_000, heard=Heard(0, before)).values, log_mel(sound, 30_000).values)

    def test_a_window_that_begins_later(self) -> None:
        sound, lost = voice(24_000), 25
        before = log_mel(sound[:20_000], 30_000).frames[: whole_frames(20_000)]
        heard = Heard(MIRRORED, before[lost + MIRRORED :])
        later = sound[lost * HOP_LENGTH :]
        np.testing.assert_allclose(log_mel(later, 30_000, heard=heard).values, log_mel(later, 30_000).values, rtol=0, atol=1e-5)

    def test_what_was_heard_is_believed_and_not_computed(self) -> None:
        sound = voice(20_000)
        made_up = np.full((whole_frames(20_000) - MIRRORED, 80), 3, np.float32)
        assert (log_mel(sound, 30_000, heard=Heard(MIRRORED, made_up)).frames[MIRRORED : MIRRORED + len(made_up)] == 3).all()

    def test_all_of_it_or_nothing(self) -> None:
        sound = voice(20_000)
        whole = log_mel(sound, 30_000)
        for heard in (Heard(0, whole.frames), Heard(0, whole.frames[:0])):
            np.testing.assert_array_equal(log_mel(sound, 30_000, heard=heard).values, whole.values)

    def test_interpreted(self, interpreted: Callable[..., Any]) -> None:
        sound = voice(4_000)
        before = interpreted("log_mel", "log_mel", sound[:3_000], 5_000).frames[: whole_frames(3_000)]
        heard = Heard(MIRRORED, before[5 + MIRRORED :])
        found = interpreted("log_mel", "log_mel", sound[5 * HOP_LENGTH :], 5_000, heard=heard)
        np.testing.assert_allclose(found.values, reference.log_mel(sound[5 * HOP_LENGTH :], 5_000, 80), rtol=0, atol=WITHIN)


def test_it_compiles_for_a_gpu(compiled: Callable[..., list[str]]) -> None:
    (assembler,) = compiled("log_mel", "log_mel", voice(800), 1_600)
    assert "tf32" not in assembler  # products of ten bits would not keep the tolerance


def test_tensors_give_tensors() -> None:
    torch = pytest.importorskip("torch")
    sound = voice(5_000)
    np.testing.assert_array_equal(log_mel(torch.from_numpy(sound), 8_000).values.numpy(), log_mel(sound, 8_000).values)


@pytest.mark.parametrize(
    ("samples", "options", "error", "told"),
    [
        (np.zeros(800), {}, TypeError, "float64"),
        (np.zeros((1, 800), np.float32), {}, ValueError, r"\(1, 800\)"),
        (np.zeros(1_500, np.float32), {}, ValueError, "no silence behind 1500; 200 are needed"),
        (np.zeros(800, np.float32), {"heard": Heard(0, np.zeros((8, 80), np.float32))}, ValueError, "do not fit into 7 frames"),
        (np.zeros(800, np.float32), {"heard": Heard(-1, np.zeros((2, 80), np.float32))}, ValueError, "frames -1 to 1"),
        (np.zeros(800, np.float32), {"heard": Heard(0, np.zeros((2, 128), np.float32))}, ValueError, "of 80 mels"),
    ],
)
def test_what_makes_no_sense_is_refused(samples: np.ndarray, options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        log_mel(samples, 1_600, **options)
