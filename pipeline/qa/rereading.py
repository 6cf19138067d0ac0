"""What is written on the screen at one point in time, read anew out of the stream's recording.

Keyframes are chosen where the picture changes, and a clock, a counter or a score is too small a change: what it showed at
12:31 is in none of them.
"""

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import structlog

from pipeline.caption.text import Line, in_reading_order, merged, trusted
from pipeline.errors import WatchwordError
from pipeline.memory.store import Kind, Moment, SceneStore
from pipeline.qa.question import Question
from pipeline.qa.recordings import Judge, Recordings
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 960
"""More than a keyframe has: who asks for one small line can wait for it to be looked at closely."""
WITHIN_S = 10.0
"""So long a question waits for a picture to be taken out, judged and read."""
_WRITTEN = r"scoreboard|display|ticker|subtitles?|banner|read-?out|(?:number|licen[cs]e) ?plate|price tag"
_SHOWS = rf"{_WRITTEN}|counter|clock|timer|score|dial|monitor|screen|meter|gauge"
SHOWS_WRITING = re.compile(
    rf"\b(?:do|does|did) (?:the|a|an|this|that|its) (?:\w+ ){{0,2}}(?:{_SHOWS}) (?:shows?|says?|reads?|displays?|gives?|tells?|stands?)\b|"
    rf"\b(?:on|in|by) (?:the|a|an|this|that) (?:\w+ ){{0,2}}(?:{_WRITTEN})\b|"
    rf"\bwhat(?:'s| is| was) the (?:score|{_WRITTEN})\b"
)
"""Things that show letters or digits, where they do: what lies on a counter is not written there.

Beside the words by which `pipeline.qa.question` knows questions about on-screen text.
"""

log = structlog.get_logger(__name__)


class Reads(Protocol):
    """Finds lines of text, such as `pipeline.caption.tags.Reader`."""

    def read(self, picture: "Image.Image") -> Sequence[Line]:
        """All lines that are found in an RGB picture, sure or not, in no order."""
        ...


def asks_for_writing(question: Question) -> bool:
    """Whether what the question asks for is written in the picture."""
    return Kind.ON_SCREEN_TEXT in question.kinds or SHOWS_WRITING.search(question.text.lower()) is not None


class Rereading:
    """Reads single pictures of recordings, one at a time."""

    def __init__(self, store: SceneStore, recordings: Recordings, judge: Judge, load: Callable[[], Reads]) -> None:
        """`load` is called at the first picture, in the thread that reads; of a picture only what `judge` passes is read."""
        self._store, self._recordings, self._judge = store, recordings, judge
        self._load = lru_cache(maxsize=1)(load)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="rereading")

    async def __call__(self, stream_id: str, at: MediaTime) -> Moment | None:
        """What is on the screen at that time, as a moment of the picture's own time.

        `None` where the stream's recording is not known, cannot be read or not soon enough, where the memory was told to forget
        that time, where the picture does not pass, or nothing is written there. The words are not judged.
        """
        if self._recordings.path(stream_id) is None or not await self._store.kept_times(stream_id, [at]):
            return None
        try:
            async with asyncio.timeout(WITHIN_S):
                return await self._read(stream_id, at)
        except (WatchwordError, TimeoutError) as error:
            log.warning("recording_unread", stream=stream_id, cause=str(error) or f"not within {WITHIN_S:g} s")
            return None

    async def close(self) -> None:
        """Let go of the reader; what is being read is finished."""
        self._worker.shutdown()

    async def _read(self, stream_id: str, at: MediaTime) -> Moment | None:
        for found in await self._recordings.pictures(stream_id, [at], longest_side=LONGEST_SIDE):
            passed = await self._judge(found.jpeg, stream_id)
            lines = await asyncio.get_running_loop().run_in_executor(self._worker, self._lines, passed) if passed else ()
            if lines:
                return Moment(stream_id, found.id, Kind.ON_SCREEN_TEXT, 0, " / ".join(lines), found.at, found.at, "")
        return None

    def _lines(self, jpeg: bytes) -> tuple[str, ...]:
        from PIL import Image

        with Image.open(io.BytesIO(jpeg)) as picture:
            return merged([in_reading_order(trusted(self._load().read(picture.convert("RGB"))))])
