"""Finals into subtitles: cues that can be read, as WebVTT and as SubRip.

Limits follow the Netflix Timed Text Style Guide (English, "General requirements" and "Timing guidelines"): at most 42
characters a line and two lines, 5/6 s to 7 s on screen, no overlap, two frames between cues. Where cues and lines are broken is
`pipeline.line_breaks`. Cues do not know of segments: a final that ends in the middle of a sentence goes on in the same cue.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline import line_breaks
from pipeline.line_breaks import LONGEST, READ_PER_S, SHORTEST, Timed, width
from pipeline.timeline import NANOS, ZERO, MediaTime
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
    return on_screen(parted((segment.language, word) for segment in segments if segment.is_final for word in timed(segment)))


def webvtt(cues: Iterable[Cue], *, header: str = "") -> str:
    """The cues as a WebVTT file (W3C WebVTT, section 4); `header` is a line of metadata below its first one."""
    blocks = [f"{stamp(cue.start)} --> {stamp(cue.end)}\n{_escaped(cue)}\n" for cue in cues]
    return "\n".join([f"WEBVTT\n{header}\n" if header else "WEBVTT\n", *blocks])


def subrip(cues: Iterable[Cue]) -> str:
    """The cues as a SubRip (.srt) file, numbered from 1."""
    blocks = [
        f"{number}\n{stamp(cue.start, ',')} --> {stamp(cue.end, ',')}\n" + "\n".join(cue.lines) + "\n"
        for number, cue in enumerate(cues, start=1)
    ]
    return "\n".join(blocks)


def timed(segment: TranscriptSegment) -> list[Timed]:
    """The words of a final's text, each with its time."""
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


def parted(words: Iterable[tuple[str, Timed]]) -> list[Sequence[Timed]]:
    """Words with their languages, in order of time, apart: in each part those that stand on the screen together."""
    found: list[Sequence[Timed]] = []
    for _, said in groupby(words, key=lambda each: each[0]):
        found += line_breaks.cues([word for _, word in said])
    return found


def on_screen(parts: Sequence[Sequence[Timed]], *, free: MediaTime = ZERO, known: MediaTime | None = None) -> list[Cue]:
    """The cues of words that stand together, each with its time on the screen: long enough to be read, if the next one leaves it the time.

    A cue that has not even the shortest time takes it, and the next one comes that much later. Before `free` the screen is taken. Where
    more words may follow, `known` is the time up to which all of them are there: the last cue does not stay longer to be read.
    """
    placed: list[Cue] = []
    for index, part in enumerate(parts):
        lines, spoken = line_breaks.lines(part), max(part[-1].end, part[0].start)
        start = max(part[0].start, free)
        reading = MediaTime.of(sum(map(width, lines)) / READ_PER_S)
        end = min(max(spoken + LINGERING, start + reading, start + SHORTEST), start + LONGEST)
        if index + 1 < len(parts):
            end = max(min(end, parts[index + 1][0].start - APART), start + SHORTEST)
        elif known is not None:
            end = max(min(end, known - APART), min(spoken, start + LONGEST), start + SHORTEST)
        placed.append(Cue(start, end, lines))
        free = end + APART
    return placed


def stamp(time: MediaTime, point: str = ".") -> str:
    """The time as WebVTT writes it, and with a comma as SubRip does."""
    seconds, millis = divmod(max(time.millis, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{millis:03}"


def _escaped(cue: Cue) -> str:
    return "\n".join(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
