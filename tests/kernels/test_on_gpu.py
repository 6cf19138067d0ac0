"""The Triton paths on a real GPU against the references: what the interpreter cannot show."""

from typing import Any

import numpy as np
import pytest

from kernels import frame_difference, frame_to_patches, log_mel, rotary_time
from kernels.log_mel import reference as mel_reference
from tests.kernels import test_frame_to_patches as patches
from tests.kernels import test_log_mel as mel
from tests.kernels import test_rotary_time as rotary
from tests.kernels.workers import to_arrays, to_tensors

pytestmark = [
    pytest.mark.gpu,
    # Triton 3.9 announces that a default will change in 3.10; the tolerances allow both.
    pytest.mark.filterwarnings("ignore:TRITON_DEFAULT_FP_FUSION:UserWarning"),
]


@pytest.fixture(autouse=True)
def _gpu() -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("triton")
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")


def on_gpu(value: Any) -> Any:
    return to_tensors(value, "float32", "cuda")


@pytest.mark.parametrize("dtype", patches.TOLERANCE)
@pytest.mark.parametrize(
    ("frames", "height", "width", "size", "options"),
    [*patches.CASES, (5, 720, 1280, (252, 448), {}), (1, 2160, 3840, (252, 448), {"rotation": 90, "size": (448, 252)})],
)
def test_frame_to_patches(frames: int, height: int, width: int, size: tuple[int, int], options: dict[str, Any], dtype: Any) -> None:
    luma, chroma = patches.noise(frames, height, width)
    said = {"size": size} | options
    found = frame_to_patches.frame_to_patches(on_gpu(luma), on_gpu(np.stack(chroma, axis=-1)), dtype=dtype, **said)
    assert found.rows.is_cuda
    wanted = patches.expected(luma, chroma, said.pop("size"), **said)
    np.testing.assert_allclose(to_arrays(found.rows), wanted, rtol=0, atol=patches.TOLERANCE[dtype])


@pytest.mark.parametrize(("height", "width"), [(36, 64), (41, 99), (720, 1280), (2160, 3840)])
def test_measure(height: int, width: int) -> None:
    luma = np.random.default_rng(height).integers(0, 256, (4, height, width), dtype=np.uint8)
    found, wanted = to_arrays(frame_difference.measure(on_gpu(luma))), frame_difference.measure(luma)
    np.testing.assert_array_equal(found.thumbnails, wanted.thumbnails)
    for measured, expected in zip(found.differences, wanted.differences, strict=True):
        np.testing.assert_allclose(measured, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", rotary.TOLERANCE)
@pytest.mark.parametrize("layout", rotary.LAYOUTS)
@pytest.mark.parametrize("length", [1, 37, 4_000])
def test_rotary_time(length: int, layout: Any, dtype: str) -> None:
    queries, keys, positions = rotary.some(length, dtype, heads=28, key_heads=4)
    wanted = rotary.referred(queries, keys, positions, rotary.LAYOUTS[layout], layout)
    there = [values.cuda() for values in (queries, keys, positions)]
    rotary_time.rotary_time(*there, sections=rotary.LAYOUTS[layout], layout=layout)
    for found, turned in zip(there, wanted, strict=False):
        np.testing.assert_allclose(to_arrays(found), to_arrays(turned), rtol=0, atol=rotary.TOLERANCE[dtype])


MEL_WITHIN = 1e-4
"""What the definition asks for; the matrix product loses twice as much as a fast transform."""


@pytest.mark.parametrize("mels", [80, 128])
@pytest.mark.parametrize("samples", [0, 399, 53_333, 240_000])
def test_log_mel(samples: int, mels: int) -> None:
    sound, length = mel.voice(samples), samples + 16_000
    found = log_mel.log_mel(on_gpu(sound), length, mels=mels)
    np.testing.assert_allclose(to_arrays(found.values), mel_reference.log_mel(sound, length, mels), rtol=0, atol=MEL_WITHIN)
    grown = np.concatenate([sound, mel.voice(1_000)])
    heard = log_mel.Heard(0, found.frames[: log_mel.whole_frames(samples)])
    again = log_mel.log_mel(on_gpu(grown), length, mels=mels, heard=heard)
    np.testing.assert_allclose(to_arrays(again.values), mel_reference.log_mel(grown, length, mels), rtol=0, atol=MEL_WITHIN)
