"""Scenes as the network is trained on them: patches, tokens, positions by the clock, and what to learn of each."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from kernels.frame_to_patches import patch_rows
from pipeline.caption.positions import position_ids
from pipeline.timeline import MediaTime
from train.network import MERGE, PATCH, TOKENS_PER_SECOND
from train.prompts import Wording, draw_wording, remembering
from train.render import GRID, UNKNOWN, Labels, label, render
from train.scenes import COLOURS, Scene, caption, draw_scene, questions
from train.tokenizer import END, START, VIDEO, VISION_END, VISION_START

MEAN = STD = (0.5, 0.5, 0.5)
Clock = Literal["time", "index", "zero"]
"""Where temporal positions come from: the frames' times, their indices, or nowhere."""
QUESTIONS = 2
"""How many questions are asked of a clip besides what happens."""
MISHEARD = 0.4
"""How many of the colours that were said are others when the next word is asked for."""


@dataclass(frozen=True)
class Batch:
    """Clips of equally many frames."""

    patches: torch.Tensor
    """[clips * frames, patches, values]."""
    tokens: torch.Tensor
    """[clips, length]."""
    positions: torch.Tensor
    """[3, clips, length]."""
    mask: torch.Tensor
    """[clips, 1, length, length], true where a token may look: at the clip and its own prompt, not at other questions."""
    targets: torch.Tensor
    """[clips, length]: the token that should be said next, or `UNKNOWN`."""
    labels: dict[str, torch.Tensor]
    """What the heads should say of each token of the clips, by name, joined over the clips."""
    seen: torch.Tensor
    """Where the tokens of the clips are, as indices into `tokens` laid flat."""
    said: torch.Tensor
    """Likewise where `targets` are known."""

    def to(self, device: torch.device) -> "Batch":
        """The same on a device."""
        moved = {each.name: getattr(self, each.name).to(device, non_blocking=True) for each in fields(self) if each.name != "labels"}
        return Batch(**moved, labels={name: each.to(device, non_blocking=True) for name, each in self.labels.items()})


def ticks(times: Sequence[float], clock: Clock) -> list[MediaTime]:
    """The presentation times that positions are made of; all different, because no two frames are taken at one time."""
    if clock == "index":
        return [MediaTime.of(index / TOKENS_PER_SECOND) for index in range(len(times))]
    return [MediaTime(index) if clock == "zero" else MediaTime.of(time) for index, time in enumerate(times)]


def make_batch(tokenizer: Any, scenes: Sequence[Scene], rng: np.random.Generator, clock: Clock = "time") -> Batch:
    """A batch of scenes, which must have equally many frames."""
    frames = np.stack([_photographed(render(scene, rng), rng) for scene in scenes])
    wording = draw_wording(rng)
    rows = [_row(tokenizer, scene, wording, rng, clock) for scene in scenes]
    length = max(len(row.tokens) for row in rows)
    tokens, targets = (np.full((len(rows), length), fill, np.int64) for fill in (0, UNKNOWN))
    parts = np.full((len(rows), length), -1)
    positions = np.zeros((3, len(rows), length), np.int64)
    for index, row in enumerate(rows):
        size = len(row.tokens)
        tokens[index, :size], targets[index, :size], parts[index, :size] = row.tokens, row.targets, row.parts
        positions[:, index, :size] = row.positions
    sees = (parts[:, :, None] == parts[:, None]) | (parts[:, None] == 0)
    mask = sees & np.tril(np.ones((length, length), bool))
    labels = [label(scene) for scene in scenes]
    return Batch(
        patches_of(frames.reshape(-1, *frames.shape[2:])),
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        torch.from_numpy(mask)[:, None],
        torch.from_numpy(targets),
        {name: torch.from_numpy(np.concatenate([getattr(each, name) for each in labels])) for name in Labels.__dataclass_fields__},
        torch.from_numpy((tokens == VIDEO).ravel().nonzero()[0]),
        torch.from_numpy((targets != UNKNOWN).ravel().nonzero()[0]),
    )


def patches_of(frames: NDArray[np.uint8]) -> torch.Tensor:
    """Patches [frames, patches, values] of pictures [frames, height, width, 3]."""
    normal = (frames.transpose(0, 3, 1, 2).astype(np.float32) / 255 - MEAN[0]) / STD[0]
    rows = patch_rows(np.ascontiguousarray(normal), patch=PATCH, merge=MERGE, temporal=1)
    return torch.from_numpy(rows).view(len(frames), -1, rows.shape[-1])


def _photographed(frames: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The frames after JPEG, as keyframes are; some clips as they were."""
    if rng.random() < 0.4:
        return frames
    quality = int(rng.integers(75, 96))
    return np.stack([np.asarray(Image.open(io.BytesIO(to_jpeg(each, quality)))) for each in frames])


def to_jpeg(frame: NDArray[np.uint8], quality: int = 85) -> bytes:
    """A frame as the sampler writes it."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return file.getvalue()


@dataclass(frozen=True)
class _Row:
    tokens: list[int]
    targets: list[int]
    parts: list[int]
    """0 for what all parts share, then 1 for the caption and more for the questions."""
    positions: NDArray[np.int64]


def _row(tokenizer: Any, scene: Scene, wording: Wording, rng: np.random.Generator, clock: Clock) -> _Row:
    earlier = remembering(caption(draw_scene(rng))) if wording.remembers else ""
    head = [START, *_encode(tokenizer, f"user\n{wording.before}"), VISION_START]
    count = len(scene.times) * GRID * GRID
    picked = rng.permutation(np.array(questions(scene), object))[:QUESTIONS]
    turns = [(earlier + wording.prompt, caption(scene)), *((each.asked, each.answer) for each in picked)]
    shared = len(head) + count + 1
    tokens, targets, parts = [*head, *[VIDEO] * count, VISION_END], [UNKNOWN] * shared, [0] * shared
    lengths = []
    for part, (asked, answer) in enumerate(turns, start=1):
        opening = [*_encode(tokenizer, asked), END, *_encode(tokenizer, "\n"), START, *_encode(tokenizer, "assistant\n")]
        said = [*_encode(tokenizer, answer), END]
        tokens += [*opening, *_misheard(tokenizer, said[:-1], rng)]
        targets += [*[UNKNOWN] * (len(opening) - 1), *said]
        lengths.append(len(opening) + len(said) - 1)
        parts += [part] * lengths[-1]
    after = 1 + max(lengths)
    whole = position_ids(
        before=len(head), times=ticks(scene.times, clock), rows=GRID, columns=GRID, after=after, tokens_per_second=TOKENS_PER_SECOND
    )[1:, 0]
    # Each part goes on where what they share ends.
    positions = [whole[:, :shared], *(whole[:, shared : shared + each] for each in lengths)]
    return _Row(tokens, targets, parts, np.concatenate(positions, axis=1))


def _misheard(tokenizer: Any, said: list[int], rng: np.random.Generator) -> list[int]:
    """What was said so far, with some of the colours wrong: so the shape is taken from the picture, not from the colour's name."""
    colours = [_encode(tokenizer, f" {each}")[0] for each in COLOURS]
    return [int(rng.choice(colours)) if each in colours and rng.random() < MISHEARD else each for each in said]


_PIECES: dict[str, list[int]] = {}


def _encode(tokenizer: Any, text: str) -> list[int]:
    if text not in _PIECES:
        if len(_PIECES) > 20_000:
            _PIECES.clear()
        _PIECES[text] = tokenizer.encode(text, add_special_tokens=False)
    return _PIECES[text]
