"""A model's words, sentence by sentence, each with the numbers of what it cites: "Doors open at nine [2][3]."."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NUMBER = r"(?:evidence )?[#^]?\d{1,3}"
_MARKS = rf"[\[【] ?{_NUMBER}(?: ?[,;] ?{_NUMBER})* ?[\]】]"
MARK = re.compile(rf"\s*{_MARKS}", re.IGNORECASE)
"""Models write "[2]", "[1, 3]", "[Evidence 2]", "[^2]" and "【2】" for the same thing."""
ENDED = re.compile(
    rf"[.!?…][\"')\]”’»]*(?:[^\S\n]*{_MARKS})*(?=\s+[^\s\[【]|\n)|(?:[^\S\n]*{_MARKS})+[.!?…]?(?=\s+[^\s\[【]|\n)|\n+", re.IGNORECASE
)
"""A sentence ends with its sign and the marks after it, or with marks, where another begins behind it; a line ends too.

A mark that a line begins with cites nothing: that is how evidence is copied.
"""
COPIED = re.compile(
    r"^(?:said|shown|written on the screen|known|picture) at [\d:]+(?:\s*[–-]\s*[\d:]+)?:?\s*[“\"]?(?P<words>.*?)[”\"]?$", re.IGNORECASE
)
"""A line of evidence as it was given (`pipeline.qa.teller`), which small models copy."""
LISTED = re.compile(r"^\s*\d{1,2}[.)](?=\s|$)")
"""The number that a line of a list begins with; it ends as a sentence does, and says nothing."""
LONGEST = 1_000
"""A sentence is cut here."""
LOOP, LOOPS = 30, 3
"""The last so many characters stand so often in it where a sentence goes round in circles."""


@dataclass(frozen=True)
class Cited:
    """One sentence, and what it cites."""

    text: str
    """Without marks, and without what stands before a line of a list or of copied evidence."""
    numbers: tuple[int, ...]
    """As written, each once."""


class Sentences:
    """Takes pieces of a text in and gives its sentences as they end."""

    def __init__(self) -> None:
        self._rest = ""

    def add(self, piece: str) -> Iterator[Cited]:
        """The sentences that end with this piece."""
        self._rest += piece
        while (end := self._end()) is not None:
            sentence, self._rest = self._rest[:end], self._rest[end:]
            if (cited := parse(sentence)) is not None:
                yield cited

    @property
    def loops(self) -> bool:
        """Whether the sentence that has not ended says the same over and over, as small models do."""
        return len(self._rest) > LOOP * LOOPS and self._rest.count(self._rest[-LOOP:]) >= LOOPS

    def end(self) -> Iterator[Cited]:
        """What is left when the text is over."""
        rest, self._rest = self._rest, ""
        if (cited := parse(rest)) is not None:
            yield cited

    def _end(self) -> int | None:
        found = ENDED.search(self._rest)
        return found.end() if found else LONGEST if len(self._rest) > LONGEST else None


def parse(sentence: str) -> Cited | None:
    """A sentence without its marks; `None` where nothing but marks or a list's number is there."""
    numbers = [int(number) for marks in MARK.findall(sentence) for number in re.findall(r"\d+", marks)]
    text = re.sub(r"\s+", " ", MARK.sub("", LISTED.sub("", sentence))).strip()
    if (copied := COPIED.match(text)) is not None:
        text = copied["words"]
    return Cited(text, tuple(dict.fromkeys(numbers))) if re.search(r"\w", text) else None
