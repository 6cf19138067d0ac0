"""Ten clips of what people film, with every event known because it is made here: `make(folder, seed)`.

A camera that rests or is held sees takes of eight to twenty seconds: somebody walks by, or comes, stays and goes; a car passes; a
hand puts something down or takes it away; a door opens and closes; a hand writes on a board. Each lasts 0.7 to 6 s, with pauses
between that differ, and in some takes something moves all the time besides. Events are what is done, and what the picture shows
afterwards where that is another than before, as the manifest of the media describes bottles that are taken and what is left on the
table. Some clips begin with shots of three seconds.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bench.sampling.synthetic import RATES, Mover, Plan, Shot, Sketch, backdrop, encoded, shot, thing
from bench.sampling.truth import Clip, Event

CLIPS = 10
GROUP = "actions"
VERSION = 1
"""Rises whenever the same seed gives other clips, so that kept ones are made again."""
_LEAST_STATE = 1.5
"""What is to be seen for less is not described."""
_SIZES = ((320, 180), (426, 240), (640, 360), (320, 240), (180, 320))
_SECONDS = 28.0
Place = tuple[float, float]


@dataclass
class _Take:
    """A take that is being made: what happens in it, one after another."""

    rng: np.random.Generator
    size: tuple[int, int]
    shot: Shot
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    state: tuple[float, str] | None = None
    """Since when the picture is another than before, and in what."""

    def pause(self, low: float, high: float) -> None:
        self.now += float(self.rng.uniform(low, high))

    def move(self, picture: Image.Image, path: Callable[[float], Place | None], *, behind: bool = False) -> None:
        self.shot.movers.insert(0, Mover(picture, path)) if behind else self.shot.movers.append(Mover(picture, path))

    def done(self, lasts: float, what: str, after: str = "") -> None:
        """Something took that long; what is to be seen `after`, if that is not what was before."""
        self.close()
        self.events.append(Event(self.now, self.now + lasts, what, "action"))
        self.now += lasts
        self.state = (self.now, after) if after else None

    def close(self) -> None:
        """What was to be seen until now is over."""
        if self.state is not None and self.now - self.state[0] >= _LEAST_STATE:
            self.events.append(Event(self.state[0], self.now, self.state[1], "state"))
        self.state = None


def _between(begin: float, end: float, time: float) -> float:
    """How far a movement is that begins and ends gently, 0 to 1."""
    part = min(max((time - begin) / (end - begin), 0), 1)
    return part * part * (3 - 2 * part)


def _person(rng: np.random.Generator, high: int) -> Image.Image:
    """Head and body."""
    wide = max(8, round(high * rng.uniform(0.3, 0.45)))
    picture = backdrop(rng, (wide, high), shapes=4).convert("RGBA")
    mask = Image.new("L", (wide, high), 0)
    draw = ImageDraw.Draw(mask)
    draw.ellipse((wide * 0.25, 0, wide * 0.75, high * 0.2), fill=255)
    draw.rounded_rectangle((0, high * 0.18, wide - 1, high * 0.62), radius=wide // 4, fill=255)
    draw.rectangle((wide * 0.15, high * 0.55, wide * 0.85, high - 1), fill=255)
    picture.putalpha(mask)
    return picture


def _arm(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """As long as the picture is wide; the hand is its left end."""
    wide, high = size[0], max(6, round(size[1] * rng.uniform(0.08, 0.16)))
    picture = backdrop(rng, (wide, high), shapes=3).convert("RGBA")
    mask = Image.new("L", (wide, high), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, wide + high, high - 1), radius=high // 2, fill=255)
    picture.putalpha(mask)
    return picture


def _walk(take: _Take, *, fast: bool = False) -> None:
    """Somebody walks by, or a car passes."""
    rng, begin = take.rng, take.now
    lasts = float(rng.uniform(0.7, 1.8) if fast else rng.uniform(1.5, 5))
    high = float(rng.uniform(0.2, 0.5) if fast else rng.uniform(0.4, 0.9))
    picture = thing(rng, round(high * min(take.size))) if fast else _person(rng, round(high * take.size[1]))
    margin = picture.width / take.size[0] / 2
    level, left = float(rng.uniform(0.5, 0.7)), rng.random() < 0.5

    def path(time: float) -> Place | None:
        part = (time - begin) / lasts
        if not 0 <= part <= 1:
            return None
        across = -margin + (1 + 2 * margin) * part
        return (1 - across if left else across), level + (0 if fast else 0.01 * math.sin(9 * time))

    take.move(picture, path)
    take.done(lasts, "a car passes" if fast else "somebody walks by")


def _visit(take: _Take) -> None:
    """Somebody comes, stays and goes."""
    rng, begin = take.rng, take.now
    comes, stays, goes = float(rng.uniform(0.8, 2)), float(rng.uniform(1, 4.5)), float(rng.uniform(0.8, 2))
    picture = _person(rng, round(float(rng.uniform(0.5, 0.95)) * take.size[1]))
    margin, place, level = picture.width / take.size[0] / 2, float(rng.uniform(0.25, 0.75)), float(rng.uniform(0.5, 0.65))
    outside = -margin if rng.random() < 0.5 else 1 + margin
    sway = float(rng.uniform(0, 0.012))

    def path(time: float) -> Place | None:
        if not begin <= time <= begin + comes + stays + goes:
            return None
        there = _between(begin, begin + comes, time) - _between(begin + comes + stays, begin + comes + stays + goes, time)
        return outside + (place - outside) * there + sway * math.sin(2.3 * time), level

    take.move(picture, path)
    take.done(comes, "somebody comes", "somebody is there")
    take.now += stays
    take.done(goes, "somebody goes")


def _hand(take: _Take, things: list[tuple[Place, list[float]]]) -> None:
    """A hand puts something down, or takes away what is there."""
    rng, begin = take.rng, take.now
    lasts = float(rng.uniform(0.9, 2.2))
    touches, back = begin + lasts * float(rng.uniform(0.4, 0.6)), begin + lasts
    there = [each for each in things if len(each[1]) % 2]
    if there and rng.random() < 0.5:
        place, times = there[int(rng.integers(len(there)))]
        times.append(touches)
        what = "something is taken"
    else:
        place, times = (float(rng.uniform(0.15, 0.7)), float(rng.uniform(0.35, 0.75))), [touches]
        things.append((place, times))
        what = "something is put down"
        picture = thing(rng, round(float(rng.uniform(0.12, 0.3)) * min(take.size)))
        take.move(picture, lambda t: place if sum(at <= t for at in times) % 2 else None, behind=True)
    arm = _arm(rng, take.size)
    middle = arm.width / take.size[0] / 2

    def path(time: float) -> Place | None:
        if not begin <= time <= back:
            return None
        reach = _between(begin, touches, time) - _between(touches, back, time)
        return middle + 1 + (place[0] - 1) * reach, place[1]

    take.move(arm, path)
    take.done(lasts, what, "another number of things is there")


def _door(take: _Take) -> None:
    """A door slides open, stays so, and is closed again; or a curtain, or a lid."""
    rng, begin = take.rng, take.now
    opens, stays, closes = float(rng.uniform(0.8, 1.6)), float(rng.uniform(1.5, 4)), float(rng.uniform(0.8, 1.6))
    wide, high = round(take.size[0] * rng.uniform(0.15, 0.3)), round(take.size[1] * rng.uniform(0.4, 0.8))
    room, place = backdrop(rng, (wide, high), shapes=5).convert("RGBA"), (float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.4, 0.6)))
    leaf = Image.new("RGBA", (wide, high), tuple(int(value) for value in rng.integers(20, 230, 3)))

    def slid(time: float) -> Place:
        part = _between(begin, begin + opens, time) - _between(begin + opens + stays, begin + opens + stays + closes, time)
        return place[0] + part * wide / take.size[0], place[1]

    take.move(leaf, slid, behind=True)
    take.move(room, lambda t: place, behind=True)
    take.done(opens, "a door opens", "it is open")
    take.now += stays
    take.done(closes, "a door closes")


def _appears(at: float, place: Place) -> Callable[[float], Place | None]:
    return lambda time: place if time >= at else None


def _write(take: _Take) -> None:
    """A hand moves over a board and leaves lines."""
    rng, begin = take.rng, take.now
    lasts = float(rng.uniform(2, 6))
    left, top, wide = float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0.2, 0.4))
    arm = _arm(rng, take.size)
    middle = arm.width / take.size[0] / 2
    mark = Image.new(
        "RGBA", (max(3, take.size[0] // 40), max(3, take.size[1] // 12)), tuple(int(value) for value in rng.integers(0, 256, 3))
    )
    strokes = max(3, round(lasts * 3))
    for number in range(strokes):
        take.move(mark, _appears(begin + lasts * (number + 0.5) / strokes, (left + wide * number / strokes, top)), behind=True)

    def path(time: float) -> Place | None:
        if not begin <= time <= begin + lasts:
            return None
        part = (time - begin) / lasts
        away = (1 - left - wide * part) * max(0.0, 1 - 8 * part, 8 * part - 7)
        return left + wide * part + away + middle, top + 0.03 * math.sin(14 * time)

    take.move(arm, path)
    take.done(lasts, "a hand writes", "writing is on the board")


def _fill(take: _Take, seconds: float) -> None:
    """One thing after another for about so long; a take of a board, of a table or of a street."""
    kind = int(take.rng.integers(3))
    things: list[tuple[Place, list[float]]] = []
    take.pause(0.3, 3)
    while take.now < seconds - 3:
        chance = take.rng.random()
        if kind == 0:
            _hand(take, things)
        elif kind == 1:
            _door(take) if chance < 0.35 else _visit(take) if chance < 0.7 else _walk(take)
        else:
            _walk(take, fast=chance < 0.45) if chance < 0.8 else _write(take) if chance < 0.9 else _visit(take)
        take.pause(0.4, 1.5) if take.rng.random() < 0.35 else take.pause(1.5, 5)
    take.close()


def plan(rng: np.random.Generator, size: tuple[int, int]) -> Plan:
    """What a clip holds."""
    made = Plan(grain=float(rng.choice([0, 1, 2, 4])))

    def add(seconds: float) -> None:
        camera = str(rng.choice(["rest", "shake"], p=[0.65, 0.35]))
        take = _Take(rng, size, shot(rng, size, seconds, camera, int(rng.random() < 0.3)))
        if seconds < 4:
            take.pause(0.2, 0.6)
            _walk(take, fast=True)
        else:
            _fill(take, seconds)
        lasts = max(seconds, take.now + 0.3)
        begin = made.add(take.shot, lasts)
        made.events += [Event(begin + each.start, begin + each.end, each.what, each.kind) for each in take.events]

    if rng.random() < 0.3:
        for _ in range(int(rng.integers(2, 5))):
            add(3)
    while made.seconds < _SECONDS:
        add(float(rng.uniform(8, 20)))
    return made


def make(folder: Path, seed: int) -> list[Clip]:
    """Ten clips; those that are in the folder already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    named = ((folder / f"{GROUP}-{VERSION}-{seed}-{number}.mp4", number) for number in range(CLIPS))
    return [encoded(path, GROUP, partial(sketch, seed, number)) for path, number in named]


def sketch(seed: int, number: int) -> Sketch:
    """The same for the same arguments."""
    rng = np.random.default_rng([VERSION, seed, number, 77])
    rate, size = RATES[int(rng.integers(len(RATES)))], _SIZES[int(rng.integers(len(_SIZES)))]
    return Sketch(plan(rng, size), size, rate, int(rng.integers(18, 31)), rng)
