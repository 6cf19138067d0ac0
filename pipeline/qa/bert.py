"""BERT's encoder (Devlin et al. 2019) in torch's own layers: tokens to one vector a text.

torch's post-norm encoder layer computes the same as transformers', and does without the seconds that importing that takes.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from pipeline.memory.store import DIMENSIONS

HEADS, FEED_FORWARD = 12, 1536
LAYER_NORM_EPS = 1e-12

Rows = Callable[[torch.Tensor], torch.Tensor]
"""The rows of a table of word vectors, [..., 384], for tokens [...]."""


class Encoder(nn.Module):
    """Vectors of unit length, each the mean over a text's tokens.

    `weights` are named as in Hugging Face's `BertModel`; raises `KeyError` or `RuntimeError` where they are not those of such a model
    with 384 dimensions. `rows` looks words up where their table is not among the weights.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], *, layers: int, rows: Rows | None = None) -> None:
        super().__init__()
        self._rows = rows or weights["embeddings.word_embeddings.weight"].__getitem__
        self._position = weights["embeddings.position_embeddings.weight"]
        self._segment = weights["embeddings.token_type_embeddings.weight"][0]
        self._norm = nn.LayerNorm(DIMENSIONS, LAYER_NORM_EPS)
        self._norm.load_state_dict({key: weights[f"embeddings.LayerNorm.{key}"] for key in ("weight", "bias")})
        self._layers = nn.ModuleList(_layer(weights, f"encoder.layer.{number}.") for number in range(layers))
        self.eval()

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors [batch, 384] of tokens [batch, length]; the mask is true where a token counts."""
        states = self._norm(self._rows(tokens) + self._position[: tokens.shape[1]] + self._segment)
        for layer in self._layers:
            states = layer(states, src_key_padding_mask=~mask)
        weight = mask.unsqueeze(-1).to(states.dtype)
        return nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=1)


def _layer(weights: Mapping[str, torch.Tensor], prefix: str) -> nn.Module:
    names = {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }
    state = {f"{ours}.{key}": weights[f"{prefix}{theirs}.{key}"] for ours, theirs in names.items() for key in ("weight", "bias")}
    for key in ("weight", "bias"):
        parts = [weights[f"{prefix}attention.self.{part}.{key}"] for part in ("query", "key", "value")]
        state[f"self_attn.in_proj_{key}"] = torch.cat(parts)
    layer = nn.TransformerEncoderLayer(
        DIMENSIONS, HEADS, FEED_FORWARD, dropout=0.0, activation="gelu", layer_norm_eps=LAYER_NORM_EPS, batch_first=True
    )
    layer.load_state_dict(state)
    return layer
