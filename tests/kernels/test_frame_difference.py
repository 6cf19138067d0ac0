"""The frame differences against closed forms, over shapes, dtypes and strides."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels.frame_difference import (
    COLUMNS,
    ROWS,
    block_difference,
    frame_difference,
    histogram_distance,
    luma_difference,
    measure,
    reference,
    successive_differences,
)

pytestmark = pytest.mark.unit

TOLERANCE = {"uint8": 1e-6, "uint16": 1e-6, "float32": 1e-6, "float64": 1e-6, "float16": 1e-3}
"""Largest absolute error by dtype; the sums are made in float32."""
WHITE = {"uint8": 255, "uint16": 65_535, "float32": 1, "float64": 1, "float16": 1}
SIZES = [(36, 64), (6, 8), (37, 61), (7, 9), (90, 160)]


def plain(dtype: str, height: int, width: int, value: float) -> np.ndarray:
    """A picture of one brightness, 0 to 1."""
    return np.full((height, width), value * WHITE[dtype]).astype(dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_black_against_white_is_one_in_every_measure_and_the_same_is_zero(dtype: str, height: int, width: int) -> None:
    black, white = plain(dtype, height, width, 0), plain(dtype, height, width, 1)
    assert np.allclose(frame_difference(black, white), 1, atol=TOLERANCE[dtype])
    assert np.allclose(frame_difference(white, white), 0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_one_block_that_turns_white_counts_fully_in_its_block_and_by_its_share_in_the_picture(dtype: str, height: int, width: int) -> None:
    before = plain(dtype, height, width, 0)
    after = before.copy()
    top, bottom = 2 * height // ROWS, 3 * height // ROWS
    left, right = 5 * width // COLUMNS, 6 * width // COLUMNS
    after[top:bottom, left:right] = WHITE[dtype]
    share = (bottom - top) * (right - left) / (height * width)
    assert float(luma_difference(before, after)) == pytest.approx(share, abs=TOLERANCE[dtype])
    assert float(block_difference(before, after)) == pytest.approx(1, abs=TOLERANCE[dtype])
    assert float(histogram_distance(before, after)) == pytest.approx(share, abs=TOLERANCE[dtype])


def test_motion_does_not_change_the_histogram() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (36, 64), dtype=np.uint8)
    moved = np.roll(picture, 9, axis=1)
    assert float(histogram_distance(picture, moved)) == 0
    assert float(luma_difference(picture, moved)) > 0.2


def test_bins_are_eight_grey_levels_wide() -> None:
    grey = np.full((36, 64), 8, np.uint8)
    assert float(histogram_distance(grey, grey + 7)) == 0
    assert float(histogram_distance(grey, grey - 1)) == 1


def test_integers_and_the_same_brightness_as_floats_agree() -> None:
    rng = np.random.default_rng(2)
    eight = rng.integers(0, 256, (2, 36, 64), dtype=np.uint8)
    deep = eight.astype(np.uint16) * 257
    unit = eight.astype(np.float64) / 255
    expected = np.abs(unit[0] - unit[1]).mean()
    for pair in (eight, deep, unit, unit.astype(np.float32)):
        assert float(luma_difference(*pair)) == pytest.approx(expected, abs=1e-6)
    assert np.allclose(frame_difference(*eight), frame_difference(*deep), atol=1e-6)


def test_against_a_second_way_to_reckon_in_float64() -> None:
    rng = np.random.default_rng(3)
    before, after = rng.integers(0, 256, (2, 36, 64)).astype(np.uint8)
    apart = np.abs(before.astype(np.float64) - after) / 255
    counts = [np.bincount(picture.ravel() // 8, minlength=32) / picture.size for picture in (before, after)]
    expected = (apart.mean(), apart.reshape(6, 6, 8, 8).mean(axis=(1, 3)).max(), np.abs(counts[0] - counts[1]).sum() / 2)
    assert np.allclose(frame_difference(before, after), expected, atol=1e-6)


def test_the_order_of_the_two_does_not_matter() -> None:
    before, after = np.random.default_rng(4).integers(0, 256, (2, 36, 64), dtype=np.uint8)
    assert frame_difference(before, after) == frame_difference(after, before)


def test_strides_do_not_matter() -> None:
    rng = np.random.default_rng(5)
    large = rng.integers(0, 256, (2, 72, 192), dtype=np.uint8)
    strided = large[:, ::2, ::3]
    flipped = large[:, ::-2, ::-3]
    for view in (strided, flipped, np.asfortranarray(strided)):
        assert not view.flags["C_CONTIGUOUS"]
        assert frame_difference(view[0], view[1]) == frame_difference(view[0].copy(), view[1].copy())


def test_many_pictures_at_once_are_the_same_as_one_by_one() -> None:
    frames = np.random.default_rng(6).integers(0, 256, (7, 36, 64), dtype=np.uint8)
    batched = successive_differences(frames)
    assert batched.luma.shape == (6,)
    assert all(measure.dtype == np.float32 for measure in batched)
    for index in range(6):
        one = frame_difference(frames[index], frames[index + 1])
        assert np.allclose([measure[index] for measure in batched], one, atol=1e-6)
    against_first = frame_difference(frames[0], frames.reshape(1, 7, 36, 64))
    assert against_first.histogram.shape == (1, 7)
    assert against_first.luma[0, 0] == 0


def test_a_single_picture_has_no_successor() -> None:
    assert successive_differences(np.zeros((1, 36, 64), np.uint8)).luma.shape == (0,)


def test_values_beyond_white_and_black_fall_into_the_outer_bins() -> None:
    beyond = np.full((36, 64), 1.5, np.float32)
    assert float(histogram_distance(beyond, np.ones_like(beyond))) == 0
    assert float(histogram_distance(-beyond, np.zeros_like(beyond))) == 0


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        (np.zeros((36, 64), np.uint8), np.zeros((36, 64), np.float32), TypeError),
        (np.zeros((36, 64), np.int32), np.zeros((36, 64), np.int32), TypeError),
        (np.zeros((36, 64), np.uint8), np.zeros((36, 63), np.uint8), ValueError),
        (np.zeros((5, 64), np.uint8), np.zeros((5, 64), np.uint8), ValueError),
        (np.zeros((0, 64), np.uint8), np.zeros((0, 64), np.uint8), ValueError),
        (np.zeros(64, np.uint8), np.zeros(64, np.uint8), ValueError),
    ],
)
def test_what_cannot_be_compared_is_refused(before: np.ndarray, after: np.ndarray, error: type[Exception]) -> None:
    with pytest.raises(error):
        frame_difference(before, after)


def test_pictures_must_come_as_a_row_in_time() -> None:
    with pytest.raises(ValueError, match="N"):
        successive_differences(np.zeros((36, 64), np.uint8))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_fast_path_of_bytes_is_the_reference(height: int, width: int) -> None:
    frames = np.random.default_rng(height).integers(0, 256, (67, height, width), dtype=np.uint8)
    for found, wanted in zip(successive_differences(frames), reference.successive_differences(frames), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    for name in ("luma_difference", "block_difference", "histogram_distance"):
        pair = frames[0], frames[1:4, None]
        np.testing.assert_allclose(globals()[name](*pair), getattr(reference, name)(*pair), rtol=0, atol=1e-6)


class TestMeasure:
    def test_a_thumbnail_is_the_mean_of_what_lies_under_it_halves_rounded_up(self) -> None:
        luma = np.random.default_rng(7).integers(0, 256, (3, 72, 192), dtype=np.uint8)
        means = luma.reshape(3, 36, 2, 64, 3).mean(axis=(2, 4))
        np.testing.assert_array_equal(measure(luma).thumbnails, np.floor(means + 0.5 + 1e-9))

    def test_a_picture_of_the_thumbnails_size_stays_as_it_is(self) -> None:
        luma = np.random.default_rng(8).integers(0, 256, (2, 36, 64), dtype=np.uint8)
        np.testing.assert_array_equal(measure(luma).thumbnails, luma)

    def test_batches_in_a_row_are_one_batch(self) -> None:
        luma = np.random.default_rng(9).integers(0, 256, (7, 50, 91), dtype=np.uint8)
        whole, first = measure(luma), measure(luma[:3])
        second = measure(luma[3:], first.thumbnails[-1])
        np.testing.assert_array_equal(np.concatenate([first.thumbnails, second.thumbnails]), whole.thumbnails)
        for a, b, both in zip(first.differences, second.differences, whole.differences, strict=True):
            np.testing.assert_allclose(np.concatenate([a, b]), both, atol=1e-6)

    def test_tensors_give_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        luma = np.random.default_rng(10).integers(0, 256, (3, 40, 70), dtype=np.uint8)
        found, wanted = measure(torch.from_numpy(luma)), measure(luma)
        np.testing.assert_array_equal(found.thumbnails.numpy(), wanted.thumbnails)
        np.testing.assert_array_equal(found.differences.block.numpy(), wanted.differences.block)

    @pytest.mark.parametrize(
        ("luma", "options", "error", "told"),
        [
            (np.zeros((1, 72, 128), np.float32), {}, TypeError, "float32"),
            (np.zeros((72, 128), np.uint8), {}, ValueError, "N"),
            (np.zeros((0, 72, 128), np.uint8), {}, ValueError, "N"),
            (np.zeros((1, 30, 128), np.uint8), {}, ValueError, "no larger than the picture"),
            (np.zeros((1, 72, 128), np.uint8), {"size": (5, 8)}, ValueError, "at least"),
            (np.zeros((1, 72, 128), np.uint8), {"before": np.zeros((6, 8), np.uint8)}, ValueError, "thumbnail before"),
        ],
    )
    def test_what_cannot_be_measured_is_refused(self, luma: np.ndarray, options: dict[str, Any], error: type[Exception], told: str) -> None:
        with pytest.raises(error, match=told):
            measure(luma, **options)


class TestOnAGpu:
    @pytest.mark.parametrize(("height", "width", "size"), [(41, 99, (7, 9)), (37, 64, (6, 8)), (9, 11, (9, 11))])
    def test_the_interpreted_one_is_the_reference(
        self, interpreted: Callable[..., Any], height: int, width: int, size: tuple[int, int]
    ) -> None:
        luma = np.random.default_rng(height).integers(0, 256, (3, height, width), dtype=np.uint8)
        found = interpreted("frame_difference", "measure", luma, size=size)
        small = reference.thumbnails(luma, size)
        np.testing.assert_array_equal(found.thumbnails, small)
        for measured, wanted in zip(found.differences, reference.successive_differences(small), strict=True):
            np.testing.assert_allclose(measured, wanted, rtol=0, atol=1e-6)

    def test_leading_axes_broadcast(self, interpreted: Callable[..., Any]) -> None:
        frames = np.random.default_rng(11).integers(0, 256, (3, 7, 9), dtype=np.uint8)
        found = interpreted("frame_difference", "frame_difference", frames[0], frames[None])
        for measured, wanted in zip(found, reference.frame_difference(frames[0], frames[None]), strict=True):
            assert measured.shape == (1, 3)
            np.testing.assert_allclose(measured, wanted, rtol=0, atol=1e-6)

    def test_other_luma_is_refused(self) -> None:
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match="float32"):
            frame_difference(torch.zeros(36, 64), torch.zeros(36, 64))

    def test_it_compiles_for_a_gpu(self, compiled: Callable[..., list[str]]) -> None:
        assert len(compiled("frame_difference", "measure", np.zeros((2, 72, 128), np.uint8))) == 2
