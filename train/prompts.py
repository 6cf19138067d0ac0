"""How the model may be asked to describe a clip: it answers any wording, so the pipeline's prompt can change without it."""

from dataclasses import dataclass

import numpy as np

ANSWER_PROMPTS = (
    "These are keyframes of one scene of a video, in order. Describe in one or two sentences what is shown and what happens.",
    "Describe what happens in this scene.",
    "What happens here?",
    "Describe the video in one or two sentences.",
    "Say what is shown, what moves and where, and what appears when.",
    "Write a caption for this clip. Be short and do not guess.",
    "Tell me what you see, in the order in which it happens.",
)
"""Prompts that ask for a caption."""
INSTRUCTIONS = (
    "You describe one scene of a video from its keyframes, which come in order of time. Say only what the pictures show: "
    "do not guess names, places, or what is said.",
    "You are a careful observer. Say only what can be seen in the pictures, and nothing that was only said.",
    "Use at most 20 words for a sentence.",
    "Write in this voice: calm and factual.",
    "You are a helpful assistant.",
)
"""What may stand before the pictures."""


@dataclass(frozen=True)
class Wording:
    """How the clips of one batch are asked about: alike, because the longest prompt of a batch costs all others as much."""

    before: str = ""
    """What stands before the pictures."""
    prompt: str = ""
    """What stands behind them."""
    remembers: bool = False
    """Whether the prompt tells of another scene before."""


def draw_wording(rng: np.random.Generator) -> Wording:
    """A wording that asks for a caption."""
    prompt, chance = _draw_prompt(rng), rng.random()
    if chance < 0.1:
        return Wording(before=prompt)
    if chance < 0.2:
        return Wording(before=f"{rng.choice(INSTRUCTIONS)}\n", prompt=prompt)
    return Wording(prompt=prompt, remembers=chance > 0.9)


def _draw_prompt(rng: np.random.Generator) -> str:
    """One of the prompts above as it is, or with words left out, repeated and mixed in."""
    if rng.random() < 0.85:
        return ANSWER_PROMPTS[0 if rng.random() < 0.35 else rng.integers(len(ANSWER_PROMPTS))]
    words = " ".join(rng.choice(ANSWER_PROMPTS, 2)).split()
    kept = [word for word in words if rng.random() < rng.choice([0.3, 0.7])]
    for _ in range(rng.integers(0, 4)):
        word = "".join(chr(each) for each in rng.integers(97, 123, rng.integers(2, 7)))
        kept.insert(int(rng.integers(0, len(kept) + 1)), word)
    return " ".join(kept) or "Describe."


def remembering(earlier: str) -> str:
    """What tells a model the description of the scene before, so that it learns not to repeat it."""
    return f"Just before, the video showed: {earlier}\nIf something of it comes back, say so.\n"
