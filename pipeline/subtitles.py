"""Finals into subtitles: cues that can be read, as WebVTT and as SubRip.

Limits follow the Netflix Timed Text Style Guide (English, "General requirements" and "Timing guidelines"): at most 42
characters a line and two lines, 5/6 s to 7 s on screen, no overlap, two frames between cues. Where cues and lines are broken is
`pipeline.line_breaks`. Cues do not know of segments: a final that ends in the middle of a sentence goes on in the same cue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline import line_breaks
from pipeline.line_breaks import LONGEST, READ_PER_S, SHORTEST, Timed, width
from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.words import written

LINGERING = MediaTime(NANOS // 2)
"""How long a cue stays after its last word, and longer if it cannot be read so fast, where nothing follows at once."""
APART = MediaTime(NANOS // 12)
"""Between cues, so that it is seen that another one came: two frames of film."""


@dataclass(frozen=True)
class Cue:
    """What stands on the screen for a while."""

    start: MediaTime
    end: MediaTime
    lines: tuple[str, ...]


def tracks(segments: Iterable[TranscriptSegment]) -> dict[str, list[TranscriptSegment]]:
    """The finals of a stream apart: under "" what was said, under a language its translations into it, if there are any."""
    found: dict[str, list[TranscriptSegment]] = {"": []}
    for segment in segments:
        if segment.is_final:
            found.setdefault(segment.language if segment.translation_of else "", []).append(segment)
    return found


def cues(segments: Iterable[TranscriptSegment]) -> list[Cue]:
    """The cues of a track's finals, given in order of time; anything but a final is passed over.

    The text is shown as it is, since it may have been redacted; it has the times of the words where it has as many, and is
    spread evenly over them where it has not.
    """
    found: list[Cue] = []
    for _, finals in groupby((segment for segment in segments if segment.is_final), key=lambda segment: segment.language):
        words = [word for segment in finals for word in _timed(segment)]
        found += [Cue(group[0].start, max(group[-1].end, group[0].start), line_breaks.lines(group)) for group in line_breaks.cues(words)]
    return _on_screen(found)


def webvtt(cues: Iterable[Cue]) -> str:
    """The cues as a WebVTT file (W3C WebVTT, section 4)."""
    blocks = [f"{_stamp(cue.start, '.')} --> {_stamp(cue.end, '.')}\n{_escaped(cue)}\n" for cue in cues]
    return "\n".join(["WEBVTT\n", *blocks])


def subrip(cues: Iterable[Cue]) -> str:
    """The cues as a SubRip (.srt) file, numbered from 1."""
    blocks = [
        f"{number}\n{_stamp(cue.start, ',')} --> {_stamp(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues, start=1)
    ]
    return "\n".join(blocks)


def _timed(segment: TranscriptSegment) -> list[Timed]:
    known = [
        Timed(word.text, MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end), word.glued) for word in segment.words
    ]
    if any(word.glued for word in known) and written(known) == segment.text:
        return known
    texts = segment.text.split()
    times = [(MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end)) for word in segment.words]
    if len(times) != len(texts):
        start = times[0][0] if times else MediaTime.from_proto(segment.media_start)
        end = max(start, times[-1][1] if times else MediaTime.from_proto(segment.media_end))
        edges = [MediaTime(start.nanos + (end - start).nanos * n // len(texts)) for n in range(len(texts) + 1)] if texts else []
        times = list(pairwise(edges))
    return [Timed(text, start, end) for text, (start, end) in zip(texts, times, strict=True)]


def _on_screen(cues: Sequence[Cue]) -> list[Cue]:
    """Give each cue its time on the screen: long enough to be read, if the next one leaves it the time.

    A cue that has not even the shortest time takes it, and the next one comes that much later.
    """
    placed: list[Cue] = []
    earliest = MediaTime(0)
    for index, cue in enumerate(cues):
        start = max(cue.start, earliest)
        reading = MediaTime.of(sum(map(width, cue.lines)) / READ_PER_S)
        end = min(max(cue.end + LINGERING, start + reading, start + SHORTEST), start + LONGEST)
        if index + 1 < len(cues):
            next_start = cues[index + 1].start
            end = max(min(end, next_start - APART), start + SHORTEST)
        placed.append(replace(cue, start=start, end=end))
        earliest = end + APART
    return placed


def _stamp(time: MediaTime, point: str) -> str:
    seconds, millis = divmod(max(time.millis, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{millis:03}"


def _escaped(cue: Cue) -> str:
    return "\n".join(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
