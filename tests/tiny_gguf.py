"""A small random video model in llama.cpp's format: a Llama that reads text, and a SmolVLM tower with its projector."""

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

WIDTH, HIDDEN, LAYERS, HEADS = 64, 128, 2, 2
SIDE, PATCH, SHUFFLE, VISION = 64, 16, 2, 48
WORDS = (
    "a",
    "the",
    "dog",
    "cat",
    "man",
    "woman",
    "red",
    "blue",
    "green",
    "car",
    "tree",
    "walks",
    "runs",
    "sits",
    "left",
    "right",
    "slowly",
)
SPECIAL = ("<unk>", "<s>", "</s>")
MARKS = (
    "\n\n",
    "<fake_token_around_image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)
"""What llama.cpp puts around pictures."""
TEMPLATE = (
    "{% for message in messages %}{{ message['role'] }}: "
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}\n"
    "{% endfor %}assistant:"
)


def save(directory: Path, seed: int = 1) -> tuple[Path, Path]:
    """Write both files; their paths, the language model's first."""
    rng = np.random.default_rng(seed)
    text, tower = directory / "tiny.gguf", directory / "mmproj-tiny.gguf"
    _save_text(text, rng)
    _save_tower(tower, rng)
    return text, tower


def _save_text(file: Path, rng: np.random.Generator) -> None:
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(8192)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    silent = [*SPECIAL, *MARKS, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary = [*silent, *(f"\u2581{word}" for word in WORDS)]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * (2 + len(MARKS)), *[gguf.TokenType.BYTE] * 256]
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(vocabulary)
    writer.add_token_scores([0.0] * len(silent) + [-1.0] * len(WORDS))
    writer.add_token_types([*kinds, *[gguf.TokenType.NORMAL] * len(WORDS)])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    output = _random(rng, len(vocabulary), WIDTH)
    # Where nothing is prescribed it says words alone, and never ends by itself.
    output[: len(silent)] = 0
    writer.add_tensor("token_embd.weight", _random(rng, len(vocabulary), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output.weight", output)
    shapes = {"ffn_gate": (HIDDEN, WIDTH), "ffn_up": (HIDDEN, WIDTH), "ffn_down": (WIDTH, HIDDEN)}
    shapes |= dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_output"), (WIDTH, WIDTH))
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", _random(rng, *shape))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(WIDTH, np.float32))
    _close(writer)


def _save_tower(file: Path, rng: np.random.Generator) -> None:
    writer = gguf.GGUFWriter(file, "clip")
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "idefics3")
    writer.add_bool("clip.use_gelu", True)
    numbers = {
        "image_size": SIDE,
        "preproc_image_size": SIDE,
        "patch_size": PATCH,
        "embedding_length": VISION,
        "feed_forward_length": 2 * VISION,
    }
    numbers |= {"projection_dim": WIDTH, "block_count": LAYERS, "attention.head_count": HEADS, "projector.scale_factor": SHUFFLE}
    for name, number in numbers.items():
        writer.add_uint32(f"clip.vision.{name}", number)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    for name in ("image_mean", "image_std"):
        writer.add_array(f"clip.vision.{name}", [0.5] * 3)
    writer.add_tensor("v.patch_embd.weight", _random(rng, VISION, 3, PATCH, PATCH))
    writer.add_tensor("v.patch_embd.bias", _random(rng, VISION))
    writer.add_tensor("v.position_embd.weight", _random(rng, (SIDE // PATCH) ** 2, VISION))
    shapes = {"ffn_up": (2 * VISION, VISION), "ffn_down": (VISION, 2 * VISION)}
    shapes |= dict.fromkeys(("attn_q", "attn_k", "attn_v", "attn_out"), (VISION, VISION))
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            writer.add_tensor(f"v.blk.{layer}.{name}.weight", _random(rng, *shape))
            writer.add_tensor(f"v.blk.{layer}.{name}.bias", np.zeros(shape[0], np.float32))
        for name in ("ln1", "ln2"):
            _add_norm(writer, f"v.blk.{layer}.{name}")
    _add_norm(writer, "v.post_ln")
    writer.add_tensor("mm.model.fc.weight", _random(rng, WIDTH, VISION * SHUFFLE**2))
    _close(writer)


def _random(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (rng.standard_normal(shape) * shape[-1] ** -0.5).astype(np.float32)


def _add_norm(writer: gguf.GGUFWriter, name: str) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(VISION, np.float32))
    writer.add_tensor(f"{name}.bias", np.zeros(VISION, np.float32))


def _close(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
