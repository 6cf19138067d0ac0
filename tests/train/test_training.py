"""Unit: the tokenizer, the batches, and that a few steps teach the network something."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.caption.positions import position_ids
from train.batches import make_batch, ticks
from train.muon import Muon
from train.network import TOKENS_PER_SECOND, build_network, read, see
from train.recipe import Recipe, batch_of, batches
from train.render import GRID, UNKNOWN
from train.scenes import caption, draw_scene
from train.tokenizer import END, START, VIDEO, VISION_START, build_tokenizer
from train.trainer import Run, train

pytestmark = pytest.mark.unit

SMALL = Recipe(steps=6, batch=4, simple=2, warmup=2, decay=2)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return build_tokenizer()


def test_any_text_comes_back_and_words_of_captions_are_one_token(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    for text in (caption(draw_scene(np.random.default_rng(2))), "Zażółć gęślą 日本 🚀\n\t!", "After 13 seconds, the word TAXI appears."):
        assert loaded.decode(loaded.encode(text, add_special_tokens=False)) == text
    said = "A red circle moves left slowly. After 13 seconds, two blue squares appear."
    assert len(loaded.encode(said, add_special_tokens=False)) == len(said.replace(".", " .").replace(",", " ,").split())
    assert loaded.encode("<|im_start|><|video_pad|><|im_end|>") == [START, VIDEO, END]
    assert (loaded.eos_token_id, loaded.pad_token_id) == (END, 0)


def test_the_lean_forward_is_the_librarys(tokenizer: Any) -> None:
    torch.manual_seed(3)
    network = build_network(len(tokenizer)).eval()
    batch = make_batch(tokenizer, [draw_scene(np.random.default_rng(4), frames=5)], np.random.default_rng(4))
    until = int((batch.targets[0] != UNKNOWN).nonzero()[0])  # the shared part and the caption's prompt see only what is before them
    tokens = batch.tokens[:, :until]
    with torch.no_grad():
        seen = see(network, batch.patches).flatten(0, 1)
        embedded = network.get_input_embeddings()(tokens).masked_scatter((tokens == VIDEO)[..., None], seen)
        own = network.lm_head(read(network, embedded, batch.positions[:, :, :until], batch.mask[:, :, :until, :until])[-1])
        theirs = network(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            mm_token_type_ids=(tokens == VIDEO).int() * 2,
            position_ids=torch.cat([torch.arange(until)[None, None], batch.positions[:, :, :until]]),
            pixel_values_videos=batch.patches.flatten(0, 1),
            video_grid_thw=torch.tensor([[5, 2 * GRID, 2 * GRID]]),
        ).logits
    torch.testing.assert_close(own, theirs, rtol=1e-3, atol=1e-4)


def test_positions_are_the_pipelines_and_questions_do_not_see_each_other(tokenizer: Any) -> None:
    scene = draw_scene(np.random.default_rng(9), frames=6, kind="move then appear")
    batch = make_batch(tokenizer, [scene], np.random.default_rng(9))
    tokens = batch.tokens[0].tolist()
    before, count = tokens.index(VISION_START) + 1, tokens.count(VIDEO)
    first = int((batch.targets[0] == END).nonzero()[0])  # where the caption ends
    after = first - before - count + 1
    rule = position_ids(
        before=before, times=ticks(scene.times, "time"), rows=GRID, columns=GRID, after=after, tokens_per_second=TOKENS_PER_SECOND
    )
    assert (batch.positions[:, 0, : first + 1].numpy() == rule[1:, 0]).all()
    mask = batch.mask[0, 0]
    assert not mask[first + 1 :, before + count + 1 : first + 1].any()
    assert mask[first + 1 :, : before + count + 1].all()


def test_clocks_without_times() -> None:
    assert [each.seconds for each in ticks([0, 0.4, 7], "index")] == [0, 0.25, 0.5]
    zero = ticks([0, 0.4, 7], "zero")
    assert len(set(zero)) == 3, "of two frames at one time the second would be left out"
    ids = position_ids(before=0, times=zero, rows=1, columns=1, after=0, tokens_per_second=TOKENS_PER_SECOND)
    assert ids[1, 0].tolist() == [0, 0, 0]


def test_steps_lower_the_loss_and_a_run_can_be_taken_up_again(tmp_path: Path) -> None:
    told: list[str] = []
    run = train(SMALL, checkpoint=tmp_path / "state", say=told.append, every=3)
    assert len(told) == 2
    taken_up = Run(SMALL)
    torch.manual_seed(0)
    halfway = Run(SMALL)
    for _ in range(3):
        halfway.advance()
    halfway.save(tmp_path / "half")
    taken_up.resume(tmp_path / "half")
    losses = [taken_up.advance()["said"] for _ in range(3)]
    for one, other in zip(run.network.parameters(), taken_up.network.parameters(), strict=True):
        assert torch.equal(one, other)
    assert losses[-1] < Run(replace(SMALL, seed=1)).advance()["said"] - 1


def test_batches_depend_on_their_step_alone(tokenizer: Any) -> None:
    one, other = batch_of(5, tokenizer, SMALL), batch_of(5, tokenizer, SMALL)
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.patches, other.patches)
    assert not torch.equal(batch_of(4, tokenizer, SMALL).tokens, one.tokens)


def test_batches_made_ahead_are_the_same(tokenizer: Any) -> None:
    made = list(batches(SMALL, tokenizer, first=3, workers=1))
    assert len(made) == SMALL.steps - 3
    for one, step in zip(made, range(3, SMALL.steps), strict=True):
        other = batch_of(step, tokenizer, SMALL)
        assert torch.equal(one.tokens, other.tokens)
        assert torch.equal(one.patches, other.patches)
        assert torch.equal(one.positions, other.positions)


def test_muon_moves_as_the_librarys_does() -> None:
    torch.manual_seed(5)
    start = [torch.randn(24, 40), torch.randn(24, 40), torch.randn(30, 8)]
    mine, theirs = ([torch.nn.Parameter(each.clone()) for each in start] for _ in range(2))
    ours = Muon(mine, lr=0.1, momentum=0.9, weight_decay=0.05)
    library = torch.optim.Muon(theirs, lr=0.1, momentum=0.9, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        ours.step()
        library.step()
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02)


def test_some_colours_are_misheard_but_asked_for_rightly(tokenizer: Any) -> None:
    told = wrong = 0
    for seed in range(20):
        scene = draw_scene(np.random.default_rng(seed), frames=4)
        batch = make_batch(tokenizer, [scene], np.random.default_rng(seed))
        start = int((batch.targets[0] != UNKNOWN).nonzero()[0])
        end = int((batch.targets[0] == END).nonzero()[0])
        said, asked = batch.tokens[0, start + 1 : end + 1], batch.targets[0, start:end]
        assert tokenizer.decode(asked) == caption(scene)
        told, wrong = told + len(said), wrong + int((said != asked).sum())
        assert tokenizer.decode(said).split()[2:3] == caption(scene).split()[2:3]
    assert 0 < wrong < told / 5
