"""A checkpoint directory, opened with care: nothing is fetched, none of its code runs, and what is missing is said."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pipeline.caption.vlm.families import Family, Qwen3, Qwen25, Smol
from pipeline.caption.vlm.patches import MAX_FRAME_PIXELS
from pipeline.errors import ModelMismatch, ModelMissing

ARCHITECTURES = ("Qwen2_5_VLForConditionalGeneration", "Qwen3VLForConditionalGeneration", "SmolVLMForConditionalGeneration")
Precision = Literal["auto", "float32", "bfloat16", "int8", "int4"]
BITS = {"int8": 8, "int4": 4}
_SAMPLE = 2**20


def open_checkpoint(directory: Path, *, precision: Precision = "auto") -> tuple[Family, Any]:
    """The network in its family, ready to describe, and the tokenizer.

    Raises `ModelMissing` where the directory or its config or weights are not there, and `ModelMismatch` where it holds
    another architecture, lacks tensors, or cannot be loaded.
    """
    architecture = check(directory)
    import torch
    import transformers
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(1)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device = device_of()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        loaded: Any = getattr(transformers, architecture).from_pretrained(
            directory, use_safetensors=True, output_loading_info=True, dtype=_dtype(precision, device), **local
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **local)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
        raise ModelMismatch(f"{directory} cannot be loaded as a {architecture} checkpoint: {error}") from error
    network, told = loaded
    if told["missing_keys"]:
        # The library would fill them with noise.
        raise ModelMismatch(f"{directory} lacks {len(told['missing_keys'])} of the network's tensors, such as {min(told['missing_keys'])}")
    network = network.to(device).eval()
    if precision in BITS:
        from pipeline.caption.vlm.quantise import quantise

        quantise(network, BITS[precision])
    return _family(architecture, network, tokenizer, _preprocessing(directory)), tokenizer


def device_of() -> str:
    """Where networks are put: on the GPU where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def check(directory: Path) -> str:
    """The architecture that the directory says it holds, and whose weights are there, all of them; raises as `open_checkpoint`."""
    config = read_json(directory / "config.json")
    if config is None:
        raise ModelMissing(f"{directory} holds no model: there is no config.json; name the directory of a vision language model")
    named = config.get("architectures") or ["none"]
    known = next((each for each in ARCHITECTURES if each in named), None)
    if known is None:
        raise ModelMismatch(
            f"{directory} is a checkpoint of the architecture {', '.join(map(str, named))}; the captioner knows {', '.join(ARCHITECTURES)}"
        )
    if not any(directory.glob("*.safetensors")):
        raise ModelMissing(f"{directory} holds no .safetensors weights; other formats are not read")
    index = read_json(directory / "model.safetensors.index.json")
    if index is not None:
        absent = sorted({str(name) for name in index.get("weight_map", {}).values() if not (directory / str(name)).is_file()})
        if absent:
            raise ModelMissing(f"{directory} lacks {len(absent)} of its files of weights, such as {absent[0]}: was it copied whole?")
    for file in directory.glob("*.safetensors"):
        require_whole(file)
    return known


def revision_of(directory: Path) -> str:
    """Twelve hexadecimal digits that change with the configuration and, as good as surely, with the weights, of which parts are read."""
    found = hashlib.blake2b(digest_size=6)
    for file in sorted([directory / "config.json", *directory.glob("*.safetensors")]):
        size = file.stat().st_size
        found.update(f"{file.name} {size}".encode())
        with file.open("rb") as opened:
            for place in sorted({0, max(0, size // 2 - _SAMPLE), max(0, size - _SAMPLE)}):
                opened.seek(place)
                found.update(opened.read(_SAMPLE))
    return found.hexdigest()


def require_whole(file: Path) -> None:
    """Raise `ModelMismatch` where the file is shorter than its own table of contents says."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        try:
            table = json.loads(opened.read(length)) if 0 < length <= size - 8 else None
            ends = [int(entry["data_offsets"][1]) for name, entry in table.items() if name != "__metadata__"] if table is not None else None
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            ends = None
    if ends is None:
        raise ModelMismatch(f"{file} cannot be loaded: it is no file of safetensors, or it is damaged or cut off")
    if 8 + length + max(ends, default=0) > size:
        raise ModelMismatch(f"{file} is cut off: {size:,} of {8 + length + max(ends):,} bytes are there; copy it again")


def _dtype(precision: Precision, device: str) -> Any:
    """What the weights are computed with: where nothing is asked for, bfloat16 where the device computes in it, else float32."""
    import torch

    if precision == "auto" or precision in BITS:
        fit = device == "cuda" or any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))
        return torch.bfloat16 if fit else torch.float32
    return getattr(torch, precision)


def _family(architecture: str, network: Any, tokenizer: Any, stated: Mapping[str, Any]) -> Family:
    config = network.config
    if architecture == ARCHITECTURES[2]:
        return Smol(network, stated)
    pad, opening, closing = (
        str(tokenizer.convert_ids_to_tokens(token))
        for token in (config.video_token_id, config.vision_start_token_id, config.vision_end_token_id)
    )
    return Qwen3(network, pad, opening, closing, stated) if architecture == ARCHITECTURES[1] else Qwen25(network, pad, stated)


def _preprocessing(directory: Path) -> Mapping[str, Any]:
    """What the checkpoint says of the fields of `Preprocessing`."""
    stated = read_json(directory / "preprocessor_config.json") or read_json(directory / "video_preprocessor_config.json") or {}
    try:
        found = {key: tuple(map(float, stated[name])) for key, name in (("mean", "image_mean"), ("std", "image_std")) if stated.get(name)}
        most = min(MAX_FRAME_PIXELS, int(stated.get("max_pixels") or MAX_FRAME_PIXELS))
    except (TypeError, ValueError, OverflowError) as error:
        raise ModelMismatch(f"{directory}: image_mean, image_std and max_pixels of the preprocessor are no numbers: {error}") from error
    if most < 1:
        raise ModelMismatch(f"{directory}: max_pixels of the preprocessor is {most}, which leaves nothing of a picture")
    if any(len(values) != 3 for values in found.values()) or min(found.get("std", (1,))) <= 0:
        raise ModelMismatch(f"{directory}: image_mean and image_std of the preprocessor are three numbers each, the latter above 0")
    return {**found, "max_pixels": most}


def read_json(file: Path) -> dict[str, Any] | None:
    """What a file says; `None` where there is none."""
    if not file.is_file():
        return None
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelMismatch(f"{file} is not a model's configuration: {error}") from error
    if not isinstance(found, dict):
        raise ModelMismatch(f"{file} is not a model's configuration: it holds no JSON object")
    return found
