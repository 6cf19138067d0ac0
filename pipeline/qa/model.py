"""Text to vectors: the port, and all-MiniLM-L6-v2 on the CPU."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.errors import ModelMismatch
from pipeline.memory.store import DIMENSIONS, Vectors
from pipeline.models import locate

if TYPE_CHECKING:
    import tokenizers
    import torch

LAYERS, HEADS, FEED_FORWARD = 6, 12, 1536
LAYER_NORM_EPS = 1e-12
MAX_TOKENS = 256
"""What the model was trained for (its `sentence_bert_config.json`); the rest of a longer text is not heard."""
BATCH = 32
"""Texts in one pass; a stage hands in a few, a question some dozens of single words."""


class Embedder(Protocol):
    """Turns texts into vectors whose cosine is high where the texts mean the same."""

    name: str
    """Catalog name of the model."""

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of unit length for each text: float32, [len(texts), 384]."""
        ...

    async def close(self) -> None:
        """Let go of the model."""
        ...


class MiniLm:
    """An `Embedder` with all-MiniLM-L6-v2 (https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2).

    The encoder is BERT's (Devlin et al. 2019): torch's own post-norm encoder layer computes the same, and does without
    the seconds that importing transformers takes. Vectors are the mean over the tokens, brought to unit length.
    """

    name = "minilm-l6-v2"

    def __init__(self, folder: Path) -> None:
        """Read the weights from `folder`; raises `ModelMismatch` where they are not this model's."""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")
        try:
            self._tokenizer, self._encoder = self._worker.submit(_read, folder).result()
        except BaseException:
            self._worker.shutdown()
            raise

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """See `Embedder`."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._embed, list(texts))

    async def close(self) -> None:
        """See `Embedder`."""
        self._worker.shutdown()

    def _embed(self, texts: list[str]) -> Vectors:
        import torch

        vectors = np.empty((len(texts), DIMENSIONS), np.float32)
        by_length = sorted(range(len(texts)), key=lambda index: (len(texts[index]), index))
        for first in range(0, len(texts), BATCH):
            chosen = by_length[first : first + BATCH]
            encodings = self._tokenizer.encode_batch([texts[index] for index in chosen])
            tokens = torch.tensor([encoding.ids for encoding in encodings])
            mask = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
            with torch.inference_mode():
                vectors[chosen] = self._encoder(tokens, mask).numpy()
        return vectors


def load() -> MiniLm:
    """The catalog's MiniLM; raises `ModelMissing` or `ModelMismatch`."""
    return MiniLm(locate("minilm-l6-v2"))


def _read(folder: Path) -> tuple["tokenizers.Tokenizer", "torch.nn.Module"]:
    import tokenizers
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    weights = load_file(folder / "model.safetensors")
    try:
        return tokenizer, _encoder(weights)
    except (KeyError, RuntimeError) as error:
        raise ModelMismatch(f"The weights in {folder} are not those of all-MiniLM-L6-v2: {error}.") from error


def _encoder(weights: dict[str, "torch.Tensor"]) -> "torch.nn.Module":
    import torch
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = weights["embeddings.word_embeddings.weight"]
            self.position = weights["embeddings.position_embeddings.weight"]
            self.segment = weights["embeddings.token_type_embeddings.weight"][0]
            self.norm = nn.LayerNorm(DIMENSIONS, LAYER_NORM_EPS)
            self.norm.load_state_dict({key: weights[f"embeddings.LayerNorm.{key}"] for key in ("weight", "bias")})
            self.layers = nn.ModuleList(_layer(weights, f"encoder.layer.{number}.") for number in range(LAYERS))

        def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            """Unit vectors [batch, 384] of tokens [batch, length]; the mask is true where a token counts."""
            states = self.norm(self.token[tokens] + self.position[: tokens.shape[1]] + self.segment)
            for layer in self.layers:
                states = layer(states, src_key_padding_mask=~mask)
            weight = mask.unsqueeze(-1).to(states.dtype)
            return nn.functional.normalize((states * weight).sum(1) / weight.sum(1), dim=1)

    return Encoder().eval()


def _layer(weights: dict[str, "torch.Tensor"], prefix: str) -> "torch.nn.Module":
    import torch
    from torch import nn

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
