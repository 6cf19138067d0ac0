"""The recordings of streams: where a stream's file lies, and pictures out of it, each judged before it is shown."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import structlog

from pipeline.errors import WatchwordError
from pipeline.media.decoders.port import Pixels
from pipeline.media.decoders.recording import pictures_at
from pipeline.memory.store import Picture, SceneStore, Span
from pipeline.timeline import ZERO, MediaTime

SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".m4v", ".ts", ".avi")
"""How the file of a stream may end, the first that is there counts."""
QUALITY = 90
LONGEST_SIDE = 448
"""As keyframes are sent."""

Judge = Callable[[bytes, str], Awaitable[bytes]]
"""What of a stream's picture may be shown, as JPEG; empty where nothing may."""

log = structlog.get_logger(__name__)


class Recordings:
    """Files by stream: those of a folder, named after their stream, and those that were told of.

    One picture is taken out at a time. A recording begins where its stream began, so that a media time is the same in both.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._told: dict[str, Path] = {}
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recordings")

    def add(self, stream_id: str, path: Path) -> None:
        """Say which file a stream was read from."""
        self._told[stream_id] = path

    def path(self, stream_id: str) -> Path | None:
        """The stream's file; `None` where none is known. A stream's id never leads out of the folder."""
        if stream_id in self._told:
            return self._told[stream_id]
        if self._folder is None or Path(stream_id).name != stream_id or stream_id in (".", ".."):
            return None
        return next((path for suffix in SUFFIXES if (path := self._folder / f"{stream_id}{suffix}").is_file()), None)

    async def pictures(self, stream_id: str, times: Sequence[MediaTime], *, longest_side: int = LONGEST_SIDE) -> list[Picture]:
        """What is on the screen at the times, each picture once; nothing where the recording is not known or cannot be read."""
        path = self.path(stream_id)
        if path is None or not times:
            return []
        try:
            take = partial(pictures_at, path, times, longest_side=longest_side)
            found = await asyncio.get_running_loop().run_in_executor(self._worker, take)
        except WatchwordError as error:
            log.warning("recording_unreadable", stream=stream_id, cause=str(error))
            return []
        once = {each.time: each.rgb for each in found}
        return [_picture(stream_id, time, rgb) for time, rgb in sorted(once.items())]


class Looking:
    """A `LookAgain`: the memory's thumbnails of a stretch and, where there is a recording, more pictures between them."""

    def __init__(self, store: SceneStore, recordings: Recordings, judge: Judge) -> None:
        """What `judge` does not pass is not shown; thumbnails were judged before they were kept."""
        self._store, self._recordings, self._judge = store, recordings, judge

    async def __call__(self, stream_id: str, span: Span, most: int) -> Sequence[Picture]:
        """At most so many pictures in order of time, with the times at which they were on the screen."""
        kept = await self._store.pictures(stream_id, span=span, limit=most)
        if len(kept) >= most or self._recordings.path(stream_id) is None:
            return kept
        state = await self._store.stream(stream_id)
        end = state.latest if state is not None else ZERO
        times = between([picture.at for picture in kept], Span(span.start or ZERO, min(span.end or end, end)), most - len(kept))
        seen = {picture.at for picture in kept}
        # What was deleted from the memory is not to come back out of the recording.
        times = await self._store.kept_times(stream_id, times)
        new = [each for each in await self._recordings.pictures(stream_id, times) if each.at not in seen]
        passed = [replace(each, jpeg=await self._judge(each.jpeg, stream_id)) for each in new]
        return sorted([*kept, *(each for each in passed if each.jpeg)], key=lambda picture: picture.at)


def between(known: Sequence[MediaTime], span: Span, most: int) -> list[MediaTime]:
    """So many times in the span, one after another in the middle of the widest gap that the known ones and the span's ends leave."""
    assert span.start is not None
    assert span.end is not None
    start, end = max(span.start, ZERO), span.end
    if end <= start:
        return []
    added: list[MediaTime] = []
    if not known:
        added = [start, end][:most]
    while len(added) < most:
        marks = sorted({start, end, *known, *added})
        width, left = max(((right - left).nanos, left) for left, right in pairwise(marks))
        if width < 2:
            break
        added.append(left + MediaTime(width // 2))
    return sorted(added)


def _picture(stream_id: str, time: MediaTime, rgb: Pixels) -> Picture:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=QUALITY)
    height, width = rgb.shape[:2]
    return Picture(stream_id, f"recorded-{time.millis}", time, "", width, height, file.getvalue())
