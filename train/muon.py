"""Muon (Jordan et al., 2024) for matrices inside a network: a step of momentum, made orthogonal; equal shapes are done together."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the Newton-Schulz step, as published: it brings singular values near 1 quickly rather than exactly."""
STEPS = 5


class Muon(torch.optim.Optimizer):
    """`torch.optim.Muon` with Nesterov momentum and `match_rms_adamw`, with a fifth of its kernels to start on a GPU."""

    def __init__(self, matrices: Sequence[torch.nn.Parameter], *, lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[torch.Tensor]] = {}
            for each in group["params"]:
                if each.grad is not None:
                    alike.setdefault(each.shape, []).append(each)
            for matrices in alike.values():
                self._move(matrices, group)

    def _move(self, matrices: list[torch.Tensor], group: dict[str, Any]) -> None:
        rate, momentum = group["lr"], group["momentum"]
        gradients = [each.grad for each in matrices if each.grad is not None]
        for each in matrices:
            if not self.state[each]:
                self.state[each]["momentum"] = torch.zeros_like(each)
        buffers = [self.state[each]["momentum"] for each in matrices]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        wanted = orthogonal(torch.stack(torch._foreach_lerp(gradients, buffers, momentum)))
        torch._foreach_mul_(matrices, 1 - rate * group["weight_decay"])
        size = 0.2 * max(wanted.shape[1:]) ** 0.5
        torch._foreach_add_(matrices, list(wanted.to(matrices[0].dtype).unbind()), alpha=-rate * size)


def orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices [count, rows, columns] with singular values near 1, in bfloat16."""
    a, b, c = COEFFICIENTS
    found = matrices.bfloat16()
    upright = found.shape[1] > found.shape[2]
    if upright:
        found = found.mT
    found = found / found.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.mT if upright else found
