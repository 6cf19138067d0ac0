"""What was in view and when, as the memory holds it: a line of words for each stretch in which the same things are seen, and its reading.

A line reads "three bottles (left, centre, right); a blue cup (right)" and lasts from the first keyframe that shows
this to the last one before another shows anything else, since between two keyframes nothing is known. Where a keyframe
shows nothing a line says so: what was seen some seconds before is then no answer.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from pipeline.caption.seen import Glance, groups
from pipeline.caption.things import LABELS, NUMBERS, THINGS
from pipeline.memory.store import Kind, Moment
from pipeline.timeline import MediaTime

SOURCE = "/in view"
BETWEEN = "; "
LEAST = "at least "
NOTHING = "nothing"
_ITEM = re.compile(r"(?P<words>[^()]+?)(?: \((?P<places>[^()]*)\))?$")


@dataclass(frozen=True)
class Stretch:
    """A stretch of a scene in which the keyframes show the same things at the same places."""

    text: str
    start: MediaTime
    end: MediaTime


@dataclass(frozen=True)
class Item:
    """The things of one label in a line."""

    label: str
    text: str
    """As the line has it, with the places."""
    count: int
    least: bool = False
    """Whether there may be more."""
    colour: str = ""
    places: tuple[str, ...] = ()
    """From left to right, each once; empty where none is told."""
    rival: str = ""
    """The label that is as likely."""


def stretches(glances: Sequence[Glance]) -> list[Stretch]:
    """One line for each run of glances that show the same, or nothing."""
    found: list[Stretch] = []
    for glance in glances:
        text = BETWEEN.join(group.told() for group in groups(glance.sights)) or NOTHING
        if found and found[-1].text == text:
            found[-1] = Stretch(text, found[-1].start, glance.time)
        else:
            found.append(Stretch(text, glance.time, glance.time))
    return found


def read(text: str) -> tuple[Item, ...]:
    """What a line names, the surest first; what cannot be read is passed over."""
    parts = text.split(BETWEEN)
    found = (_item(part, match["words"], match["places"] or "") for part in parts if (match := _ITEM.fullmatch(part)))
    return tuple(item for item in found if item is not None)


def source_of(scene_id: str) -> str:
    """Under which source the lines of a scene are stored."""
    return f"{scene_id}{SOURCE}"


def described(line: Moment, *, text: str = "") -> Moment:
    """The line, or what is told of it, as what its scene shows; any other moment as it is."""
    if not line.source_id.endswith(SOURCE):
        return line
    return replace(line, kind=Kind.DESCRIPTION, source_id=line.source_id.removesuffix(SOURCE), text=text or line.text)


@cache
def _spoken() -> dict[str, str]:
    """Labels by what they are called, one or many."""
    return {words: label for label in LABELS for words in (THINGS[label].one, THINGS[label].many)}


def _item(text: str, words: str, places: str) -> Item | None:
    least, words = words.startswith(LEAST), words.removeprefix(LEAST)
    number, _, rest = words.partition(" ")
    named, _, rival = rest.partition(" or ")
    spoken = _spoken()
    # "blue wine glass": the longest end that is a name; what stands before it is the colour.
    colour, name = ("", named) if named in spoken else (named.partition(" ")[0], named.partition(" ")[2])
    if name not in spoken:
        return None
    count = 1 if number in ("a", "an") else NUMBERS.index(number) if number in NUMBERS else int(number) if number.isdigit() else 0
    told = tuple(filter(None, places.split(", ")))
    return Item(spoken[name], text, count, least, colour, told, spoken.get(rival, "")) if count else None
