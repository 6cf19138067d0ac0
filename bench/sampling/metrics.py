"""Borders between shots against the truth, and events against keyframes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.sampling.truth import Clip, Event, Span

NEAR_GRADUAL_S = 0.5
"""How far from a dissolve or a fade, on either side, a border may be to count as its."""


@dataclass(frozen=True)
class Count:
    """Found, missed, and told where there is nothing."""

    found: int = 0
    missed: int = 0
    false: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.found + other.found, self.missed + other.missed, self.false + other.false)

    @property
    def f1(self) -> float | None:
        """Harmonic mean of precision and recall; `None` where there was nothing to be found and nothing told."""
        total = 2 * self.found + self.missed + self.false
        return 2 * self.found / total if total else None


@dataclass(frozen=True)
class Borders:
    """How well the borders of one or more clips were found. A false border counts against both kinds of truth."""

    cuts: Count = Count()
    gradual: Count = Count()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __add__(self, other: "Borders") -> "Borders":
        return Borders(self.cuts + other.cuts, self.gradual + other.gradual, self.notes + other.notes)


def borders(clip: Clip, told: Iterable[float]) -> Borders:
    """Compare the times at which a detector says that shots begin, the first shot's left out, with the truth.

    A true cut is found by one border within a frame of it; a dissolve or fade by one border within half a second of its
    span. What is left of the borders is false, also a second one for the same dissolve.
    """
    left = sorted(told)
    tolerance = 1 / clip.rate + 0.005
    missed_cuts, missed_gradual = [], []
    for cut in clip.cuts or ():
        if (found := _nearest(left, cut, tolerance)) is None:
            missed_cuts.append(cut)
        else:
            left.remove(found)
    for span in clip.gradual:
        middle = (span.start + span.end) / 2
        if (found := _nearest(left, middle, (span.end - span.start) / 2 + NEAR_GRADUAL_S)) is None:
            missed_gradual.append(span)
        else:
            left.remove(found)
    false = [at for at in left if not any(_within(at, span) for span in clip.ignored)]
    cuts, gradual = len(clip.cuts or ()), len(clip.gradual)
    notes = [f"{clip.path.name}: missed cut {at:.3f}" for at in missed_cuts]
    notes += [f"{clip.path.name}: missed {span.start:.2f}-{span.end:.2f}" for span in missed_gradual]
    notes += [f"{clip.path.name}: false {at:.3f}" for at in false]
    return Borders(
        Count(cuts - len(missed_cuts), len(missed_cuts), len(false)),
        Count(gradual - len(missed_gradual), len(missed_gradual), len(false)),
        tuple(notes),
    )


def covered(events: Sequence[Event], keyframes: Sequence[float]) -> list[Event]:
    """The events that have a keyframe inside their span."""
    return [event for event in events if any(event.start <= at <= event.end for at in keyframes)]


def uniform(clip: Clip, begin: float, a_second: float = 1.0) -> list[float]:
    """The times of frames taken evenly."""
    return [begin + number / a_second for number in range(int((clip.seconds - begin) * a_second) + 1)]


def _nearest(times: Sequence[float], wanted: float, within: float) -> float | None:
    near = [time for time in times if abs(time - wanted) <= within]
    return min(near, key=lambda time: abs(time - wanted)) if near else None


def _within(time: float, span: Span) -> bool:
    return span.start <= time <= span.end
