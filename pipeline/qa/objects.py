"""Questions about the things in the pictures: how many, whether, where, of which colour, which, what at one side, and since when.

Answered from what a detector has seen (`pipeline.memory.inview`), and only where the question asks for nothing that it cannot tell: it
knows no woman from a man, no garden from a street, and nobody's name. What was not seen is not denied.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from pipeline.caption.things import LABELS, THINGS
from pipeline.memory.inview import Item, described, read
from pipeline.memory.store import EVERYTHING, MAX_LIMIT, Kind, Moment, SceneStore, Scope, Span, StreamState
from pipeline.qa.classes import is_kind_of
from pipeline.qa.model import Embedder
from pipeline.qa.when import When, point_of, span_of
from pipeline.qa.words import stem, tokens, word_list
from pipeline.timeline import ZERO, MediaTime

SURE = 0.8
"""How sure an answer is that was seen; of what is told of the dev recordings a larger part is right, but they are few."""
NEAR = MediaTime.of(5.5)
"""How far from a point in time a keyframe may be that tells of it: half of the sampler's longest gap, which ends at a frame, or more."""
ANYTHING = word_list("thing things object objects item items")
PLAIN = word_list(
    """
    there here in on at of to the this that these those it all you we i one see seen visible shown show shows appear appears present now
    video clip stream picture image scene frame film footage screen room view foreground background camera front total altogether currently
    """
)
"""Words of a question that claim nothing which pictures could deny; what somebody has, or what is not there, is not seen."""
LOCATED = word_list("stand stands standing stood")
"""The same, of things; people may sit."""


class Ask(Enum):
    """What is asked of things."""

    COUNT = "how many"
    WHETHER = "whether"
    COLOUR = "of which colour"
    WHEN = "since when"
    WHERE = "where"
    WHICH = "which"
    AT = "what at one side"


FIRST = frozenset(Ask) - {Ask.WHERE}
"""What pictures tell better than words do; "where is the bus?" is asked of words first."""
_SEEN = r"(?:visible|shown|seen|present|to be seen|there|on (?:the )?screen|in view)"
_IN_IT = r"(?:(?:in|on|at|of) (?:the|this) (?:video|clip|stream|picture|image|scene|frame|film|footage|room|foreground|background))"
_SOUNDS: tuple[tuple[Ask, re.Pattern[str]], ...] = tuple(
    (ask, re.compile(pattern))
    for ask, pattern in (
        (Ask.COUNT, r"^how many (?P<what>.+?)(?: (?:are|is|were|was|can|could|do|does|did|stands?|stood|appear|appears)\b(?P<rest>.*))?$"),
        (Ask.WHETHER, rf"^(?:is|are|was|were) there (?:(?:an?|any|some|the) )?(?P<what>.+?)(?P<rest>(?: {_SEEN}| {_IN_IT})*)$"),
        (Ask.WHETHER, rf"^(?:can|do|could) (?:you|we|i|one) see (?:(?:an?|any|some|the) )?(?P<what>.+?)(?P<rest>(?: {_IN_IT})?)$"),
        (Ask.WHETHER, rf"^(?:is|are|was|were) (?:an?|any|some) (?P<what>.+?)(?P<rest>(?: {_SEEN}| {_IN_IT})+)$"),
        (Ask.COLOUR, r"^(?:what|which) colou?rs? (?:is|are|was|were|has|have) (?:the|an?|that|this|these|those) (?P<what>.+?)(?P<rest>)$"),
        (
            Ask.WHEN,
            r"^when (?:does|do|did|is|are|was|were|can) (?:you see |we see |i see |one see )?(?:an?|the|any|some) (?P<what>.+?) (?:first )?"
            r"(?:appears?|shows? up|enters?|comes? into (?:view|the picture)|become visible|visible|seen|shown|be seen)"
            r"(?: (?:for the )?first(?: time)?)?(?P<rest>)$",
        ),
        (Ask.WHERE, rf"^where (?:is|are|was|were|stands?|stood) (?:the|an?|that|this|these|those) (?P<what>.+?)(?P<rest>(?: {_IN_IT})?)$"),
        (
            Ask.AT,
            rf"^(?:what|which (?P<what>things|objects)) (?:can (?:you|we|i|one) see|is|are|is there|are there|stands?) (?:there )?"
            rf"(?:on|at|in) the (?P<place>left|right|cent(?:re|er)|middle)(?:[ -]hand)?(?: side)?(?P<rest>(?: {_IN_IT})?)$",
        ),
        (
            Ask.WHICH,
            rf"^(?:what|which) (?:kinds? of |sorts? of )?(?P<what>\w+?) (?:is|are|was|were|can|do|does|did|appears?)\b"
            rf"(?P<rest>(?: {_SEEN}| {_IN_IT}| be seen| (?:you|we|i|one) see)*)$",
        ),
    )
)


