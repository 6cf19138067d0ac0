"""Draws a scene's frames, and says what a network should know of each token of them."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from train.colours import RGB
from train.scenes import COLOURS, DIRECTIONS, SHAPES, SIDE, SPEEDS, WORD_SIZE, WORDS, Event, Scene
from train.shapes import cover

TOKEN = 16
"""Side of a token in pixels."""
GRID = SIDE // TOKEN


def render(scene: Scene, rng: np.random.Generator | None = None) -> NDArray[np.uint8]:
    """The frames [frames, SIDE, SIDE, 3]; with `rng`, with a camera's noise."""
    frames = np.empty((len(scene.times), SIDE, SIDE, 3), np.float32)
    frames[:] = scene.background
    for event in scene.events:
        _paint(frames, event)
    if rng is not None:
        frames += np.float32(rng.uniform(0, 4)) * rng.standard_normal(frames.shape, np.float32)
    levels: NDArray[np.uint8] = np.clip(frames + 0.5, 0, 255).astype(np.uint8)
    return levels


def _paint(frames: NDArray[np.float32], event: Event) -> None:
    if event.motion:
        for index in range(event.appears, len(frames)):
            _blend(frames[index], cover(event.thing.shape, *event.centres[index], event.radius), event.shown)
        return
    mask = np.zeros((SIDE, SIDE), np.float32)
    for x, y in event.centres:
        mask = np.maximum(mask, _word_at(event.thing.word, x, y) if event.thing.word else cover(event.thing.shape, x, y, event.radius))
    for index in range(event.appears, len(frames)):
        _blend(frames[index], mask, event.shown)


def _blend(frame: NDArray[np.float32], mask: NDArray[np.float32], colour: RGB) -> None:
    frame += mask[..., None] * (np.array(colour, np.float32) - frame)


@cache
def _letters(word: str) -> NDArray[np.float32]:
    """The word's pixels, 0 to 1: [height, width] of `WORD_SIZE`."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=32)
    left, top, right, bottom = font.getbbox(word)
    page = Image.new("L", (int(right - left), int(bottom - top)))
    ImageDraw.Draw(page).text((-left, -top), word, fill=255, font=font, stroke_width=1)
    return np.asarray(page.resize(WORD_SIZE, Image.Resampling.BOX), np.float32) / np.float32(255)


def _word_at(word: str, x: float, y: float) -> NDArray[np.float32]:
    mask = np.zeros((SIDE, SIDE), np.float32)
    left = int(np.clip(round(x - WORD_SIZE[0] / 2), 0, SIDE - WORD_SIZE[0]))
    top = int(np.clip(round(y - WORD_SIZE[1] / 2), 0, SIDE - WORD_SIZE[1]))
    mask[top : top + WORD_SIZE[1], left : left + WORD_SIZE[0]] = _letters(word)
    return mask


UNKNOWN = -100
"""A label that no loss is taken of."""


@dataclass(frozen=True)
class Labels:
    """What is true of each token [frames * GRID * GRID]; a token stands for the things whose centres lie in it."""

    shape: NDArray[np.int64]
    """0 for nothing, 1 + index in `SHAPES`, or the last class for a word."""
    colour: NDArray[np.int64]
    """0 for nothing, else 1 + index in `COLOURS`."""
    word: NDArray[np.int64]
    """Index in `WORDS`, `UNKNOWN` where there is none."""
    centre: NDArray[np.float32]
    """[tokens, 2]: x and y of what is there, -1 to 1 over the picture; NaN where there is nothing."""
    second: NDArray[np.int64]
    """Whole seconds since the first frame."""
    arrival: NDArray[np.int64]
    """Of what is there: 0 seen from the first frame on, 1 new in this frame, 2 seen before."""
    direction: NDArray[np.int64]
    """Of what is there: index in `DIRECTIONS`, or the last class where it stands still; unknown when it is new."""
    speed: NDArray[np.int64]
    """Of what is moving there: index in `SPEEDS`."""
    count: NDArray[np.int64]
    """Of what is there: how many like it are shown, less one."""


def label(scene: Scene) -> Labels:
    """The labels of a scene's tokens."""
    count = len(scene.times) * GRID * GRID
    labels = Labels(
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
        np.full(count, UNKNOWN, np.int64),
        np.full((count, 2), np.nan, np.float32),
        np.repeat(np.array(scene.times).astype(np.int64), GRID * GRID),
        *(np.full(count, UNKNOWN, np.int64) for _ in range(4)),
    )
    for event in scene.events:
        for frame in range(event.appears, len(scene.times)):
            for x, y in [event.centres[frame]] if event.motion else event.centres:
                _note(labels, event, frame, x, y)
    return labels


def _note(labels: Labels, event: Event, frame: int, x: float, y: float) -> None:
    column, row = (min(GRID - 1, int(each // TOKEN)) for each in (x, y))
    token = (frame * GRID + row) * GRID + column
    thing = event.thing
    labels.shape[token] = 1 + (len(SHAPES) if thing.word else SHAPES.index(thing.shape))
    labels.colour[token] = 1 + COLOURS.index(thing.colour)
    labels.centre[token] = x / SIDE * 2 - 1, y / SIDE * 2 - 1
    labels.arrival[token] = 2 if frame > event.appears else 1 if event.appears else 0
    labels.count[token] = thing.count - 1
    if thing.word:
        labels.word[token] = WORDS.index(thing.word)
    if frame > event.appears:
        labels.direction[token] = DIRECTIONS.index(event.motion.direction) if event.motion else len(DIRECTIONS)
        if event.motion:
            labels.speed[token] = SPEEDS.index(event.motion.speed)
