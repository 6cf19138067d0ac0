"""Standing queries over what is cleared: each new moment is scored by how well it meets the words of what is wanted."""

from collections.abc import Callable
from dataclasses import replace

from watchword.v1.events_pb2 import ClearedEvent

from pipeline.caption.seen import unplaced
from pipeline.memory.inview import described
from pipeline.memory.stage import moments_of
from pipeline.memory.store import Moment
from pipeline.qa.answer import WORDING
from pipeline.qa.model import Embedder
from pipeline.qa.numbers import NUMERALS, with_digits
from pipeline.qa.standing import Alert, Scored, Watch, holds_phrase
from pipeline.qa.support import Candidate, signs, vocabulary
from pipeline.qa.vectors import WordVectors

WORDS = 0.8
"""How much of a score is how well the query's worst met word is met; the rest is the likeness of the whole."""
WHOLE = 512
"""So many queries and sentences are known by their vectors."""
Tell = Callable[[Alert], None]
"""Takes an alert; must not wait."""


class Watcher:
    """All standing queries of one process; an event is taken in once and scored for those that it concerns."""

    def __init__(self, embedder: Embedder) -> None:
        self._words = WordVectors(embedder)
        self._whole = WordVectors(embedder, most=WHOLE)
        """Of what is wanted, and of what the event says: each query is scored against it."""
        self._watches: dict[int, tuple[Watch, Tell]] = {}
        self._next = 0

    def add(self, watch: Watch, tell: Tell) -> Callable[[], None]:
        """Keep a query until what is returned is called."""
        number, self._next = self._next, self._next + 1
        self._watches[number] = watch, tell
        return lambda: self._watches.pop(number, None) and None

    def forget(self) -> None:
        """Know of no stream any more; the queries stay."""
        for watch, _ in self._watches.values():
            watch.forget()

    async def take(self, event: ClearedEvent) -> None:
        """Score what the event says or shows."""
        if not self._watches:
            return
        for moment in moments_of(event):
            for watch, tell in list(self._watches.values()):
                if watch.concerns(moment) and (alert := watch.take(await self._scored(watch, moment))) is not None:
                    tell(_shown(alert))

    async def _scored(self, watch: Watch, moment: Moment) -> Scored:
        standing = watch.standing
        quoted = f"{WORDING[moment.kind]} “{moment.text}”"
        text = unplaced(moment.text)
        if standing.phrases:
            phrase = holds_phrase(text, standing.phrases)
            return Scored(moment, 1.0 if phrase else 0.0, quoted)
        whole = await self._whole.of([standing.wanted.text, text])
        candidate = Candidate(moment, "", float(whole[standing.wanted.text] @ whole[text]))
        own = await self._words.of(vocabulary(standing.wanted, [candidate]))
        read = signs(standing.wanted, candidate, lambda one, other: 0.0 if _differ(one, other) else float(own[one] @ own[other]))
        # The worst met word decides: "a white truck" is no car park, and no white wall.
        return Scored(moment, WORDS * read.least + (1 - WORDS) * min(1.0, max(0.0, 2 * read.cosine)), quoted)


def _shown(alert: Alert) -> Alert:
    """What is in view is told as what its scene shows; while hits are counted it has a source of its own."""
    return replace(alert, hits=tuple(replace(hit, moment=described(hit.moment)) for hit in alert.hits))


def _differ(one: str, other: str) -> bool:
    """Whether one of two words is a number and the other none or another: three people are not two, however near the words are."""
    numbers = [word in NUMERALS or word.isdigit() for word in (one, other)]
    return any(numbers) and with_digits([one]) != with_digits([other])
