"""Turn a Whisper model in CTranslate2's format into an openai-whisper checkpoint, or into a directory for transformers.

    python tools/ct2_to_openai.py DIRECTORY OUTPUT [--format openai|transformers] [--dtype float16|float32]

The same network runs then in other engines, which is how they are compared (`tests/pipeline/test_engines.py`). The reverse of
CTranslate2's own converter (`ctranslate2/converters/transformers.py`, `WhisperLoader`): it fuses the projections of query, key and
value, whose key has no bias, and shares the embeddings with the output. The file format is that of
`ctranslate2/specs/model_spec.py`, `ModelSpec._serialize`, binary version 6.
"""

import argparse
import json
import shutil
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Tensors = dict[str, Array]

_BINARY_VERSION = 6
_DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
_SPECIFICATION = "WhisperSpec"

_RENAMED = (
    ("encoder.ln_post.", "encoder.layer_norm."),
    ("decoder.ln.", "decoder.layer_norm."),
    ("decoder.token_embedding.", "decoder.embed_tokens."),
    (".positional_embedding", ".embed_positions.weight"),
    (".blocks.", ".layers."),
    (".mlp.0.", ".fc1."),
    (".mlp.2.", ".fc2."),
    (".mlp_ln.", ".final_layer_norm."),
    (".cross_attn_ln.", ".encoder_attn_layer_norm."),
    (".attn_ln.", ".self_attn_layer_norm."),
    (".cross_attn.", ".encoder_attn."),
    (".attn.", ".self_attn."),
    (".query.", ".q_proj."),
    (".key.", ".k_proj."),
    (".value.", ".v_proj."),
    (".out.", ".out_proj."),
)
"""From openai-whisper's names to those of transformers, in this order."""


class ConversionError(Exception):
    """The directory holds no model that can be converted; the message says why."""


@dataclass(frozen=True)
class Dimensions:
    """The shape of a Whisper network, in the words of openai-whisper's `ModelDimensions`."""

    n_mels: int
    n_audio_ctx: int
    n_audio_state: int
    n_audio_head: int
    n_audio_layer: int
    n_vocab: int
    n_text_ctx: int
    n_text_state: int
    n_text_head: int
    n_text_layer: int


def read_variables(path: Path) -> Tensors:
    """The variables of a model.bin by name, aliases included, as stored. Raises `ConversionError`."""
    try:
        with path.open("rb") as stream:
            return _variables(stream)
    except OSError as error:
        raise ConversionError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ConversionError(f"{path} is damaged or no CTranslate2 model: {error}") from error


def _variables(stream: BinaryIO) -> Tensors:
    def number(kind: str) -> int:
        return int(struct.unpack("<" + kind, stream.read(struct.calcsize(kind)))[0])

    def text() -> str:
        return stream.read(number("H")).rstrip(b"\0").decode()

    if (version := number("I")) != _BINARY_VERSION:
        raise ValueError(f"it has binary version {version}, this tool reads version {_BINARY_VERSION}")
    if (specification := text()) != _SPECIFICATION:
        raise ValueError(f"it holds a {specification}, not a {_SPECIFICATION}")
    number("I")  # the revision
    found: Tensors = {}
    for _ in range(number("I")):
        name = text()
        shape = [number("I") for _ in range(number("B"))]
        dtype = _DTYPES[number("B")]
        found[name] = np.frombuffer(stream.read(number("I")), dtype).reshape(shape)
    for _ in range(number("I")):
        alias = text()
        found[alias] = found[text()]
    return found


class _Source:
    """The variables as float32, dequantised."""

    def __init__(self, variables: Mapping[str, Array]) -> None:
        self._variables = variables

    def __call__(self, name: str) -> Array:
        try:
            stored = self._variables[name]
        except KeyError:
            raise ConversionError(f"the model has no variable {name}; it was converted by another version of CTranslate2") from None
        found = stored.astype(np.float32)
        scale = self._variables.get(name + "_scale")
        if scale is not None:
            # A scale for each row, or one for all.
            found = found / scale.astype(np.float32).reshape(-1, *(1,) * (found.ndim - 1) if scale.size > 1 else (1,) * found.ndim)
        return found

    def whole(self, name: str) -> int:
        return int(self(name).reshape(()))

    def layers(self, side: str) -> int:
        names = (name.split("/") for name in self._variables)
        return len({parts[1] for parts in names if parts[0] == side and parts[1].startswith("layer_") and parts[1][6:].isdigit()})


