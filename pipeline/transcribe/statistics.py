"""How well a stream is being transcribed, counted in bounded memory."""

from collections import Counter
from collections.abc import Mapping, Sequence

from watchword.v1 import transcript_pb2

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.words import HeardWord

EVERY = MediaTime(10 * NANOS)
"""Statistics are said when the media time passes a multiple of this."""
_BIN_S = 0.02
_BINS = 3000
"""Delays are counted in steps of 20 ms up to a minute; longer ones count as a minute."""


class Delays:
    """How long after their end words were told."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._number = 0
        self._total_s = 0.0

    def add(self, words: Sequence[HeardWord], now: MediaTime) -> None:
        """The words were told when the audio up to `now` had been heard."""
        for word in words:
            delay_s = max((now - word.end).seconds, 0.0)
            self._number += 1
            self._total_s += delay_s
            self._counts[min(round(delay_s / _BIN_S), _BINS)] += 1

    def message(self) -> transcript_pb2.WordLatency | None:
        """Mean and 95th percentile; `None` before the first word."""
        if not self._number:
            return None
        left = self._number * 0.95
        for step in sorted(self._counts):
            left -= self._counts[step]
            if left <= 0:
                break
        return transcript_pb2.WordLatency(mean_s=self._total_s / self._number, p95_s=step * _BIN_S)


class Statistics:
    """The counts of one stream, since its stage was made."""

    def __init__(self) -> None:
        self.refused: Counter[str] = Counter()
        self._stable, self._final = Delays(), Delays()
        self._words = self._erased = 0
        self._shown: list[str] = []
        self._computed_s = 0.0
        self._since: MediaTime | None = None
        self._told = 0

    def heard(self, start: MediaTime, seconds: float) -> None:
        """Hearing took so long; the stream's first audio starts at `start`."""
        self._since = start if self._since is None else self._since
        self._computed_s += seconds

    def refuse(self, refused: Mapping[str, int]) -> None:
        """Words that a model wrote were refused, by reason."""
        self.refused.update(refused)

    def show(self, words: Sequence[HeardWord], promised: Sequence[HeardWord], now: MediaTime) -> None:
        """A partial of the open segment shows `words`; of them `promised` are newly stable."""
        self._erase([word.spoken for word in words])
        self._stable.add(promised, now)

    def close(self, words: Sequence[HeardWord], promised: int, now: MediaTime) -> None:
        """A final has `words`, of which the first `promised` were stable before. What was shown beyond goes to the next segment."""
        spoken = [word.spoken for word in words]
        beyond = self._shown[len(spoken) :]
        self._erase(spoken + beyond)
        self._shown = beyond
        self._stable.add(words[promised:], now)
        self._final.add(words, now)
        self._words += len(words)

    def drop(self) -> None:
        """What was shown of the open segment is taken back."""
        self._erase([])

    def due(self, now: MediaTime) -> bool:
        """Whether the statistics are to be said, at most once each `EVERY`; in silence, too: they tell up to where it was heard."""
        turn = now.nanos // EVERY.nanos
        is_due = turn != self._told
        self._told = turn
        return is_due

    def message(self, stream_id: str, now: MediaTime) -> transcript_pb2.TranscriptStatistics:
        """The counts so far, the stream heard up to `now`."""
        media_s = max((now - (self._since or now)).seconds, 1e-3)
        return transcript_pb2.TranscriptStatistics(
            stream_id=stream_id,
            id=f"statistics-{now.millis}",
            media_end=now.to_proto(),
            words=self._words,
            words_per_minute=self._words * 60 / media_s,
            stable_latency=self._stable.message(),
            final_latency=self._final.message(),
            flicker=self._erased / self._words if self._words else 0.0,
            real_time_factor=self._computed_s / media_s,
            words_refused=dict(self.refused),
        )

    def _erase(self, now: list[str]) -> None:
        same = 0
        for old, new in zip(self._shown, now, strict=False):
            if old != new:
                break
            same += 1
        self._erased += len(self._shown) - same
        self._shown = now
