"""Sixty short clips whose cuts, dissolves and events are known because they are made here: `make(folder, seed)`.

Twelve sets of five. Every shot has a backdrop of coloured 1/f noise and drawn shapes, seen by a camera that rests, shakes, pans
or zooms, and things that move before it; frame rates are 10 to 60 a second, pictures 240x180 to 640x360, wide, square and upright.
A seed names the clips entirely, so figures for a seed that no rule was tuned on can be had at any time.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bench.sampling.truth import Clip, Event, Span

SETS = (
    "cuts",
    "dissolves",
    "fades",
    "flashes",
    "flicker",
    "pans",
    "zooms",
    "slides",
    "objects",
    "dark",
    "faint",
    "interviews",
)
CLIPS_A_SET = 5
VERSION = 1
"""Rises whenever the same seed gives other clips, so that kept ones are made again."""

RATES = tuple(Fraction(rate) for rate in ("10", "15", "24", "25", "30000/1001", "30", "50", "60"))
SIZES = ((320, 180), (320, 180), (426, 240), (640, 360), (240, 240), (180, 320), (320, 240))
WORDS = (
    "WATCH",
    "RIVER",
    "STATION",
    "NEWS",
    "MARKET",
    "LIGHT",
    "HARBOUR",
    "SEVEN",
    "GARDEN",
    "LONDON",
    "MUSIC",
    "WINTER",
    "TODAY",
    "REPORT",
    "OPEN",
    "WATER",
)

Pixels = NDArray[np.float32]
"""RGB, shape (height, width, 3), 0 to 255."""


@dataclass
class Shot:
    """A continuous take: where the camera looks at which time, and what moves before it."""

    backdrop: Image.Image
    zoom: Callable[[float], float]
    """Width of what is seen, as a share of the backdrop's, by seconds since the shot began."""
    look: Callable[[float], tuple[float, float]]
    """Where the camera looks within what it could see: 0 to 1 each way."""
    movers: list["Mover"] = field(default_factory=list)
    light: float = 1.0
    lift: float = 0.0
    blur: bool = False
    """Whether the picture is smeared along a fast pan, as a real shutter does."""
    texts: list[tuple[float, str, tuple[float, float], int]] = field(default_factory=list)
    """When each line appears, what it says, where (shares of the picture) and how high it is (share of the height in percent)."""

    def render(self, time: float, size: tuple[int, int], shutter: float) -> Pixels:
        """The picture at a time."""
        moments = [time + shutter * part / 5 for part in range(5)] if self.blur else [time]
        scene = np.mean([np.asarray(self._seen(moment, size), np.float32) for moment in moments], axis=0)
        if self.movers or self.texts:
            image = Image.fromarray(scene.astype(np.uint8))
            for mover in self.movers:
                mover.draw(image, time)
            for at, words, place, high in self.texts:
                if time >= at:
                    write(image, words, place, high)
            scene = np.asarray(image, np.float32)
        return (scene * np.float32(self.light) + np.float32(self.lift)).astype(np.float32)

    def _seen(self, time: float, size: tuple[int, int]) -> Image.Image:
        width, height = self.backdrop.size
        seen = self.zoom(time)
        wide = width * seen
        high = wide * size[1] / size[0]
        if high > height:
            wide, high = wide * height / high, float(height)
        across, down = self.look(time)
        left, top = (width - wide) * min(max(across, 0), 1), (height - high) * min(max(down, 0), 1)
        return self.backdrop.resize(size, Image.Resampling.BILINEAR, box=(left, top, left + wide, top + high))


@dataclass
class Mover:
    """A textured thing on a path."""

    picture: Image.Image
    path: Callable[[float], tuple[float, float] | None]
    """Its centre in shares of the picture by time; `None` while it is not there."""

    def draw(self, image: Image.Image, time: float) -> None:
        """Put it where it is."""
        where = self.path(time)
        if where is not None:
            x, y = round(where[0] * image.width - self.picture.width / 2), round(where[1] * image.height - self.picture.height / 2)
            image.paste(self.picture, (x, y), self.picture)


