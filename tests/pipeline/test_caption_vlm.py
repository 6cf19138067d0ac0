"""The path through transformers, proven with tiny random networks: positions by the clock, the same words together as alone."""

import asyncio
import json
import shutil
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY
from watchword.v1.scene_pb2 import KeyframeReason

from kernels.frame_to_patches import CLIP_MEAN, CLIP_STD, patch_rows
from pipeline.caption.model import Description, SceneView, Shot, load, telling
from pipeline.caption.pictures import decode
from pipeline.caption.style import PLAIN, QUESTION, Style
from pipeline.caption.vlm import Preprocessing, VlmCaptioner, load_vlm, patchify
from pipeline.caption.vlm.patches import affordable, whole_tokens
from pipeline.caption.vlm.repetition import repeated
from pipeline.caption.vlm.worker import Ahead, Job, Limits
from pipeline.errors import MediaUndecodable, ModelMismatch, ModelMissing, Overloaded, SettingInvalid
from pipeline.timeline import ZERO, MediaTime
from tests import tiny_vlm
from tests.tiny_vlm import scene, shot

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {family: tiny_vlm.save(root / f"tiny-{family}", family) for family in tiny_vlm.FAMILIES}


@pytest.fixture(scope="module")
def checkpoint(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["qwen2.5"]


@pytest.fixture(scope="module", params=tiny_vlm.FAMILIES)
def each(request: pytest.FixtureRequest, checkpoints: dict[str, Path]) -> VlmCaptioner:
    """A captioner of each architecture; in float32, where a batch and one row agree to the last bit that matters."""
    return load_vlm(checkpoints[request.param], max_new_tokens=12, precision="float32")


@pytest.fixture(scope="module")
def captioner(checkpoint: Path) -> VlmCaptioner:
    loaded = load("transformers", directory=checkpoint, max_new_tokens=12)
    assert isinstance(loaded, VlmCaptioner)
    return loaded


def describe(captioner: VlmCaptioner, view: SceneView) -> Description:
    return asyncio.run(captioner.describe(view))


def network_of(captioner: VlmCaptioner) -> Any:
    return captioner.worker._family.network


def test_a_scene_is_described_the_same_each_time(each: VlmCaptioner) -> None:
    view = scene(1, 2, 5.25)
    first = describe(each, view)
    assert each.name.startswith("tiny-")
    assert first.text.strip(" …")
    assert first.text.isprintable()
    assert describe(each, scene(7)) != first
    assert describe(each, view) == first
    assert first.confidence is not None
    assert 0 < first.confidence <= 1
    assert first.revision
    assert first.prompt


def test_a_description_is_bounded_and_says_that_it_was_cut(checkpoint: Path) -> None:
    short = load("transformers", directory=checkpoint, max_new_tokens=3)
    text = asyncio.run(short.describe(scene(1, 2))).text
    assert text.endswith(" …")
    assert len(text) <= 5


def test_a_model_that_repeats_itself_is_stopped_and_said_to_be(
    captioner: VlmCaptioner, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = captioner._tokenizer.encode("A dog", add_special_tokens=False)
    script = iter([*ids, *[ids[-1]] * 1000])
    endless = load_vlm(checkpoint, max_new_tokens=500)
    take = endless.worker._take
    monkeypatch.setattr(endless.worker, "_take", lambda job, _, certainty: take(job, next(script), certainty))
    found = describe(endless, scene(1, 2))
    assert found.text == f"{captioner._text(ids)} …"
    assert found.remark == "the model repeated itself and was stopped"
    assert next(script, None) is not None


def test_a_loop_is_the_same_piece_over_and_over() -> None:
    assert repeated([5, *[7] * 8], 8) == 0
    assert repeated([5, *[7] * 9], 8) == 8
    assert repeated([5, *[1, 2, 3] * 9], 8) == 24
    assert repeated([*[7] * 30, 8], 8) == 0
    assert repeated([], 8) == 0


def _jobs(*views: SceneView) -> list[Job]:
    return [Job(view, 12, lambda _: None) for view in views]


# Positions.


def _seen(captioner: VlmCaptioner, view: SceneView) -> tuple[np.ndarray[Any, Any], list[list[int]]]:
    """The ids [3, tokens] of a scene's prompt, and those of each written token, as they reach the rotary embedding."""
    model = network_of(captioner).model
    rotary = (model.language_model if hasattr(model, "language_model") else model.text_model).rotary_emb
    calls: list[Any] = []
    hook = rotary.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((kwargs["position_ids"] if len(args) < 2 else args[1]).numpy()), with_kwargs=True
    )
    # Two scenes at once, so that an instruction is read by itself; both are the same.
    captioner.worker.prefixes.clear()
    captioner.worker.run(_jobs(view, view))
    hook.remove()
    ids = [call[:, 0] if call.ndim == 3 else np.repeat(call[:1], 3, axis=0) for call in calls]
    prompt = [each for each in ids if each.shape[1] > 1]
    return np.concatenate(prompt, axis=1), [step[:, 0].tolist() for step in ids[len(prompt) :]]


def test_pictures_follow_the_clock(captioner: VlmCaptioner) -> None:
    prompt, _ = _seen(captioner, scene(10, 10.5, 14, 25))
    moved, _ = _seen(captioner, scene(1010, 1010.5, 1014, 1025))
    assert (prompt == moved).all()
    # The height ids of a picture of 2 by 4 tokens go up once in 8; in text all three ids agree.
    pictures = np.flatnonzero((prompt[0] != prompt[1]) | (prompt[1] != prompt[2]))
    first = pictures[0] - 1
    temporal = prompt[0, first : first + 32].reshape(4, 8)
    assert (temporal - prompt[0, first]).tolist() == [[each] * 8 for each in (0, 1, 8, 30)]
    assert prompt[:, first + 32].tolist() == [int(prompt[:, : first + 32].max()) + 1] * 3


@pytest.mark.parametrize("style", [PLAIN, Style(prompt="It is a harbour.")], ids=["one go", "instruction first"])
def test_written_tokens_go_on_behind_the_prompt(each: VlmCaptioner, style: Style) -> None:
    describe(each, scene(5, style=style))
    prompt, written = _seen(each, scene(1, 2, 30, style=style))
    assert written == [[int(prompt.max()) + 1 + step] * 3 for step in range(len(written))]
    assert len(written) > 3


def test_the_words_are_those_of_transformers_own_forward_pass(checkpoints: dict[str, Path]) -> None:
    """Qwen3-VL, whose positions the library gets right: our reading and writing equals its pass over everything at once."""
    import torch
    from transformers import Qwen3VLForConditionalGeneration

    ours = load_vlm(checkpoints["qwen3"], max_new_tokens=8, precision="float32")
    view = scene(0, 1, 2.5)
    (job,) = _jobs(view)
    assert ours.worker.run([job]) == [None]
    network: Any = Qwen3VLForConditionalGeneration.from_pretrained(checkpoints["qwen3"], dtype=torch.float32).eval()
    video = network.config.video_token_id
    text = "".join(f"<{at:.1f} seconds><|vision_start|>{'<|video_pad|>' * 8}<|vision_end|>" for at in (0, 1, 2.5))
    prompt = f"<|im_start|>user\n{text}{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
    ids = ours.worker._tokenizer.encode(prompt, add_special_tokens=False)
    how = Preprocessing(16, 2, (0.5,) * 3, (0.5,) * 3)
    cut = [patchify(decode(each.jpeg, what="a shot"), how) for each in view.shots]
    (grid,) = {grid for _, grid in cut}
    # Their temporal patch holds two frames: the picture, repeated.
    patches = np.concatenate([rows for rows, _ in cut]).reshape(-1, 3, 1, 16 * 16).repeat(2, axis=2).reshape(-1, 3 * 2 * 16 * 16)
    written: list[int] = []
    for _ in job.tokens:
        tokens = torch.tensor([[*ids, *written]])
        with torch.inference_mode():
            logits = network(
                input_ids=tokens,
                mm_token_type_ids=(tokens == video).int() * 2,
                pixel_values_videos=torch.from_numpy(patches),
                video_grid_thw=torch.tensor([[len(cut), *grid]]),
            ).logits
        written.append(int(logits[0, -1].argmax()))
    assert job.tokens == written


def test_when_things_happen_changes_the_words(each: VlmCaptioner) -> None:
    slow, quick = _jobs(scene(0, 20, 40), scene(0, 1, 2))
    each.worker.run([slow, quick])
    assert slow.certainty != pytest.approx(quick.certainty, abs=1e-3)


def test_a_late_shot_is_put_in_order_and_a_second_at_one_time_is_left_out(each: VlmCaptioner) -> None:
    shots = [shot(at, colour) for at, colour in ((1, "red"), (4, "blue"), (2, "green"), (4, "white"))]
    mixed = describe(each, SceneView(ZERO, MediaTime.of(9), tuple(shots)))
    assert mixed.used == (0, 2, 1)
    assert mixed.remark == "1 of 4 keyframes were not looked at"
    assert mixed.text == describe(each, SceneView(ZERO, MediaTime.of(9), (shots[0], shots[2], shots[1]))).text


# Together as alone, again as at first.


VIEWS = (
    scene(1, 2, 5.25),
    scene(3),
    scene(0, 0.4, 9, style=Style(prompt="It is a harbour.", words=30)),
    scene(*range(8), colours=("white", "blue"), style=Style(structured=True)),
)
"""Prompts of very different lengths, with and without an instruction before the pictures."""


def test_a_batch_gives_the_tokens_of_each_alone(each: VlmCaptioner) -> None:
    together = _jobs(*VIEWS)
    assert each.worker.run(together) == [None] * len(VIEWS)
    for number, view in enumerate(VIEWS):
        (alone,) = _jobs(view)
        each.worker.run([alone])
        assert alone.tokens == together[number].tokens, f"scene {number}"
        assert alone.certainty == pytest.approx(together[number].certainty, abs=1e-3)
    assert len({tuple(job.tokens) for job in together}) == len(VIEWS)


def test_what_is_reused_changes_no_word_and_saves_the_work(each: VlmCaptioner, checkpoints: dict[str, Path]) -> None:
    view = scene(1, 2, 3, colours=("navy", "teal", "pink"), style=Style(prompt="Look closely."))
    fresh = load_vlm(checkpoints[each.name.removeprefix("tiny-")], precision="float32", limits=Limits(feature_bytes=0, prefix_bytes=0))
    worker = each.worker
    uncached, first, second = _jobs(view, view, view)
    fresh.worker.run([uncached])
    assert len(fresh.worker.features) == 0
    encoded: list[int] = []
    encode = worker._family.encode

    def counting(pictures: Any, most_pixels: int) -> Any:
        encoded.append(len(pictures))
        return encode(pictures, most_pixels)

    worker._family.encode = counting  # type: ignore[method-assign]
    try:
        worker.encode([Ahead(view.shots[0])])
        worker.run([first])
        worker.run([second])
    finally:
        worker._family.encode = encode  # type: ignore[method-assign]
    assert uncached.tokens == first.tokens == second.tokens
    assert encoded == [1, 2], "a picture that was seen ahead or before is not encoded again"


def test_what_is_kept_is_bounded(checkpoint: Path) -> None:
    captioner = load_vlm(checkpoint, precision="float32", max_new_tokens=1, limits=Limits(feature_bytes=5_000))
    for at in range(6):
        describe(captioner, scene(at, colours=(f"#{at * 40:02x}0000",)))
    assert 0 < captioner.worker.features.nbytes <= 5_000
    assert len(captioner.worker.features) == 2


def test_keyframes_are_looked_at_while_their_scene_is_open(captioner: VlmCaptioner) -> None:
    view = scene(1, 2, colours=("maroon", "olive"))

    async def run() -> None:
        for each in view.shots:
            captioner.look_ahead(each)
        captioner.look_ahead(replace(view.shots[0], jpeg=b"no picture"))
        await asyncio.gather(*captioner._ahead)

    asyncio.run(run())
    assert all(captioner.worker.knows(Ahead(each)) for each in view.shots)


def _steps(captioner: VlmCaptioner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many scenes are written at once, step by step from now on."""
    sizes: list[int] = []
    forward = captioner.worker._family.forward

    def noting(embeddings: Any, *rest: Any) -> Any:
        if embeddings.shape[1] == 1:
            sizes.append(len(embeddings))
        return forward(embeddings, *rest)

    monkeypatch.setattr(captioner.worker._family, "forward", noting)
    return sizes


def test_scenes_of_many_streams_are_described_in_one_batch(each: VlmCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = [describe(each, view) for view in VIEWS[:3]]
    sizes = _steps(each, monkeypatch)

    async def all_of() -> list[Description]:
        return await asyncio.gather(*(each.describe(view) for view in VIEWS[:3] * 2))

    assert asyncio.run(all_of()) == alone * 2
    assert max(sizes) > 1, "some were described together"


def test_a_scene_joins_those_that_are_being_described_and_changes_no_word(each: VlmCaptioner, monkeypatch: pytest.MonkeyPatch) -> None:
    """One comes after three tokens of the first, and one when the second has left; all have other instructions and lengths."""
    alone = [describe(each, view) for view in VIEWS[:3]]
    sizes = _steps(each, monkeypatch)

    async def all_of() -> list[Description]:
        async with aclosing(each.tell(VIEWS[0])) as first:
            await anext(first)
            second, third = await asyncio.gather(each.describe(VIEWS[1]), each.describe(VIEWS[2]))
            *_, last = [part async for part in first]
        assert isinstance(last, Description)
        return [last, second, third]

    assert asyncio.run(all_of()) == alone
    assert max(sizes) > 1


def test_a_short_description_does_not_wait_for_a_long_one(checkpoint: Path) -> None:
    captioner, steps = _endless(checkpoint, together=8)

    async def run() -> int:
        async with aclosing(captioner.tell(scene(1))) as long:
            await anext(long)
            captioner._max_new_tokens = 4
            await captioner.describe(scene(2))
            at = len(steps)
            captioner.look_ahead(shot(9, "olive"))
            await asyncio.gather(*captioner._ahead)
            assert captioner.worker.knows(Ahead(shot(9, "olive")))
            await anext(long)
        return at

    at = asyncio.run(run())
    assert at < 2_900, "the long one was still being written"
    assert 2 in steps[:at]


# Streaming and cancelling.


def test_a_description_is_told_while_it_is_written(each: VlmCaptioner) -> None:
    view = scene(2, 3)

    async def all_of() -> list[str | Description]:
        return [part async for part in telling(each, view)]

    *parts, last = asyncio.run(all_of())
    assert last == describe(each, view)
    assert parts
    for sooner, later in zip(parts, [*parts[1:], last.text.removesuffix(" …")], strict=True):
        assert isinstance(sooner, str)
        # A letter may be in pieces when a token has come.
        assert str(later).startswith(sooner.rstrip("\N{REPLACEMENT CHARACTER}"))


def _endless(checkpoint: Path, *, together: int) -> tuple[VlmCaptioner, list[int]]:
    """A captioner that never ends a text by itself, and the sizes of its batches, step by step."""
    captioner = load_vlm(checkpoint, precision="float32", max_new_tokens=3_000, limits=Limits(together=together, repeats=0))
    captioner.worker._stops = frozenset()
    steps: list[int] = []
    forward = captioner.worker._family.forward

    def noting(embeddings: Any, *rest: Any) -> Any:
        if embeddings.shape[1] == 1:
            steps.append(len(embeddings))
        return forward(embeddings, *rest)

    captioner.worker._family.forward = noting  # type: ignore[method-assign]
    return captioner, steps


def test_cancelling_frees_the_place(checkpoint: Path) -> None:
    captioner, steps = _endless(checkpoint, together=1)

    async def run() -> Description:
        async with aclosing(captioner.tell(scene(1))) as first:
            assert isinstance(await anext(first), str)
        # The only place was taken; it is free when nobody listens any more.
        async with aclosing(captioner.tell(scene(2))) as second:
            assert isinstance(await anext(second), str)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(captioner.describe(scene(3)), 0.1)
        captioner._max_new_tokens = 4
        return await captioner.describe(scene(4))

    assert asyncio.run(run()).text.endswith("…")
    assert 0 < len(steps) < 2_900


def test_cancelling_one_of_a_batch_leaves_the_others(checkpoint: Path) -> None:
    captioner, steps = _endless(checkpoint, together=8)
    gone, staying = Job(scene(1), 40, lambda _: None), Job(scene(2), 40, lambda _: None)

    def leave(tokens: list[int]) -> None:
        gone.cancelled = len(tokens) > 5

    staying.told = leave
    assert captioner.worker.run([gone, staying]) == [None, None]
    assert steps[:4] == [2] * 4
    assert steps[-1] == 1
    (alone,) = [Job(scene(2), 40, lambda _: None)]
    captioner.worker.run([alone])
    assert staying.tokens == alone.tokens


# Memory.


def _cramped(checkpoint: Path, fits: Callable[[Any], bool]) -> VlmCaptioner:
    """A captioner on whose device what does not fit fails as torch says it."""
    import torch

    captioner = load_vlm(checkpoint, precision="float32", max_new_tokens=4)
    family = captioner.worker._family
    forward = family.forward

    def cramped(embeddings: Any, *rest: Any) -> Any:
        if not fits(embeddings):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(embeddings, *rest)

    family.forward = cramped  # type: ignore[method-assign]
    return captioner


def _shrunk(what: str) -> float:
    return REGISTRY.get_sample_value("watchword_caption_shrunk_total", {"what": what}) or 0.0


def test_a_batch_that_does_not_fit_is_split(checkpoint: Path, captioner: VlmCaptioner) -> None:
    cramped, before = _cramped(checkpoint, lambda embeddings: len(embeddings) <= 1), _shrunk("split")
    jobs = _jobs(*VIEWS[:3])
    assert cramped.worker.run(jobs) == [None] * 3
    roomy = load_vlm(checkpoint, precision="float32", max_new_tokens=4)
    for job, view in zip(jobs, VIEWS, strict=False):
        (alone,) = _jobs(view)
        roomy.worker.run([alone])
        assert job.tokens == alone.tokens
    assert _shrunk("split") == before + 2


def test_a_scene_that_does_not_fit_is_described_by_less(checkpoint: Path) -> None:
    view = SceneView(ZERO, MediaTime.of(60), tuple(shot(at, size=(448, 252), score=at / 100) for at in range(40)))
    cramped, before = _cramped(checkpoint, lambda embeddings: embeddings.shape[1] <= 1_300), _shrunk("fewer_tokens")
    described = describe(cramped, view)
    assert described.text
    assert described.used is not None
    assert len(described.used) == 16
    assert _shrunk("fewer_tokens") > before


def test_what_never_fits_is_refused_and_the_process_lives(checkpoint: Path) -> None:
    short = 60
    cramped, before = _cramped(checkpoint, lambda embeddings: embeddings.shape[1] <= short), _shrunk("refused")
    with pytest.raises(Overloaded, match="memory does not suffice"):
        describe(cramped, scene(1))
    assert _shrunk("refused") == before + 1
    short = 10_000
    assert describe(cramped, scene(1)).text


def test_other_failures_are_no_lack_of_memory(checkpoint: Path) -> None:
    captioner = load_vlm(checkpoint, precision="float32")

    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes cannot be multiplied")

    captioner.worker._family.forward = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes"):
        describe(captioner, scene(1))


def test_who_joined_what_then_ran_out_of_memory_is_described_with_less(checkpoint: Path, captioner: VlmCaptioner) -> None:
    """Two fit, three do not: the third's coming costs the others a new start, and nobody a word."""
    cramped, before = _cramped(checkpoint, lambda embeddings: len(embeddings) <= 2), _shrunk("split")

    async def all_of() -> list[Description]:
        return await asyncio.gather(*(cramped.describe(view) for view in VIEWS[:3]))

    described = asyncio.run(all_of())
    roomy = load_vlm(checkpoint, precision="float32", max_new_tokens=4)
    assert [each.text for each in described] == [describe(roomy, view).text for view in VIEWS[:3]]
    assert _shrunk("split") > before


# Pictures.


def test_patches_are_those_of_the_image_processor() -> None:
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    pixels = np.random.default_rng(3).integers(0, 256, (84, 112, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    expected = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=448 * 448)(picture, return_tensors="np")
    own, grid = patchify(picture, Preprocessing(patch=14, merge=2))
    assert (1, *grid) == tuple(expected["image_grid_thw"][0])
    theirs = expected["pixel_values"].reshape(-1, 3, 2, 14 * 14)
    np.testing.assert_allclose(own.reshape(-1, 3, 14 * 14), theirs[:, :, 0], atol=1e-6)
    np.testing.assert_array_equal(theirs[:, :, 0], theirs[:, :, 1])
    normal = (pixels / 255 - np.array(CLIP_MEAN)) / np.array(CLIP_STD)
    np.testing.assert_allclose(own, patch_rows(normal.transpose(2, 0, 1)[None], temporal=1), atol=1e-6)


@pytest.mark.parametrize(("size", "grid"), [((448, 252), (18, 32)), ((10, 10), (2, 2)), ((1920, 1080), (24, 42))])
def test_pictures_of_any_size_fit_whole_tokens_and_the_budget(size: tuple[int, int], grid: tuple[int, int]) -> None:
    patches, found = patchify(Image.new("RGB", size), Preprocessing(patch=14, merge=2))
    assert found == grid
    assert patches.shape == (grid[0] * grid[1], 3 * 14 * 14)


def test_whole_tokens_stay_within_the_pixels() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        size, most = tuple(map(int, rng.integers(1, 3_000, 2))), int(rng.integers(1, 300_000))
        width, height = whole_tokens((size[0], size[1]), 28, max_pixels=most)
        assert width % 28 == height % 28 == 0
        assert 28 * 28 <= width * height <= max(most, 28 * 28)


@pytest.mark.parametrize(
    ("count", "each_costs", "budget", "expected"),
    [(16, 144, 4096, (16, 144)), (16, 144, 1000, (16, 62)), (200, 144, 1000, (27, 37)), (16, 144, 3, (1, 4)), (1, 1, 100, (1, 1))],
)
def test_a_budget_makes_pictures_smaller_and_then_fewer(count: int, each_costs: int, budget: int, expected: tuple[int, int]) -> None:
    assert affordable(count, each_costs, budget) == expected


def test_pictures_of_different_sizes_share_a_scene(each: VlmCaptioner) -> None:
    sizes = ((112, 60), (60, 112), (448, 252), (20, 20))
    shots = tuple(shot(at, size=size) for at, size in enumerate(sizes))
    (job,) = _jobs(SceneView(ZERO, MediaTime.of(9), shots))
    assert each.worker.run([job]) == [None]
    assert job.tokens
    assert job.used == (0, 1, 2, 3)


def test_of_two_hundred_keyframes_the_first_the_last_and_the_most_novel_are_looked_at(each: VlmCaptioner) -> None:
    shots = tuple(shot(at / 4, score=at % 50 / 50) for at in range(200))
    used = describe(each, SceneView(ZERO, MediaTime.of(60), shots)).used
    assert used is not None
    assert len(used) == 16
    assert used[0] == 0
    assert used[-1] == 199
    assert all(shots[number].score >= 0.9 for number in used[1:-1])


def test_an_unreadable_picture_is_named_and_costs_its_scene_alone(captioner: VlmCaptioner) -> None:
    broken = Shot(MediaTime.of(5), KeyframeReason.KEYFRAME_REASON_CUT, 1, 0, b"no picture")
    with pytest.raises(MediaUndecodable, match="keyframe at 0:05"):
        describe(captioner, SceneView(ZERO, MediaTime.of(6), (broken,)))
    bad, good = Job(SceneView(ZERO, MediaTime.of(6), (broken,)), 3, lambda _: None), Job(scene(1), 3, lambda _: None)
    failure, nothing = captioner.worker.run([bad, good])
    assert isinstance(failure, MediaUndecodable)
    assert nothing is None
    assert good.tokens


# Directories.


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


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_configuration_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
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
    with pytest.raises(ModelMismatch, match=r"damaged/model.safetensors cannot be loaded"):
        load("transformers", directory=directory)


def test_weights_that_are_cut_off_are_refused(checkpoint: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "short")
    whole = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").write_bytes(whole[:-100])
    with pytest.raises(ModelMismatch, match="is cut off"):
        load("transformers", directory=directory)


def test_a_missing_file_of_weights_is_named(checkpoint: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "half")
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (directory / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelMissing, match=r"lacks 1 .* model-00002-of-00002"):
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


@pytest.mark.parametrize(
    ("stated", "match"),
    [
        ({"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0, 0.5]}, "image_std"),
        ({"max_pixels": "many"}, "max_pixels of the preprocessor are no numbers"),
        ({"max_pixels": -1}, "max_pixels of the preprocessor is -1"),
    ],
)
def test_preprocessing_that_cannot_be_is_refused(checkpoint: Path, tmp_path: Path, stated: dict[str, Any], match: str) -> None:
    directory = shutil.copytree(checkpoint, tmp_path / "skewed")
    (directory / "preprocessor_config.json").write_text(json.dumps(stated))
    with pytest.raises(ModelMismatch, match=match):
        load("transformers", directory=directory)


def test_another_version_of_the_weights_has_another_revision(checkpoint: Path, tmp_path: Path) -> None:
    other = tiny_vlm.save(tmp_path / "tiny-qwen2.5", seed=8)
    here, there = (describe(load_vlm(each, max_new_tokens=1), scene(1)).revision for each in (checkpoint, other))
    assert here != there
    assert describe(load_vlm(checkpoint, max_new_tokens=1), scene(1)).revision == here
