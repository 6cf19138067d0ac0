"""A vision tower's attention within its windows and pictures in one call, where transformers makes one for each of them.

A picture of 448x252 has twelve windows in 28 of Qwen2.5-VL's 32 layers: 340 calls, and on a GPU three waits for the lengths in every
layer. Here windows of one size are stacked, and those of other sizes are filled up and masked.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class _Plan:
    """How rows are stacked to windows of one length, and taken out again."""

    windows: int
    longest: int
    rows: "Tensor | None" = None
    """[windows * longest]: which row is at each place; `None` where they lie in order already."""
    places: "Tensor | None" = None
    """[rows]: where each row is then."""
    mask: "Tensor | None" = None
    """[windows, 1, 1, longest]: false where a window is filled up."""


class Windows:
    """The plans of a pass through a tower, which its layers share: one for windows and one for whole pictures."""

    def __init__(self) -> None:
        self._made: list[tuple[Tensor, _Plan]] = []

    def plan(self, bounds: "Tensor") -> _Plan:
        """The plan for runs of rows between `bounds` [windows + 1], which all layers of a pass are given as one object."""
        known = next((plan for seen, plan in self._made if seen is bounds), None)
        if known is None:
            known = _planned(bounds)
            self._made = [*self._made[-1:], (bounds, known)]
        return known


def _planned(bounds: "Tensor") -> _Plan:
    import torch

    edges = bounds.cpu().numpy()
    lengths = np.diff(edges)
    windows, longest = len(lengths), int(lengths.max())
    if (lengths == longest).all():
        return _Plan(windows, longest)
    within = np.arange(longest) < lengths[:, None]
    rows = np.where(within, edges[:-1, None] + np.arange(longest), 0).ravel()
    rows_of, places, mask = (torch.from_numpy(each).to(bounds.device) for each in (rows, np.flatnonzero(within), within[:, None, None]))
    return _Plan(windows, longest, rows_of, places, mask)


def join_windows(visual: Any) -> None:
    """Let a vision tower of the Qwen architectures attend in one call a layer."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    shared = Windows()

    class Attention(torch.nn.Module):
        """As the attention whose weights it has."""

        def __init__(self, before: Any) -> None:
            super().__init__()
            self.qkv, self.proj = before.qkv, before.proj
            self.heads: int = before.num_heads

        def forward(
            self, hidden_states: "Tensor", cu_seqlens: "Tensor", position_embeddings: "tuple[Tensor, Tensor]", **_: object
        ) -> "Tensor":
            """Rows [n, width] to rows of the same shape; `cu_seqlens` bounds the runs of rows that see each other."""
            plan = shared.plan(cu_seqlens)
            rows = self.qkv(hidden_states).view(len(hidden_states), 3, self.heads, -1)
            cos, sin = (each[:, None].float() for each in position_embeddings)
            turned = [_turned(rows[:, side], cos, sin) for side in (0, 1)]
            query, key, value = (_stacked(each, plan) for each in (*turned, rows[:, 2]))
            mixed = scaled_dot_product_attention(query, key, value, attn_mask=plan.mask).transpose(1, 2).flatten(0, 1).flatten(1)
            out: Tensor = self.proj(mixed if plan.places is None else mixed[plan.places])
            return out

    for block in visual.blocks:
        block.attn = Attention(block.attn)


def _turned(rows: "Tensor", cos: "Tensor", sin: "Tensor") -> "Tensor":
    """Rotary positions in float32, as the checkpoints were trained."""
    import torch

    exact = rows.float()
    one, other = exact.chunk(2, dim=-1)
    return (exact * cos + torch.cat([-other, one], dim=-1) * sin).to(rows.dtype)


def _stacked(rows: "Tensor", plan: _Plan) -> "Tensor":
    """Rows [n, heads, width] as windows [windows, heads, longest, width]."""
    placed = rows if plan.rows is None else rows[plan.rows]
    return placed.reshape(plan.windows, plan.longest, *rows.shape[1:]).transpose(1, 2)
