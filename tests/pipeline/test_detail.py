"""The second look at a scene's keyframes, with features made for the purpose."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.sample.detail import Detail, Level, Thresholds, second_look

pytestmark = pytest.mark.unit

FULL, POOLED, DROPPED = Level.FULL, Level.POOLED, Level.DROPPED


def scene(*angles: float) -> NDArray[np.float32]:
    """A keyframe each, whose four tokens all point so many degrees round: cosines are those of differences."""
    turned = np.deg2rad(np.array(angles))
    return np.repeat(np.stack([np.cos(turned), np.sin(turned)], axis=-1)[:, None, :], 4, axis=1).astype(np.float32)


def look(features: NDArray[np.float32], *, needed: Sequence[int] = (), budget: int | None = None) -> Detail:
    return second_look(features, needed=needed, tokens_full=100, tokens_pooled=25, budget=budget)


def test_a_near_duplicate_is_dropped_and_what_differs_stays() -> None:
    detail = look(scene(0, 2, 60, 61, 120))
    assert detail.levels == (FULL, DROPPED, FULL, DROPPED, FULL)
    assert (detail.tokens, detail.tokens_of_all) == (300, 500)
    assert detail.saved == pytest.approx(0.4)


def test_small_steps_add_up_to_a_keyframe() -> None:
    assert look(scene(0, 15, 30, 45)).levels == (FULL, DROPPED, POOLED, DROPPED)


def test_a_picture_that_returns_later_is_no_duplicate_of_what_came_between() -> None:
    assert look(scene(0, 90, 0)).levels == (FULL, FULL, FULL)


def test_what_is_like_a_neighbour_is_pooled_but_the_first_is_not() -> None:
    detail = look(scene(0, 30, 100))
    assert detail.levels == (FULL, POOLED, FULL)
    assert detail.tokens == 225


def test_one_token_that_differs_much_is_seen_among_many_that_do_not() -> None:
    features = scene(0, 0)
    features[1, 2] = -features[1, 2]
    assert look(features).levels == (FULL, FULL)


def test_writing_that_is_needed_is_kept_whole_though_the_picture_is_the_same() -> None:
    assert look(scene(0, 1, 2), needed=(1,)).levels == (FULL, FULL, DROPPED)


def test_a_budget_takes_detail_and_then_keyframes_from_what_is_least_new() -> None:
    features = scene(0, 90, 170, 210)
    assert look(features).levels == (FULL, FULL, FULL, FULL)
    assert look(features, budget=325).levels == (FULL, FULL, POOLED, FULL)
    assert look(features, budget=100).levels == (POOLED, POOLED, POOLED, POOLED)
    assert look(features, budget=60).levels == (POOLED, POOLED, DROPPED, DROPPED)
    assert look(features, budget=1).levels == (POOLED, DROPPED, DROPPED, DROPPED), "something must be shown"


def test_pooled_features_do_as_well() -> None:
    assert look(scene(0, 2, 60)[:, 0]).levels == (FULL, DROPPED, FULL)


def test_no_keyframes_and_no_features_at_all() -> None:
    assert look(scene()) == Detail((), 0, 0)
    assert look(scene()).saved == 0.0
    assert look(np.zeros((2, 4, 2), np.float32)).levels == (FULL, FULL)


@pytest.mark.parametrize(
    ("features", "options", "what"),
    [
        (np.zeros(3, np.float32), {}, "features"),
        (np.zeros((2, 0, 3), np.float32), {}, "features"),
        (scene(0), {"needed": (1,)}, "no 1"),
        (scene(0), {"tokens_pooled": 101}, "at most"),
        (scene(0), {"tokens_pooled": 0}, "at least"),
    ],
)
def test_what_makes_no_sense_is_refused(features: NDArray[np.float32], options: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        second_look(features, **{"tokens_full": 100, "tokens_pooled": 25, **options})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cosines"):
        Thresholds(same=0.5, alike=0.6)