def to_openai(variables: Mapping[str, Array]) -> tuple[Dimensions, Tensors]:
    """The network in openai-whisper's names, float32. Raises `ConversionError`."""
    source = _Source(variables)
    tensors: Tensors = {}
    for conv in ("conv1", "conv2"):
        tensors |= _linear(source, f"encoder/{conv}", f"encoder.{conv}")
    tensors["encoder.positional_embedding"] = source("encoder/position_encodings/encodings")
    tensors |= _norm(source, "encoder/layer_norm", "encoder.ln_post")
    tensors["decoder.token_embedding.weight"] = source("decoder/embeddings/weight")
    tensors["decoder.positional_embedding"] = source("decoder/position_encodings/encodings")
    tensors |= _norm(source, "decoder/layer_norm", "decoder.ln")
    for side in ("encoder", "decoder"):
        for layer in range(source.layers(side)):
            tensors |= _block(source, f"{side}/layer_{layer}", f"{side}.blocks.{layer}", cross=side == "decoder")
    width, mels, _ = tensors["encoder.conv1.weight"].shape
    dimensions = Dimensions(
        n_mels=mels,
        n_audio_ctx=len(tensors["encoder.positional_embedding"]),
        n_audio_state=width,
        n_audio_head=source.whole("encoder/num_heads"),
        n_audio_layer=source.layers("encoder"),
        n_vocab=len(tensors["decoder.token_embedding.weight"]),
        n_text_ctx=len(tensors["decoder.positional_embedding"]),
        n_text_state=tensors["decoder.token_embedding.weight"].shape[1],
        n_text_head=source.whole("decoder/num_heads"),
        n_text_layer=source.layers("decoder"),
    )
    return dimensions, tensors


def _linear(source: _Source, name: str, into: str) -> Tensors:
    return {f"{into}.weight": source(f"{name}/weight"), f"{into}.bias": source(f"{name}/bias")}


def _norm(source: _Source, name: str, into: str) -> Tensors:
    return {f"{into}.weight": source(f"{name}/gamma"), f"{into}.bias": source(f"{name}/beta")}


def _block(source: _Source, name: str, into: str, *, cross: bool) -> Tensors:
    tensors = dict(_self_attention(source, f"{name}/self_attention", f"{into}.attn"))
    tensors |= _norm(source, f"{name}/self_attention/layer_norm", f"{into}.attn_ln")
    if cross:
        tensors |= dict(_cross_attention(source, f"{name}/attention", f"{into}.cross_attn"))
        tensors |= _norm(source, f"{name}/attention/layer_norm", f"{into}.cross_attn_ln")
    tensors |= _norm(source, f"{name}/ffn/layer_norm", f"{into}.mlp_ln")
    tensors |= _linear(source, f"{name}/ffn/linear_0", f"{into}.mlp.0")
    tensors |= _linear(source, f"{name}/ffn/linear_1", f"{into}.mlp.2")
    return tensors


def _self_attention(source: _Source, name: str, into: str) -> Iterator[tuple[str, Array]]:
    yield from _parts(source, f"{name}/linear_0", into, ("query", "key", "value"))
    yield from _linear(source, f"{name}/linear_1", f"{into}.out").items()


def _cross_attention(source: _Source, name: str, into: str) -> Iterator[tuple[str, Array]]:
    yield from _linear(source, f"{name}/linear_0", f"{into}.query").items()
    yield from _parts(source, f"{name}/linear_1", into, ("key", "value"))
    yield from _linear(source, f"{name}/linear_2", f"{into}.out").items()


def _parts(source: _Source, name: str, into: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Array]]:
    """A fused projection, taken apart."""
    weights, biases = (np.split(source(f"{name}/{kind}"), len(parts)) for kind in ("weight", "bias"))
    for part, weight, bias in zip(parts, weights, biases, strict=True):
        yield f"{into}.{part}.weight", weight
        if part != "key":
            yield f"{into}.{part}.bias", bias
        elif np.any(bias):
            raise ConversionError(f"{name} has a bias for keys, which a Whisper network does not have")


def to_transformers(tensors: Mapping[str, Array]) -> Tensors:
    """openai-whisper's tensors under the names of transformers' `WhisperForConditionalGeneration`."""
    renamed: Tensors = {}
    for name, tensor in tensors.items():
        for before, after in _RENAMED:
            name = name.replace(before, after)
        renamed["model." + name] = tensor
    return renamed


