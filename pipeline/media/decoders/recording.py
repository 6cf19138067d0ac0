"""Pictures of a recording at given times, wherever they lie in it: to look again at 12:31.

decord2 (or decord, which has the same name) keeps an index of frames and serves many times of one file quickly; where it
is not installed, or does not take the file, PyAV seeks to the keyframe before and decodes on from there. Either gives the
picture that is on the screen at that time: the last that begins no later, turned and stretched as the file says.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.errors import SourceInvalid, SourceUnavailable, TrackMissing
from pipeline.media.decoders.port import Pixels
from pipeline.media.shape import picture_size, turned
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Found:
    """One picture of a recording."""

    time: MediaTime
    """When it begins to be shown, from the start of the pictures."""
    rgb: Pixels
    """`uint8`, shape (height, width, 3), no side longer than asked for; upright and with square pixels, as it is meant to be seen."""


Reader = Callable[[Path, Sequence[MediaTime], int], list[Found]]


def pictures_at(path: Path, times: Sequence[MediaTime], *, longest_side: int = 448, reader: Reader | None = None) -> list[Found]:
    """The picture on the screen at each of the times, in their order; before the first it is the first, after the last the last.

    Blocks. Raises `SourceUnavailable` where there is no such file, `SourceInvalid` where it cannot be read, `TrackMissing`
    where it has no pictures.
    """
    if not path.is_file():
        raise SourceUnavailable(f"{path.name} does not exist")
    if not times:
        return []
    if reader is not None:
        return reader(path, times, longest_side)
    try:
        return by_decord(path, times, longest_side)
    except (ImportError, SourceInvalid):
        return by_seeking(path, times, longest_side)


def by_decord(path: Path, times: Sequence[MediaTime], longest_side: int) -> list[Found]:
    """With decord2 or decord; raises `ImportError` where neither is here, `SourceInvalid` where it does not read the file."""
    import decord

    aspect, rotation = _meant(path)
    try:
        reader: Any = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1)
        # It turns pictures itself, before it scales them, but takes their pixels for square.
        height, width = reader[0].shape[:2]
        upright = 1 / aspect if rotation % 180 else aspect
        small = picture_size(width, height, upright, longest_side)
        if small != (width, height):
            reader = decord.VideoReader(str(path), ctx=decord.cpu(0), num_threads=1, width=small[0], height=small[1])
        starts = np.atleast_2d(np.asarray(reader.get_frame_timestamp(range(len(reader)))))[:, 0]
        origin = float(starts[0])
        wanted = [max(bisect.bisect_right(starts, origin + time.seconds + 1e-6) - 1, 0) for time in times]
        pixels = _numpy(reader.get_batch(sorted(set(wanted))))
    except (decord.DECORDError, RuntimeError, IndexError, ValueError) as error:
        raise SourceInvalid(f"{path.name}: decord does not read it: {str(error).splitlines()[0] if str(error) else error!r}") from error
    at = {index: number for number, index in enumerate(sorted(set(wanted)))}
    return [Found(MediaTime.of(float(starts[index]) - origin), pixels[at[index]]) for index in wanted]


def by_seeking(path: Path, times: Sequence[MediaTime], longest_side: int) -> list[Found]:
    """With PyAV: for each time from the keyframe before it on, or from where the last one was found if that is nearer."""
    import av

    from pipeline.media.decoders.cpu import Scaler
    from pipeline.media.tracks import video_stream

    scaler = Scaler()
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            stream = video_stream(container)
            if stream is None or stream.time_base is None:
                raise TrackMissing(f"{path.name} has no moving pictures")
            stream.thread_type = "NONE"
            unit, origin = stream.time_base, stream.start_time or 0
            found: dict[int, Found] = {}
            for index in sorted(range(len(times)), key=lambda index: times[index]):
                pts = origin + round(max(times[index].nanos, 0) / 1_000_000_000 / unit)
                container.seek(pts, stream=stream, backward=True)
                shown = _on_screen(container.decode(stream), pts)
                if shown is None or shown.pts is None or shown.pts > pts:
                    # Without an index FFmpeg may land behind the keyframe that is needed.
                    shown = _from_the_start(path, pts)
                if shown is None:
                    raise SourceInvalid(f"{path.name}: no picture can be decoded at {times[index].seconds:.3f} s")
                aspect = stream.codec_context.sample_aspect_ratio or Fraction(1)
                rgb = scaler.rgb(shown, *picture_size(shown.width, shown.height, aspect, longest_side))
                found[index] = Found(MediaTime.from_pts((shown.pts or 0) - origin, unit), turned(rgb, shown.rotation))
    except av.FFmpegError as error:
        raise SourceInvalid(f"{path.name} cannot be read: {error}") from error
    return [found[index] for index in range(len(times))]


def _from_the_start(path: Path, pts: int) -> "VideoFrame | None":
    import av

    from pipeline.media.tracks import video_stream

    with av.open(f"file:{path}", metadata_errors="replace") as container:
        stream = video_stream(container)
        return None if stream is None else _on_screen(container.decode(stream), pts)


def _on_screen(frames: "Iterator[VideoFrame]", pts: int) -> "VideoFrame | None":
    """The last of the frames that begins no later than `pts`, else the first."""
    shown = None
    for frame in frames:
        if frame.pts is None:
            continue
        if shown is not None and frame.pts > pts:
            break
        shown = frame
    return shown


def _meant(path: Path) -> tuple[Fraction, int]:
    """Width of a pixel over its height, and the degrees counter-clockwise by which pictures are to be turned."""
    import av

    from pipeline.media.tracks import video_stream

    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            stream = video_stream(container)
            first = None if stream is None else next(iter(container.decode(stream)), None)
            if stream is None or first is None:
                raise SourceInvalid(f"{path.name} has no picture that can be decoded")
            return stream.codec_context.sample_aspect_ratio or Fraction(1), first.rotation
    except av.FFmpegError as error:
        raise SourceInvalid(f"{path.name} cannot be read: {error}") from error


def _numpy(batch: Any) -> Pixels:
    """What decord gives, whichever bridge is set."""
    return np.asarray(batch.asnumpy() if hasattr(batch, "asnumpy") else batch)
