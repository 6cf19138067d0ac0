"""Unit: adapters beside a model: equal to peft's own, many in one batch, nothing when they are off, and refused by name when bad."""

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from pipeline.caption.model import Description, SceneView
from pipeline.caption.style import Style
from pipeline.caption.vlm import VlmCaptioner, adapters, load_vlm
from pipeline.caption.vlm.checkpoint import open_checkpoint, revision_of
from pipeline.caption.vlm.decoding import Row, Writing
from pipeline.caption.vlm.lowrank import Adapter, Switch
from pipeline.errors import ModelMismatch, ModelMissing, RequestInvalid
from tests import tiny_vlm
from tests.tiny_vlm import scene

pytestmark = [pytest.mark.unit, pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")]

LANGUAGE = r"model\.language_model\..*\.(q_proj|v_proj|down_proj)"
VISION = r"model\.visual\..*\.(qkv|gate_proj)"


def make_adapter(base: Path, directory: Path, *, targets: Any, seed: int, family: str = "qwen2.5", **more: Any) -> Path:
    """An adapter of random weights as peft writes it."""
    import peft
    import torch
    import transformers

    torch.manual_seed(seed)
    names = {"qwen2.5": "Qwen2_5_VLForConditionalGeneration", "qwen3": "Qwen3VLForConditionalGeneration"}
    network = getattr(transformers, names[family]).from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=32, target_modules=targets, init_lora_weights=False, **more)
    peft.get_peft_model(network, config).save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_vlm.save(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def made(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {
        "words": make_adapter(base, root / "words", targets=LANGUAGE, seed=1),
        "others": make_adapter(base, root / "others", targets="all-linear", seed=2, use_rslora=True, alpha_pattern={"q_proj": 7}),
        "eyes": make_adapter(base, root / "eyes", targets=VISION, seed=3),
    }


@pytest.fixture(scope="module")
def captioner(base: Path, made: dict[str, Path]) -> VlmCaptioner:
    return load_vlm(base, max_new_tokens=10, precision="float32", adapters=made)


def wanting(adapter: str, *times: float, **style: Any) -> SceneView:
    return scene(*times, style=Style(adapter=adapter, **style))


def describe(captioner: VlmCaptioner, *views: SceneView) -> list[Description]:
    async def all_at_once() -> list[Description]:
        return list(await asyncio.gather(*map(captioner.describe, views)))

    return asyncio.run(all_at_once())


@pytest.mark.parametrize("name", ["words", "others", "eyes"])
def test_it_computes_what_peft_computes(base: Path, made: dict[str, Path], name: str) -> None:
    import peft
    import torch
    from torch.nn import functional

    family, _ = open_checkpoint(base, precision="float32")
    adapter = adapters.read(name, made[name], family.network, base=revision_of(base))
    switch = Switch(family.network)
    switch.add(adapter)
    theirs, _ = open_checkpoint(base, precision="float32")
    pixels, grids = torch.randn(32, 3 * 14 * 14), torch.tensor([(1, 4, 4), (1, 4, 4)])

    def outcome(network: Any) -> Any:
        seen = torch.cat(network.model.get_video_features(pixels, grids, return_dict=True).pooler_output)
        ids = torch.arange(8).expand(4, 1, 8)
        hidden = network.model.language_model(inputs_embeds=seen[None], position_ids=ids).last_hidden_state
        return functional.log_softmax(network.lm_head(hidden), -1)

    with torch.no_grad():
        plain = outcome(family.network)
        with switch.on([adapter]):
            ours = outcome(family.network)
        model = peft.PeftModel.from_pretrained(theirs.network, made[name])
        peer = outcome(model.get_base_model())
        assert torch.equal(outcome(family.network), plain), "off again, to the bit"
    torch.testing.assert_close(ours, peer, rtol=1e-4, atol=1e-4)
    assert (ours - plain).abs().max() > 0.01


def test_scenes_with_different_adapters_are_described_in_one_batch(captioner: VlmCaptioner, base: Path) -> None:
    views = [wanting(name, 1, 2.5, 7) for name in ("words", "", "others", "words", "eyes")]
    views += [wanting("words", 3, 4, prompt="A shop. " * 20), wanting("", 3, 4, prompt="A shop. " * 20)]
    batches: list[int] = []
    step = Writing.step

    def noted(self: Writing) -> list[Row]:
        batches.append(len({row.adapter for row in self._rows}))
        return step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Writing, "step", noted)
        together = describe(captioner, *views)
    assert max(batches) >= 3
    assert [each.text for each in together] == [describe(captioner, view)[0].text for view in views]
    assert len({each.text for each in together[:5]}) == 4
    assert [each.adapter for each in together[:5]] == ["words", "", "others", "words", "eyes"]
    # The base, with adapters beside it, is the base.
    bare = load_vlm(base, max_new_tokens=10, precision="float32")
    assert describe(bare, views[1], views[6]) == [together[1], together[6]]


def test_a_caption_names_its_adapter_and_version(captioner: VlmCaptioner) -> None:
    before = REGISTRY.get_sample_value("watchword_scenes_adapted_total", {"adapter": "words"}) or 0
    plain, adapted, other = describe(captioner, wanting("", 1), wanting("words", 1), wanting("others", 1))
    assert adapted.revision.startswith(f"{plain.revision}+")
    assert len({plain.revision, adapted.revision, other.revision}) == 3
    assert REGISTRY.get_sample_value("watchword_scenes_adapted_total", {"adapter": "words"}) == before + 1


def test_pictures_are_encoded_again_only_where_the_adapter_changes_that(captioner: VlmCaptioner) -> None:
    shots = scene(1.25, colours=("orange",))
    describe(captioner, shots)
    held = len(captioner.worker.features)
    describe(captioner, replace(shots, style=Style(adapter="words")))
    assert len(captioner.worker.features) == held
    describe(captioner, replace(shots, style=Style(adapter="eyes")))
    assert len(captioner.worker.features) == held + 1


def test_an_adapter_that_is_not_there_is_refused_and_counted(captioner: VlmCaptioner) -> None:
    before = REGISTRY.get_sample_value("watchword_adapters_unknown_total") or 0
    with pytest.raises(RequestInvalid, match="the captioner tiny has no adapter 'wrods'; there are eyes, others, words"):
        describe(captioner, wanting("wrods", 1))
    assert REGISTRY.get_sample_value("watchword_adapters_unknown_total") == before + 1


def spoilt(made: Path, directory: Path, **config: Any) -> Path:
    shutil.copytree(made, directory)
    told = json.loads((directory / "adapter_config.json").read_text())
    (directory / "adapter_config.json").write_text(json.dumps(told | config))
    return directory


def cut(directory: Path) -> None:
    weights = directory / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def of_another_base(directory: Path) -> None:
    (directory / "watchword.json").write_text(json.dumps({"base": "other", "base_revision": "0123456789ab"}))


@pytest.mark.parametrize(
    ("spoil", "config", "error", "told"),
    [
        (lambda directory: (directory / "adapter_config.json").unlink(), {}, ModelMissing, "no adapter_config.json"),
        (lambda directory: (directory / "adapter_model.safetensors").unlink(), {}, ModelMissing, "no adapter_model.safetensors"),
        (lambda directory: (directory / "adapter_config.json").write_text("{"), {}, ModelMismatch, "is not a model's configuration"),
        (cut, {}, ModelMismatch, "is cut off"),
        (of_another_base, {}, ModelMismatch, "made for other, revision 0123456789ab"),
        (None, {"peft_type": "IA3"}, ModelMismatch, "of the type IA3"),
        (None, {"use_dora": True}, ModelMismatch, "uses use_dora"),
        (None, {"bias": "all"}, ModelMismatch, "changes biases"),
        (None, {"lora_alpha": "much"}, ModelMismatch, "lora_alpha or alpha_pattern cannot be used"),
        (None, {"alpha_pattern": {"(q_proj": 7}}, ModelMismatch, "lora_alpha or alpha_pattern cannot be used"),
    ],
)
def test_a_bad_adapter_is_refused_by_name(
    base: Path, made: dict[str, Path], tmp_path: Path, spoil: Any, config: dict[str, Any], error: type[Exception], told: str
) -> None:
    directory = spoilt(made["words"], tmp_path / "bad", **config)
    if spoil:
        spoil(directory)
    with pytest.raises(error, match=told):
        load_vlm(base, adapters={"bad": directory})


def test_an_adapter_of_another_architecture_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    other = tiny_vlm.save(tmp_path / "qwen3", "qwen3")
    with pytest.raises(
        ModelMismatch, match=r"adapter others: the (base has no linear layer|matrices of) model\..* it was made for another base"
    ):
        load_vlm(other, adapters={"others": made["others"]})


def test_what_is_written_is_read_here_and_by_peft(base: Path, made: dict[str, Path], tmp_path: Path) -> None:
    import peft
    import torch

    family, _ = open_checkpoint(base, precision="float32")
    revision = revision_of(base)
    found: Adapter = adapters.read("words", made["words"], family.network, base=revision)
    adapters.write(found, tmp_path / "again", rank=4, base=base, base_revision=revision, told={"clips": 3})
    again = adapters.read("again", tmp_path / "again", family.network, base=revision)
    assert again.layers.keys() == found.layers.keys()
    assert all(torch.equal(again.layers[name].up, low.up) and again.layers[name].scale == low.scale for name, low in found.layers.items())
    model = peft.PeftModel.from_pretrained(open_checkpoint(base, precision="float32")[0].network, tmp_path / "again")
    assert sum("lora_A" in name for name, _ in model.named_parameters()) == len(found.layers)
