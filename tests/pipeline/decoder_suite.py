"""What the tests of decoders share, with and without a GPU."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from watchword.v1.media_pb2 import MediaChunk

from pipeline.errors import MediaUndecodable, TimeReversed
from pipeline.media.decoders import DecoderFactory, Surface
from pipeline.media.video import DecodedFrame, VideoDecoder
from tests.synthetic import Spec

SHARED = Path(__file__).parents[3] / "shared" / "media"
"""Beside the checkout: real clips and the awkward ones; not part of the repository."""

CLIPS = {
    "b-frames": Spec(audio=None, cuts=(30,)),
    "transport stream": Spec(audio=None, container="ts", cuts=(30,)),
    "hevc": Spec(audio=None, video="libx265", cuts=(30,)),
    "vp9": Spec(audio=None, video="libvpx-vp9", container="webm", cuts=(30,)),
    "av1": Spec(audio=None, video="libsvtav1", cuts=(30,)),
    "uneven times": Spec(audio=None, times=(0, 0.1, 0.5, 0.52, 1.9, 4.0)),
    "odd size": Spec(audio=None, video="libvpx-vp9", container="webm", width=162, height=98),
}


def seen(pieces: Iterable[MediaChunk], open_decoder: DecoderFactory) -> list[DecodedFrame]:
    """The frames of all chunks that can be decoded."""
    decoder = VideoDecoder("s", open_decoder)
    frames: list[DecodedFrame] = []
    for piece in pieces:
        try:
            frames += decoder.decode(piece)
        except (MediaUndecodable, TimeReversed):
            continue
    return frames + decoder.flush()


def luma(surface: Surface) -> NDArray[np.uint8]:
    """The thumbnail that scenes are judged by."""
    return surface.small(64, 36).luma


def close(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> bool:
    """Whether two thumbnails show the same; scalers look at other pixels beside an edge, and decoders round differently."""
    difference = np.abs(found.astype(int) - expected.astype(int))
    return float(difference.mean()) < 6 and float(np.percentile(difference, 75)) <= 4


@cache
def truth(source: Path) -> dict[int, NDArray[np.uint8]]:
    """The thumbnails of a file as FFmpeg decodes it from end to end, by nanoseconds."""
    import av

    from pipeline.sample.pictures import Shrinker

    shrinker = Shrinker()
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        start = (stream.start_time or 0) * stream.time_base
        return {round((frame.pts * frame.time_base - start) * 1_000_000_000): shrinker.luma(frame) for frame in container.decode(stream)}


def shared() -> list[Path | None]:
    """The shared clips; a single `None` where there are none."""
    found = [path for folder in ("video", "edge") for path in sorted((SHARED / folder).glob("*.*")) if path.suffix not in (".json", ".md")]
    return list(found) or [None]
