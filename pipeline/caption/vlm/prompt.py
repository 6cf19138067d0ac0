"""A prompt as tokens and places for pictures: what a chat template makes of an instruction, a video and a question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.caption.vlm.families import Family
from pipeline.errors import ModelMismatch
from pipeline.timeline import MediaTime

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """What a model reads before it writes."""

    fixed: Tokens
    """What comes before the video and is the same for every scene."""
    parts: tuple[Tokens | int, ...]
    """What follows: runs of tokens, and the numbers of the pictures in between."""


def write(family: Family, tokenizer: Any, *, name: str, instruction: str, times: Sequence[MediaTime], question: str) -> Prompt:
    """The prompt for pictures of these times; the instruction stands before them, so that it is read once for many scenes.

    Raises `ModelMismatch` where the chat template of the checkpoint, which `name` names, has not exactly one place for a video.
    """
    asked: list[dict[str, str]] = [{"type": "text", "text": f"{instruction}\n"}] if instruction else []
    asked += [{"type": "video"}, {"type": "text", "text": question}]
    text = _templated(family, tokenizer, asked)
    places = text.count(family.placeholder)
    if places != 1:
        raise ModelMismatch(
            f"model {name}: its chat template makes {places} places for a video where one is needed; it should write {family.placeholder}"
        )
    before, behind = text.split(family.placeholder)
    parts: list[Tokens | int] = []
    words = ""
    for part in [*family.video(times), behind]:
        if isinstance(part, str):
            words += part
            continue
        parts += [*_encoded(tokenizer, words), part]
        words = ""
    return Prompt(_tokens(tokenizer, before), (*parts, *_encoded(tokenizer, words)))


def write_words(family: Family, tokenizer: Any, *, question: str) -> Prompt:
    """The prompt for a question about no picture."""
    return Prompt((), (_tokens(tokenizer, _templated(family, tokenizer, [{"type": "text", "text": question}])),))


def _templated(family: Family, tokenizer: Any, asked: list[dict[str, str]]) -> str:
    text: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": asked}],
        chat_template=tokenizer.chat_template or family.template,
        add_generation_prompt=True,
        tokenize=False,
    )
    return text


def _encoded(tokenizer: Any, text: str) -> list[Tokens]:
    tokens = _tokens(tokenizer, text)
    return [tokens] if tokens else []


def _tokens(tokenizer: Any, text: str) -> Tokens:
    return tuple(tokenizer.encode(text, add_special_tokens=False)) if text else ()
