"""What `frame_to_patches` is compared with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from kernels.bench.cases import FAST, Case, gpu, installed, planes


def cases() -> Iterator[Case]:
    """One keyframe as a captioner takes it, then frames in pairs."""
    from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD, frame_to_patches, patch_rows, reference
    from kernels.frame_to_patches.plan import make_plan

    size, options = (252, 448), {"min_pixels": 56 * 56, "max_pixels": 252 * 448, "rotation": 0, "matrix": "bt709", "full_range": False}
    options |= {"siting": "left", "patch": 14, "merge": 2, "temporal": 2, "mean": CLIP_MEAN, "std": CLIP_STD}
    scale = (1 / 255 / np.array(CLIP_STD)).astype(np.float32)[:, None, None]
    shift = (-np.array(CLIP_MEAN) / np.array(CLIP_STD)).astype(np.float32)[:, None, None]

    def rows_of(small: Any) -> object:
        normal = np.multiply(small.transpose(2, 0, 1), scale, order="C")
        normal += shift
        return patch_rows(normal[None])

    for height, width in ((720, 1280), (1080, 1920)):
        luma, blue, red = planes(8, height, width)
        nv12 = np.stack([blue, red], axis=-1)
        plan = make_plan(1, height, width, size=size, **options)
        ways: dict[str, Callable[[], object]] = {
            FAST: partial(frame_to_patches, luma[0], (blue[0], red[0]), size=size),
            "reference": partial(reference.frame_to_patches, luma[:1], blue[:1], red[:1], plan),
        }
        if installed("av"):
            ways |= _through_swscale(luma[0], blue[0], red[0], size, rows_of)
        yield Case("frame_to_patches", f"one frame of {width}x{height} to 448x252", ways, "frame")
        pairs: dict[str, Callable[[], object]] = {
            FAST: partial(frame_to_patches, luma, (blue, red), size=size),
            "fast path, NV12": partial(frame_to_patches, luma, nv12, size=size),
            "fast path, NV12 turned by 90 degrees": partial(frame_to_patches, luma, nv12, size=size[::-1], rotation=90),
        }
        yield Case("frame_to_patches", f"8 frames of {width}x{height} in pairs to 448x252", pairs, "frame", 8)
        if gpu():
            import torch

            there = torch.from_numpy(luma).cuda(), torch.from_numpy(nv12).cuda()
            ways = {FAST: partial(frame_to_patches, *there, size=size, dtype="bfloat16")} | _through_torch(*there, size)
            yield Case("frame_to_patches", f"8 frames of {width}x{height} on the GPU", ways, "frame", 8, on_gpu=True)


def _through_torch(luma: Any, chroma: Any, size: tuple[int, int]) -> dict[str, Any]:
    """What people do with NV12 on a GPU: to RGB in torch, then torch's own resizing or transformers' processor."""
    import torch
    from torch.nn.functional import interpolate

    from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD
    from kernels.frame_to_patches.plan import to_rgb

    mix = torch.from_numpy(to_rgb("bt709", full_range=False)).float().cuda()
    mean, std = (torch.tensor(each).cuda()[:, None, None] for each in (CLIP_MEAN, CLIP_STD))

    def rgb() -> Any:
        colour = interpolate(chroma.permute(0, 3, 1, 2).float(), luma.shape[1:], mode="bilinear")
        planes = torch.cat([luma[:, None].float(), colour, torch.ones_like(luma[:, None], dtype=torch.float32)], dim=1)
        return torch.einsum("cp,npyx->ncyx", mix, planes).clamp(0, 1)

    def rows_of(pictures: Any) -> object:
        split = ((pictures - mean) / std).bfloat16()
        split = split.reshape(len(pictures) // 2, 2, 3, size[0] // 28, 2, 14, size[1] // 28, 2, 14)
        return split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8).reshape(-1, 3 * 2 * 14 * 14)

    ways: dict[str, Any] = {
        "torch: RGB, antialiased bicubic, patches": lambda: rows_of(interpolate(rgb(), size, mode="bicubic", antialias=True).clamp(0, 1)),
    }
    if installed("transformers") and installed("torchvision"):
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

        processor: Any = Qwen2VLImageProcessor()
        limits = {"shortest_edge": 56 * 56, "longest_edge": size[0] * size[1]}
        ways["torch: RGB, transformers' processor"] = lambda: processor(
            list((rgb() * 255).byte()), size=limits, device="cuda", return_tensors="pt"
        )
    return ways


def _through_swscale(luma: Any, blue: Any, red: Any, size: tuple[int, int], rows_of: Callable[[Any], object]) -> dict[str, Any]:
    """What people do with a decoded frame, the usual way first, then the best that can be put together from good parts."""
    import av
    from av.video.reformatter import Interpolation, VideoReformatter
    from PIL import Image

    planar = np.concatenate([luma, blue.reshape(-1, luma.shape[1]), red.reshape(-1, luma.shape[1])])
    frame = av.VideoFrame.from_ndarray(planar, format="yuv420p")
    large, small, box = VideoReformatter(), VideoReformatter(), VideoReformatter()

    def scaled(how: VideoReformatter, interpolation: Interpolation) -> Any:
        return how.reformat(frame, width=size[1], height=size[0], format="rgb24", interpolation=interpolation, threads=1).to_ndarray()

    def rgb() -> Any:
        return large.reformat(frame, format="rgb24", threads=1).to_ndarray()

    ways: dict[str, Any] = {
        "swscale to RGB, Pillow, patch_rows": lambda: rows_of(
            np.asarray(Image.fromarray(rgb()).resize(size[::-1], Image.Resampling.BICUBIC))
        ),
        "swscale to small RGB (bicubic), patch_rows": lambda: rows_of(scaled(small, Interpolation.BICUBIC)),
        "swscale to small RGB (area), patch_rows": lambda: rows_of(scaled(box, Interpolation.AREA)),
    }
    if installed("torch"):
        import torch
        from torch.nn.functional import interpolate

        torch.set_num_threads(1)
        ways["swscale to RGB, torch's antialiased bicubic, patch_rows"] = lambda: rows_of(
            interpolate(torch.from_numpy(rgb()).permute(2, 0, 1)[None], size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
        )
    if installed("transformers"):
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        processor: Any = Qwen2VLImageProcessorPil()
        limits = {"shortest_edge": 56 * 56, "longest_edge": size[0] * size[1]}
        ways["swscale to RGB, transformers' processor"] = lambda: processor(Image.fromarray(rgb()), size=limits, return_tensors="np")
        ways["swscale to small RGB (bicubic), transformers' processor"] = lambda: processor(
            Image.fromarray(scaled(small, Interpolation.BICUBIC)), do_resize=False, return_tensors="np"
        )
    return ways