@dataclass(frozen=True)
class Asked:
    """A question about things, read."""

    ask: Ask
    labels: frozenset[str]
    """Of the detector; what is asked about may be any of them."""
    place: str = ""
    """Where: "left", "centre" or "right"; empty for anywhere."""


def asked(text: str) -> Asked | None:
    """What a question without its words about time asks of things; `None` where it asks anything else, or more."""
    plain = re.sub(r"\s+", " ", re.sub(r"[^\w\s-]", " ", text.lower())).strip()
    for ask, pattern in _SOUNDS:
        match = pattern.match(plain)
        if match and ask is Ask.AT:
            return Asked(ask, frozenset(LABELS), "centre" if match["place"][0] in "cm" else match["place"])
        labels = labels_of(match["what"]) if match else frozenset()
        # Things are counted of one kind: nobody counts all that is in a picture.
        if match and labels and _asks_no_more(match["rest"] or "", labels) and (ask is not Ask.COUNT or len(labels) < len(LABELS)):
            return Asked(ask, labels)
    return None


def labels_of(words: str) -> frozenset[str]:
    """The labels of which a phrase is the name, or a general word for them: "mug", "traffic lights", "vehicles"."""
    named = tuple(stem(word) for word in tokens(words) if word not in ("different", "other"))
    found = {label for label in LABELS if named in _names(label)}
    if not found and len(named) == 1:
        # By whole names: a computer mouse is no animal.
        found = {label for label in LABELS if any(is_kind_of(name, named[0]) for name in (THINGS[label].one, *THINGS[label].others))}
    return frozenset(LABELS) if not found and named and tokens(words)[-1] in ANYTHING and len(named) == 1 else frozenset(found)


def _names(label: str) -> set[tuple[str, ...]]:
    named = THINGS[label]
    return {tuple(map(stem, tokens(each))) for each in (label, named.one, named.many, *named.others)}


def _asks_no_more(rest: str, labels: frozenset[str]) -> bool:
    allowed = PLAIN | (frozenset() if "person" in labels else LOCATED)
    # "Can be" asks what is possible, "can be seen" does not.
    return all(word in allowed for word in tokens(re.sub(r"\bbe (?=seen|visible|shown)", "", rest)))


