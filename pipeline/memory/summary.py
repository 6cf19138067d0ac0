"""Which sentences stand for many: chosen from what was said and shown, never written.

The choice is a facility location (Lin and Bilmes, "A Class of Submodular Functions for Document Summarization", ACL 2011): the
sentences to which all others are nearest in meaning, so that they are central and do not repeat each other. Chosen one by one,
the best first, it is within 1 - 1/e of the best choice, and the same sentences always give the same one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.memory.store import Kind, Level, Moment, Vectors
from pipeline.qa.words import tokens
from pipeline.timeline import MediaTime

LINES = {Level.SCENE: 3, Level.FIVE_MINUTES: 5, Level.HOUR: 8}
"""The most lines that a summary has."""
WORTH = 0.02
"""A further line must bring the others nearer to what is said by at least this part of the most that is possible."""
FEWEST_WORDS = 3
"""A shorter sentence stands for others only where there is no longer one."""


@dataclass(frozen=True)
class Stretch:
    """A part of a stream that is summarised by itself."""

    level: Level
    start: MediaTime
    end: MediaTime

    @property
    def id(self) -> str:
        """The source id of its summary, such as "summary-5m-300000" for what is from 5:00 on."""
        return f"summary-{self.level.value}-{self.start.millis}"


def scenes(window: Stretch, descriptions: Sequence[Moment]) -> list[Stretch]:
    """The window parted where scenes begin in it; what is before the first scene is a part too."""
    edges = {window.start.nanos, *(each.start.nanos for each in descriptions if window.start < each.start < window.end)}
    inner = sorted(edges)
    return [
        Stretch(Level.SCENE, MediaTime(start), MediaTime(end)) for start, end in zip(inner, [*inner[1:], window.end.nanos], strict=True)
    ]


def summarise(stretch: Stretch, stream_id: str, moments: Sequence[Moment], vectors: Vectors) -> tuple[list[Moment], Vectors]:
    """The lines of a stretch's summary in order of time, each with the id of the moment that it is, and their vectors, [n, 384].

    `moments` are what it stands for: what was said and shown, or lines of summaries of parts of it.
    """
    distinct = _distinct(moments)
    long = [index for index in distinct if len(tokens(moments[index].text)) >= FEWEST_WORDS] or distinct
    chosen = sorted(_represent(vectors[distinct], [distinct.index(index) for index in long], LINES[stretch.level]))
    lines = [
        replace(
            moments[distinct[index]],
            source_id=stretch.id,
            kind=Kind.SUMMARY,
            part=part,
            cites=(moments[distinct[index]].id,),
            stream_id=stream_id,
        )
        for part, index in enumerate(chosen)
    ]
    return lines, vectors[[distinct[index] for index in chosen]]


def _distinct(moments: Sequence[Moment]) -> list[int]:
    """Indexes in order of time, of moments with the same words only the first: a slide stays for many scenes."""
    order = sorted(range(len(moments)), key=lambda index: (moments[index].start.nanos, moments[index].id))
    first: dict[tuple[str, ...], int] = {}
    for index in order:
        first.setdefault(tuple(tokens(moments[index].text)), index)
    return sorted(first.values(), key=order.index)


def _represent(vectors: Vectors, eligible: Sequence[int], most: int) -> list[int]:
    """The rows, at most so many, to which all rows are near; of equals the first."""
    if not len(vectors):
        return []
    # Rounded: the last digits depend on what was embedded together.
    near = np.round(np.maximum(vectors.astype(np.float64) @ vectors.T.astype(np.float64), 0), 4)
    covered = np.zeros(len(vectors))
    chosen: list[int] = []
    while len(chosen) < most:
        gains = [(float(np.maximum(near[index] - covered, 0).sum()), -index) for index in eligible if index not in chosen]
        if not gains:
            break
        gain, index = max(gains)
        if chosen and gain < WORTH * len(vectors):
            break
        chosen.append(-index)
        covered = np.maximum(covered, near[-index])
    return chosen
