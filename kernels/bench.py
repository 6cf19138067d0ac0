"""What each kernel costs beside its reference and beside what one would use instead, in one run on one machine.

    python -m kernels.bench [--only log_mel] [--on gpu] [--rounds 15] [--csv FILE]

All ways of a case take turns, so that whatever else the machine does meets them alike; a figure is the median. On a CPU it is processor
time, on one thread of torch; set OPENBLAS_NUM_THREADS=1 for numpy as well. On a GPU it is time until the device is done. The
right column is how many times the fast path's cost a way has. Alternatives that are not installed are left out.
"""

import argparse
import csv
import importlib.metadata
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

PACKAGES = (
    "numpy",
    "scipy",
    "torch",
    "triton",
    "transformers",
    "openai-whisper",
    "faster-whisper",
    "av",
    "pillow",
    "opencv-python-headless",
)
FAST = "fast path"


@dataclass(frozen=True)
class Case:
    """Ways to do the same, and by how much to divide what a call costs."""

    kernel: str
    title: str
    ways: dict[str, Callable[[], object]]
    unit: str = "call"
    per_call: float = 1
    on_gpu: bool = False


def main() -> None:
    """Print the machine, then a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(KERNELS), help="one kernel")
    parser.add_argument("--on", choices=("all", "cpu", "gpu"), default="all", help="where")
    parser.add_argument("--rounds", type=int, default=15, help="how often each way is measured")
    parser.add_argument("--csv", type=Path, help="a file for the same figures")
    arguments = parser.parse_args()
    told = machine()
    sys.stdout.write("".join(f"{key}: {value}\n" for key, value in told.items()))
    rows = []
    for kernel in [arguments.only] if arguments.only else KERNELS:
        for case in KERNELS[kernel]():
            if arguments.on not in ("all", "gpu" if case.on_gpu else "cpu"):
                continue
            found = measure(case, arguments.rounds)
            sys.stdout.write(f"\n{case.kernel}: {case.title} (ms a {case.unit})\n")
            for way, cost in found.items():
                sys.stdout.write(f"  {way:<58} {cost:10.4f} {cost / found[FAST]:8.2f}\n")
                rows.append({**told, "kernel": case.kernel, "case": case.title, "way": way, "ms": f"{cost:.4f}", "unit": case.unit})
    if arguments.csv:
        with arguments.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


def machine() -> dict[str, str]:
    """What the figures depend on."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [line.split(":", 1)[1].strip() for line in information.read_text().splitlines() if line.startswith("model name")]
        cpu = f"{names[0]}, {len(names)} cores" if names else cpu
    versions = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES if _installed(name)]
    return {"machine": cpu, "gpu": _gpu() or "none", "python": platform.python_version(), "packages": ", ".join(versions)}


def measure(case: Case, rounds: int) -> dict[str, float]:
    """Milliseconds of each way."""
    clock = time.perf_counter if case.on_gpu else time.process_time
    wait: Callable[[], object] = _synchronize if case.on_gpu else lambda: None
    spent: dict[str, list[float]] = {way: [] for way in case.ways}
    repeats = {}
    for way, run in case.ways.items():
        run()
        wait()
        begin = clock()
        run()
        wait()
        # Short ones are repeated: a clock of processor time may tick no oftener than every millisecond.
        repeats[way] = max(1, min(1000, int(0.01 / max(clock() - begin, 1e-6))))
    for _ in range(rounds):
        for way, run in case.ways.items():
            begin = clock()
            for _ in range(repeats[way]):
                run()
            wait()
            spent[way].append((clock() - begin) / repeats[way])
    return {way: statistics.median(each) * 1e3 / case.per_call for way, each in spent.items()}


def of_frame_to_patches() -> Iterator[Case]:
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
        luma, blue, red = _frames(8, height, width)
        nv12 = np.stack([blue, red], axis=-1)
        plan = make_plan(1, height, width, size=size, **options)
        ways: dict[str, Callable[[], object]] = {
            FAST: partial(frame_to_patches, luma[0], (blue[0], red[0]), size=size),
            "reference": partial(reference.frame_to_patches, luma[:1], blue[:1], red[:1], plan),
        }
        if _installed("av"):
            ways |= _through_swscale(luma[0], blue[0], red[0], size, rows_of)
        yield Case("frame_to_patches", f"one frame of {width}x{height} to 448x252", ways, "frame")
        pairs: dict[str, Callable[[], object]] = {
            FAST: partial(frame_to_patches, luma, (blue, red), size=size),
            "fast path, NV12": partial(frame_to_patches, luma, nv12, size=size),
            "fast path, NV12 turned by 90 degrees": partial(frame_to_patches, luma, nv12, size=size[::-1], rotation=90),
        }
        yield Case("frame_to_patches", f"8 frames of {width}x{height} in pairs to 448x252", pairs, "frame", 8)
        if _gpu():
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
    if _installed("transformers") and _installed("torchvision"):
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
    if _installed("torch"):
        import torch
        from torch.nn.functional import interpolate

        torch.set_num_threads(1)
        ways["swscale to RGB, torch's antialiased bicubic, patch_rows"] = lambda: rows_of(
            interpolate(torch.from_numpy(rgb()).permute(2, 0, 1)[None], size, mode="bicubic", antialias=True)[0].permute(1, 2, 0).numpy()
        )
    if _installed("transformers"):
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        processor: Any = Qwen2VLImageProcessorPil()
        limits = {"shortest_edge": 56 * 56, "longest_edge": size[0] * size[1]}
        ways["swscale to RGB, transformers' processor"] = lambda: processor(Image.fromarray(rgb()), size=limits, return_tensors="np")
        ways["swscale to small RGB (bicubic), transformers' processor"] = lambda: processor(
            Image.fromarray(scaled(small, Interpolation.BICUBIC)), do_resize=False, return_tensors="np"
        )
    return ways


