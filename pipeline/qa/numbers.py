"""Numbers that are written out, as digits: "twenty five" and "25" are one number."""

import re
from collections.abc import Sequence

_SMALL = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
eighteen nineteen"""
UNITS = {word: value for value, word in enumerate(_SMALL.split())}
TENS = {
    word: 10 * value for value, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], start=2)
}
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
OTHERS = {"dozen": 12}
NUMERALS = frozenset([*UNITS, *TENS, *SCALES, *OTHERS])
"""All words that numbers are written with."""
_THOUSANDS = re.compile(r"(\d)[,.](?=\d{3}\b)")


def joined_thousands(text: str) -> str:
    """The text with what parts thousands left out: "1,000" and "1.000" give "1000"."""
    return _THOUSANDS.sub(r"\1", text)


def with_digits(words: Sequence[str]) -> list[str]:
    """The words, with each run that spells a number replaced by its digits; small letters are expected.

    Runs that spell no single number stay apart: "nineteen ninety five" gives "1995" as a year is read, "seven three" gives "7", "3".
    """
    found: list[str] = []
    position = 0
    while position < len(words):
        value, used = _number(words, position)
        if used:
            found.append(str(value))
            position += used
        else:
            found.append(words[position])
            position += 1
    return found


def _number(words: Sequence[str], start: int) -> tuple[int, int]:
    """The number that starts here, and how many words it takes; no words where none does."""
    year = _year(words, start)
    if year:
        return year
    total = part = 0
    used = 0
    last = None
    for offset, word in enumerate(words[start:]):
        if word == "and" and last == "scale" and _is_small(words, start + offset + 1):
            continue
        if word in UNITS and (last is None or last == "scale" or (last == "tens" and UNITS[word] < 10)):
            part, last = part + UNITS[word], "unit"
        elif word in TENS and last in (None, "scale"):
            part, last = part + TENS[word], "tens"
        elif word in SCALES and last is not None:
            scale = SCALES[word]
            part, total, last = (part * scale, total, "scale") if scale == 100 else (0, total + max(part, 1) * scale, "scale")
        elif word in OTHERS and last is None:
            return OTHERS[word], 1
        else:
            break
        used = offset + 1
    return total + part, used


def _year(words: Sequence[str], start: int) -> tuple[int, int] | None:
    """A year as it is read, "nineteen ninety five", "eighteen sixty" or "twenty twenty six"."""
    century = UNITS.get(words[start], 0) or TENS.get(words[start], 0)
    if not (13 <= century <= 20) or start + 1 >= len(words):
        return None
    rest = words[start + 1]
    if rest in TENS:
        unit = UNITS.get(words[start + 2], 0) if start + 2 < len(words) else 0
        return (100 * century + TENS[rest] + unit, 3) if 0 < unit < 10 else (100 * century + TENS[rest], 2)
    return (100 * century + UNITS[rest], 2) if rest in UNITS and UNITS[rest] >= 10 else None


def _is_small(words: Sequence[str], at: int) -> bool:
    return at < len(words) and (words[at] in UNITS or words[at] in TENS)
