"""How long what belongs to a stream is kept, and the work of letting it go."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import structlog

from pipeline.errors import StoreUnavailable
from pipeline.memory.filling import WINDOW_NS
from pipeline.memory.sql import SqlStore
from pipeline.telemetry import MOMENTS_EXPIRED
from pipeline.timeline import NANOS, MediaTime

SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
FOREVER = "forever"
EVERY_S = 60.0
"""How often it is looked for what is too old."""
STEP = 500
"""The most items that are removed in one transaction: others write between two."""
LONGEST_DAYS = 36_500

_RULE = re.compile(r"(?:([A-Za-z0-9._:*?-]{1,200})=)?(?:([0-9]{1,6})([mhdw])|forever)")


@dataclass(frozen=True)
class Rule:
    """How long the streams of a name are kept."""

    match: str
    """A stream id, in which "*" stands for any characters and "?" for one."""
    keep_s: float | None
    """Seconds of wall clock after something was said or shown; `None` means for ever."""


def read(text: str) -> tuple[Rule, ...]:
    """The rules of a setting such as "lobby-*=12h, meeting-*=forever, 30d"; the first that matches holds. Raises `ValueError`."""
    rules = []
    for part in (part.strip() for part in text.split(",")):
        found = _RULE.fullmatch(part)
        if found is None:
            raise ValueError(f"{part!r} is no NAME=TIME, with a time such as 90m, 12h, 30d, 4w or {FOREVER}")
        seconds = int(found[2]) * SECONDS[found[3]] if found[2] else None
        if seconds is not None and not 0 < seconds <= LONGEST_DAYS * SECONDS["d"]:
            raise ValueError(f"{part!r}: at least a minute and at most {LONGEST_DAYS} days are possible")
        rules.append(Rule(found[1] or "*", seconds))
    return tuple(rules)


def keep_s(stream_id: str, rules: Sequence[Rule]) -> float | None:
    """How long what belongs to a stream is kept; `None` means for ever."""
    return next((rule.keep_s for rule in rules if fnmatchcase(stream_id, rule.match)), None)


class Retention:
    """Lets go of what is too old, a little at a time."""

    def __init__(self, store: SqlStore, rules: Sequence[Rule], *, clock: Callable[[], float] = time.time) -> None:
        """`clock` is Unix time in seconds."""
        self._store = store
        self._rules = rules
        self._clock = clock

    async def run(self) -> None:
        """Look every minute, for ever; returns at once where everything is kept for ever."""
        while any(rule.keep_s is not None for rule in self._rules):
            # A memory that cannot be used now says so itself, and is looked at again.
            with contextlib.suppress(StoreUnavailable):
                await self.sweep()
            await asyncio.sleep(EVERY_S)

    async def sweep(self) -> int:
        """Remove all that is too old now; says how many moments that were."""
        removed = 0
        for stream in await self._store.ages():
            keep = keep_s(stream.stream_id, self._rules)
            if keep is None:
                continue
            # Whole stretches only: what is summarised together goes together.
            before = int((self._clock() - keep - stream.began_at) * NANOS) // WINDOW_NS * WINDOW_NS
            while (gone := await self._store.expire(stream.stream_id, MediaTime(before), limit=STEP)) is not None:
                removed += gone
        if removed:
            MOMENTS_EXPIRED.inc(removed)
            structlog.get_logger(__name__).info("scene_memory_expired", moments=removed)
        return removed
