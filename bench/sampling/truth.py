"""Clips and what is known about them: from the manifest of the media, from the sample clip, or from `synthetic`."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av


@dataclass(frozen=True)
class Span:
    """From and to, in seconds of the stream."""

    start: float
    end: float


@dataclass(frozen=True)
class Event:
    """Something that happens or is shown for a while; a keyframe inside its span shows it."""

    start: float
    end: float
    what: str
    kind: str
    """event, text, state or motion."""


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A file and the truth about it, in seconds of its presentation times."""

    path: Path
    group: str
    seconds: float
    rate: float
    """Frames a second."""
    cuts: tuple[float, ...] | None = None
    """First frames of new shots; `None` where nobody has looked for them."""
    gradual: tuple[Span, ...] = ()
    ignored: tuple[Span, ...] = ()
    """Where nothing is counted, because what is there is neither the one nor the other."""
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All but the path."""
        return {name: value for name, value in asdict(self).items() if name != "path"}

    @classmethod
    def from_json(cls, value: Mapping[str, Any], path: Path) -> "Clip":
        """The reverse of `to_json`."""
        spans = {name: tuple(Span(**span) for span in value[name]) for name in ("gradual", "ignored")}
        events = tuple(Event(**event) for event in value["events"])
        cuts = None if value["cuts"] is None else tuple(value["cuts"])
        return cls(path=path, **{**value, **spans, "events": events, "cuts": cuts})


DISSOLVES = {("video/nasa_13013.mp4", 5.28): Span(5.0, 5.7)}
"""What the manifest lists as cuts and says in words to be dissolves."""
TRACKS = {("video/nasa_13013.mp4", 8.08): 8.044}
"""A cut that is at 8.08 s in one video track and at 8.008 s in another, of which readers choose one: within a frame of both."""
UNSURE = {"video/psd_fades.mp4": (Span(0, 10),)}
"""A clip of slow fades all through, whose places nobody wrote down."""


def media(manifest: Path) -> list[Clip]:
    """The clips of a manifest whose cuts or events are described."""
    clips = []
    for entry in json.loads(manifest.read_text())["entries"]:
        path = manifest.parent / entry["file"]
        if entry.get("cuts") is None or not path.exists():
            continue
        name = entry["file"]
        events = [Event(*event["t"], event["what"], "event") for event in entry.get("events", ())]
        events += [Event(*text["t"], text["text"], "text") for text in entry.get("on_screen_text", ())]
        counts = entry.get("counts") or entry.get("bottle_counts") or ()
        events += [Event(start, end, f"{count} are there", "state") for start, end, count in counts]
        clips.append(
            Clip(
                path=path,
                group="media",
                seconds=entry["duration"],
                rate=_rate(path),
                cuts=tuple(TRACKS.get((name, cut), cut) for cut in entry["cuts"] if (name, cut) not in DISSOLVES),
                gradual=(
                    *(Span(*fade) for fade in entry.get("fades", ()) if not isinstance(fade, str)),
                    *(span for (file, _), span in DISSOLVES.items() if file == name),
                )
                if not isinstance(entry.get("fades"), str)
                else (),
                ignored=UNSURE.get(name, ()),
                events=tuple(events),
            )
        )
    return clips


def sample(path: Path) -> Clip:
    """The clip of `samples/`, with the JSON file beside it."""
    truth = json.loads(path.with_suffix(".json").read_text())
    return Clip(
        path=path,
        group="media",
        seconds=truth["duration"],
        rate=_rate(path),
        cuts=tuple(truth["cuts"]),
        gradual=tuple(Span(each["start"], each["end"]) for each in truth["dissolves"]),
    )


def _rate(path: Path) -> float:
    with av.open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 25)
