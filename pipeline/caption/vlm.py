"""The captioner for a checkpoint directory of the Qwen2.5-VL architecture, through `transformers`.

Pictures are cut into patches here, because the library's video processor needs torchvision; the result equals its image
processor's. Each keyframe fills one temporal patch by itself, so that no patch spans a jump in time.
"""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD, patch_rows
from pipeline.caption.model import Description, SceneView
from pipeline.caption.pictures import decode
from pipeline.caption.positions import position_ids
from pipeline.errors import ModelMismatch, ModelMissing

ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
PROMPT = "These are keyframes of one scene of a video, in order. Describe in one or two sentences what is shown and what happens."
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Qwen's format, for a tokenizer that brings no template."""
MAX_FRAME_PIXELS = 448 * 448


@dataclass(frozen=True)
class Preprocessing:
    """How pictures become patches."""

    patch: int
    """Side of a patch in pixels."""
    merge: int
    """How many patches in each direction become one token."""
    temporal: int
    """How many frames a patch spans."""
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD
    """As the published checkpoints; `preprocessor_config.json` overrides them."""


class VlmCaptioner:
    """Describes a scene by greedy decoding, one scene at a time; the temporal positions are the keyframes' own times."""

    def __init__(self, name: str, network: Any, tokenizer: Any, preprocessing: Preprocessing, *, max_new_tokens: int) -> None:
        self.name = name
        self._network = network
        self._tokenizer = tokenizer
        self._preprocessing = preprocessing
        self._max_new_tokens = max_new_tokens
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="caption-vlm")

    async def describe(self, scene: SceneView) -> Description:
        """Describe a scene; raises `MediaUndecodable` for a picture that cannot be read."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._describe, scene)

    def _describe(self, scene: SceneView) -> Description:
        import torch
        from transformers import GenerationConfig

        inputs = self.prepare(scene)
        stops = self._stops()
        # The checkpoint's own settings may sample; the same scene must get the same words.
        greedy = GenerationConfig(  # type: ignore[no-untyped-call]
            max_new_tokens=self._max_new_tokens, do_sample=False, eos_token_id=stops, pad_token_id=stops[0] if stops else 0, use_cache=True
        )
        with torch.inference_mode():
            tokens = self._network.generate(**inputs, generation_config=greedy)[0, inputs["input_ids"].shape[1] :].tolist()
        decoded = self._tokenizer.decode(tokens, skip_special_tokens=True)
        # A terminal would obey control characters.
        text = " ".join("".join(each if each.isprintable() else " " for each in decoded).split())
        cut_off = bool(text) and len(tokens) >= self._max_new_tokens and tokens[-1] not in stops
        return Description(f"{text} …" if cut_off else text)

    def prepare(self, scene: SceneView) -> dict[str, Any]:
        """What the network is given: token ids and types [1, L], positions [4, 1, L], patches, and their grid."""
        import torch

        pictures = [decode(shot.jpeg, what=f"keyframe at {shot.time.clock()}") for shot in scene.shots]
        patches, (frames, rows, columns) = patchify(pictures, self._preprocessing)
        merge = self._preprocessing.merge
        tokens, start = self._prompt(frames * (rows // merge) * (columns // merge))
        video = self._network.config.video_token_id
        positions = position_ids(
            before=start,
            times=[shot.time for shot in scene.shots],
            rows=rows // merge,
            columns=columns // merge,
            after=len(tokens) - start - frames * (rows // merge) * (columns // merge),
            tokens_per_second=self._network.config.vision_config.tokens_per_second,
        )
        device = self._network.device
        ids = torch.tensor([tokens], device=device)
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            # Without the types the library falls back to plain positions, and says nothing.
            "mm_token_type_ids": (ids == video).int() * 2,
            "position_ids": torch.from_numpy(positions).to(device),
            "pixel_values_videos": torch.from_numpy(patches).to(device, self._network.dtype),
            "video_grid_thw": torch.tensor([[frames, rows, columns]], device=device),
        }

    def _prompt(self, count: int) -> tuple[list[int], int]:
        """The prompt's tokens with `count` places for the video, and where they start."""
        messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": PROMPT}]}]
        text = self._tokenizer.apply_chat_template(
            messages, chat_template=self._tokenizer.chat_template or CHAT_TEMPLATE, add_generation_prompt=True, tokenize=False
        )
        tokens = self._tokenizer.encode(text, add_special_tokens=False)
        video = self._network.config.video_token_id
        if tokens.count(video) != 1:
            raise ModelMismatch(
                f"model {self.name}: its chat template makes {tokens.count(video)} places for a video where one is needed; "
                f"token {video} should be its video token"
            )
        start = tokens.index(video)
        return [*tokens[:start], *[video] * count, *tokens[start + 1 :]], start

    def _stops(self) -> list[int]:
        stated = self._network.generation_config.eos_token_id
        stops = stated if isinstance(stated, list) else [stated]
        return list(dict.fromkeys(each for each in (*stops, self._tokenizer.eos_token_id) if each is not None))


