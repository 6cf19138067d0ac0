"""From which item a stage must read again to hear certain audio exactly as it heard it.

A decoder that starts in the middle of a stream hears its first moment wrongly, so a stage that starts there leaves out the
chunks of a run-up. It can start without one at a chunk whose sequence number is 0 and after a gap.
"""

from collections import deque

from pipeline.timeline import NANOS, MediaTime

RUN_UP = MediaTime(NANOS // 2)
"""Longer than what reaches back: the decoder and its mix with 260 ms and a packet (`pipeline.media.audio.RUN_IN`), and the offset
with 100 ms (`pipeline.transcribe.level.RUN_IN`)."""


class Origins:
    """Counts the accepted items of one stream and remembers the latest chunks' start times."""

    def __init__(self) -> None:
        self.count = 0
        self._first: int | None = None
        self._chunks: deque[tuple[int, MediaTime]] = deque()
        self._end = MediaTime(0)
        self._run_up_from: MediaTime | None = None

    def restart(self) -> None:
        """The next item needs nothing before itself: a gap, or the first chunk of a connection."""
        self._first = self.count + 1
        self._chunks.clear()
        self._run_up_from = None

    def accept_gap(self) -> None:
        """Count a gap."""
        self.restart()
        self.count += 1

    def accept(self, start: MediaTime, end: MediaTime) -> bool:
        """Count a chunk with these times; whether its audio may be used, or is only a run-up."""
        if self._first is None and not self._chunks:
            self._run_up_from = start
        self.count += 1
        self._chunks.append((self.count, start))
        self._end = end
        while len(self._chunks) > 2 and self._chunks[1][1] <= start - RUN_UP:
            self._chunks.popleft()
        return self._run_up_from is None or start - self._run_up_from >= RUN_UP

    def needed(self) -> int:
        """The item from which a decoder must start for the audio of the latest chunk."""
        return self._before(self._chunks[-1][1]) if self._chunks else self.count

    def needed_next(self) -> int:
        """The item from which a decoder must start for the audio of the chunk to come."""
        return self._before(self._end) if self._chunks else self.count

    def _before(self, start: MediaTime) -> int:
        for number, begun in reversed(self._chunks):
            if begun <= start - RUN_UP:
                return number
        return self._first if self._first is not None else self._chunks[0][0]
