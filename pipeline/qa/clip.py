"""Pictures and words in the space of a CLIP or SigLIP checkpoint, brought to the memory's 384 dimensions.

A. Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; X. Zhai et al., "Sigmoid
Loss for Language Image Pre-Training", ICCV 2023. More dimensions are projected by a fixed random rotation, which keeps cosines to
about 0.05 (Johnson and Lindenstrauss, 1984); fewer are filled with zeros, which keeps them exactly.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.caption.pictures import decode
from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.memory.store import DIMENSIONS, Vectors
from pipeline.qa.visual import Looks

FAMILIES = ("clip", "siglip", "siglip2")
SEED = 384
"""Of the rotation: another one would make all stored vectors useless."""


class ClipLooks:
    """A `PictureEmbedder` around a checkpoint directory. It names nothing: its cosines say which picture is nearest, not what is shown."""

    def __init__(self, directory: Path) -> None:
        """Load the checkpoint; nothing is fetched and none of its code runs. Raises `ModelMissing` or `ModelMismatch`."""
        self.name = f"looks-{directory.name}"
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="looks")
        try:
            self._network, self._images, self._tokenizer = self._worker.submit(_read, directory).result()
        except BaseException:
            self._worker.shutdown()
            raise

    async def pictures(self, jpegs: Sequence[bytes]) -> list[Looks]:
        """See `PictureEmbedder`."""
        return [Looks(vector) for vector in await asyncio.get_running_loop().run_in_executor(self._worker, self._pictures, list(jpegs))]

    async def words(self, text: str) -> Vectors:
        """See `PictureEmbedder`."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._words, text)

    async def close(self) -> None:
        """See `PictureEmbedder`."""
        self._worker.shutdown()

    def _pictures(self, jpegs: list[bytes]) -> Vectors:
        import torch

        pictures = [decode(jpeg, what="keyframe").convert("RGB") for jpeg in jpegs]
        with torch.inference_mode():
            return fitted(_pooled(self._network.get_image_features(**self._images(images=pictures, return_tensors="pt"))))

    def _words(self, text: str) -> Vectors:
        import torch

        longest = self._network.config.text_config.max_position_embeddings
        # SigLIP was trained on texts filled up to one length, CLIP was not.
        padding = True if self._network.config.model_type == "clip" else "max_length"
        tokens = self._tokenizer([f"a photo of {text}"], padding=padding, truncation=True, max_length=longest, return_tensors="pt")
        tokens.pop("token_type_ids", None)
        with torch.inference_mode():
            return np.asarray(fitted(_pooled(self._network.get_text_features(**tokens)))[0])


def fitted(vectors: Vectors) -> Vectors:
    """Vectors of any length as unit vectors of the memory's, [n, 384]."""
    size = vectors.shape[1]
    if size > DIMENSIONS:
        square, _ = np.linalg.qr(np.random.default_rng(SEED).standard_normal((size, DIMENSIONS)))
        vectors = vectors @ square.astype(np.float32)
    elif size < DIMENSIONS:
        vectors = np.pad(vectors, ((0, 0), (0, DIMENSIONS - size)))
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9), np.float32)


def _pooled(features: Any) -> Vectors:
    """Features as rows, whether a release returns them or an output around them."""
    rows = getattr(features, "pooler_output", features)
    return np.asarray(rows.float().cpu().numpy(), np.float32)


def _read(directory: Path) -> tuple[Any, Any, Any]:
    import torch
    from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer

    torch.set_num_threads(1)
    if not (directory / "config.json").is_file():
        raise ModelMissing(f"{directory} holds no checkpoint: it has no config.json")
    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        if config.model_type not in FAMILIES:
            raise ModelMismatch(f"{directory} holds a {config.model_type}, not one of {', '.join(FAMILIES)}")
        network = AutoModel.from_pretrained(directory, local_files_only=True, use_safetensors=True).eval()
        images: Any = AutoImageProcessor.from_pretrained(directory, local_files_only=True)  # type: ignore[no-untyped-call]
        return network, images, AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelMismatch(f"the checkpoint in {directory} cannot be loaded: {str(error).splitlines()[0]}") from error
