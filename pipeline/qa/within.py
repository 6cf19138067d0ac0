"""The stretch of a stream that a question's words about time mean, found in the memory where they refer to something in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.memory.store import Moment, Span, StreamState
from pipeline.qa.evidence import Finder
from pipeline.qa.question import read
from pipeline.qa.when import AROUND, SOON, When, intersection, span_of

ANCHORED = 0.75
"""What "after" or "before" refers to is found where a moment meets this part of its words."""


@dataclass(frozen=True)
class Beyond:
    """The question is about a time that holds nothing, and why."""

    cause: str = ""


def beyond(states: Sequence[StreamState], span: Span) -> Beyond | None:
    """Why nothing can be in the span, where it begins after all that the streams hold."""
    latest = max(state.latest for state in states)
    if span.start is None or span.start <= latest:
        return None
    return Beyond(f"The range begins at {span.start.clock()}, but the stream has come only as far as {latest.clock()}.")


async def within(finder: Finder, states: Sequence[StreamState], when: When, span: Span) -> Span | Beyond | None:
    """The stretch inside `span`; `None` where what the question refers to is not found, so that its words may mean something else."""
    state = states[0]
    if when.anchor:
        anchor = await _anchor(finder, states, when.anchor, span)
        if anchor is None:
            return None
        side = Span(end=anchor.start) if when.side == "before" else Span(anchor.end, anchor.end + SOON if when.near else None)
        return intersection(side, span)
    meant = span_of(when, state.latest, state.facts.started_at)
    if meant.start is not None and meant.start > state.latest + AROUND:
        return Beyond(f"The stream has come only as far as {state.latest.clock()}.")
    return intersection(meant, span) or Beyond("The question and the range that was asked about have no time in common.")


async def _anchor(finder: Finder, states: Sequence[StreamState], what: str, span: Span) -> Moment | None:
    question = read(what)
    if not question.words:
        return None
    judged = await finder.find([state.stream_id for state in states], question, span, reranking=False)
    meeting = [each for each in judged if each.signs.coverage >= ANCHORED]
    return max(meeting, key=lambda each: (each.signs.coverage, each.signs.cosine)).moment if meeting else None
