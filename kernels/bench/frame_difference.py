"""What `frame_difference` is compared with."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from kernels.bench.cases import FAST, Case, gpu, installed, planes


def cases() -> Iterator[Case]:
    """Of thumbnails, and thumbnails of frames."""
    from kernels.frame_difference import COLUMNS, ROWS, THUMBNAIL, frame_difference, measure, reference, successive_differences

    frames = np.random.default_rng(0).integers(0, 256, (64, *THUMBNAIL), dtype=np.uint8)
    before, after = frames[:2]
    ways: dict[str, Callable[[], object]] = {
        FAST: lambda: frame_difference(before, after),
        "reference": lambda: reference.frame_difference(before, after),
    }
    large = planes(4, 720, 1280)[0]
    small: dict[str, Callable[[], object]] = {FAST: lambda: measure(large)}
    if installed("opencv-python-headless"):
        import cv2

        cv2.setNumThreads(1)

        def by_opencv(first: Any, second: Any) -> object:
            apart = cv2.absdiff(first, second)
            counts = [cv2.calcHist([each], [0], None, [32], [0, 256]) for each in (first, second)]
            blocks = cv2.resize(apart, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
            return cv2.mean(apart), blocks.max(), cv2.norm(counts[0], counts[1], cv2.NORM_L1)

        ways["OpenCV"] = lambda: by_opencv(before, after)
        small["OpenCV (area), thumbnails only"] = lambda: [
            cv2.resize(each, THUMBNAIL[::-1], interpolation=cv2.INTER_AREA) for each in large
        ]
    if installed("av"):
        import av
        from av.video.reformatter import Interpolation, VideoReformatter

        pictures = [av.VideoFrame.from_ndarray(each, format="gray") for each in large]

        def by_swscale(interpolation: Any, how: Any) -> object:
            size = {"width": THUMBNAIL[1], "height": THUMBNAIL[0]}
            return [how.reformat(each, **size, format="gray", interpolation=interpolation, threads=1).to_ndarray() for each in pictures]

        for name in ("AREA", "FAST_BILINEAR"):
            small[f"swscale ({name.lower()}), thumbnails only"] = partial(by_swscale, Interpolation[name], VideoReformatter())
    yield Case("frame_difference", "a pair of thumbnails", ways, "pair")
    batch: dict[str, Callable[[], object]] = {
        FAST: lambda: successive_differences(frames),
        "reference": lambda: reference.successive_differences(frames),
    }
    if "OpenCV" in ways:
        batch["OpenCV"] = lambda: [by_opencv(*pair) for pair in pairwise(frames)]
    yield Case("frame_difference", "64 thumbnails in a row", batch, "pair", 63)
    yield Case("frame_difference", "4 frames of 1280x720 to thumbnails and differences", small, "frame", 4)
    if gpu():
        yield _on_gpu()


def _on_gpu() -> Case:
    import torch
    from torch.nn.functional import adaptive_avg_pool2d as pool
    from torch.nn.functional import one_hot

    from kernels.frame_difference import COLUMNS, ROWS, THUMBNAIL, measure

    def by_torch(pictures: Any) -> object:
        apart = (pictures[1:] - pictures[:-1]).abs()
        counts = one_hot((pictures.round().long() >> 3).flatten(1), 32).sum(dim=1)
        blocks = pool(apart, (ROWS, COLUMNS)).flatten(1).amax(dim=1)
        return apart.mean(dim=(1, 2)), blocks, (counts[1:] - counts[:-1]).abs().sum(dim=1)

    there = torch.from_numpy(planes(16, 720, 1280)[0]).cuda()
    return Case(
        "frame_difference",
        "16 frames of 1280x720 on the GPU",
        {
            FAST: lambda: measure(there),
            "torch (adaptive_avg_pool2d), thumbnails only": lambda: pool(there.float(), THUMBNAIL),
            "torch, thumbnails and differences": lambda: by_torch(pool(there.float(), THUMBNAIL)),
        },
        "frame",
        16,
        on_gpu=True,
    )
