"""What a question says about time: a stretch by the clock, the beginning or the end, or before and after something."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.memory.store import Span
from pipeline.qa.numbers import with_digits
from pipeline.timeline import ZERO, MediaTime

AROUND = MediaTime.of(2.5)
"""How far around a point in time counts."""
JUST_NOW = MediaTime.of(60)
EDGE_S, EDGE_PART = 10.0, 0.1
"""The beginning of a stream is its first tenth, at least ten seconds; so is its end."""
SOON = MediaTime.of(30)
"""How long after something "right after" it is."""
DAY_S = 86_400


@dataclass(frozen=True)
class When:
    """What a question says about time, and the question without it."""

    rest: str
    """The question's other words."""
    start_s: float | None = None
    """Seconds of media time; negative ones count from the end."""
    end_s: float | None = None
    clock: bool = False
    """Whether the two may also be a time of day, in hours and minutes, written as minutes and seconds."""
    point: bool = False
    """Whether one point is meant, `start_s`."""
    edge: str = ""
    """ "start" or "end" of the stream, without a length."""
    anchor: str = ""
    """What happens before or after what is asked about, in words."""
    side: str = ""
    """ "before" or "after" the anchor."""
    near: bool = False
    """Whether only what is close to the anchor counts."""
    one: str = ""
    """ "first" or "last" where one thing alone is asked for, such as "the last thing that is said"."""


CLOCK = r"(\d{1,2}):(\d{2})(?::(\d{2}))?"
AMOUNT = r"(\d{1,9}(?:\.\d{1,9})?)"
"""Of seconds, minutes or hours; what has more digits is no time in a stream."""
UNIT = r"(s|sec|secs|seconds?|min|mins|minutes?|h|hours?)"
AT = rf"(?:{CLOCK}|{AMOUNT}\s*{UNIT})"
IT = r"(?:video|clip|stream|film|recording|programme|program|broadcast|footage)\b"
OF_IT = rf"(?:\s+of\s+(?:the|this)\s+{IT}|(?!\s+of\b)\b)"
"""The beginning "of the clip" is the stream's, the end "of the pier" is not."""
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_when(text: str) -> When | None:
    """What the question says about time; `None` where it says nothing."""
    spelled = _spelled(text)
    for pattern, make in PATTERNS:
        match = re.search(pattern, spelled, re.IGNORECASE)
        if match is not None:
            rest = f"{spelled[: match.start()]} {spelled[match.end() :]}"
            return make(match, re.sub(r"\s+", " ", rest).replace(" ?", "?").replace(" ,", ",").strip(" ,"))
    return None


def span_of(when: When, latest: MediaTime, started_at: float | None) -> Span:
    """The stretch of a stream that is meant, which has come as far as `latest`; `started_at` is Unix time of its start, where known.

    Hours and minutes are taken for a time of day (UTC) where the stream, read as minutes and seconds, does not reach so far.
    """
    edge = MediaTime.of(max(EDGE_S, EDGE_PART * latest.seconds))
    if when.edge:
        return Span(end=edge) if when.edge == "start" else Span(max(ZERO, latest - edge))
    start, end = (None if each is None else _from(each, latest) for each in (when.start_s, when.end_s))
    if when.clock and started_at is not None and start is not None and start > latest:
        start, end = (None if each is None else _of_day(each, started_at) for each in (when.start_s, when.end_s))
    if when.point and start is not None:
        return Span(start - AROUND, start + AROUND)
    return Span(start, end)


def point_of(when: When, latest: MediaTime, started_at: float | None) -> MediaTime:
    """The point that is meant, of a `When` with `point`, whatever range the question is asked within; as `span_of`."""
    around = span_of(when, latest, started_at)
    assert around.start is not None
    return around.start + AROUND


def intersection(one: Span, other: Span) -> Span | None:
    """What is in both; `None` where nothing is."""
    start = max((each for each in (one.start, other.start) if each is not None), default=None)
    end = min((each for each in (one.end, other.end) if each is not None), default=None)
    return None if start is not None and end is not None and end <= start else Span(start, end)


def _from(seconds: float, latest: MediaTime) -> MediaTime:
    return MediaTime.of(seconds) if seconds >= 0 else max(ZERO, latest + MediaTime.of(seconds))


