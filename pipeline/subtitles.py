"""Finals into subtitles: cues that can be read, as WebVTT and as SubRip.

Limits follow the Netflix Timed Text Style Guide (English, "General requirements"): at most 42 characters a line and two
lines, 5/6 s to 7 s on screen, no overlap.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from unicodedata import east_asian_width

from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.timeline import NANOS, MediaTime

LINE = 42
"""Characters in a line, at most, unless a single word is longer; a wide one, as of Chinese, counts twice."""
LINES = 2
SHORTEST = MediaTime(NANOS * 5 // 6)
"""A cue stays this long if the next one leaves it the time."""
LONGEST = MediaTime(NANOS * 7)
_GAP = MediaTime(NANOS)
"""A cue ends at a pause of this length between words."""


@dataclass(frozen=True)
class Cue:
    """What stands on the screen for a while."""

    start: MediaTime
    end: MediaTime
    lines: tuple[str, ...]


@dataclass(frozen=True)
class _Timed:
    text: str
    start: MediaTime
    end: MediaTime
    glued: bool = False


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
    for segment in segments:
        if segment.is_final:
            found += [_cue(group) for group in _groups(_timed(segment))]
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


def _timed(segment: TranscriptSegment) -> list[_Timed]:
    known = [
        _Timed(word.text, MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end), word.glued)
        for word in segment.words
    ]
    if any(word.glued for word in known) and _joined(known) == segment.text:
        return known
    texts = segment.text.split()
    times = [(MediaTime.from_proto(word.media_start), MediaTime.from_proto(word.media_end)) for word in segment.words]
    if len(times) != len(texts):
        start = times[0][0] if times else MediaTime.from_proto(segment.media_start)
        end = max(start, times[-1][1] if times else MediaTime.from_proto(segment.media_end))
        edges = [MediaTime(start.nanos + (end - start).nanos * n // len(texts)) for n in range(len(texts) + 1)] if texts else []
        times = list(pairwise(edges))
    return [_Timed(text, start, end) for text, (start, end) in zip(texts, times, strict=True)]


def _groups(words: Sequence[_Timed]) -> list[list[_Timed]]:
    """Words that stand on the screen together: as many as fit, ended at the best place to read on."""
    groups = []
    rest = list(words)
    while rest:
        fitting = _fitting(rest)
        count = fitting if fitting == len(rest) else _break_after(rest, fitting)
        groups.append(rest[:count])
        rest = rest[count:]
    return groups


def _fitting(words: Sequence[_Timed]) -> int:
    """How many leading words fit in one cue, at least one."""
    for count in range(1, len(words)):
        following = words[count]
        if following.start - words[count - 1].end >= _GAP or following.end - words[0].start > LONGEST:
            return count
        if _wrapped(words[: count + 1]) is None:
            return count
    return len(words)


def _break_after(words: Sequence[_Timed], fitting: int) -> int:
    """How many of the fitting words to take: up to a sentence's end, else a clause's, else the widest gap; not too few."""
    following = words[fitting]
    if following.start - words[fitting - 1].end >= _GAP:
        return fitting
    counts = range(max(1, fitting // 3), fitting + 1)

    def worth(count: int) -> tuple[int, int, int]:
        text = words[count - 1].text.rstrip("\"'”’)]」』）》】")
        mark = (
            2
            if text.endswith((".", "?", "!", "…", "。", "？", "！"))
            else 1
            if text.endswith((",", ";", ":", "、", "，", "；", "："))
            else 0
        )
        return mark, (words[count].start - words[count - 1].end).nanos // (NANOS // 10), count

    return max(counts, key=worth)


def _cue(words: Sequence[_Timed]) -> Cue:
    return Cue(words[0].start, max(words[-1].end, words[0].start), _wrapped(words) or (_joined(words),))


def _wrapped(words: Sequence[_Timed]) -> tuple[str, ...] | None:
    """The words in one line, or in two of nearly equal length; `None` if they do not fit."""
    whole = _joined(words)
    if _width(whole) <= LINE:
        return (whole,)
    splits = [(_joined(words[:count]), _joined(words[count:])) for count in range(1, len(words))]
    splits = [lines for lines in splits if max(map(_width, lines)) <= LINE]
    # Of two equals the one with the longer lower line, as a pyramid is read more easily.
    return min(splits, key=lambda lines: (abs(_width(lines[0]) - _width(lines[1])), _width(lines[0])), default=None)


def _joined(words: Sequence[_Timed]) -> str:
    return "".join(word.text if word.glued else f" {word.text}" for word in words).strip()


def _width(line: str) -> int:
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in line)


def _on_screen(cues: Sequence[Cue]) -> list[Cue]:
    """Give each cue its time on the screen, without overlap: a cue too short waits, and the next one comes that much later."""
    placed = []
    earliest = MediaTime(0)
    for index, cue in enumerate(cues):
        start = max(cue.start, earliest)
        end = max(cue.end, start + SHORTEST)
        if index + 1 < len(cues):
            end = min(end, max(cues[index + 1].start, start + SHORTEST))
        end = min(end, start + LONGEST)
        placed.append(replace(cue, start=start, end=end))
        earliest = end
    return placed


def _stamp(time: MediaTime, point: str) -> str:
    seconds, millis = divmod(max(time.millis, 0), 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{millis:03}"


def _escaped(cue: Cue) -> str:
    return "\n".join(line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") for line in cue.lines)
