"""What happens in a synthetic clip, and the words that are true of it.

A scene shows one or two things: a shape that moves, shapes that stand still, or a word. The second appears at one of the
frames. Frames are sampled at uneven times. How far the mover gets from frame to frame is drawn without regard to its
speed, and the times follow from both, so that nothing but the times tells a slow clip from a quick one.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from train.colours import RGB, TINTS, draw_tint, middle

Direction = Literal["left", "right", "up", "down"]
Speed = Literal["slowly", "quickly"]

COLOURS = tuple(TINTS)
SHAPES = ("circle", "square", "triangle", "cross", "diamond", "ring", "star", "moon", "heart", "frame", "bow", "dome")
WORDS = ("STOP", "EXIT", "OPEN", "SALE", "LIVE", "NEWS", "HELP", "TAXI")
DIRECTIONS: tuple[Direction, ...] = ("left", "right", "up", "down")
SPEEDS: tuple[Speed, ...] = ("slowly", "quickly")
NUMBERS = ("zero", "one", "two", "three")
HELD_OUT = frozenset(
    {("red", "square"), ("green", "triangle"), ("blue", "circle"), ("yellow", "cross"), ("purple", "ring"), ("white", "star")}
)
"""Pairs of colour and shape that training never shows."""
SIDE = 64
"""Width and height of a frame in pixels."""
FRAMES = (4, 5, 6, 7, 8)
"""How many frames a clip may have."""
RANGES: dict[Speed, tuple[float, float]] = {"slowly": (2.5, 4.0), "quickly": (7.5, 12.0)}
"""Speed in pixels a second."""
TRAVEL = (15.0, 36.0)
"""How far a mover gets in the whole clip, in pixels."""
LONGEST_WAY = 50.0
"""Clips in which a mover would get further, seen or unseen, are not made, so that none takes over 20 s."""
WORD_SIZE = (40, 12)
"""Width and height that a word is given, in pixels."""


@dataclass(frozen=True)
class Thing:
    """What is seen: one to three equal shapes, or a word."""

    colour: str
    shape: str
    count: int = 1
    """How many of the shape."""
    word: str = ""
    """The word shown, in white; then there is no shape."""

    def named(self, article: str = "a") -> str:
        """As a caption names it: `a red circle`, `two red circles`, `the word STOP`."""
        if self.word:
            return f"the word {self.word}"
        return f"{article} {self.colour} {self.shape}" if self.count == 1 else f"{NUMBERS[self.count]} {self.colour} {plural(self.shape)}"


@dataclass(frozen=True)
class Motion:
    """How a thing moves: straight on, at one speed."""

    direction: Direction
    speed: Speed


@dataclass(frozen=True)
class Event:
    """A thing from the moment it is seen first."""

    thing: Thing
    motion: Motion | None
    appears: int
    """Index of the first frame that shows it."""
    centres: tuple[tuple[float, float], ...]
    """Where its shapes are (x, y), in pixels; where it moves, its place in each frame of the clip."""
    radius: float
    """Half the size of a shape, in pixels."""
    tint: RGB | None = None
    """What its colour looks like; in the middle of what the name covers where it is None."""

    @property
    def shown(self) -> RGB:
        """The colour of its pixels."""
        return self.tint or middle(self.thing.colour)


@dataclass(frozen=True)
class Scene:
    """One clip's truth: one or two events, the first of them from the first frame on."""

    events: tuple[Event, ...]
    times: tuple[float, ...]
    """When each frame was taken, in seconds; the first at 0."""
    background: tuple[int, int, int]

    @property
    def second(self) -> int | None:
        """Whole seconds until the second event."""
        return int(self.times[self.events[1].appears]) if len(self.events) > 1 else None


@dataclass(frozen=True)
class Question:
    """Something to be asked of a clip."""

    asked: str
    answer: str


def caption(scene: Scene) -> str:
    """What happens, in order, with its times, directions and speeds."""
    sentences = [_sentence(scene.events[0])]
    if scene.second is not None:
        sentences.append(f"{after(scene.second)}, {_arrival(scene.events[1])}")
    return " ".join(f"{_capital(each)}." for each in sentences)


