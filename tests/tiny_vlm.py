"""Vision language models of three architectures, random and tiny, with a tokenizer of bytes: real code, no sense in the words."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import SceneView, Shot
from pipeline.caption.style import PLAIN, Style
from pipeline.timeline import ZERO, MediaTime

QWEN_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")
SMOL_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>", "<unk>")
FAMILIES = ("qwen2.5", "qwen3", "smol")


def save(directory: Path, family: str = "qwen2.5", *, seed: int = 7) -> Path:
    """Write a checkpoint of a family of `FAMILIES` into a directory."""
    import torch
    import transformers

    special = SMOL_SPECIAL if family == "smol" else QWEN_SPECIAL
    size = _save_tokenizer(directory, special)
    token = {name: index for index, name in enumerate(special)}
    torch.manual_seed(seed)
    text = {
        "vocab_size": size, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0, "max_position_embeddings": 4096,
        "initializer_range": 0.1,
    }  # fmt: skip
    rope = {"rope_type": "default", "rope_theta": 10000.0}
    around = {"image_token_id": token.get("<|image_pad|>"), "video_token_id": token.get("<|video_pad|>")}
    around |= {"vision_start_token_id": token.get("<|vision_start|>"), "vision_end_token_id": token.get("<|vision_end|>")}
    network: Any
    if family == "qwen2.5":
        vision = {
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 14, "out_hidden_size": 64,
            "fullatt_block_indexes": [1], "window_size": 112, "tokens_per_second": 2, "initializer_range": 0.1,
        }  # fmt: skip
        text["rope_parameters"] = rope | {"mrope_section": [4, 6, 6]}
        network = transformers.Qwen2_5_VLForConditionalGeneration(
            transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision, **around)
        )
    elif family == "qwen3":
        vision = {
            "depth": 3, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 16, "out_hidden_size": 64,
            "deepstack_visual_indexes": [0, 1], "num_position_embeddings": 64, "initializer_range": 0.1,
        }  # fmt: skip
        text |= {"rope_parameters": rope | {"mrope_section": [6, 5, 5], "mrope_interleaved": True}, "head_dim": 32}
        network = transformers.Qwen3VLForConditionalGeneration(transformers.Qwen3VLConfig(text_config=text, vision_config=vision, **around))
    else:
        vision = {
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64,
            "patch_size": 16, "initializer_range": 0.1,
        }  # fmt: skip
        config = transformers.SmolVLMConfig(
            text_config=text | {"model_type": "llama"}, vision_config=vision, image_token_id=token["<image>"], scale_factor=2
        )
        network = transformers.SmolVLMForConditionalGeneration(config)
    network.generation_config.eos_token_id = 2
    network.save_pretrained(directory)
    return directory


def _save_tokenizer(directory: Path, special: Sequence[str]) -> int:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=special[0], eos_token=special[2], additional_special_tokens=[special[1], *special[3:]]
    ).save_pretrained(directory)
    return len(vocabulary)


def save_adapter(base: Path, directory: Path, *, seed: int = 1) -> Path:
    """Write an adapter of random weights for a checkpoint of `save`, strong enough to change its words."""
    import torch

    from pipeline.caption.vlm import adapters
    from pipeline.caption.vlm.checkpoint import open_checkpoint, revision_of
    from pipeline.caption.vlm.lowrank import Adapter, LowRank

    family, _ = open_checkpoint(base)
    torch.manual_seed(seed)
    layers = {
        name: LowRank(torch.randn(4, module.in_features), torch.randn(module.out_features, 4), 0.5)
        for name, module in family.network.named_modules()
        if name.endswith("down_proj") and adapters.is_language(name)
    }
    told = {"rank": 4, "base": base, "base_revision": revision_of(base), "told": {}}
    adapters.write(Adapter(directory.name, layers, sees=False), directory, **told)  # type: ignore[arg-type]
    return directory


def shot(at: float, colour: str = "red", *, size: tuple[int, int] = (112, 60), score: float = 0.5) -> Shot:
    """A keyframe of one colour with a frame of another, so that patches differ."""
    picture = Image.new("RGB", size, colour)
    picture.paste("black", (size[0] // 3, size[1] // 4, size[0] // 2, size[1] // 2))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG")
    return Shot(MediaTime.of(at), KeyframeReason.KEYFRAME_REASON_CHANGE, score, 0.0, buffer.getvalue())


def scene(*times: float, colours: tuple[str, ...] = ("red", "blue", "green", "white"), style: Style = PLAIN) -> SceneView:
    """A scene of a minute with a keyframe at each time."""
    return SceneView(ZERO, MediaTime.of(60), tuple(shot(at, colours[number % len(colours)]) for number, at in enumerate(times)), style)
