"""The live subtitles of every stream: what the hub is shown of speech, as stretches of cues.

Only finals are taken: they have been judged whole, and never change. What is withheld is not there at all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline import telemetry
from pipeline.bus import Record
from pipeline.clock import Clock, SystemClock
from pipeline.live_subtitles import RULES, LiveSubtitles, Rules
from pipeline.timeline import NANOS, ZERO, MediaTime
from pipeline.transcribe.statistics import EVERY

SPEECH = "screen-transcripts"
"""The step that clears what was said."""
STILL_S = 2.0
"""A live stream of which nothing comes for so long is silent; while somebody speaks, or what happened is read again, more comes."""
TRUSTED = EVERY + MediaTime(2 * NANOS)
"""How far a silent stream is taken to have gone on: at least so often a transcriber says that it hears."""
SAME_CLOCK = 90
"""Ticks by which a clock may differ and be the same: what rounding leaves."""
CLOCKS_KEPT = 64
"""How many clocks of a stream are remembered: a source that begins anew more often within a playlist is out of order anyway."""


@dataclass
class _Stream:
    started_at: float | None = None
    is_live: bool = False
    tracks: dict[str, LiveSubtitles] = field(default_factory=dict)
    clocks: list[tuple[MediaTime, int]] = field(default_factory=list)
    """What the source's clock said at media time 0, each from a media time on; the latest last."""
    language: str = ""
    """What was spoken last."""
    heard: MediaTime = ZERO
    """As far as was told."""
    told_at: float = 0.0
    is_silent: bool = False
    """Whether nothing more will be said."""
    is_over: bool = False


class SubtitleTracks:
    """Under "" what was said, under a language its translations into it; as long as the hub keeps the stream."""

    def __init__(self, rules: Rules = RULES, *, clock: Clock | None = None) -> None:
        self.rules = rules
        self._clock = clock or SystemClock()
        self._streams: dict[str, _Stream] = {}

    def take(self, record: Record, media_end: MediaTime, is_over: bool) -> None:
        """Take what viewers are shown; `media_end` is how far any branch of the stream has come."""
        value = record.value
        if not isinstance(value, ClearedEvent):
            return
        stream = self._streams.setdefault(record.stream_id, _Stream(tracks={"": LiveSubtitles(self.rules)}))
        stream.started_at = stream.started_at or record.context.started_at
        stream.is_live, stream.told_at = record.context.live, self._clock.monotonic()
        if record.origin.step == SPEECH:
            _note_clock(stream, record.context.clock)
            self._hear(stream, value)
        if stream.is_silent:
            _each(stream, lambda track: track.know(media_end))
        if is_over and not stream.is_over:
            stream.is_over = True
            _each(stream, lambda track: track.end(media_end))

    def forget(self, stream_id: str) -> None:
        """The stream is not kept any more."""
        self._streams.pop(stream_id, None)

    def begun(self, stream_id: str) -> float | None:
        """Unix time in seconds at media time 0, as near as is known."""
        stream = self._streams.get(stream_id)
        return stream.started_at if stream is not None else None

    def clock(self, stream_id: str, at: MediaTime) -> int:
        """What the source's clock, which holds at a media time, said at media time 0, in 1/90,000 s; 0 where it is not known."""
        stream = self._streams.get(stream_id)
        known = [clock for since, clock in stream.clocks if since <= at] if stream is not None else []
        return known[-1] if known else 0

    def spoken(self, stream_id: str) -> str:
        """The BCP 47 language that was spoken last; empty where none was."""
        stream = self._streams.get(stream_id)
        return stream.language if stream is not None else ""

    def languages(self, stream_id: str) -> list[str]:
        """The tracks of a stream; none where it is not known."""
        stream = self._streams.get(stream_id)
        return sorted(stream.tracks) if stream is not None else []

    def track(self, stream_id: str, language: str = "") -> LiveSubtitles | None:
        """A track as it is now; `None` where there is none."""
        stream = self._streams.get(stream_id)
        if stream is None or language not in stream.tracks:
            return None
        is_still = self._clock.monotonic() - stream.told_at >= STILL_S
        if stream.is_live and is_still and not stream.is_silent and stream.started_at is not None:
            reached = MediaTime.of(self._clock.now() - stream.started_at)
            stream.tracks[language].hear(min(reached, stream.heard + TRUSTED))
        return stream.tracks[language]

    def _hear(self, stream: _Stream, event: ClearedEvent) -> None:
        said = stream.tracks[""]
        match event.WhichOneof("event"):
            case "segment":
                stream.heard = max(stream.heard, MediaTime.from_proto(event.segment.media_end))
                if event.segment.is_final:
                    self._say(stream, event.segment)
            case "withheld":
                end = MediaTime.from_proto(event.withheld.media_end)
                stream.heard = max(stream.heard, end)
                said.know(end)
            case "gap":
                stream.heard = max(stream.heard, MediaTime.from_proto(event.gap.media_end))
                _each(stream, lambda track: track.know(stream.heard))
            case "stats":
                stream.heard = max(stream.heard, MediaTime.from_proto(event.stats.media_end))
            case "end":
                stream.is_silent = True
        _each(stream, lambda track: track.hear(stream.heard))

    def _say(self, stream: _Stream, final: TranscriptSegment) -> None:
        stream.language = final.language if not final.translation_of else stream.language
        track = stream.tracks.setdefault(final.language if final.translation_of else "", LiveSubtitles(self.rules))
        before = track.in_time, track.late
        track.say(final)
        telemetry.SUBTITLE_WORDS.labels("in_time").inc(track.in_time - before[0])
        telemetry.SUBTITLE_WORDS.labels("late").inc(track.late - before[1])


def _note_clock(stream: _Stream, clock: int | None) -> None:
    """Another clock holds for what comes behind all that was heard so far."""
    if clock is None or (stream.clocks and abs(clock - stream.clocks[-1][1]) <= SAME_CLOCK):
        return
    stream.clocks.append((stream.heard, clock))
    del stream.clocks[:-CLOCKS_KEPT]


def _each(stream: _Stream, work: Callable[[LiveSubtitles], None]) -> None:
    for track in stream.tracks.values():
        work(track)