def of_frame_difference() -> Iterator[Case]:
    """Of thumbnails, and thumbnails of frames."""
    from kernels.frame_difference import COLUMNS, ROWS, THUMBNAIL, frame_difference, measure, reference, successive_differences

    frames = np.random.default_rng(0).integers(0, 256, (64, *THUMBNAIL), dtype=np.uint8)
    before, after = frames[:2]
    ways: dict[str, Callable[[], object]] = {
        FAST: lambda: frame_difference(before, after),
        "reference": lambda: reference.frame_difference(before, after),
    }
    large = _frames(4, 720, 1280)[0]
    small: dict[str, Callable[[], object]] = {FAST: lambda: measure(large)}
    if _installed("opencv-python-headless"):
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
    if _installed("av"):
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
    if _gpu():
        import torch
        from torch.nn.functional import adaptive_avg_pool2d as pool
        from torch.nn.functional import one_hot

        def by_torch(pictures: Any) -> object:
            apart = (pictures[1:] - pictures[:-1]).abs()
            counts = one_hot((pictures.round().long() >> 3).flatten(1), 32).sum(dim=1)
            blocks = pool(apart, (ROWS, COLUMNS)).flatten(1).amax(dim=1)
            return apart.mean(dim=(1, 2)), blocks, (counts[1:] - counts[:-1]).abs().sum(dim=1)

        there = torch.from_numpy(_frames(16, 720, 1280)[0]).cuda()
        yield Case(
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


def of_rotary_time() -> Iterator[Case]:
    """Prompts and single tokens of a model of 7B: 28 heads, 4 of keys."""
    if not _installed("transformers") or not _installed("torch"):
        return
    import torch
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding, apply_rotary_pos_emb

    from kernels.rotary_time import axes_of, frequencies_of, reference, rotary_time

    torch.set_num_threads(1)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    config: Any = Qwen2_5_VLTextConfig(hidden_size=128 * 28, num_attention_heads=28, rope_parameters=rope)
    sections, axes, frequencies = (16, 24, 24), torch.from_numpy(axes_of((16, 24, 24), "sectioned")), frequencies_of(64, 1e6)
    for device in ("cpu", "cuda") if _gpu() else ("cpu",):
        embedding: Any = Qwen2_5_VLRotaryEmbedding(config).to(device)
        for dtype in (torch.float32, torch.bfloat16):
            for length in (1000, 1):
                queries, keys = (torch.rand(1, length, heads, 128, device=device).transpose(1, 2).to(dtype) for heads in (28, 4))
                positions = torch.rand(3, 1, length, device=device) * 1000
                table = embedding(queries, positions)
                values = (queries, keys)

                def theirs(values: Any = values, positions: Any = positions, embedding: Any = embedding) -> object:
                    return apply_rotary_pos_emb(*values, *embedding(values[0], positions))

                ways: dict[str, Callable[[], object]] = {
                    FAST: partial(rotary_time, *values, positions, sections=sections),
                    "transformers, the tables as well": theirs,
                    "transformers, the tables kept": partial(apply_rotary_pos_emb, *values, *table),
                }
                if device == "cpu":
                    ways["reference"] = partial(reference.rotary_time, *values, positions, axes, frequencies, 1.0)
                yield Case("rotary_time", f"{length} tokens, {str(dtype)[6:]}, {device}", ways, on_gpu=device == "cuda")


def of_log_mel() -> Iterator[Case]:
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
    if _installed("openai-whisper"):
        import torch
        import whisper

        torch.set_num_threads(1)
        ways["openai-whisper, the window"] = lambda: [whisper.log_mel_spectrogram(np.pad(samples, (0, RATE))) for samples in windows()]
        ways["openai-whisper, padded to 30 s as it does"] = lambda: [
            whisper.log_mel_spectrogram(whisper.pad_or_trim(samples)) for samples in windows()
        ]
    if _installed("faster-whisper"):
        from faster_whisper.feature_extractor import FeatureExtractor

        extractor = FeatureExtractor()
        ways["faster-whisper, the window"] = lambda: [extractor(np.pad(samples, (0, RATE)), padding=0) for samples in windows()]
    yield Case("log_mel", "a window of 15 s, 0.7 s further each time", ways, "second of audio", seconds)
    if _gpu():
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
        if _installed("openai-whisper"):
            on_gpu["openai-whisper on the GPU, the window"] = lambda: [
                whisper.log_mel_spectrogram(torch.nn.functional.pad(samples, (0, RATE)), device="cuda") for samples in windows(there)
            ]
        yield Case("log_mel", "the same on the GPU", on_gpu, "second of audio", seconds, on_gpu=True)


KERNELS: dict[str, Callable[[], Iterator[Case]]] = {
    "frame_to_patches": of_frame_to_patches,
    "frame_difference": of_frame_difference,
    "rotary_time": of_rotary_time,
    "log_mel": of_log_mel,
}


def _frames(count: int, height: int, width: int) -> tuple[Any, Any, Any]:
    """Planes of studio range with structure of all sizes."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    waves = 126 + 60 * np.sin(x / 9) * np.cos(y / 13)
    luma = np.clip(waves + random.normal(0, 10, (count, height, width)), 16, 235).astype(np.uint8)
    blue, red = (random.integers(100, 156, (count, height // 2, width // 2), dtype=np.uint8) for _ in range(2))
    return luma, blue, red


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _gpu() -> str | None:
    if not _installed("torch"):
        return None
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _synchronize() -> None:
    import torch

    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
