"""Watchword-Tiny's tokenizer: byte pairs learned from its captions, questions and prompts, with Qwen's special tokens."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from train.prompts import ANSWER_PROMPTS, INSTRUCTIONS, remembering
from train.scenes import after, caption, draw_scene, questions

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")
PAD, START, END, VISION_START, VISION_END, VIDEO, IMAGE = range(len(SPECIAL))
SIZE = 1024
"""Most tokens that are learned; every word of a caption is one token, and any text can be written in bytes."""


def build_tokenizer() -> Any:
    """The tokenizer, a `PreTrainedTokenizerFast`; the same each time."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE, special_tokens=list(SPECIAL), initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(_corpus(), trainer)
    named = {"pad_token": SPECIAL[PAD], "eos_token": SPECIAL[END], "additional_special_tokens": [SPECIAL[START], *SPECIAL[3:]]}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)  # type: ignore[no-untyped-call]


def _corpus() -> Iterable[str]:
    rng = np.random.default_rng(0)
    for _ in range(2000):
        scene = draw_scene(rng)
        yield caption(scene)
        for question in questions(scene):
            yield question.asked
            yield question.answer
    for second in range(20):
        yield from [f"{after(second).capitalize()}. A, {after(second)}."] * 20
    for prompt in (*ANSWER_PROMPTS, *INSTRUCTIONS, remembering("")):
        yield from [prompt] * 20
    yield from ["user\n", "assistant\n", "system\n"] * 20
