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

LAYERS = 6
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

    Vectors are the mean over the tokens, brought to unit length (`pipeline.qa.bert`).
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

    from pipeline.qa.bert import Encoder

    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    weights = load_file(folder / "model.safetensors")
    try:
        return tokenizer, Encoder(weights, layers=LAYERS)
    except (KeyError, RuntimeError) as error:
        raise ModelMismatch(f"The weights in {folder} are not those of all-MiniLM-L6-v2: {error}.") from error
