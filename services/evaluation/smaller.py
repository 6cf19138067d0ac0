"""A copy of a recording's pictures in fewer pixels, for how small text may be before it is not read any more."""

from fractions import Fraction
from pathlib import Path

import av

from pipeline.errors import SourceInvalid
from services.evaluation.cleared import digest_of

RATE = 10
"""Frames a second of the copy: text stands longer than that."""


def smaller(path: Path, height: int, folder: Path) -> Path:
    """The copy, `height` pixels high, in `folder`; made where it is not there yet.

    Its name holds what was copied, so that no other recording of the same name is taken for it. Blocks; raises `SourceInvalid` or
    `SourceUnavailable`.
    """
    copy = folder / f"{path.stem}-{digest_of(path)[:16]}-{height}p.mp4"
    if copy.is_file():
        return copy
    half_made = copy.with_suffix(".part.mp4")
    try:
        with av.open(str(path)) as source, av.open(str(half_made), "w") as target:
            video = source.streams.video[0]
            width = max(2, round(video.width * height / video.height / 2) * 2)
            stream = target.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "crf": "18"})
            stream.width, stream.height, stream.pix_fmt = width, height - height % 2, "yuv420p"
            due = Fraction(0)
            for frame in source.decode(video):
                at = Fraction(frame.pts or 0) * video.time_base if video.time_base else due
                if at < due:
                    continue
                due = max(due, at) + Fraction(1, RATE)
                small = frame.reformat(width=stream.width, height=stream.height, format="yuv420p")
                small.pts, small.time_base = round(at * 1000), Fraction(1, 1000)
                target.mux(stream.encode(small))
            target.mux(stream.encode(None))
    except (av.error.FFmpegError, IndexError, OSError) as error:
        half_made.unlink(missing_ok=True)
        raise SourceInvalid(f"{path.name} cannot be made smaller: {error}") from error
    half_made.replace(copy)
    return copy
