"""The captions of a recording as text, SubRip, WebVTT and JSON; the JSON is promised in docs/events.md."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline import subtitles
from pipeline.errors import WatchwordError, reason_name
from pipeline.timeline import ZERO, MediaTime

FORMATS = ("txt", "srt", "vtt", "json")


@dataclass
class Heard:
    """What was heard of a recording."""

    source: str
    """As it may be shown."""
    finals: list[TranscriptSegment] = field(default_factory=list)
    """In order of time; a translation follows what it is the translation of."""
    media_end: MediaTime = ZERO
    """Up to which media time it was heard."""
    problems: list[WatchwordError] = field(default_factory=list)
    """What of it could not be used."""
    failure: WatchwordError | None = None
    """Why it could not be heard to its end."""

    @property
    def words(self) -> int:
        """How many words were said."""
        return sum(len(segment.words) for segment in self.finals if not segment.translation_of)


def documents(formats: Sequence[str], heard: Heard) -> dict[str, str]:
    """The files in these formats, by what follows their name: "srt", and "en.srt" for a translation into English."""
    found: dict[str, str] = {}
    for language, finals in subtitles.tracks(heard.finals).items():
        found |= {f"{language}.{name}".lstrip("."): _track(name, finals) for name in formats if name != "json"}
    if "json" in formats:
        found["json"] = as_json(heard)
    return found


def printed(name: str, heard: Heard) -> str:
    """One format for the terminal; in text a translation stands below what was said."""
    if name == "json":
        return as_json(heard)
    if name == "txt":
        return "".join(f"{'    ' if segment.translation_of else ''}{segment.text}\n" for segment in heard.finals)
    return _track(name, heard.finals)


def as_json(heard: Heard) -> str:
    """Everything that was heard, with times."""
    said = [segment for segment in heard.finals if not segment.translation_of]
    languages = Counter({segment.language: 0 for segment in said})
    for segment in said:
        languages[segment.language] += len(segment.words)
    document = {
        "source": heard.source,
        "duration": _seconds(heard.media_end),
        "language": languages.most_common(1)[0][0] if said else None,
        "model": said[0].model if said else None,
        "segments": [_segment(segment) for segment in heard.finals],
        "problems": [
            {"reason": reason_name(error.reason), "text": str(error)}
            for error in [*heard.problems, *([heard.failure] if heard.failure is not None else [])]
        ],
    }
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"


def _track(name: str, finals: Sequence[TranscriptSegment]) -> str:
    match name:
        case "txt":
            return "".join(f"{segment.text}\n" for segment in finals)
        case "srt":
            return subtitles.subrip(subtitles.cues(finals))
        case _:
            return subtitles.webvtt(subtitles.cues(finals))


def _segment(segment: TranscriptSegment) -> dict[str, Any]:
    return {
        "id": segment.id,
        "start": _seconds(MediaTime.from_proto(segment.media_start)),
        "end": _seconds(MediaTime.from_proto(segment.media_end)),
        "text": segment.text,
        "language": segment.language,
        "language_probability": round(segment.language_probability, 4) or None,
        "translation_of": segment.translation_of or None,
        "corrected": segment.corrected,
        "words": [
            {
                "text": word.text,
                "start": _seconds(MediaTime.from_proto(word.media_start)),
                "end": _seconds(MediaTime.from_proto(word.media_end)),
                "probability": round(word.probability, 4),
            }
            | ({"glued": True} if word.glued else {})
            for word in segment.words
        ],
    }


def _seconds(time: MediaTime) -> float:
    return round(time.seconds, 3)
