"""What is written on the screen at one point in time, read anew out of the stream's recording.

Keyframes are chosen where the picture changes, and a clock, a counter or a score is too small a change: what it showed at
12:31 is in none of them.
"""

import asyncio
import io
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

import structlog

from pipeline.caption.text import Line, in_reading_order, merged, trusted
from pipeline.errors import WatchwordError
from pipeline.memory.store import Kind, Moment
from pipeline.qa.question import Question
from pipeline.qa.recordings import Recordings
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from PIL import Image

LONGEST_SIDE = 960
"""More than a keyframe has: who asks for one small line can wait for it to be looked at closely."""
SHOWS_WRITING = re.compile(
    r"\b(?:counter|clock|timer|score|scoreboard|score ?line|display|ticker|subtitles?|banner|read-?out|dial|monitor|"
    r"(?:number|licen[cs]e) ?plate|price tag|letters?|digits?)\b"
)
"""Things that show letters or digits, besides those by which `pipeline.qa.question` knows questions about on-screen text."""

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

    def __init__(self, recordings: Recordings, load: Callable[[], Reads]) -> None:
        """`load` is called at the first picture, in a thread."""
        self._recordings = recordings
        self._load = lru_cache(maxsize=1)(load)
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, stream_id: str, at: MediaTime) -> Moment | None:
        """What is on the screen at that time, as a moment of the picture's own time.

        `None` where the stream's recording is not known or cannot be read, or nothing can be read in it. The words are not
        judged; nothing of the picture is told but them.
        """
        pictures = await self._recordings.pictures(stream_id, [at], longest_side=LONGEST_SIDE)
        if not pictures:
            return None
        try:
            async with self._one_at_a_time:
                lines = await asyncio.to_thread(self._lines, pictures[0].jpeg)
        except WatchwordError as error:
            log.warning("recording.unread", stream=stream_id, cause=str(error))
            return None
        if not lines:
            return None
        found = pictures[0]
        return Moment(stream_id, found.id, Kind.ON_SCREEN_TEXT, 0, " / ".join(lines), found.at, found.at, "")

    def _lines(self, jpeg: bytes) -> tuple[str, ...]:
        from PIL import Image

        with Image.open(io.BytesIO(jpeg)) as picture:
            return merged([in_reading_order(trusted(self._load().read(picture.convert("RGB"))))])