def patchify(pictures: Sequence[Image.Image], how: Preprocessing) -> tuple[NDArray[np.float32], tuple[int, int, int]]:
    """Patches [frames * rows * columns, 3 * temporal * patch * patch] and the grid (frames, rows, columns) of equal frames.

    All pictures take the first one's shape, with sides of whole tokens and at most `MAX_FRAME_PIXELS`. The patches of a
    token follow each other, as the vision tower expects. Each picture is repeated to fill the temporal patch.
    """
    width, height = _whole_tokens(pictures[0].size, how.patch * how.merge)
    frames = np.stack([np.asarray(each.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) for each in pictures])
    normal = (frames / 255 - np.array(how.mean, np.float32)) / np.array(how.std, np.float32)
    repeated = np.repeat(normal.transpose(0, 3, 1, 2), how.temporal, axis=0)
    rows = np.ascontiguousarray(patch_rows(repeated, patch=how.patch, merge=how.merge, temporal=how.temporal))
    return rows, (len(pictures), height // how.patch, width // how.patch)


def load_vlm(directory: Path, *, threads: int = 1, max_new_tokens: int = 96) -> VlmCaptioner:
    """Load a checkpoint from a directory; nothing is fetched, no code of the checkpoint runs, only safetensors are read.

    Raises `ModelMissing` where the directory or its config or weights are not there, and `ModelMismatch` where it holds
    another architecture or cannot be loaded. bfloat16 is used where the device computes in it, else float32.
    """
    _check(directory)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    from transformers.utils.logging import disable_progress_bar

    torch.set_num_threads(threads)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", _cpu_dtype(torch))
    try:
        loaded: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            directory, local_files_only=True, trust_remote_code=False, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise ModelMismatch(f"{directory} cannot be loaded as a {ARCHITECTURE} checkpoint: {error}") from error
    network, told = loaded
    if told["missing_keys"]:
        # The library would fill them with noise.
        raise ModelMismatch(f"{directory} lacks {len(told['missing_keys'])} of the network's tensors, such as {min(told['missing_keys'])}")
    vision = network.config.vision_config
    preprocessing = Preprocessing(vision.patch_size, vision.spatial_merge_size, vision.temporal_patch_size, **_normalisation(directory))
    network = network.to(device).eval()
    return VlmCaptioner(directory.name, network, tokenizer, preprocessing, max_new_tokens=max_new_tokens)


def _check(directory: Path) -> None:
    config = directory / "config.json"
    if not config.is_file():
        raise ModelMissing(f"{directory} holds no model: there is no config.json; name the directory of a {ARCHITECTURE} checkpoint")
    try:
        named = json.loads(config.read_text(encoding="utf-8")).get("architectures") or ["none"]
    except (ValueError, AttributeError) as error:
        raise ModelMismatch(f"{config} is not a model's configuration: {error}") from error
    if ARCHITECTURE not in named:
        raise ModelMismatch(
            f"{directory} is a checkpoint of the architecture {', '.join(map(str, named))}; the captioner needs {ARCHITECTURE}"
        )
    if not any(directory.glob("*.safetensors")):
        raise ModelMissing(f"{directory} holds no .safetensors weights; other formats are not read")


def _normalisation(directory: Path) -> dict[str, tuple[float, ...]]:
    path = directory / "preprocessor_config.json"
    stated = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {key: tuple(stated[name]) for key, name in (("mean", "image_mean"), ("std", "image_std")) if stated.get(name)}


def _cpu_dtype(torch: Any) -> Any:
    capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") else torch.float32


def _whole_tokens(size: tuple[int, int], token: int) -> tuple[int, int]:
    width, height = size
    scale = min(1.0, (MAX_FRAME_PIXELS / (width * height)) ** 0.5)
    whole_width, whole_height = (max(token, round(side * scale / token) * token) for side in (width, height))
    return whole_width, whole_height
