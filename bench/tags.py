"""What the out-of-the-box captioner costs: each of its parts by keyframe, and whole scenes with and without the detector.

    python -m bench.tags samples/demo.mp4

A keyframe every two seconds of the clip, 448 pixels long, five to a scene; processor time, one thread, the first scene not counted.
"""

import argparse
import asyncio
import io
import statistics
import time
from collections.abc import Callable, Sequence

import av
from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.detector import CenterNet
from pipeline.caption.model import SceneView, Shot
from pipeline.caption.tags import Classifier, Reader, TagsCaptioner
from pipeline.models import locate
from pipeline.timeline import MediaTime

EVERY_S, OF_A_SCENE, LONG_SIDE = 2.0, 5, 448


def keyframes(path: str) -> list[Shot]:
    """Pictures of the clip at even times."""
    shots: list[Shot] = []
    with av.open(path) as clip:
        for frame in clip.decode(video=0):
            if frame.time is not None and frame.time >= EVERY_S * len(shots):
                picture = frame.to_image()
                picture.thumbnail((LONG_SIDE, LONG_SIDE))
                file = io.BytesIO()
                picture.save(file, "JPEG", quality=85)
                reason = KeyframeReason.KEYFRAME_REASON_INTERVAL
                shots.append(Shot(MediaTime.of(frame.time), reason, 0.5, 0.004, file.getvalue()))
    return shots


def took_ms(work: Callable[[], object]) -> float:
    """Processor time of it."""
    begun = time.process_time()
    work()
    return 1000 * (time.process_time() - begun)


def main(path: str) -> None:
    """Measure and print."""
    import torch

    torch.set_num_threads(1)
    (weights,) = locate("efficientnet-lite0").glob("efficientnet-lite0-*.pth")
    classifier, reader, detector = Classifier(weights), Reader(locate("ppocr-v6")), CenterNet(locate("mobilenetv3-centernet"))
    shots = keyframes(path)
    pictures = [Image.open(io.BytesIO(shot.jpeg)).convert("RGB") for shot in shots]
    parts: dict[str, Callable[[Image.Image], object]] = {
        "classify": classifier.look_at,
        "look for text": reader.read,
        "look for things": detector.detect,
    }
    for name, work in parts.items():
        work(pictures[0])
        spent = [took_ms(lambda each=each, work=work: work(each)) for each in pictures]  # type: ignore[misc]
        print(f"{name:16} {statistics.median(spent):6.1f} ms a keyframe (median of {len(spent)})")
    scenes = [shots[at : at + OF_A_SCENE] for at in range(0, len(shots), OF_A_SCENE)]
    for name, captioner in (("without", TagsCaptioner(classifier, reader)), ("with", TagsCaptioner(classifier, reader, detector))):
        spent = [took_ms(lambda scene=scene, by=captioner: asyncio.run(by.describe(_view(scene)))) for scene in scenes][1:]  # type: ignore[misc]
        of_media = sum((scene[-1].time - scene[0].time).seconds + EVERY_S for scene in scenes[1:])
        print(f"{name:8} detector {statistics.mean(spent):6.0f} ms a scene; {1000 * of_media / sum(spent):4.1f} streams a core")


def _view(shots: Sequence[Shot]) -> SceneView:
    return SceneView(shots[0].time, shots[-1].time + MediaTime.of(EVERY_S), tuple(shots))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.tags", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", help="the video whose pictures are described")
    main(parser.parse_args().file)