def _configs(directory: Path, dimensions: Dimensions) -> tuple[dict[str, Any], dict[str, Any]]:
    """What transformers reads as config.json and generation_config.json."""
    settings = _json(directory / "config.json")
    tokens = {entry["content"]: entry["id"] for entry in _json(directory / "tokenizer.json")["added_tokens"]}
    start, end = tokens["<|startoftranscript|>"], tokens["<|endoftext|>"]
    multilingual = dimensions.n_vocab >= 51865
    shared = {
        "bos_token_id": end,
        "eos_token_id": end,
        "pad_token_id": end,
        "decoder_start_token_id": start,
        "suppress_tokens": settings.get("suppress_ids", []),
        "begin_suppress_tokens": settings.get("suppress_ids_begin", []),
    }
    config = {
        "architectures": ["WhisperForConditionalGeneration"],
        "model_type": "whisper",
        "activation_function": "gelu",
        "d_model": dimensions.n_audio_state,
        "num_mel_bins": dimensions.n_mels,
        "max_source_positions": dimensions.n_audio_ctx,
        "max_target_positions": dimensions.n_text_ctx,
        "encoder_layers": dimensions.n_audio_layer,
        "encoder_attention_heads": dimensions.n_audio_head,
        "encoder_ffn_dim": 4 * dimensions.n_audio_state,
        "decoder_layers": dimensions.n_text_layer,
        "decoder_attention_heads": dimensions.n_text_head,
        "decoder_ffn_dim": 4 * dimensions.n_text_state,
        "vocab_size": dimensions.n_vocab,
        "tie_word_embeddings": True,
        **shared,
    }
    generation = {
        "max_length": dimensions.n_text_ctx,
        "no_timestamps_token_id": tokens["<|notimestamps|>"],
        "is_multilingual": multilingual,
        "alignment_heads": settings.get("alignment_heads"),
        **shared,
    }
    if multilingual:
        languages = range(start + 1, tokens["<|translate|>"])
        generation["lang_to_id"] = {name: token for name, token in tokens.items() if token in languages}
        generation["task_to_id"] = {task: tokens[f"<|{task}|>"] for task in ("transcribe", "translate")}
    return config, generation


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConversionError(f"{path} cannot be read: {error}") from error


def convert(directory: Path, output: Path, *, form: str = "openai", dtype: str = "float16") -> Dimensions:
    """Write the model of `directory` to `output`: a .pt file for "openai", a directory for "transformers".

    The .pt file has `dims`, `model_state_dict` and, where the source tells them, `alignment_heads` as pairs of layer and head.
    Raises `ConversionError`.
    """
    dimensions, tensors = to_openai(read_variables(directory / "model.bin"))
    tensors = {name: np.ascontiguousarray(tensor, dtype) for name, tensor in tensors.items()}
    if form == "openai":
        import torch

        content = {
            "dims": asdict(dimensions),
            "model_state_dict": {name: torch.from_numpy(tensor) for name, tensor in tensors.items()},
        }
        heads = _json(directory / "config.json").get("alignment_heads")
        if heads:
            content["alignment_heads"] = heads
        output.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, output)
        return dimensions
    from safetensors.numpy import save_file

    config, generation = _configs(directory, dimensions)
    output.mkdir(parents=True, exist_ok=True)
    save_file(to_transformers(tensors), output / "model.safetensors", metadata={"format": "pt"})
    (output / "config.json").write_text(json.dumps(config | {"dtype": dtype}, indent=2), "utf-8")
    (output / "generation_config.json").write_text(json.dumps(generation, indent=2), "utf-8")
    shutil.copyfile(directory / "tokenizer.json", output / "tokenizer.json")
    return dimensions


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="ct2_to_openai.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path, help="a CTranslate2 Whisper model: model.bin, config.json, tokenizer.json")
    parser.add_argument("output", type=Path, help="the .pt file to write, or with --format transformers the directory")
    parser.add_argument("--format", choices=["openai", "transformers"], default="openai", help="what to write (default: openai)")
    parser.add_argument("--dtype", choices=["float16", "float32"], default="float16", help="of the weights (default: float16)")
    chosen = parser.parse_args(arguments)
    try:
        dimensions = convert(chosen.directory, chosen.output, form=chosen.format, dtype=chosen.dtype)
    except (ConversionError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    print(f"{chosen.output}: " + ", ".join(f"{name} {value}" for name, value in asdict(dimensions).items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
