"""Standing queries: what is to be told from now on, and when it holds. Rules alone: no clock, no model."""

import fnmatch
import hashlib
import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.errors import RequestInvalid
from pipeline.memory.store import Kind, Moment
from pipeline.qa.question import Question, read
from pipeline.timeline import MediaTime

MAX_CHARACTERS = 500
MOST_OF = 100
"""The longest run of events that hits are counted among."""
THRESHOLD = 0.7
"""From this score on an event is a hit, where none is given."""
COOL_DOWN = MediaTime.of(30)
ORDER = re.compile(
    r"^\s*(?:please\s+)?(?:tell|alert|notify|warn|inform|ping|message)\s+(?:me|us)?\s*|^\s*(?:let\s+(?:me|us)\s+know|watch(?:\s+out)?\s+for)\s*|"
    r"^\s*(?:alert|notify|warn)\b\s*",
    re.IGNORECASE,
)
WHENEVER = re.compile(r"^\s*(?:when(?:ever)?|if|once|as\s+soon\s+as|about|that)\s+", re.IGNORECASE)
QUOTED = re.compile(r"['\"‘’“”]([^'\"‘’“”]{2,100})['\"‘’“”]")
SAYS = re.compile(r"\b(?:says?|said|mentions?|mentioned|utters?|speaks? of|talks? about|the words?)\b", re.IGNORECASE)
SHOWS = re.compile(
    r"\b(?:appears?|shows? up|is (?:shown|seen|visible)|can be seen|comes? into (?:view|the picture)|enters?)\b", re.IGNORECASE
)
READS = re.compile(r"\b(?:reads?|written|on the screen|sign|caption)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Standing:
    """A standing query, read."""

    name: str
    """Identifies it: deliveries of the same event under the same name are the same."""
    query: str
    """As asked."""
    wanted: Question
    """What is to happen, without the order to tell it."""
    phrases: tuple[str, ...]
    """Words that must be said or shown exactly, in small letters; where there are any, nothing else counts."""
    kinds: frozenset[Kind]
    """Where it counts; empty means anywhere."""
    streams: tuple[str, ...] = ("*",)
    threshold: float = THRESHOLD
    hits: int = 1
    of: int = 1
    cool_down: MediaTime = COOL_DOWN


@dataclass(frozen=True)
class Scored:
    """An event and how well it is what is wanted, 0 to 1, and why."""

    moment: Moment
    score: float
    why: str


@dataclass(frozen=True)
class Alert:
    """A standing query holds."""

    id: str
    standing: Standing
    hits: tuple[Scored, ...]
    """The latest last."""
    of: int
    """Among how many events."""

    @property
    def reason(self) -> str:
        """Why it holds, in words."""
        last = self.hits[-1]
        scores = f"score {last.score:.2f}, threshold {self.standing.threshold:.2f}"
        counted = f"; {len(self.hits)} of the last {self.of} events" if self.standing.hits > 1 else ""
        return f"At {last.moment.start.clock()} {last.why} ({scores}{counted})"


def stand(
    query: str,
    *,
    name: str = "",
    streams: Sequence[str] = (),
    threshold: float = THRESHOLD,
    hits: int = 1,
    of: int = 0,
    cool_down: MediaTime = COOL_DOWN,
) -> Standing:
    """Read a standing query; raises `RequestInvalid` for one that cannot be kept."""
    about = f"The standing query {query[:50]!r}"
    if not query.strip() or len(query) > MAX_CHARACTERS:
        raise RequestInvalid(f"{about}: 1 to {MAX_CHARACTERS} characters are needed.")
    if not 0 < threshold <= 1:
        raise RequestInvalid(f"{about}: the threshold {threshold:g} is not over 0 and at most 1.")
    hits = hits or 1
    of = of or hits
    if not 1 <= hits <= of <= MOST_OF:
        raise RequestInvalid(f"{about}: {hits} of {of} hits are wanted; 1 of 1 to {MOST_OF} of {MOST_OF} can be.")
    if cool_down < MediaTime(0):
        raise RequestInvalid(f"{about}: the cool-down is negative.")
    what = WHENEVER.sub("", ORDER.sub("", query)).strip()
    phrases = tuple(phrase.casefold().strip() for phrase in QUOTED.findall(what))
    wanted = read(what)
    if not phrases and not wanted.words:
        raise RequestInvalid(f"{about} names nothing that could be recognised.")
    named = tuple(streams) or ("*",)
    name = name or f"standing-{hashlib.sha256(repr((query, named, threshold, hits, of)).encode()).hexdigest()[:12]}"
    return Standing(name, query, wanted, phrases, _kinds(what), named, threshold, hits, of, cool_down)


@dataclass
class _Run:
    latest: deque[Scored | None]
    """The latest events; `None` for one that is no hit."""
    quiet_until: MediaTime | None = None
    seen: deque[str] = field(default_factory=lambda: deque(maxlen=4 * MOST_OF))


class Watch:
    """One standing query over the events of any number of streams: K of the last N, and quiet for a while after it was told."""

    def __init__(self, standing: Standing, *, most_streams: int = 1_000) -> None:
        self.standing = standing
        self._most_streams = most_streams
        self._runs: dict[str, _Run] = {}

    def forget(self) -> None:
        """Know of no stream: what comes now under the names of those before is of others."""
        self._runs.clear()

    def concerns(self, moment: Moment) -> bool:
        """Whether an event could be what is wanted."""
        standing = self.standing
        return (not standing.kinds or moment.kind in standing.kinds) and any(
            fnmatch.fnmatchcase(moment.stream_id, pattern) for pattern in standing.streams
        )

    def take(self, scored: Scored) -> Alert | None:
        """Count an event that concerns it; the alert where it holds with it. An event that was counted counts once."""
        moment, standing = scored.moment, self.standing
        run = self._runs.pop(moment.stream_id, None) or _Run(deque(maxlen=standing.of))
        self._runs[moment.stream_id] = run
        if len(self._runs) > self._most_streams:
            del self._runs[next(iter(self._runs))]
        if moment.id in run.seen:
            return None
        run.seen.append(moment.id)
        run.latest.append(scored if scored.score >= standing.threshold else None)
        hits = tuple(each for each in run.latest if each is not None)
        if run.latest[-1] is None or len(hits) < standing.hits:
            return None
        if run.quiet_until is not None and moment.start < run.quiet_until:
            return None
        run.quiet_until = moment.start + standing.cool_down
        identity = hashlib.sha256(f"{standing.name}\0{moment.stream_id}\0{moment.id}".encode()).hexdigest()[:24]
        return Alert(f"alert-{identity}", standing, hits, len(run.latest))


def holds_phrase(text: str, phrases: Sequence[str]) -> str:
    """The first of the phrases that the text contains as whole words; empty where it contains none."""
    folded = text.casefold()
    return next((phrase for phrase in phrases if re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", folded)), "")


def _kinds(what: str) -> frozenset[Kind]:
    if SAYS.search(what):
        return frozenset([Kind.SPEECH])
    if READS.search(what):
        return frozenset([Kind.ON_SCREEN_TEXT])
    return frozenset([Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT]) if SHOWS.search(what) else frozenset()
