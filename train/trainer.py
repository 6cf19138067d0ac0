"""Trains the network: one loss on what it says, several on what its tokens know."""

import json
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import nn

from train.batches import Batch
from train.muon import Muon
from train.network import MOTION_LAYER, PLACE_LAYER, Heads, build_network, read, see
from train.recipe import Recipe, batch_of, batches
from train.render import UNKNOWN
from train.tokenizer import build_tokenizer


class Run:
    """A run from random weights, which can be left and taken up again; the same recipe on the same machine gives the same network."""

    def __init__(self, recipe: Recipe, device: str = "cpu") -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, torch.device(device)
        self.tokenizer = build_tokenizer()
        self.network = build_network(len(self.tokenizer)).train().to(self.device)
        self.heads = Heads().to(self.device)
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        """The network's weights averaged over the last few hundred steps: the ones to keep."""
        self.step = 0
        self._optimisers = _optimisers(self.network, self.heads, recipe)

    def advance(self, batch: Batch | None = None) -> dict[str, float]:
        """Take one step, on the step's batch where somebody made it ahead; returns the losses by name, `said` that of the answers."""
        batch = (batch or batch_of(self.step, self.tokenizer, self.recipe)).to(self.device)
        share = _share(self.step, self.recipe)
        for optimiser in self._optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["highest"] * share
        with torch.autocast(self.device.type, torch.bfloat16):
            losses = losses_of(self.network, self.heads, batch)
        weight = self.recipe.heads * (0.2 + 0.8 * share)
        total = losses["said"] + weight * sum(each for name, each in losses.items() if name != "said")
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimiser in self._optimisers:
            optimiser.step()
        self.step += 1
        _follow(self.average, self.network, min(0.995, self.step / (self.step + 20)))
        return dict(zip(losses, torch.stack(list(losses.values())).tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Write all that `resume` needs."""
        parts = (self.network, self.heads, self.average, *self._optimisers)
        whole = path.with_suffix(".part")
        torch.save({"step": self.step, "parts": [each.state_dict() for each in parts]}, whole)
        whole.replace(path)

    def resume(self, path: Path) -> None:
        """Go on where another run of the same recipe was saved; its `steps` and `decay` may differ."""
        saved = torch.load(path, weights_only=True, map_location=self.device)
        self.step = saved["step"]
        parts = (self.network, self.heads, self.average, *self._optimisers)
        for part, state in zip(parts, saved["parts"], strict=True):
            part.load_state_dict(state)


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    workers: int = 0,
    checkpoint: Path | None = None,
    say: Callable[[str], None] = print,
    every: int = 100,
) -> Run:
    """Take all of a recipe's steps.

    Batches are made by so many `workers` ahead, or in between; they are the same. Every few steps `say` is told how it
    goes, and `checkpoint` is written; where it exists already, the run goes on from it.
    """
    run = Run(recipe, device)
    if checkpoint and checkpoint.exists():
        run.resume(checkpoint)
    began, first = (time.monotonic(), time.process_time()), run.step
    smooth: dict[str, float] = {}
    for batch in batches(recipe, run.tokenizer, first=run.step, workers=workers):
        for name, loss in run.advance(batch).items():
            smooth[name] = 0.97 * smooth.get(name, loss) + 0.03 * loss
        if run.step % every == 0 or run.step == recipe.steps:
            spent = time.monotonic() - began[0], time.process_time() - began[1]
            rate = {"s": round(spent[0]), "cpu s/step": round(spent[1] / (run.step - first), 3)}
            say(json.dumps({"step": run.step, **rate, **{name: round(loss, 3) for name, loss in smooth.items()}}))
            if checkpoint:
                run.save(checkpoint)
    return run


def losses_of(network: Any, heads: Heads, batch: Batch) -> dict[str, torch.Tensor]:
    """The losses by name; `said` is that of the answers, the others are the heads'."""
    tokens = see(network, batch.patches).flatten(0, 1)
    embedded = network.get_input_embeddings()(batch.tokens).to(tokens.dtype)
    embedded = embedded.flatten(0, 1).index_copy(0, batch.seen, tokens).view_as(embedded)
    states = read(network, embedded, batch.positions, batch.mask)
    said = network.lm_head(states[-1].flatten(0, 1)[batch.said])
    place, motion = (states[layer - 1].flatten(0, 1)[batch.seen] for layer in (PLACE_LAYER, MOTION_LAYER))
    losses = {"said": nn.functional.cross_entropy(said.float(), batch.targets.flatten()[batch.said])}
    asked = {
        "shape": tokens,
        "colour": tokens,
        "word": tokens,
        "second": place,
        "arrival": motion,
        "direction": motion,
        "speed": motion,
        "count": motion,
    }
    for name, hidden in asked.items():
        losses[name] = _classified(getattr(heads, name)(hidden), batch.labels[name], empty=name in ("shape", "colour"))
    where = batch.labels["centre"]
    known = ~where[:, :1].isnan()
    wrong = nn.functional.smooth_l1_loss(heads.centre(place).float(), where.nan_to_num(), beta=0.1, reduction="none")
    losses["centre"] = 4 * (wrong * known).sum() / (2 * known.sum())
    return losses


def _classified(said: torch.Tensor, true: torch.Tensor, *, empty: bool) -> torch.Tensor:
    """Cross entropy of the labels that are known; where the first class means that nothing is there, it counts a fifth."""
    each = nn.functional.cross_entropy(said.float(), true, reduction="none", ignore_index=UNKNOWN)
    weight = (true != UNKNOWN).float()
    if empty:
        weight = weight * torch.where(true == 0, 0.2, 1.0)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def _optimisers(network: Any, heads: Heads, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al., 2024) for the matrices inside, AdamW for the rest."""
    named = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
    inside = [each for name, each in named if each.ndim == 2 and "embed" not in name]
    rest = [each for name, each in named if not (each.ndim == 2 and "embed" not in name)]
    muon = Muon(inside, lr=recipe.rate, momentum=0.95, weight_decay=0.02)
    adam = torch.optim.AdamW([*rest, *heads.parameters()], lr=recipe.small_rate, betas=(0.9, 0.98), weight_decay=0.01)
    for optimiser in (muon, adam):
        for group in optimiser.param_groups:
            group["highest"] = group["lr"]
    return [muon, adam]


def _share(step: int, recipe: Recipe) -> float:
    """The learning rate's share of its highest value."""
    return min(1.0, (step + 1) / recipe.warmup, (recipe.steps - step) / recipe.decay)


@torch.no_grad()
def _follow(average: Any, network: Any, keep: float) -> None:
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - keep)