def plural(shape: str) -> str:
    """`circles`, `crosses`."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def after(second: int) -> str:
    """`within a second`, `after 1 second`, `after 5 seconds`."""
    return "within a second" if second == 0 else f"after {second} second{'s' if second > 1 else ''}"


def questions(scene: Scene) -> list[Question]:
    """All that may be asked of a clip besides what happens, with the answers."""
    asked = []
    for event in scene.events:
        thing = event.thing
        if event.motion:
            name = thing.named("the")
            asked.append(Question(f"Which way does {name} move?", f"It moves {event.motion.direction}."))
            asked.append(Question(f"How fast does {name} move?", f"It moves {event.motion.speed}."))
        elif thing.word:
            asked.append(Question("Which word is shown?", f"The word {thing.word}."))
        else:
            asked.append(Question(f"How many {thing.colour} {plural(thing.shape)} are there?", f"{NUMBERS[thing.count].capitalize()}."))
    asked += [each for which, event in zip(("first", "second"), scene.events, strict=False) for each in _of_one(which, event.thing)]
    if scene.second is not None:
        first, then = scene.events
        asked.append(Question("What is seen first?", f"{_capital(first.thing.named())}."))
        asked.append(Question(f"When does the second thing, {then.thing.named()}, appear?", f"{_capital(after(scene.second))}."))
    return asked


def _of_one(which: str, thing: Thing) -> list[Question]:
    """Colour and shape asked for by themselves, so that each is learned without the other."""
    if thing.word:
        return []
    one = thing.count == 1
    return [
        Question(f"What colour is the {which} thing?", f"{'It is' if one else 'They are'} {thing.colour}."),
        Question(f"What shape is the {which} thing?", f"It is a {thing.shape}." if one else f"They are {plural(thing.shape)}."),
    ]


KINDS: dict[str, tuple[bool, ...]] = {
    "move": (True,),
    "move then appear": (True, False),
    "appear then move": (False, True),
    "still": (False,),
    "still then appear": (False, False),
}
"""What may happen: whether the first thing moves, and the second."""
OFTEN = (0.15, 0.28, 0.28, 0.09, 0.2)
"""How often each of `KINDS`."""


def draw_scene(rng: np.random.Generator, *, frames: int | None = None, held_out: bool = False, kind: str | None = None) -> Scene:
    """One scene at random.

    `frames` is how many frames it has and `kind` one of `KINDS`; both are drawn where they are None. With `held_out` the
    first thing's colour and shape are a pair of `HELD_OUT`; without, no thing's are.
    """
    frames = frames or int(rng.choice(FRAMES))
    moves = KINDS[kind or str(rng.choice(list(KINDS), p=OFTEN))]
    while True:
        scene = _attempt(rng, frames, moves, held_out)
        if scene is not None:
            return scene


def _attempt(rng: np.random.Generator, frames: int, moves: tuple[bool, ...], held_out: bool) -> Scene | None:
    """One try; None where the things would not fit beside each other or could not be told apart."""
    # A mover is seen in three frames at least.
    starts = (0, int(rng.integers(1, frames - 2 if moves[-1] else frames)))[: len(moves)]
    seen_from = next((start for start, moving in zip(starts, moves, strict=True) if moving), 0)
    places = _way(rng, frames, seen_from)
    if places[-1] >= LONGEST_WAY:
        return None
    events: list[Event] = []
    for index, (start, moving) in enumerate(zip(starts, moves, strict=True)):
        pair = _pair(rng, held_out and index == 0)
        event = _mover(rng, pair, start, places) if moving else _still(rng, pair, start, word=not (held_out and index == 0))
        if not event.thing.word:
            event = replace(event, tint=draw_tint(rng, event.thing.colour))
        if any(_overlap(event, other) or event.thing.named() == other.thing.named() or _same_shape(event, other) for other in events):
            return None
        events.append(event)
    speed: Speed = next((event.motion.speed for event in events if event.motion), SPEEDS[rng.integers(2)])
    times = places / rng.uniform(*RANGES[speed])
    background = rng.integers(0, 70, 3)
    return Scene(tuple(events), tuple(times.tolist()), (int(background[0]), int(background[1]), int(background[2])))


def _way(rng: np.random.Generator, frames: int, seen_from: int) -> NDArray[np.float64]:
    """How far a mover is along its way at each frame, in pixels; of it `TRAVEL` from the frame that it is seen in first."""
    steps = rng.uniform(0.5, 1.5, frames - 1)
    steps *= rng.uniform(*TRAVEL) / steps[seen_from:].sum()
    return np.concatenate([[0.0], np.cumsum(steps)])


def _pair(rng: np.random.Generator, held_out: bool) -> tuple[str, str]:
    while True:
        pair = (COLOURS[rng.integers(len(COLOURS))], SHAPES[rng.integers(len(SHAPES))])
        if (pair in HELD_OUT) == held_out:
            return pair


def _mover(rng: np.random.Generator, pair: tuple[str, str], start: int, places: NDArray[np.float64]) -> Event:
    direction: Direction = DIRECTIONS[rng.integers(4)]
    radius = rng.uniform(6.0, 8.5)
    travel = places[-1] - places[start]
    lane = rng.uniform(radius, SIDE - radius)
    along = rng.uniform(radius, SIDE - radius - travel) + np.maximum(places - places[start], 0)
    if direction in ("left", "up"):
        along = SIDE - along
    sideways = direction in ("left", "right")
    centres = tuple((float(each), lane) if sideways else (lane, float(each)) for each in along)
    return Event(Thing(*pair), Motion(direction, SPEEDS[rng.integers(2)]), start, centres, radius)


def _still(rng: np.random.Generator, pair: tuple[str, str], start: int, *, word: bool) -> Event:
    """Shapes in a row or a column, or, where `word` allows it, sometimes a word."""
    if word and rng.random() < 0.25:
        half_width, half_height = WORD_SIZE[0] / 2, WORD_SIZE[1] / 2
        centre = (rng.uniform(half_width, SIDE - half_width), rng.uniform(half_height, SIDE - half_height))
        return Event(Thing("white", "", 1, WORDS[rng.integers(len(WORDS))]), None, start, (centre,), half_height)
    count = int(rng.choice([1, 2, 3], p=[0.6, 0.2, 0.2]))
    radius = rng.uniform(6.0, 8.5) if count == 1 else rng.uniform(5.5, 6.5)
    gap = 2 * radius + rng.uniform(2.0, 4.0)
    length = gap * (count - 1)
    across = rng.uniform(radius, SIDE - radius)
    along = rng.uniform(radius, SIDE - radius - length) + gap * np.arange(count)
    row = rng.random() < 0.5
    return Event(Thing(*pair, count), None, start, tuple((float(a), across) if row else (across, float(a)) for a in along), radius)


def _overlap(one: Event, other: Event) -> bool:
    (left, top, right, bottom), (left_, top_, right_, bottom_) = _box(one), _box(other)
    return left < right_ and left_ < right and top < bottom_ and top_ < bottom


def _box(event: Event) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all that it ever covers, with a margin."""
    half = (WORD_SIZE[0] / 2, WORD_SIZE[1] / 2) if event.thing.word else (event.radius, event.radius)
    across, down = zip(*event.centres, strict=True)
    return min(across) - half[0] - 1, min(down) - half[1] - 1, max(across) + half[0] + 1, max(down) + half[1] + 1


def _same_shape(one: Event, other: Event) -> bool:
    return not one.thing.word and (one.thing.colour, one.thing.shape) == (other.thing.colour, other.thing.shape)


def _sentence(event: Event) -> str:
    if event.motion:
        return f"{event.thing.named()} moves {event.motion.direction} {event.motion.speed}"
    return f"{event.thing.named()} {'is' if event.thing.count == 1 else 'are'} shown"


def _arrival(event: Event) -> str:
    moves = f" and moves {event.motion.direction} {event.motion.speed}" if event.motion else ""
    return f"{event.thing.named()} {'appears' if event.thing.count == 1 else 'appear'}{moves}"


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"
