"""Finals into subtitles while they come: stretches of media time with their cues, which never change once they are listed.

A stretch is listed when all that was said in it is known and its last cue would not go on, or else when the stream has been heard
`delay` beyond its end. Words that come later than that are not lost: they are shown at the start of the next stretch, and counted.
How words become cues is `pipeline.subtitles`, so a live stream is broken as its file is, wherever what decides it is there in time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.line_breaks import PAUSE, Timed
from pipeline.subtitles import APART, LINGERING, Cue, on_screen, parted, timed
from pipeline.timeline import NANOS, ZERO, MediaTime
from pipeline.transcribe.words import closes_sentence

LENGTH, DELAY = MediaTime(4 * NANOS), MediaTime(6 * NANOS)
FROM_THE_START = MediaTime(60 * NANOS)
"""A stream that is met before this is numbered from its start."""
UNSEEN = MediaTime(NANOS // 4)
"""A word whose place was listed this little ago is not late: nobody sees by how much its cue moves."""
RESTED = MediaTime(NANOS * 3 // 20)
"""Where this much of a final follows its last word it ends in a pause (which gives it 0.2 s), as long as a cue lingers at least."""


@dataclass(frozen=True)
class Rules:
    """How a stream is cut."""

    length: MediaTime = LENGTH
    """Of a stretch; the last one of a stream may be shorter."""
    delay: MediaTime = DELAY
    """How long after a stretch's end words of it are waited for."""
    kept: int = 150
    """How many stretches are listed; as many again are kept."""


RULES = Rules()


@dataclass(frozen=True)
class Stretch:
    """Media time from `start` to `end`, and what stands on the screen then; a cue that goes on is in the next one, too."""

    number: int
    """Counted from media time 0, so that whoever cuts the stream gives it the same one."""
    start: MediaTime
    end: MediaTime
    cues: tuple[Cue, ...]


class LiveSubtitles:
    """One track of one stream."""

    def __init__(self, rules: Rules = RULES) -> None:
        self.ended = False
        """Whether no more come."""
        self.in_time = self.late = 0
        """Words of finals that have come, by whether their stretch had been listed."""
        self._rules = rules
        self._made: deque[Stretch] = deque(maxlen=2 * rules.kept + 1)
        self._listed_from = 0
        """The number of the first stretch that may be listed: since the latest leap they follow one another."""
        self._next: int | None = None
        self._words: list[tuple[str, Timed]] = []
        """What is said and has no cue yet, with its language."""
        self._cues: list[Cue] = []
        """Those that may still be seen in the next stretch."""
        self._free = ZERO
        """When the last cue has left the screen."""
        self._known = ZERO
        """Up to here all that was said has been told."""
        self._heard = ZERO

    @property
    def stretches(self) -> Sequence[Stretch]:
        """Those that are listed, in order."""
        return [each for each in list(self._made)[-self._rules.kept :] if each.number >= self._listed_from]

    def stretch(self, number: int) -> Stretch | None:
        """A stretch that is listed, or was: whoever read the list may ask for it as long again as the list is (RFC 8216, 6.2.2)."""
        return next((each for each in self._made if each.number == number), None)

    def say(self, final: TranscriptSegment) -> None:
        """Take a final, which comes after all that was said before it."""
        if self.ended:
            return
        self._begin(MediaTime.from_proto(final.media_start))
        listed = self._start_of_next()
        for word in timed(final):
            if word.start + UNSEEN < listed:
                self.late += 1
            else:
                self.in_time += 1
            self._words.append((final.language, word))
        self.know(MediaTime.from_proto(final.media_end))

    def know(self, until: MediaTime) -> None:
        """All that was said before this time has been told, or never will be."""
        self._begin(until)
        self._known = max(self._known, until)
        self.hear(until)

    def hear(self, until: MediaTime) -> None:
        """The stream has come this far."""
        self._begin(until)
        self._heard = max(self._heard, until)
        self._skip()
        while not self.ended and self._heard >= self._end_of_next():
            if not self._list_next(is_due=self._heard >= self._end_of_next() + self._rules.delay):
                break

    def end(self, at: MediaTime) -> None:
        """The stream is over: list what is left of it."""
        self.know(at)
        while at >= self._end_of_next():
            self._list_next(is_due=True)
        if self._start_of_next() < at or self._words or not self._made:
            self._list_next(is_due=True, end=max(at, self._start_of_next() + MediaTime(NANOS)))
        self.ended = True

    def _begin(self, at: MediaTime) -> None:
        if self._next is None:
            self._next = 0 if at < FROM_THE_START else at.nanos // self._rules.length.nanos

    def _start_of_next(self) -> MediaTime:
        return MediaTime((self._next or 0) * self._rules.length.nanos)

    def _end_of_next(self) -> MediaTime:
        return self._start_of_next() + self._rules.length

    def _skip(self) -> None:
        """Leave out what would not be kept anyway, where a stream has leapt."""
        oldest = (self._heard - self._rules.delay).nanos // self._rules.length.nanos - self._rules.kept
        if self._next is not None and oldest > self._next:
            self._next = self._listed_from = oldest
            self._words = [(language, word) for language, word in self._words if word.end > self._start_of_next()]

    def _list_next(self, *, is_due: bool, end: MediaTime | None = None) -> bool:
        """List the next stretch, up to `end` if it is the last; if it is not due, only where nothing more can come into it."""
        start, is_last = self._start_of_next(), end is not None
        end = end or self._end_of_next()
        if not is_due and self._known < end:
            return False
        parts = parted(self._words)
        cues = on_screen(parts, free=max(self._free, start), known=self._quiet_until())
        count = len(cues) if is_last else sum(cue.start < end for cue in cues)
        if not is_due and not self._is_closed(parts, count):
            return False
        if count:
            del self._words[: sum(map(len, parts[:count]))]
            self._cues += cues[:count]
            self._free = cues[count - 1].end + APART
        shown = tuple(cue for cue in self._cues if cue.end > start)
        number = start.nanos // self._rules.length.nanos
        self._made.append(Stretch(number, start, end, shown))
        self._cues = [cue for cue in shown if cue.end > end]
        self._next = number + 1
        return True

    def _quiet_until(self) -> MediaTime:
        """Before this nothing is said but what is there."""
        spoken = self._words[-1][1].end if self._words else self._known
        return max(self._known, spoken + LINGERING + APART) if self._known - spoken >= RESTED else self._known

    def _is_closed(self, parts: Sequence[Sequence[Timed]], count: int) -> bool:
        """Whether the last of the first `count` parts would be the same whatever is said next."""
        if count < len(parts) or not count:
            return True
        return self._known - parts[-1][-1].end >= PAUSE or closes_sentence(parts[-1][-1].text)