def write(image: Image.Image, words: str, place: tuple[float, float], high: int) -> None:
    """Light letters with a dark rim."""
    points = max(9, image.height * high // 100)
    font = ImageFont.load_default(points)
    ImageDraw.Draw(image).text(
        (place[0] * image.width, place[1] * image.height),
        words,
        fill="white",
        font=font,
        stroke_width=max(1, points // 12),
        stroke_fill="black",
    )


def backdrop(rng: np.random.Generator, size: tuple[int, int], *, shapes: int = 12) -> Image.Image:
    """Coloured noise that is smooth at large and rough at small scale like landscapes, with shapes in it."""
    width, height = size
    steep = rng.uniform(1.1, 1.9)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :]
    scale = 1 / np.maximum(np.hypot(rows, columns), 1 / max(size)) ** steep
    planes = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random(scale.shape))
        plane = np.fft.irfft2(scale * phase, s=(height, width))
        planes.append(plane / max(float(plane.std()), 1e-9))
    common = planes[0]
    base, spread = rng.uniform(50, 200, 3), rng.uniform(15, 50)
    picture = np.stack([base[i] + spread * (0.8 * common + 0.5 * planes[i]) for i in range(3)], axis=-1)
    picture += rng.uniform(-60, 60) * np.linspace(-1, 1, height)[:, None, None]
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(shapes // 3, shapes + 1))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        w, h = rng.uniform(0.03, 0.35, 2) * height
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        match rng.integers(3):
            case 0:
                draw.rectangle((x, y, x + w, y + h), fill=colour)
            case 1:
                draw.ellipse((x, y, x + w, y + h), fill=colour)
            case _:
                draw.polygon([(x, y), (x + w, y + h / 3), (x + w / 3, y + h)], fill=colour)
    return image


def thing(rng: np.random.Generator, side: int) -> Image.Image:
    """Something to move: a patterned blob."""
    picture = backdrop(rng, (side, side), shapes=5).convert("RGBA")
    mask = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(mask)
    (draw.ellipse if rng.random() < 0.6 else draw.rectangle)((1, 1, side - 2, side - 2), fill=255)
    picture.putalpha(mask)
    return picture


def shot(rng: np.random.Generator, size: tuple[int, int], seconds: float, camera: str = "any", movers: int | None = None) -> Shot:
    """A take of about that length. `camera`: any, rest, shake, pan, whip, zoom."""
    if camera == "any":
        camera = str(rng.choice(["rest", "shake", "pan", "zoom"], p=[0.35, 0.25, 0.25, 0.15]))
    wide = 3.0 if camera in ("pan", "whip") else 1.7
    back = backdrop(rng, (int(size[0] * wide), int(size[1] * 1.5)), shapes=round(12 * wide))
    closest = 1 / wide
    centre = (float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.3, 0.7)))
    look: Callable[[float], tuple[float, float]] = lambda t: centre  # noqa: E731
    zoom: Callable[[float], float] = lambda t: closest  # noqa: E731
    match camera:
        case "shake":
            phases, size_of = rng.uniform(0, 6.3, 4), float(rng.uniform(0.02, 0.08))
            look = lambda t: (  # noqa: E731
                centre[0] + size_of * (math.sin(1.7 * t + phases[0]) + 0.4 * math.sin(6.1 * t + phases[1])),
                centre[1] + size_of * (math.sin(1.3 * t + phases[2]) + 0.4 * math.sin(5.3 * t + phases[3])),
            )
        case "pan":
            speed = float(rng.uniform(0.08, 0.45)) * rng.choice([-1, 1])
            begin = 0.02 if speed > 0 else 0.98
            look = lambda t: (_bounce(begin + speed * t), centre[1])  # noqa: E731
        case "whip":
            at, length = float(rng.uniform(0.3, 0.6)) * seconds, float(rng.uniform(0.25, 0.7))
            look = lambda t: (_ease((t - at) / length) * 0.9 + 0.05 + 0.004 * math.sin(t), centre[1])  # noqa: E731
        case "zoom":
            rate, inwards = float(rng.uniform(0.05, 0.3)), bool(rng.random() < 0.5)
            zoom = lambda t: min(0.95, max(0.35, 0.9 * math.exp(-rate * t) if inwards else 0.4 * math.exp(rate * t)))  # noqa: E731
            look = lambda t: (0.5, 0.5)  # noqa: E731
    count = int(rng.integers(0, 3)) if movers is None else movers
    return Shot(back, zoom, look, [wanderer(rng, size) for _ in range(count)], blur=camera == "whip")


