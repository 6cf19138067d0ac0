"""Unit: fewer tokens of pictures that hardly change, each at its own time and place, weighing what it stands for."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prometheus_client import REGISTRY

from pipeline.caption.model import SceneView, load
from pipeline.caption.vlm import VlmCaptioner, load_vlm
from pipeline.caption.vlm.families import Features
from pipeline.caption.vlm.thinning import Thinning, pooled, read_thinning, thin
from pipeline.caption.vlm.worker import Job, Limits
from pipeline.timeline import MediaTime
from tests import tiny_vlm
from tests.tiny_vlm import scene, shot
from train.evaluate import held_out, view
from train.scenes import caption

pytestmark = pytest.mark.unit

BACKGROUND, THING, OTHER = torch.eye(8)[:3]


def picture(*things: int, rows: int = 3, columns: int = 4, thing: torch.Tensor = THING) -> Features:
    """Background with things at these places."""
    tokens = BACKGROUND.repeat(rows * columns, 1)
    tokens[list(things)] = thing
    return Features(tokens, rows, columns, (tokens + 1,))


def test_of_a_still_picture_only_the_first_is_shown_and_weighs_for_all() -> None:
    first, second, third = thin([picture(5)] * 3, Thinning("unchanged"))
    assert first.kept == tuple(range(12))
    assert (second.count, third.count) == (1, 1), "its time is told all the same"
    assert [sum(each.stands_for or ()) for each in (first, second, third)] == [34, 1, 1]


def test_what_changes_is_shown() -> None:
    first, second, third = thin([picture(5), picture(6), picture(6, 11, thing=OTHER)], Thinning("unchanged"))
    assert (first.count, second.kept, third.kept) == (12, (5, 6), (6, 11))
    assert torch.equal(third.tokens, OTHER.repeat(2, 1))
    assert torch.equal(third.levels[0], third.tokens + 1)
    assert first.stands_for == (3, 3, 3, 3, 3, 1, 1, 3, 3, 3, 3, 2)
    assert second.stands_for == (2, 1)


def test_a_thing_that_stands_still_is_shown_again_where_only_background_is_left_out() -> None:
    _, second = thin([picture(5), picture(5)], Thinning("plain"))
    assert second.kept is not None
    assert 5 in second.kept
    assert second.count == 2
    varied = Features(torch.eye(12), 3, 4)
    assert thin([varied, varied], Thinning("plain"))[1].count == 12, "nothing in it is plain"


def test_a_still_picture_is_pooled_at_the_places_of_its_tokens() -> None:
    _, second = thin([picture(5), picture(5)], Thinning("pooled", 0.9))
    assert (second.kept, second.stands_for) == ((0, 2, 8, 10), (4, 4, 2, 2))
    assert torch.allclose(second.tokens[0], (3 * BACKGROUND + THING) / 4)
    odd = pooled(picture(rows=3, columns=3), dict.fromkeys(range(9), 1))
    assert (odd.kept, odd.stands_for) == ((0, 2, 6, 8), (4, 2, 2, 1))
    moved = thin([picture(0, 1, 2, 3), picture(8, 9, 10, 11)], Thinning("pooled", 0.9))
    assert moved[1].count == 12


def test_pictures_of_another_shape_begin_anew() -> None:
    found = thin([picture(5), picture(5, rows=4, columns=3), picture(5)], Thinning("unchanged"))
    assert [each.count for each in found] == [12, 12, 12]
    assert [each.count for each in thin([picture(5)] * 2, Thinning())] == [12, 12]


@pytest.fixture(scope="module", params=tiny_vlm.FAMILIES)
def captioner(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> VlmCaptioner:
    checkpoint = tiny_vlm.save(tmp_path_factory.mktemp("models") / request.param, request.param)
    return load_vlm(checkpoint, max_new_tokens=8, precision="float32", limits=Limits(thinning=Thinning("unchanged", 0.999)))


def test_every_token_keeps_its_time_and_place(captioner: VlmCaptioner) -> None:
    family: Any = captioner.worker._family
    times = [MediaTime.of(each) for each in (0, 0.8, 7)]
    whole = [picture(5), picture(6), picture(7)]
    thinned = thin(whole, Thinning("unchanged"))
    full, fewer = (family.place([3, *each, 4], times, start=0, behind=0) for each in (whole, thinned))
    kept = [3 + 12 * number + place for number, each in enumerate(thinned) for place in each.kept or ()]
    chosen = [0, 1, 2, *kept, *range(39, 43)]
    assert np.array_equal(fewer.ids[1:], full.ids[1:, :, chosen])
    assert np.array_equal(fewer.ids[0, 0], np.arange(len(chosen)))
    assert fewer.next == full.next


def still(*times: float, colour: str = "red") -> SceneView:
    """A scene in which nothing changes."""
    return replace(scene(0), shots=tuple(shot(at, colour) for at in times))


def test_thinned_scenes_are_described_together_as_alone(captioner: VlmCaptioner) -> None:
    views = [still(0, 1, 2, 9), scene(1, 2, 3), still(4, colour="blue"), still(1, 5, colour="green")]
    before = REGISTRY.get_sample_value("watchword_caption_picture_tokens_total", {"outcome": "left_out"}) or 0
    together, alone = ([Job(each, 8, lambda _: None) for each in views] for _ in range(2))
    assert not any(captioner.worker.run(together))
    assert not any(failure for job in alone for failure in captioner.worker.run([job]))
    assert [job.tokens for job in together] == [job.tokens for job in alone]
    first, _, single, _ = together
    each = captioner.worker.features.get(single.keys[0])
    assert each is not None
    assert first.picture_tokens < 2 * each.count + 3
    assert (REGISTRY.get_sample_value("watchword_caption_picture_tokens_total", {"outcome": "left_out"}) or 0) > before


def test_watchword_tiny_says_nearly_the_same_of_fewer_tokens() -> None:
    whole, thinned = (
        load("transformers", directory=Path("watchword-tiny"), max_new_tokens=48, thin=how, picture_tokens=128)
        for how in ("none", "plain:0.99")
    )
    scenes = held_out(16)
    views = [view(each, seed=index) for index, each in enumerate(scenes)]

    async def said(captioner: Any) -> list[str]:
        return [(await captioner.describe(each)).text for each in views]

    right, still_right = (
        sum(text == caption(each) for text, each in zip(asyncio.run(said(each)), scenes, strict=True)) for each in (whole, thinned)
    )
    assert still_right >= right - 2
    jobs = [Job(each, 1, lambda _: None) for each in views]
    thinned.worker.run(jobs)  # type: ignore[attr-defined]
    assert sum(job.picture_tokens for job in jobs) < 0.7 * 16 * sum(len(each.times) for each in scenes)


@pytest.mark.parametrize("text", ["", "plain:2", "plain:x", "more", "plain:0.1", "none:"])
def test_what_is_no_way_is_refused(text: str) -> None:
    if text == "none:":
        assert read_thinning(text) == Thinning()
        return
    with pytest.raises(ValueError, match=r"one of none, plain, unchanged, pooled is needed, with a cosine from 0\.5 to 1"):
        read_thinning(text)
