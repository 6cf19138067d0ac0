"""A base model with a new adapter beside it that learns; the base's own weights never change.

What is read is made by the captioner's own code: its prompt, its positions by the clock, its pictures. So what is learned is what will be
asked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline.caption.pictures import decode
from pipeline.caption.vlm import adapters, prompt
from pipeline.caption.vlm.checkpoint import open_checkpoint, revision_of
from pipeline.caption.vlm.decoding import Decoder, Row
from pipeline.caption.vlm.families import Features
from pipeline.caption.vlm.lowrank import Adapter, LowRank, Switch
from pipeline.caption.vlm.reuse import Shelf
from pipeline.caption.vlm.thinning import Thinning, thin
from train.examples import Example, Picture

FEATURE_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Shape:
    """How large an adapter is, and what it may change."""

    rank: int = 16
    scale: float = 2.0
    """By what its share is multiplied: `lora_alpha` over the rank."""
    vision: bool = False
    """Whether it may change how pictures are encoded, too; training then encodes them again at each step."""


class Learner:
    """Learns on one thread."""

    def __init__(self, base: Path, shape: Shape, *, thinning: Thinning | None = None, seed: int = 1) -> None:
        """`thinning` is how scenes are shown, if not whole. Raises `ModelMissing` or `ModelMismatch` where the base cannot be opened."""
        torch.manual_seed(seed)
        self.family, self.tokenizer = open_checkpoint(base)
        self.network = self.family.network.requires_grad_(False)
        self.adapter = _new(self.network, shape)
        self.parameters = [each for low in self.adapter.layers.values() for each in (low.down, low.up)]
        self._base, self._shape, self._thinning = base, shape, thinning or Thinning()
        self._switch = Switch(self.network)
        self._switch.add(self.adapter)
        self._decoder = Decoder(self.family, self._switch)
        self._features: Shelf[Features] = Shelf("training", FEATURE_BYTES)

    def says(self, examples: Sequence[Example], texts: Sequence[str], *, on: bool = True) -> list[torch.Tensor]:
        """The logarithm of the probability of each token of each text, the last of which ends it, as an answer to each example.

        With the adapter on, gradients lead to it; off, there are none.
        """
        answers = [(*self.tokenizer.encode(text, add_special_tokens=False), self.tokenizer.eos_token_id) for text in texts]
        adapter = self.adapter if on else None
        pictures = self._seen([picture for example in examples for picture in example.pictures], adapter)
        rows = [
            Row([*self._asked(example, pictures), answer], [each.time for each in example.pictures], lambda *_: False, adapter=adapter)
            for example, answer in zip(examples, answers, strict=True)
        ]
        with torch.set_grad_enabled(on), self._switch.on([adapter] * len(rows)):
            hidden = self._decoder.states(rows)
            # Behind the prompt's last token the answer's first is said, and so on.
            logits = self.network.lm_head(torch.cat([hidden[index, -len(answer) - 1 : -1] for index, answer in enumerate(answers)]))
        wanted = torch.tensor([token for answer in answers for token in answer], device=logits.device)
        found = logits.float().log_softmax(-1).gather(1, wanted[:, None])[:, 0]
        return list(found.split([len(answer) for answer in answers]))

    def state(self) -> list[torch.Tensor]:
        """The adapter's weights as they are now."""
        return [each.detach().clone() for each in self.parameters]

    def restore(self, state: Sequence[torch.Tensor]) -> None:
        """Take weights back."""
        with torch.no_grad():
            for parameter, each in zip(self.parameters, state, strict=True):
                parameter.copy_(each)

    def save(self, directory: Path, told: Mapping[str, object]) -> None:
        """Write the adapter, with what is told of how it was made."""
        adapters.write(self.adapter, directory, rank=self._shape.rank, base=self._base, base_revision=revision_of(self._base), told=told)

    def _asked(self, example: Example, pictures: Mapping[Picture, Features]) -> list[Any]:
        if not example.pictures:
            return list(prompt.write_words(self.family, self.tokenizer, question=example.asked).parts)
        written = prompt.write(
            self.family,
            self.tokenizer,
            name=self._base.name,
            instruction="",
            times=[each.time for each in example.pictures],
            question=example.asked,
        )
        shown = thin([pictures[each] for each in example.pictures], self._thinning)
        parts = [shown[part] if isinstance(part, int) else part for part in written.parts]
        return [written.fixed, *parts] if written.fixed else parts

    def _seen(self, pictures: Sequence[Picture], adapter: Adapter | None) -> Mapping[Picture, Features]:
        """The pictures' features; kept where the adapter does not change them."""
        changes = adapter is not None and adapter.sees
        found: dict[Picture, Features] = {}
        for picture in pictures:
            known = None if changes else self._features.get(picture.jpeg)
            if known is not None:
                found[picture] = known
        missing = [each for each in dict.fromkeys(pictures) if each not in found]
        if missing:
            opened = [decode(each.jpeg.read_bytes(), what=each.jpeg.name) for each in missing]
            with torch.set_grad_enabled(changes), self._switch.on([adapter] if changes else []):
                encoded = self.family.encode(opened, self.family.max_pixels)
            for picture, features in zip(missing, encoded, strict=True):
                found[picture] = features
                if not changes:
                    self._features.put(picture.jpeg, features, features.nbytes)
        return found


class Teacher:
    """Takes steps: AdamW with a warm-up and a rate that falls to nothing over the steps that are planned."""

    def __init__(self, parameters: Sequence[torch.Tensor], *, rate: float, steps: int) -> None:
        self._parameters = parameters
        self._optimiser = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
        self._rate, self._steps, self._warmup = rate, steps, max(1, min(10, steps // 5))
        self.taken = 0

    def step(self, loss: torch.Tensor) -> None:
        """Learn from a loss. Raises `ArithmeticError` where it is no number."""
        if not math.isfinite(loss.item()):
            raise ArithmeticError(f"the loss is {loss.item()} at step {self.taken + 1}; a lower rate may help")
        share = min(1.0, (self.taken + 1) / self._warmup, max(0.02, 1 - self.taken / self._steps))
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate * share
        self._optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimiser.step()
        self.taken += 1


def _new(network: Any, shape: Shape) -> Adapter:
    """An adapter that changes nothing yet, for every linear layer of the blocks that it may change."""
    layers = {}
    for name, module in network.named_modules():
        if not isinstance(module, nn.Linear) or name.endswith("lm_head") or not (shape.vision or adapters.is_language(name)):
            continue
        down = torch.empty(shape.rank, module.in_features, device=network.device)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5))
        up = torch.zeros(module.out_features, shape.rank, device=network.device)
        layers[name] = LowRank(down.requires_grad_(), up.requires_grad_(), shape.scale)
    return Adapter("new", layers, sees=shape.vision)
