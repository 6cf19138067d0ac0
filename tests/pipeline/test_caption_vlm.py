"""The path through transformers, proven with a tiny random network: positions by the clock, the same words each time."""

import asyncio
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import Description, SceneView, Shot, load
from pipeline.caption.vlm import Preprocessing, VlmCaptioner, patchify
from pipeline.errors import MediaUndecodable, ModelMismatch, ModelMissing, SettingInvalid
from pipeline.timeline import ZERO, MediaTime

pytestmark = pytest.mark.unit

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")


def _save_tokenizer(directory: Path) -> int:
    """A tokenizer of bytes with Qwen's special tokens; returns its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2], additional_special_tokens=[SPECIAL[1], *SPECIAL[3:]]
    ).save_pretrained(directory)
    return len(vocabulary)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    directory = tmp_path_factory.mktemp("models") / "tiny-vl"
    size = _save_tokenizer(directory)
    token = {name: index for index, name in enumerate(SPECIAL)}
    torch.manual_seed(7)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": size, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "bos_token_id": 0, "eos_token_id": token["<|im_end|>"], "pad_token_id": 0, "max_position_embeddings": 4096,
        },
        vision_config={
            "depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 14, "out_hidden_size": 64,
            "fullatt_block_indexes": [1], "window_size": 112, "tokens_per_second": 2,
        },
        image_token_id=token["<|image_pad|>"], video_token_id=token["<|video_pad|>"],
        vision_start_token_id=token["<|vision_start|>"], vision_end_token_id=token["<|vision_end|>"],
    )  # fmt: skip
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def captioner(checkpoint: Path) -> VlmCaptioner:
    loaded = load("transformers", directory=checkpoint, max_new_tokens=12)
    assert isinstance(loaded, VlmCaptioner)
    return loaded


def scene(*times: float, colours: tuple[str, ...] = ("red", "blue", "green", "white")) -> SceneView:
    shots = []
    for at, colour in zip(times, colours, strict=False):
        buffer = io.BytesIO()
        Image.new("RGB", (112, 60), colour).save(buffer, "JPEG")
        shots.append(Shot(MediaTime.of(at), KeyframeReason.KEYFRAME_REASON_CHANGE, 0.5, 0.0, buffer.getvalue()))
    return SceneView(ZERO, MediaTime.of(60), tuple(shots))


def describe(captioner: VlmCaptioner, view: SceneView) -> Description:
    return asyncio.run(captioner.describe(view))


def test_a_scene_is_described_the_same_each_time(captioner: VlmCaptioner) -> None:
    view = scene(1, 2, 5.25)
    first = describe(captioner, view)
    assert captioner.name == "tiny-vl"
    assert first.text.strip(" …")
    assert first.text.isprintable()
    assert describe(captioner, scene(7)) != first
    assert describe(captioner, view) == first


def test_a_description_is_bounded_and_says_that_it_was_cut(checkpoint: Path) -> None:
    short = load("transformers", directory=checkpoint, max_new_tokens=3)
    text = asyncio.run(short.describe(scene(1, 2))).text
    assert text.endswith(" …")
    assert len(text) <= 5


def _reference(captioner: VlmCaptioner, inputs: dict[str, Any], interval: float) -> Any:
    import torch

    positions, _ = captioner._network.model.get_rope_index(
        inputs["input_ids"],
        mm_token_type_ids=inputs["mm_token_type_ids"],
        video_grid_thw=inputs["video_grid_thw"],
        second_per_grid_ts=torch.tensor([interval]),
    )
    return positions


@pytest.mark.parametrize("interval", [0.25, 0.5, 1.0, 1.5, 4.0])
def test_even_times_give_the_ids_of_transformers_for_the_pictures(captioner: VlmCaptioner, interval: float) -> None:
    inputs = captioner.prepare(scene(*(3 + index * interval for index in range(4))))
    until = int(np.flatnonzero(inputs["mm_token_type_ids"][0].numpy())[-1]) + 1
    own = inputs["position_ids"]
    assert (own[1:, :, :until] == _reference(captioner, inputs, interval)[:, :, :until]).all()
    assert own[0, 0].tolist() == list(range(own.shape[2]))
    # transformers starts the text inside the video's ids; Qwen's own code starts it behind them.
    assert own[1:, 0, until].tolist() == [int(own[1:, 0, :until].max()) + 1] * 3


def test_uneven_times_follow_the_clock(captioner: VlmCaptioner) -> None:
    inputs = captioner.prepare(scene(10, 10.5, 14, 25))
    places = inputs["mm_token_type_ids"][0] == 2
    temporal = inputs["position_ids"][1, 0][places].reshape(4, -1)
    start = int(np.flatnonzero(places.numpy())[0])
    assert (temporal - start).tolist() == [[each] * temporal.shape[1] for each in (0, 1, 8, 30)]


def test_written_tokens_go_on_behind_the_prompt(captioner: VlmCaptioner) -> None:
    view = scene(1, 2, 30)
    seen: list[list[int]] = []
    rotary = captioner._network.model.language_model.rotary_emb
    hook = rotary.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append((kwargs["position_ids"] if len(args) < 2 else args[1])[:, 0, -1].tolist()), with_kwargs=True
    )
    describe(captioner, view)
    hook.remove()
    last = int(captioner.prepare(view)["position_ids"][1:].max())
    assert seen == [[last + step] * 3 for step in range(len(seen))]
    assert len(seen) > 1


def test_when_things_happen_reaches_the_network(captioner: VlmCaptioner) -> None:
    import torch

    with torch.inference_mode():
        slow, quick = (captioner._network(**captioner.prepare(view)).logits for view in (scene(0, 20, 40), scene(0, 1, 2)))
    assert not torch.equal(slow, quick)


def test_patches_are_those_of_the_image_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    pixels = np.random.default_rng(3).integers(0, 256, (84, 112, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    expected = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=448 * 448)(picture, return_tensors="np")
    own, grid = patchify([picture], Preprocessing(patch=14, merge=2, temporal=2))
    assert grid == tuple(expected["image_grid_thw"][0])
    np.testing.assert_allclose(own, expected["pixel_values"], atol=1e-6)


@pytest.mark.parametrize(("size", "grid"), [((448, 252), (1, 18, 32)), ((10, 10), (1, 2, 2)), ((1920, 1080), (1, 24, 42))])
def test_pictures_of_any_size_fit_whole_tokens_and_the_budget(size: tuple[int, int], grid: tuple[int, int, int]) -> None:
    patches, found = patchify([Image.new("RGB", size)], Preprocessing(patch=14, merge=2, temporal=2))
    assert found == grid
    assert patches.shape == (grid[1] * grid[2], 3 * 2 * 14 * 14)


def test_an_unreadable_picture_is_named(captioner: VlmCaptioner) -> None:
    broken = Shot(MediaTime.of(5), KeyframeReason.KEYFRAME_REASON_CUT, 1, 0, b"no picture")
    with pytest.raises(MediaUndecodable, match="keyframe at 0:05"):
        describe(captioner, SceneView(ZERO, MediaTime.of(6), (broken,)))


def test_no_directory_is_a_wrong_setting() -> None:
    with pytest.raises(SettingInvalid, match="directory"):
        load("transformers")


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"nowhere.*config\.json"):
        load("transformers", directory=tmp_path / "nowhere")


def test_another_architecture_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    with pytest.raises(ModelMismatch, match="LlamaForCausalLM"):
        load("transformers", directory=tmp_path)


def test_a_configuration_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelMismatch, match="not a model's configuration"):
        load("transformers", directory=tmp_path)


def test_weights_in_another_format_are_not_read(checkpoint: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "pickled")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(ModelMissing, match="safetensors"):
        load("transformers", directory=directory)


def test_damaged_weights_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "damaged")
    (directory / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelMismatch, match="damaged cannot be loaded"):
        load("transformers", directory=directory)


def test_weights_that_lack_a_tensor_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    directory = shutil.copytree(checkpoint, tmp_path / "partial")
    tensors = load_file(directory / "model.safetensors")
    del tensors["lm_head.weight"]
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelMismatch, match=r"lacks 1 .* lm_head\.weight"):
        load("transformers", directory=directory)


def test_a_template_without_a_place_for_a_video_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "mute")
    (directory / "chat_template.jinja").write_text("{{ messages[0]['role'] }}")
    mute = load("transformers", directory=directory)
    with pytest.raises(ModelMismatch, match="makes 0 places for a video"):
        asyncio.run(mute.describe(scene(1)))
