"""Frames to patches: closed forms, Pillow's and transformers' results, and each path against the reference."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD, frame_to_patches, patch_rows, reference, smart_resize
from kernels.frame_to_patches.plan import make_plan, resampling, to_rgb

pytestmark = pytest.mark.unit

Bytes = NDArray[np.uint8]
TOLERANCE = {"float32": 2e-5, "float16": 2e-3, "bfloat16": 2e-2}
CASES = [
    # frames, height, width, size, options
    (3, 37, 61, (28, 28), {}),
    (1, 30, 44, (28, 56), {"rotation": 90, "matrix": "bt601", "full_range": True, "siting": "center"}),
    (2, 33, 21, (32, 32), {"rotation": 180, "patch": 16, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}),
    (3, 81, 65, (16, 32), {"rotation": 270, "patch": 8, "matrix": "bt2020", "siting": "topleft"}),
    (1, 1, 1, (14, 14), {"merge": 1, "temporal": 1}),
    (4, 40, 90, (9, 9), {"merge": 3, "patch": 3, "temporal": 3}),
]
IDS = ["odd", "turned left", "upside down", "turned right", "one pixel", "threes"]


def noise(frames: int, height: int, width: int, seed: int = 0) -> tuple[Bytes, tuple[Bytes, Bytes]]:
    """Any bytes, colours beyond RGB among them."""
    random = np.random.default_rng(seed)
    small = ((height + 1) // 2, (width + 1) // 2)
    blue, red = (random.integers(0, 256, (frames, *small), dtype=np.uint8) for _ in range(2))
    return random.integers(0, 256, (frames, height, width), dtype=np.uint8), (blue, red)


def scene(height: int, width: int) -> tuple[Bytes, tuple[Bytes, Bytes]]:
    """Waves of colours that RGB can hold."""
    y, x = np.mgrid[:height, :width]
    luma = 126 + 50 * np.sin(x / 9) * np.cos(y / 13) + 10 * np.sin(0.7 * x)
    y, x = np.mgrid[: (height + 1) // 2, : (width + 1) // 2]
    planes = (luma, 128 + 15 * np.sin(x / 17 + y / 11), 128 - 15 * np.cos(x / 13 - y / 19))
    rounded = [plane.round().astype(np.uint8) for plane in planes]
    return rounded[0], (rounded[1], rounded[2])


def expected(luma: Bytes, chroma: tuple[Bytes, Bytes], size: tuple[int, int] | None, **options: Any) -> NDArray[np.float32]:
    said = {
        "rotation": 0, "matrix": "bt709", "full_range": False, "siting": "left", "patch": 14, "merge": 2, "temporal": 2,
        "mean": CLIP_MEAN, "std": CLIP_STD, "min_pixels": 56 * 56, "max_pixels": 28 * 28 * 1280,
    } | options  # fmt: skip
    return np.asarray(reference.frame_to_patches(luma, *chroma, make_plan(*luma.shape, size=size, **said)).rows)


@pytest.mark.parametrize(("frames", "height", "width", "size", "options"), CASES, ids=IDS)
class TestPaths:
    @pytest.mark.parametrize("dtype", ["float32", "float16"])
    def test_the_fast_one_is_the_reference(
        self, frames: int, height: int, width: int, size: tuple[int, int], options: dict[str, Any], dtype: Any
    ) -> None:
        luma, chroma = noise(frames, height, width)
        rows, grid = frame_to_patches(luma, chroma, size=size, dtype=dtype, **options)
        patch, temporal = options.get("patch", 14), options.get("temporal", 2)
        assert grid == (-(-frames // temporal), size[0] // patch, size[1] // patch)
        assert rows.shape == (np.prod(grid), 3 * temporal * patch**2)
        assert rows.dtype == dtype
        np.testing.assert_allclose(rows, expected(luma, chroma, size, **options), rtol=0, atol=TOLERANCE[dtype])

    def test_the_interpreted_one_is_the_reference(
        self, interpreted: Callable[..., Any], frames: int, height: int, width: int, size: tuple[int, int], options: dict[str, Any]
    ) -> None:
        luma, chroma = noise(frames, height, width)
        rows, grid = interpreted("frame_to_patches", "frame_to_patches", luma, np.stack(chroma, axis=-1), size=size, **options)
        assert grid == frame_to_patches(luma, chroma, size=size, **options).grid
        np.testing.assert_allclose(rows, expected(luma, chroma, size, **options), rtol=0, atol=TOLERANCE["float32"])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_interpreted_one_rounds_to_sixteen_bits(interpreted: Callable[..., Any], dtype: str) -> None:
    luma, chroma = noise(1, 20, 23)
    rows = interpreted("frame_to_patches", "frame_to_patches", luma, chroma, size=(28, 28), dtype=dtype).rows
    np.testing.assert_allclose(rows, expected(luma, chroma, (28, 28)), rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("rotation", [0, 90])
def test_it_compiles_for_a_gpu(compiled: Callable[..., list[str]], rotation: int) -> None:
    luma, chroma = noise(1, 72, 128)
    (assembler,) = compiled("frame_to_patches", "frame_to_patches", luma, np.stack(chroma, -1), rotation=rotation)
    assert "tf32" not in assembler  # products of ten bits would not keep the tolerance


class TestMeaning:
    def test_one_colour_stays_one_colour(self) -> None:
        """BT.709's own red: Y = 16 + 219 * 0.2126, V = 128 + 112, U by the definition."""
        luma = np.full((1, 50, 70), 63, np.uint8)
        chroma = np.full((1, 25, 35), 102, np.uint8), np.full((1, 25, 35), 240, np.uint8)
        rows = frame_to_patches(luma, chroma, mean=(0, 0, 0), std=(1, 1, 1)).rows.reshape(-1, 3, 2 * 14 * 14)
        assert np.ptp(rows, axis=(0, 2)).max() < 1e-6
        np.testing.assert_allclose(rows[0, :, 0], [1, 0, 0], atol=0.01)

    @pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
    @pytest.mark.parametrize("full_range", [False, True])
    def test_white_grey_and_black_have_no_colour(self, matrix: Any, full_range: bool) -> None:
        for level, shade in ((255 if full_range else 235, 1), (0 if full_range else 16, 0)):
            np.testing.assert_allclose(to_rgb(matrix, full_range=full_range) @ [level, 128, 128, 1], shade, atol=1e-9)

    def test_full_range_bt601_is_jpegs(self) -> None:
        levels = np.random.default_rng(1).integers(60, 190, (8, 8, 3), dtype=np.uint8)
        turned = np.asarray(Image.fromarray(levels, "YCbCr").convert("RGB"))
        found = np.concatenate([levels, np.ones((8, 8, 1))], axis=2) @ to_rgb("bt601", full_range=True).T * 255
        assert np.abs(found.clip(0, 255) - turned).max() < 1.01

    @pytest.mark.parametrize(("length", "out"), [(100, 28), (97, 29), (20, 56), (31, 31), (3, 28), (1, 14)])
    def test_resizing_is_pillows(self, length: int, out: int) -> None:
        samples = np.random.default_rng(length).random((1, length), dtype=np.float32)
        pillow = np.asarray(Image.fromarray(samples).resize((out, 1), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(samples @ resampling(length, out).dense().T, pillow, atol=1e-5)

    def test_chroma_lies_where_it_was_sampled(self) -> None:
        """A ramp stays a ramp, a quarter of a chroma pixel further to the right if its samples lie further to the left."""
        ramp = np.arange(40, dtype=np.float64)
        middle, left = (resampling(40, 80, site=site).dense() @ ramp for site in (0.5, 0.25))
        np.testing.assert_allclose((left - middle)[10:-10], 0.25, atol=1e-5)

    def test_nv12_is_the_same_as_two_planes_and_strides_do_not_matter(self) -> None:
        luma, (blue, red) = noise(2, 45, 67)
        straight = frame_to_patches(luma, (blue, red)).rows
        padded = np.zeros((2, 45, 128), np.uint8)
        padded[:, :, :67] = luma
        np.testing.assert_array_equal(frame_to_patches(padded[:, :, :67], np.stack([blue, red], axis=-1)).rows, straight)
        np.testing.assert_array_equal(frame_to_patches(np.asfortranarray(luma), (blue[:, ::-1][:, ::-1], red)).rows, straight)

    @pytest.mark.parametrize("rotation", [90, 180, 270, -90, 450])
    def test_turning_is_what_turning_the_planes_would_be(self, rotation: int) -> None:
        luma, chroma = noise(2, 46, 68)
        planes = [np.rot90(plane, rotation // 90, axes=(1, 2)) for plane in (luma, *chroma)]
        upright = frame_to_patches(planes[0], (planes[1], planes[2]), size=(56, 84), siting="center")
        turned = frame_to_patches(luma, chroma, size=(56, 84), rotation=rotation, siting="center")
        assert turned.grid == upright.grid
        np.testing.assert_allclose(turned.rows, upright.rows, atol=1e-5)

    def test_the_last_frame_fills_its_patch(self) -> None:
        luma, chroma = noise(3, 28, 28)
        whole = [np.concatenate([plane, plane[-1:]]) for plane in (luma, *chroma)]
        np.testing.assert_array_equal(frame_to_patches(luma, chroma).rows, frame_to_patches(whole[0], (whole[1], whole[2])).rows)

    def test_one_frame_needs_no_axis_of_frames(self) -> None:
        luma, (blue, red) = noise(1, 28, 56)
        np.testing.assert_array_equal(frame_to_patches(luma[0], (blue[0], red[0])).rows, frame_to_patches(luma, (blue, red)).rows)

    def test_torch_tensors_give_torch_tensors(self) -> None:
        torch = pytest.importorskip("torch")
        luma, chroma = noise(2, 30, 50)
        planes = [torch.from_numpy(plane) for plane in (luma, *chroma)]
        rows = frame_to_patches(planes[0], (planes[1], planes[2]), dtype="bfloat16").rows
        assert rows.dtype == torch.bfloat16
        np.testing.assert_allclose(rows.float().numpy(), frame_to_patches(luma, chroma).rows, atol=TOLERANCE["bfloat16"])

    def test_memory_is_bounded_by_a_frame(self) -> None:
        """What comes out, and of one frame less than its planes as floats: however many frames there are."""
        luma, chroma = noise(1, 1080, 1920)
        many = [np.broadcast_to(plane, (12, *plane.shape[1:])) for plane in (luma, *chroma)]
        tracemalloc.start()
        rows = frame_to_patches(many[0], (many[1], many[2]), size=(252, 448)).rows
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak - rows.nbytes < 4 * luma.size


class TestTransformers:
    @pytest.fixture
    def processor(self) -> Any:
        module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
        return module.Qwen2VLImageProcessorPil()

    def test_the_layout_is_theirs_to_the_bit(self, processor: Any) -> None:
        picture = np.random.default_rng(2).random((3, 56, 84), dtype=np.float32)
        theirs, rows, columns = processor.patchify(picture, patch_size=14, merge_size=2, temporal_patch_size=2)
        assert (rows, columns) == (4, 6)
        np.testing.assert_array_equal(patch_rows(picture[None]), theirs)

    def test_a_picture_of_the_right_size_is_theirs(self, processor: Any) -> None:
        levels = np.random.default_rng(3).integers(0, 256, (56, 84, 3), dtype=np.uint8)
        theirs = processor(Image.fromarray(levels), do_resize=False, return_tensors="np")["pixel_values"]
        normal = (levels.transpose(2, 0, 1) / 255 - np.array(CLIP_MEAN)[:, None, None]) / np.array(CLIP_STD)[:, None, None]
        np.testing.assert_allclose(patch_rows(normal[None]), theirs, atol=1e-6)

    @pytest.mark.parametrize(("height", "width"), [(360, 640), (361, 477), (720, 1280), (40, 60)])
    @pytest.mark.parametrize(("matrix", "full_range"), [("bt709", False), ("bt601", True), ("bt2020", False)])
    def test_converting_first_and_rounding_thrice_is_within_a_level_and_a_half(
        self, processor: Any, height: int, width: int, matrix: Any, full_range: bool
    ) -> None:
        luma, chroma = scene(height, width)
        box = (0, 0, width / 2, height / 2)
        large = [np.asarray(Image.fromarray(c.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC, box)) for c in chroma]
        colours = np.stack([luma, *large, np.ones_like(luma)], axis=-1) @ to_rgb(matrix, full_range=full_range).T * 255
        assert colours.min() > 0
        assert colours.max() < 255
        theirs = processor(
            Image.fromarray(colours.round().astype(np.uint8)),
            size={"shortest_edge": 3136, "longest_edge": 28 * 28 * 128},
            return_tensors="np",
        )
        rows, grid = frame_to_patches(luma, chroma, max_pixels=28 * 28 * 128, matrix=matrix, full_range=full_range, siting="center")
        assert grid == tuple(theirs["image_grid_thw"][0])
        apart = np.abs(rows - theirs["pixel_values"]).reshape(len(rows), 3, -1) * np.array(CLIP_STD)[:, None] * 255
        assert apart.max() <= 1.5
        assert apart.mean() <= 0.4

    def test_sizes_are_theirs(self) -> None:
        theirs = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl").smart_resize
        random = np.random.default_rng(4)
        for height, width in random.integers(1, 2500, (500, 2)).tolist():
            if max(height, width) <= 200 * min(height, width):
                assert smart_resize(height, width) == theirs(height, width)
                limits = {"factor": 32, "min_pixels": 4 * 32**2, "max_pixels": 100 * 32**2}
                assert smart_resize(height, width, **limits) == theirs(height, width, **limits)


class TestRefusals:
    @pytest.mark.parametrize(("height", "width", "told"), [(0, 5, "5x0"), (1, 201, "200 times")])
    def test_sizes_that_make_no_sense(self, height: int, width: int, told: str) -> None:
        with pytest.raises(ValueError, match=told):
            smart_resize(height, width)

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"rotation": 45}, "multiple of 90 degrees, not 45"),
            ({"matrix": "rgb"}, "'rgb'"),
            ({"siting": "bottom"}, "'bottom'"),
            ({"size": (28, 30)}, r"whole tokens of 28 pixels, not \(28, 30\)"),
            ({"patch": 0}, "at least 1, not 0"),
            ({"std": (1, 1, 0)}, "above 0"),
            ({"dtype": "int8"}, "'int8'"),
        ],
    )
    def test_an_argument_that_makes_no_sense_is_named(self, options: dict[str, Any], told: str) -> None:
        luma, chroma = noise(1, 28, 28)
        with pytest.raises(ValueError, match=told):
            frame_to_patches(luma, chroma, **options)

    def test_planes_that_do_not_belong_together(self) -> None:
        luma, (blue, red) = noise(1, 28, 28)
        with pytest.raises(ValueError, match=r"has the shape \(1, 14, 14\), not \(1, 13, 14\)"):
            frame_to_patches(luma, (blue, red[:, 1:]))
        with pytest.raises(ValueError, match="without zeros"):
            frame_to_patches(luma[:0], (blue[:0], red[:0]))
        with pytest.raises(ValueError, match=r"height, width, 2\), not \(1, 14, 28\)"):
            frame_to_patches(luma, np.zeros((1, 14, 28), np.uint8))
        with pytest.raises(ValueError, match="pair of planes, not 1"):
            frame_to_patches(luma, (blue,))

    def test_other_kinds_of_arrays(self) -> None:
        luma, (blue, red) = noise(1, 28, 28)
        with pytest.raises(TypeError, match="uint16"):
            frame_to_patches(luma.astype(np.uint16), (blue, red))
        with pytest.raises(TypeError, match="bfloat16"):
            frame_to_patches(luma, (blue, red), dtype="bfloat16")
        torch = pytest.importorskip("torch")
        with pytest.raises(TypeError, match="one device"):
            frame_to_patches(torch.from_numpy(luma), (blue, red))

    def test_pictures_that_are_no_whole_tokens(self) -> None:
        with pytest.raises(ValueError, match="whole tokens of 28"):
            patch_rows(np.zeros((1, 3, 28, 30)))
