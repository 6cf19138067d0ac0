"""Adapter directories as the library peft writes them: read with care, and written so that peft reads them too.

A directory holds `adapter_config.json` and `adapter_model.safetensors`. What is not a plain low-rank change to linear layers is refused by
name, because leaving it out would describe scenes with half an adapter. What `write` writes also says for which base it was made.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.caption.vlm.checkpoint import read_json, require_whole
from pipeline.caption.vlm.lowrank import Adapter, LowRank
from pipeline.errors import ModelMismatch, ModelMissing

if TYPE_CHECKING:
    from torch import Tensor

CONFIG, WEIGHTS, MADE = "adapter_config.json", "adapter_model.safetensors", "watchword.json"
HIGHEST_RANK = 512
_NOT_KNOWN = (
    "use_dora", "use_qalora", "use_bdlora", "lora_bias", "fan_in_fan_out", "modules_to_save", "trainable_token_indices",
    "layer_replication", "target_parameters", "alora_invocation_tokens", "arrow_config", "kasa_config", "monteclora_config",
)  # fmt: skip
_OLDER = (("model.layers.", "model.language_model.layers."), ("visual.", "model.visual."))
"""How layers of the Qwen models were named before transformers 4.52, and how they are named now."""


def read(name: str, directory: Path, network: Any, *, base: str) -> Adapter:
    """The adapter that a directory holds, for a network of the revision `base`, on its device.

    Raises `ModelMissing` where a file is not there, and `ModelMismatch` where one is cut off or is no LoRA of this network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = read_json(directory / CONFIG)
    weights = directory / WEIGHTS
    if config is None or not weights.is_file():
        missing = CONFIG if config is None else WEIGHTS
        raise ModelMissing(f"adapter {name}: {directory} has no {missing}; name the directory that peft or train.finetune wrote")
    _require_plain(name, config)
    made = read_json(directory / MADE) or {}
    if made.get("base_revision", base) != base:
        raise ModelMismatch(f"adapter {name}: it was made for {made.get('base')}, revision {made['base_revision']}; this base is {base}")
    require_whole(weights)
    try:
        tensors = load_file(weights)
    except (OSError, ValueError, SafetensorError) as error:
        raise ModelMismatch(f"adapter {name}: {weights} cannot be loaded: {error}") from error
    layers = _layers(name, tensors, config, network)
    revision = hashlib.blake2b(weights.read_bytes() + json.dumps(config, sort_keys=True).encode(), digest_size=6).hexdigest()
    return Adapter(name, layers, sees=any(not is_language(layer) for layer in layers), revision=revision)


def write(adapter: Adapter, directory: Path, *, rank: int, base: Path, base_revision: str, told: Mapping[str, object]) -> None:
    """Write an adapter of one rank and scale, and beside it what it was made for and what else is `told` of it."""
    from safetensors.torch import save_file

    directory.mkdir(parents=True, exist_ok=True)
    scales = {low.scale for low in adapter.layers.values()}
    assert len(scales) == 1
    config = {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": scales.pop() * rank,
        "target_modules": sorted(adapter.layers),
        "base_model_name_or_path": base.name,
        "bias": "none",
        "inference_mode": True,
    }
    tensors = {}
    for layer, low in adapter.layers.items():
        for side, tensor in (("A", low.down), ("B", low.up)):
            tensors[f"base_model.model.{layer}.lora_{side}.weight"] = tensor.detach().float().cpu().contiguous()
    save_file(tensors, directory / WEIGHTS)
    # Readable by whoever runs the service; safetensors writes for its owner alone.
    (directory / WEIGHTS).chmod(0o644)
    (directory / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    made = {"base": base.name, "base_revision": base_revision, **told}
    (directory / MADE).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


def is_language(layer: str) -> bool:
    """Whether a layer belongs to the language model; the others encode pictures."""
    return re.search(r"(^|\.)(language_model|text_model|lm_head)(\.|$)", layer) is not None


def _require_plain(name: str, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    if kind != "LORA":
        raise ModelMismatch(f"adapter {name}: it is of the type {kind}; only LORA is known")
    if config.get("bias", "none") != "none":
        raise ModelMismatch(f"adapter {name}: it changes biases, which is not known")
    if used := [each for each in _NOT_KNOWN if config.get(each)]:
        raise ModelMismatch(f"adapter {name}: it uses {', '.join(used)}, which is not known; only plain low-rank changes are")


def _layers(name: str, tensors: "Mapping[str, Tensor]", config: Mapping[str, Any], network: Any) -> dict[str, LowRank]:
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_([AB])(?:\.default)?\.weight", key)
        if found is None:
            raise ModelMismatch(f"adapter {name}: the tensor {key} is no part of a low-rank change to a linear layer")
        pairs.setdefault(_renamed(found[1], network), {})[found[2]] = tensor
    if not pairs:
        raise ModelMismatch(f"adapter {name}: it changes nothing: no tensor is in it")
    return {layer: _low_rank(name, layer, pair, config, network) for layer, pair in pairs.items()}


def _renamed(layer: str, network: Any) -> str:
    if not _has(network, layer):
        for older, newer in _OLDER:
            if layer.startswith(older) and _has(network, newer + layer.removeprefix(older)):
                return newer + layer.removeprefix(older)
    return layer


def _has(network: Any, layer: str) -> bool:
    try:
        network.get_submodule(layer)
    except AttributeError:
        return False
    return True


def _low_rank(name: str, layer: str, pair: "Mapping[str, Tensor]", config: Mapping[str, Any], network: Any) -> LowRank:
    module = network.get_submodule(layer) if _has(network, layer) else None
    inputs, outputs = getattr(module, "in_features", 0), getattr(module, "out_features", 0)
    if not inputs:
        raise ModelMismatch(f"adapter {name}: the base has no linear layer {layer}; it was made for another base")
    if pair.keys() != {"A", "B"}:
        raise ModelMismatch(f"adapter {name}: of the layer {layer} one of the two matrices is missing")
    down, up = pair["A"], pair["B"]
    rank = down.shape[0]
    if tuple(down.shape) != (rank, inputs) or tuple(up.shape) != (outputs, rank) or not 1 <= rank <= HIGHEST_RANK:
        told = f"{list(down.shape)} and {list(up.shape)} for {inputs} inputs and {outputs} outputs"
        raise ModelMismatch(f"adapter {name}: the matrices of {layer} are {told}; it was made for another base")
    if not (down.isfinite().all() and up.isfinite().all()):
        raise ModelMismatch(f"adapter {name}: the matrices of {layer} hold values that are no numbers")
    try:
        alpha = float(_by_pattern(config.get("alpha_pattern") or {}, layer, config.get("lora_alpha", rank)))
    except (TypeError, ValueError, re.error) as error:
        raise ModelMismatch(f"adapter {name}: lora_alpha or alpha_pattern cannot be used: {error}") from error
    scale = alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)
    return LowRank(down.to(network.device, network.dtype), up.to(network.device, network.dtype), scale)


def _by_pattern(patterns: Mapping[str, Any], layer: str, otherwise: Any) -> Any:
    """As peft's `get_pattern_key`: a pattern is the layer's name or its end, behind a dot."""
    return next((value for pattern, value in patterns.items() if re.fullmatch(rf"(.*\.)?({pattern})", layer)), otherwise)
