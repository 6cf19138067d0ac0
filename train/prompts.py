"""How the model may be asked to describe a clip: it answers any wording, so the pipeline's prompt can change without it."""

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
SYSTEM_PROMPTS = (
    "You describe scenes of a video.",
    "You are a careful observer. Say only what can be seen in the pictures, and nothing that was only said.",
    "You are a helpful assistant.",
)
"""What may stand before the prompt."""


def draw_prompt(rng: np.random.Generator) -> str:
    """A prompt that asks for a caption: one of those above as it is, or with words left out, repeated and mixed in."""
    if rng.random() < 0.6:
        return str(rng.choice(ANSWER_PROMPTS))
    words = " ".join(rng.choice(ANSWER_PROMPTS, 2)).split()
    kept = [word for word in words if rng.random() < rng.choice([0.4, 0.9])]
    letters = ["".join(chr(each) for each in rng.integers(97, 123, rng.integers(2, 7))) for _ in range(rng.integers(0, 4))]
    for word in letters:
        kept.insert(int(rng.integers(0, len(kept) + 1)), word)
    return " ".join(kept) or "Describe."