def _bounce(value: float) -> float:
    value %= 2
    return value if value <= 1 else 2 - value


def _ease(value: float) -> float:
    value = min(max(value, 0), 1)
    return value * value * (3 - 2 * value)


def wanderer(rng: np.random.Generator, size: tuple[int, int]) -> Mover:
    """Something that moves about gently."""
    phases, speeds = rng.uniform(0, 6.3, 2), rng.uniform(0.3, 1.8, 2)
    reach, centre = rng.uniform(0.05, 0.35), rng.uniform(0.25, 0.75, 2)
    return Mover(
        thing(rng, int(rng.uniform(0.12, 0.4) * min(size))),
        lambda t: (centre[0] + reach * math.sin(speeds[0] * t + phases[0]), centre[1] + reach * math.sin(speeds[1] * t + phases[1])),
    )


def crosser(rng: np.random.Generator, size: tuple[int, int], begin: float, length: float, share: float) -> Mover:
    """Something that crosses the picture once."""
    height, slope = float(rng.uniform(0.3, 0.7)), float(rng.uniform(-0.2, 0.2))
    backwards = rng.random() < 0.5

    def path(time: float) -> tuple[float, float] | None:
        part = (time - begin) / length
        if not 0 <= part <= 1:
            return None
        return (1.3 - 1.6 * part if backwards else -0.3 + 1.6 * part), height + slope * part

    return Mover(thing(rng, int(share * min(size))), path)


def speaker(rng: np.random.Generator, size: tuple[int, int]) -> Shot:
    """Head and shoulders that nod, before a backdrop that rests."""
    take = shot(rng, size, 10, "rest", 0)
    height = size[1]
    body, head = thing(rng, int(height * 0.9)), thing(rng, int(height * 0.42))
    across, phase = float(rng.uniform(0.35, 0.65)), float(rng.uniform(0, 6))
    sway = lambda t: 0.012 * math.sin(2.1 * t + phase) + 0.006 * math.sin(7 * t)  # noqa: E731
    take.movers = [
        Mover(body, lambda t: (across + 0.3 * sway(t), 1.1)),
        Mover(head, lambda t: (across + sway(t), 0.42 + 0.5 * sway(1.4 * t + 1))),
    ]
    return take


@dataclass
class Plan:
    """A clip before it is drawn."""

    shots: list[Shot] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    """When the next shot begins to be seen."""
    mixes: list[tuple[float, str]] = field(default_factory=list)
    """How long each shot takes to appear, and how: cut, dissolve, black or white."""
    seconds: float = 0.0
    grain: float = 0.0
    light: Callable[[float], float] = lambda t: 1.0
    flashes: list[tuple[float, float]] = field(default_factory=list)
    """Begin and length of lightning."""
    events: list[Event] = field(default_factory=list)

    def add(self, take: Shot, seconds: float, mix: float = 0.0, how: str = "cut") -> float:
        """Append a shot that lasts so long, its appearing included; returns when it begins."""
        begin = self.seconds
        self.shots.append(take)
        self.starts.append(begin)
        self.mixes.append((mix, how if self.shots[1:] else "cut"))
        self.seconds += seconds
        return begin


