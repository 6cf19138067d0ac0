"""Makes a sentence of measured facts, and says that it is made of them."""

from dataclasses import dataclass

from pipeline.caption.labels import PROBABLE, Guess
from pipeline.timeline import MediaTime

MAX_QUOTED_CHARACTERS = 300
"""Of the text on screen; all lines are beside the sentence."""
STILL, LITTLE, SOME = 0.0003, 0.002, 0.008
"""Mean luma difference of successive frames, up to which a scene is still, and has little or some movement.

Measured at 25 to 30 frames a second: a slide 0.00001, a quiet classroom 0.0004, a slow pan 0.002, a juggler 0.005.
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
    changes: int = 0
    """How often the picture changed much without a cut."""


def compose(facts: Facts) -> str:
    """One sentence that begins with "Tags:" and claims nothing that was not measured."""
    parts = [_text(facts.text), _looks(facts.looks), _colours(facts.colours, facts.brightness), _motion(facts.motion, facts.changes)]
    return "Tags: " + "; ".join(part for part in parts if part) + "."


def _text(lines: tuple[str, ...]) -> str:
    if not lines:
        return ""
    quoted = " / ".join(lines)
    if len(quoted) > MAX_QUOTED_CHARACTERS:
        quoted = quoted[:MAX_QUOTED_CHARACTERS].rsplit(" ", 1)[0].rstrip(" /") + " …"
    return f"text on screen “{quoted}”"


def _looks(looks: tuple[Look, ...]) -> str:
    said: list[tuple[MediaTime, Guess]] = []
    for look in looks:
        if not look.guess:
            continue
        if said and _names(said[-1][1]) & _names(look.guess):
            start, before = said[-1]
            said[-1] = (start, max(before, look.guess, key=lambda each: each.probability))
        else:
            said.append((look.start, look.guess))
    if not said:
        return "nothing recognised with confidence"
    if len(said) == 1:
        return _guess(said[0][1])
    (_, first), *later = said
    return ", ".join([f"first {_guess(first)}", *(f"from {time.clock()} {_guess(guess)}" for time, guess in later)])


def _names(guess: Guess) -> set[str | None]:
    return {guess.what, guess.like} - {None}


def _guess(guess: Guess) -> str:
    how = "probably" if guess.probability >= PROBABLE else "perhaps"
    # Two digits round 0.995 up to certainty, which no classifier has.
    said = f"{how} {guess.what} ({min(guess.probability, 0.99):.2f}"
    return f"{said}, most like {guess.like})" if guess.like else f"{said})"


def _colours(colours: tuple[str, ...], brightness: str | None) -> str:
    listed = f"mostly {_and(colours)}" if colours else ""
    if brightness:
        return f"{brightness}, {listed}" if listed else f"{brightness} picture"
    return listed


def _motion(motion: float | None, changes: int) -> str:
    times = {1: "once", 2: "twice"}.get(changes, f"{changes} times")
    changing = f"the view changes {times}" if changes else ""
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
