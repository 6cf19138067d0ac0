"""Makes a sentence of measured facts, and says that it is made of them."""

from dataclasses import dataclass

from pipeline.caption.labels import PROBABLE, Guess
from pipeline.caption.seen import Group
from pipeline.caption.things import THINGS
from pipeline.timeline import MediaTime

MOST_THINGS = 6
"""Kinds of things in the sentence; all are beside it."""
MAX_QUOTED_CHARACTERS = 300
"""Of the text on screen; all lines are beside the sentence."""
STILL, LITTLE, SOME = 0.0005, 0.004, 0.012
"""Mean luma difference of successive frames, up to which a scene is still, and has little or some movement.

As the sampler measures at 25 frames a second: a slide 0.00004, a fixed camera on a table 0.002 to 0.004, a slow zoom 0.005, a
juggler 0.007, a pan over trees 0.015.
"""


@dataclass(frozen=True)
class Look:
    """A stretch of a scene in which the picture stays of one kind."""

    start: MediaTime
    guess: Guess | None


@dataclass(frozen=True)
class Facts:
    """What was measured of a scene."""

    looks: tuple[Look, ...]
    """At least one, in order of time."""
    text: tuple[str, ...] = ()
    """Lines read, in reading order."""
    colours: tuple[str, ...] = ()
    """Those that cover much of the picture, largest first."""
    brightness: str | None = None
    """ "dark" or "bright"; `None` for neither."""
    motion: float | None = None
    """Mean absolute luma difference of successive frames, 0 to 1; `None` where it was not measured."""
    changes: bool = False
    """Whether the picture changed much without a cut."""
    things: tuple[Group, ...] = ()
    """What a detector found, the surest first."""


def compose(facts: Facts) -> str:
    """One sentence that begins with "Tags:" and claims nothing that was not measured."""
    parts = [_text(facts.text), *_shown(facts), _colours(facts.colours, facts.brightness), _motion(facts.motion, facts.changes)]
    return "Tags: " + "; ".join(part for part in parts if part) + "."


def _text(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    quoted = " / ".join(lines)
    if len(quoted) > MAX_QUOTED_CHARACTERS:
        quoted = quoted[:MAX_QUOTED_CHARACTERS].rsplit(" ", 1)[0].rstrip(" /") + " …"
    return f"text on screen “{quoted}”"


def _shown(facts: Facts) -> list[str]:
    """What the picture as a whole is like, and the things in it; of one that both know only the thing, which has a place."""
    things = ", ".join(group.told(scored=True) for group in facts.things[:MOST_THINGS])
    if not things:
        return [_looks(facts.looks)]
    names = {THINGS[group.label].one for group in facts.things}
    recognised = [look for look in facts.looks if look.guess and _bare(look.guess.what) not in names]
    # Where the picture changes, when it does so is worth telling, also to or from what is not recognised.
    return [_looks(facts.looks), things] if recognised else [things]


def _bare(what: str) -> str:
    return what.removeprefix("an ").removeprefix("a ")


def _looks(looks: tuple[Look, ...]) -> str:
    said = [looks[0]]
    for look in looks[1:]:
        before = said[-1]
        if look.guess and before.guess and _names(before.guess) & _names(look.guess):
            said[-1] = Look(before.start, max(before.guess, look.guess, key=lambda each: each.probability))
        elif look.guess:
            said.append(look)
    first, *later = (_guess(look.guess) for look in said)
    if not later:
        return first
    return ", ".join([f"first {first}", *(f"from {look.start.clock()} {guess}" for look, guess in zip(said[1:], later, strict=True))])


def _names(guess: Guess) -> set[str | None]:
    return {guess.what, guess.like} - {None}


def _guess(guess: Guess | None) -> str:
    if not guess:
        return "nothing recognised with confidence"
    how = "probably" if guess.probability >= PROBABLE else "perhaps"
    # Two digits round 0.995 up to certainty, which no classifier has.
    said = f"{how} {guess.what} ({min(guess.probability, 0.99):.2f}"
    return f"{said}, most like {guess.like})" if guess.like else f"{said})"


def _colours(colours: tuple[str, ...], brightness: str | None) -> str:
    listed = f"mostly {_and(colours)}" if colours else ""
    if brightness:
        return f"{brightness}, {listed}" if listed else f"{brightness} picture"
    return listed


def _motion(motion: float | None, changes: bool) -> str:
    changing = "changing view" if changes else ""
    if motion is None:
        return changing
    if motion <= STILL:
        amount = "" if changes else "still picture"
    elif motion <= LITTLE:
        amount = "little movement"
    else:
        amount = "some movement" if motion <= SOME else "much movement"
    return ", ".join(part for part in (amount, changing) if part)


def _and(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