def plan(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> Plan:
    """What a clip of a set holds."""
    made = Plan(grain=float(rng.choice([0, 1, 2, 4])))
    length = lambda low, high: float(rng.uniform(low, high))  # noqa: E731
    match kind:
        case "cuts":
            while made.seconds < 14:
                seconds = length(0.35, 1.2) if rng.random() < 0.35 else length(1.2, 4)
                made.add(shot(rng, size, seconds), seconds)
        case "dissolves":
            while made.seconds < 18:
                mix, still = length(0.5, 2), rng.random() < 0.3
                seconds = mix + length(1.5, 4)
                made.add(shot(rng, size, seconds, "rest" if still else "any"), seconds, mix, "dissolve" if rng.random() < 0.85 else "cut")
        case "fades":
            while made.seconds < 20:
                mix = length(0.5, 2) * 2
                seconds = mix + length(2, 4)
                made.add(shot(rng, size, seconds), seconds, mix, "black" if rng.random() < 0.75 else "white")
        case "flashes":
            while made.seconds < 14:
                seconds = length(3, 6)
                begin = made.add(shot(rng, size, seconds), seconds)
                for _ in range(int(rng.integers(1, 4))):
                    made.flashes.append((begin + length(0.6, seconds - 0.5), length(0.03, 0.12)))
        case "flicker":
            depth, speed = length(0.05, 0.25), length(4, 13)
            square = rng.random() < 0.5
            wave = lambda t: math.sin(2 * math.pi * speed * t)  # noqa: E731
            made.light = lambda t: 1 + depth * (math.copysign(1, wave(t)) if square else wave(t))
            while made.seconds < 14:
                seconds = length(2, 5)
                made.add(shot(rng, size, seconds), seconds)
        case "pans":
            while made.seconds < 14:
                seconds = length(2.5, 6)
                made.add(shot(rng, size, seconds, "whip" if rng.random() < 0.4 else "pan", int(rng.integers(0, 2))), seconds)
        case "zooms":
            while made.seconds < 14:
                seconds = length(2.5, 6)
                made.add(shot(rng, size, seconds, "zoom", int(rng.integers(0, 2))), seconds)
        case "slides":
            while made.seconds < 20:
                seconds, take = length(5, 9), shot(rng, size, 10, "rest", 0)
                if rng.random() < 0.6:
                    take.backdrop = Image.new("RGB", take.backdrop.size, tuple(int(value) for value in rng.integers(20, 230, 3)))
                begin = made.seconds
                for row in range(int(rng.integers(1, 4))):
                    at = length(0.2 + row * (seconds - 1.5) / 3, (row + 1) * (seconds - 1.5) / 3)
                    words = " ".join(rng.choice(WORDS, int(rng.integers(1, 4))))
                    take.texts.append((at, words, (0.08, 0.12 + 0.27 * row + length(0, 0.1)), int(rng.integers(6, 13))))
                    made.events.append(Event(begin + at, min(begin + at + 2, begin + seconds), f"text appears: {words}", "text"))
                made.add(take, seconds)
        case "objects":
            while made.seconds < 16:
                seconds, take = length(4, 8), shot(rng, size, 8, str(rng.choice(["rest", "shake"])), 0)
                begin, at = made.seconds, length(0.8, 1.5)
                while at < seconds - 1:
                    lasts = length(0.4, 1.6)
                    share = length(0.25, 0.9)
                    take.movers.append(crosser(rng, size, at, lasts, share))
                    made.events.append(Event(begin + at, min(begin + at + lasts, begin + seconds), "something crosses", "motion"))
                    at += lasts + length(1, 3)
                made.add(take, seconds)
        case "dark":
            while made.seconds < 14:
                seconds, take = length(1.5, 4), shot(rng, size, 4)
                take.light = length(0.08, 0.3)
                made.add(take, seconds)
        case "faint":
            made.grain = length(2, 8)
            while made.seconds < 14:
                seconds, take = length(1.5, 4), shot(rng, size, 4)
                take.light, take.lift = length(0.2, 0.4), length(60, 130)
                made.add(take, seconds)
        case _:
            left, right = speaker(rng, size), speaker(rng, size)
            while made.seconds < 22:
                how = "dissolve" if rng.random() < 0.25 else "cut"
                mix = length(0.5, 1.5) if how == "dissolve" else 0.0
                take = (left, right, left, right, shot(rng, size, 5))[len(made.shots) % 5]
                made.add(take, mix + length(2, 5), mix, how)
    return made


@dataclass(frozen=True)
class Sketch:
    """A clip before it is drawn: what a seed, a set and a number stand for."""

    plan: Plan
    size: tuple[int, int]
    rate: Fraction
    crf: int
    _rng: np.random.Generator

    @classmethod
    def of(cls, seed: int, kind: str, number: int) -> "Sketch":
        """The same for the same arguments; its frames can be drawn once."""
        rng = np.random.default_rng([VERSION, seed, SETS.index(kind), number])
        rate, size = RATES[int(rng.integers(len(RATES)))], SIZES[int(rng.integers(len(SIZES)))]
        return cls(plan(kind, rng, size), size, rate, int(rng.integers(18, 31)), rng)

    @property
    def cuts(self) -> tuple[float, ...]:
        """When the first frame of each new shot is seen, in seconds."""
        return tuple(_frame(start, self.rate) / float(self.rate) for start, (_, how) in self._borders if how == "cut")

    @property
    def gradual(self) -> tuple[Span, ...]:
        """The dissolves and fades."""
        return tuple(Span(start, start + mix) for start, (mix, how) in self._borders if how != "cut")

    @property
    def _borders(self) -> list[tuple[float, tuple[float, str]]]:
        return list(zip(self.plan.starts, self.plan.mixes, strict=True))[1:]

    def frames(self, numbers: Iterable[int] | None = None) -> Iterator[NDArray[np.uint8]]:
        """The pictures, `uint8` RGB: all, or those of these numbers."""
        wanted = range(int(self.plan.seconds * self.rate)) if numbers is None else numbers
        return _frames(self.plan, self.size, self.rate, self._rng, wanted)


def _frames(
    made: Plan, size: tuple[int, int], rate: Fraction, rng: np.random.Generator, numbers: Iterable[int]
) -> Iterator[NDArray[np.uint8]]:
    shutter = float(1 / rate) * 0.9
    grains = [rng.normal(0, made.grain, (size[1], size[0], 1)).astype(np.float32) for _ in range(7)] if made.grain else []
    for number in numbers:
        time = number / float(rate)
        index = max(i for i, start in enumerate(made.starts) if _frame(start, rate) <= number)
        start, (mix, how) = made.starts[index], made.mixes[index]
        picture = made.shots[index].render(time - start, size, shutter)
        part = (time - start) / mix if mix else 1.0
        if how != "cut" and part < 1:
            before = made.shots[index - 1].render(time - made.starts[index - 1], size, shutter)
            if how == "dissolve":
                picture = (1 - part) * before + part * picture
            else:
                blank = np.float32(255 if how == "white" else 4)
                # Out, a moment of nothing, and in.
                shown, share = (before, 1 - part / 0.45) if part < 0.5 else (picture, (part - 0.55) / 0.45)
                picture = blank + np.float32(max(share, 0)) * (shown - blank)
        picture = picture * np.float32(made.light(time))
        for at, lasts in made.flashes:
            if at <= time < at + lasts:
                picture = 255 - (255 - picture) * np.float32(0.25)
        if grains:
            picture = picture + grains[number % 7]
        yield np.clip(picture, 0, 255).astype(np.uint8)


def _frame(seconds: float, rate: Fraction) -> int:
    """The number of the first frame at or after a time."""
    return math.ceil(seconds * float(rate) - 1e-6)


def make(folder: Path, seed: int) -> list[Clip]:
    """Sixty clips; those that are in the folder already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    return [_clip(folder, seed, kind, number) for kind in SETS for number in range(CLIPS_A_SET)]


def _clip(folder: Path, seed: int, kind: str, number: int) -> Clip:
    return encoded(folder / f"{VERSION}-{seed}-{kind}-{number}.mp4", kind, lambda: Sketch.of(seed, kind, number))


def encoded(path: Path, group: str, drawn: Callable[[], Sketch]) -> Clip:
    """The clip of a sketch, encoded at `path`, and what is known of it beside it; not drawn again if it is there."""
    kept = path.with_suffix(".json")
    if kept.exists():
        return Clip.from_json(json.loads(kept.read_text()), path)
    sketch = drawn()
    rate, size = sketch.rate, sketch.size
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=rate)
        track.width, track.height, track.pix_fmt = size[0], size[1], "yuv420p"
        track.codec_context.thread_count = 1
        track.codec_context.gop_size = round(2 * rate)
        track.options = {"preset": "veryfast", "crf": str(sketch.crf)}
        for picture in sketch.frames():
            container.mux(track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(track.encode(None))
    clip = Clip(
        path=path,
        group=group,
        seconds=sketch.plan.seconds,
        rate=float(rate),
        cuts=sketch.cuts,
        gradual=sketch.gradual,
        events=tuple(sketch.plan.events),
    )
    kept.write_text(json.dumps(clip.to_json()))
    return clip
