"""Writes a trained network as a checkpoint directory that `pipeline.caption.vlm.load_vlm` and `transformers` load."""

import json
from pathlib import Path
from typing import Any

import torch

from train.batches import MEAN, STD
from train.network import MERGE, PATCH
from train.scenes import SIDE


def save(network: Any, tokenizer: Any, directory: Path) -> None:
    """Write weights in bfloat16, configuration, tokenizer and preprocessing; the directory is made where it is missing."""
    from transformers import GenerationConfig

    directory.mkdir(parents=True, exist_ok=True)
    network.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    GenerationConfig(do_sample=False, eos_token_id=stop, pad_token_id=pad).save_pretrained(directory)  # type: ignore[no-untyped-call]
    preprocessing = {
        "image_mean": list(MEAN),
        "image_std": list(STD),
        "patch_size": PATCH,
        "merge_size": MERGE,
        "temporal_patch_size": 1,
        "min_pixels": SIDE * SIDE // 2,
        "max_pixels": SIDE * SIDE,
    }
    # Readable by whoever runs the image; safetensors writes for its owner alone.
    (directory / "model.safetensors").chmod(0o644)
    (directory / "preprocessor_config.json").write_text(json.dumps(preprocessing, indent=2) + "\n", encoding="utf-8")