def _of_day(seconds: float, started_at: float) -> MediaTime:
    """Minutes and seconds read as hours and minutes of the day (UTC) in which the stream ran."""
    wanted, began = seconds * 60, started_at % DAY_S
    return MediaTime.of((wanted - began) % DAY_S)


def _spelled(text: str) -> str:
    """The text with numbers before units as digits: "the first five seconds" is "the first 5 seconds"."""

    def digits(match: re.Match[str]) -> str:
        return f"{' '.join(with_digits([match[1].lower()]))} {match[2]}"

    return re.sub(rf"\b([a-z]+)\s+{UNIT}\b", digits, text, flags=re.IGNORECASE)


def _point(match: re.Match[str], first: int = 1) -> float:
    hours, minutes, seconds, amount, unit = match.groups()[first - 1 : first + 4]
    if amount:
        return float(amount) * SECONDS[unit[0].lower()]
    return int(hours) * 60 + int(minutes) if seconds is None else int(hours) * 3600 + int(minutes) * 60 + int(seconds)


def _length(match: re.Match[str], amount: int, unit: int) -> float:
    return float(match[amount] or 1) * SECONDS[match[unit][0].lower()]


def _between(match: re.Match[str], rest: str) -> When:
    return When(rest, _point(match), _point(match, 6), clock=match[1] is not None)


def _at(match: re.Match[str], rest: str) -> When:
    return When(rest, _point(match), clock=match[1] is not None, point=True)


def _one_side(match: re.Match[str], rest: str) -> When:
    after = match[0].lower().startswith(("after", "since", "from"))
    start, end = (_point(match), None) if after else (0.0, _point(match))
    return When(rest, start, end, clock=match[1] is not None)


def _anchored(match: re.Match[str], rest: str) -> When:
    side = match["side"].lower()
    return When(rest, anchor=match["what"].strip(" ?.,"), side="before" if side == "before" else "after", near=bool(match["near"]))


PATTERNS: tuple[tuple[str, Callable[[re.Match[str], str], When]], ...] = (
    (rf"\b(?:between|from)\s+{AT}\s+(?:and|to|until|till)\s+{AT}", _between),
    (
        rf"\b(?:between|from)\s+{AMOUNT}\s+(?:and|to|until|till)\s+{AMOUNT}\s*{UNIT}\b",
        lambda m, rest: When(rest, float(m[1]) * SECONDS[m[3][0].lower()], _length(m, 2, 3)),
    ),
    (
        rf"\b(?:in|during|within|over)\s+the\s+(?:very\s+)?first\s+(?:{AMOUNT}\s+)?{UNIT}\b",
        lambda m, rest: When(rest, 0.0, _length(m, 1, 2)),
    ),
    (
        rf"\b(?:in|during|within|over)\s+the\s+(?:very\s+)?last\s+(?:{AMOUNT}\s+)?{UNIT}\b",
        lambda m, rest: When(rest, -_length(m, 1, 2), None),
    ),
    (rf"\b(?:after|since|from|before|until)\s+{AT}(?:\s+on(?:wards)?)?\b", _one_side),
    (rf"\b(?:at|around)\s+(?:about\s+|around\s+)?(?:the\s+)?(?:second\s+|minute\s+)?{AT}(?:\s+into\s+the\s+\w+)?(?![\w:])", _at),
    (rf"\b{AT}\s+(?:in(?=\s*(?:[?.,;]|$))|into\s+(?:the|this)\s+{IT})", _at),
    (r"\b(?:just\s+now|right\s+now|a\s+moment\s+ago|currently)\b", lambda m, rest: When(rest, -JUST_NOW.seconds, None)),
    (r"\b(?:the\s+)?(first|last)\s+(?:thing|words?|sentence)\b", lambda m, rest: When(rest, one=m[1].lower())),
    (
        rf"\b(?:at\s+the\s+(?:very\s+)?(?:start|beginning|outset)|in\s+the\s+(?:first|opening)\s+(?:scene|shot)){OF_IT}",
        lambda m, rest: When(rest, edge="start"),
    ),
    (
        rf"\b(?:at\s+the\s+(?:very\s+)?end|in\s+the\s+(?:last|final|closing)\s+(?:scene|shot)){OF_IT}",
        lambda m, rest: When(rest, edge="end"),
    ),
    (r"\b(?P<near>(?:right|directly|immediately|just|shortly)\s+)?(?P<side>after|before|following)\s+(?P<what>[^?]+)", _anchored),
)
"""What time sounds like, the most exact first."""