class Things:
    """Answers from what was in view in one memory."""

    def __init__(self, store: SceneStore, embedder: Embedder) -> None:
        self._store, self._embedder = store, embedder

    async def answer(
        self, states: Sequence[StreamState], text: str, span: Span = EVERYTHING, when: When | None = None, *, first: bool
    ) -> list[tuple[Moment, float]]:
        """The moments that answer, each told in the words that do; nothing where nothing was seen, or something else is asked.

        `text` is the question without `when`, what it says about time, and `span` the stretch that is meant by it; `first` whether the
        answer would go before what is found in words: each question has its turn before or after that.
        """
        what = asked(text)
        if what is None or (what.ask in FIRST) != first:
            return []
        if when is not None and when.point:
            return _told(what, await self._nearest(states[0], when, span))
        lines = await self._lines([state.stream_id for state in states], what, text, span)
        if when is not None and when.edge:
            lines = lines[:1] if when.edge == "start" else lines[-1:]
        return _told(what, lines)

    async def would_know(self, stream_id: str, text: str) -> bool:
        """Whether the question is one that the pictures answer, and things were looked for in the stream's pictures."""
        return asked(text) is not None and bool(await self._store.between(stream_id, Kind.IN_VIEW, limit=1))

    async def _nearest(self, state: StreamState, when: When, span: Span) -> list[Moment]:
        """The line that is nearest to the point that is meant, within the range that was asked about where that cuts `span`."""
        around = span_of(when, state.latest, state.facts.started_at)
        at = point_of(when, state.latest, state.facts.started_at)
        start = max(ZERO, at - NEAR) if span.start == around.start else span.start
        end = at + NEAR + MediaTime(1) if span.end == around.end else span.end
        lines = await self._store.between(state.stream_id, Kind.IN_VIEW, span=Span(start, end), limit=MAX_LIMIT)
        return sorted(lines, key=lambda line: (max(line.start - at, at - line.end, ZERO), line.start))[:1]

    async def _lines(self, streams: Sequence[str], what: Asked, text: str, span: Span) -> list[Moment]:
        """The lines that name it, in order of time: of a long stream the first and the last, and what a search finds between."""
        found: list[Moment] = []
        for stream_id in streams:
            first = await self._store.between(stream_id, Kind.IN_VIEW, span=span, limit=MAX_LIMIT)
            found += first
            if len(first) == MAX_LIMIT:
                found += await self._store.between(stream_id, Kind.IN_VIEW, span=span, limit=MAX_LIMIT, last=True)
                found += await self._searched(stream_id, what, text, span)
        lines = {(line.stream_id, line.id): line for line in found if _asked_of(what, line)}
        return sorted(lines.values(), key=lambda line: (line.start, line.id))

    async def _searched(self, stream_id: str, what: Asked, text: str, span: Span) -> list[Moment]:
        names = {word for label in what.labels for each in (THINGS[label].one, THINGS[label].many) for word in tokens(each)}
        vector = (await self._embedder.embed([text]))[0]
        hits = await self._store.search(Scope((stream_id,), frozenset([Kind.IN_VIEW]), span), sorted(names), vector, limit=MAX_LIMIT)
        return [hit.moment for hit in (*hits.by_words, *hits.by_vector)]


def _told(what: Asked, lines: Sequence[Moment]) -> list[tuple[Moment, float]]:
    """The lines that answer, in the words that do."""
    fitting = [(line, items) for line in lines if (items := _asked_of(what, line))]
    if not fitting:
        return []
    one = what.ask is Ask.COUNT
    chosen = _CHOICE[what.ask](fitting)
    return [(described(line, text=", ".join(_numbered(item.text) if one else item.text for item in items)), SURE) for line, items in chosen]


def _numbered(text: str) -> str:
    """Whoever asks how many is told "one bottle", not "a bottle"."""
    return re.sub(r"^an? ", "one ", text)


def _asked_of(what: Asked, line: Moment) -> list[Item]:
    """What a line names of what is asked about; that it may be something else as well is told in its words."""
    items = [item for item in read(line.text) if not what.labels.isdisjoint((item.label, item.rival))]
    # Of several things it is not told which is where, so that only what is all there counts.
    return [item for item in items if not what.place or {place.split()[-1] for place in item.places} == {what.place}]


Line = tuple[Moment, list[Item]]


def _most(lines: Sequence[Line]) -> list[Line]:
    """Where most are counted at one time; of kinds that differ, their sum."""
    return [max(lines, key=lambda line: (sum(item.count for item in line[1]), not any(item.least for item in line[1])))]


def _first(lines: Sequence[Line]) -> list[Line]:
    return [lines[0]]


def _latest(lines: Sequence[Line]) -> list[Line]:
    """The last place that is known."""
    placed = [(line, [item for item in items if item.places]) for line, items in lines]
    return [(line, items) for line, items in placed if items][-1:]


def _coloured(lines: Sequence[Line]) -> list[Line]:
    """Where the colour is seen that they have most often."""
    tints = Counter(item.colour for _, items in lines for item in items if item.colour)
    if not tints:
        return []
    tint, count = tints.most_common(1)[0]
    if 2 * count <= tints.total():
        return []
    return [(line, own) for line, items in lines if (own := [item for item in items if item.colour == tint])][:1]


def _each(lines: Sequence[Line]) -> list[Line]:
    """Each kind where it is first seen."""
    found: dict[str, Line] = {}
    for line, items in lines:
        for item in items:
            found.setdefault(item.label, (line, [item]))
    return list(found.values())[:_MOST_KINDS]


_MOST_KINDS = 6
_CHOICE: dict[Ask, Callable[[Sequence[Line]], list[Line]]] = {
    Ask.COUNT: _most,
    Ask.WHETHER: _first,
    Ask.COLOUR: _coloured,
    Ask.WHEN: _first,
    Ask.WHERE: _latest,
    Ask.WHICH: _each,
    Ask.AT: _each,
}
