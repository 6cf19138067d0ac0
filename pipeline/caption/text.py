"""Lines of text found in pictures: which are trusted, in what order they are read, which are the same."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

TRUSTED = 0.8
"""Recognition score from which a line counts; textures that look like a letter score below it."""
_STROKES = re.compile(r"([1lI])(?:\s*\1){2,}")
"""What masts, railings and blinds are read as, as surely as letters: three launch towers were "111". Two strokes may be an eleven."""
MAX_LINES = 40
MAX_LINE_CHARACTERS = 200
_SAME = 0.85


@dataclass(frozen=True)
class Line:
    """A line of text where it stands in the picture, in pixels from the top left."""

    text: str
    score: float
    """How sure the reader is, 0 to 1."""
    left: float
    top: float
    bottom: float


def trusted(lines: Iterable[Line]) -> list[Line]:
    """The lines that are likely to be text: sure enough, with two letters or digits, and not one upright stroke again and again."""
    return [line for line in lines if line.score >= TRUSTED and _is_text(line.text)]


def _is_text(text: str) -> bool:
    return sum(map(str.isalnum, text)) >= 2 and not _STROKES.fullmatch(text.strip())


def in_reading_order(lines: Iterable[Line]) -> list[Line]:
    """From top to bottom; pieces whose heights overlap by half stand in one row, and are read from left to right."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda line: (line.top, line.left)):
        row = rows[-1] if rows else None
        if row and min(row[0].bottom, line.bottom) - max(row[0].top, line.top) >= 0.5 * min(_height(row[0]), _height(line)):
            row.append(line)
        else:
            rows.append([line])
    return [line for row in rows for line in sorted(row, key=lambda line: line.left)]


def merged(pictures: Sequence[Sequence[Line]]) -> tuple[str, ...]:
    """The lines of several pictures of a scene, each once, in the order in which they came up; bounded in number and length.

    Of two readings of one line the surer stays.
    """
    kept: list[Line] = []
    for lines in pictures:
        for line in lines:
            same = next((index for index, each in enumerate(kept) if _same(each.text, line.text)), None)
            if same is None:
                kept.append(line)
            elif line.score > kept[same].score:
                kept[same] = line
    return tuple(line.text.strip()[:MAX_LINE_CHARACTERS] for line in kept[:MAX_LINES])


def _height(line: Line) -> float:
    return line.bottom - line.top


def _same(one: str, other: str) -> bool:
    one, other = ("".join(filter(str.isalnum, text.casefold())) for text in (one, other))
    if one == other:
        return True
    # "Room 42" and "Room 43" are two lines: what differs in a digit differs.
    if [*filter(str.isdigit, one)] != [*filter(str.isdigit, other)]:
        return False
    return min(len(one), len(other)) >= 6 and SequenceMatcher(None, one, other, autojunk=False).ratio() >= _SAME
