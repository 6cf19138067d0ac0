"""What the rule for dissolves is fitted with, on clips made by hand."""

import numpy as np
import pytest
from PIL import Image

from bench.sampling import fitting, synthetic, training
from bench.sampling.training import Pair
from pipeline.sample.dissolves import DissolveFinder
from pipeline.sample.looks import look
from pipeline.sample.mixing import Signs, evidence
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.unit


def shot(seed: int, count: int = 80) -> list[Pair]:
    """A picture that rests."""
    rng = np.random.default_rng(seed)
    luma = np.kron(rng.uniform(20, 230, (9, 16)), np.ones((4, 4))).astype(np.float32)
    return [(luma, np.full((2, 18, 32), 128, np.float32))] * count


def photo(seed: int) -> Image.Image:
    blocks = np.random.default_rng(seed).integers(0, 256, (9, 16, 3), np.uint8)
    return Image.fromarray(blocks).resize((256, 144), Image.Resampling.BICUBIC)


def test_a_composed_clip_is_the_same_for_the_same_seed_and_says_where_its_dissolves_are() -> None:
    made = [training.composed(seed, [shot(1), shot(2), shot(3)], [photo(4), photo(5)]) for seed in (1, 1, 2)]
    assert made[0].gradual == made[1].gradual != made[2].gradual
    assert all((one[1][0] == other[1][0]).all() for one, other in zip(made[0].looks, made[1].looks, strict=True))
    for span in made[0].gradual:
        assert 0.4 <= span.end - span.start <= 2


def test_dissolves_between_shots_that_rest_are_found_with_the_weights_that_are_kept() -> None:
    made = training.composed(1, [shot(1), shot(2), shot(3), shot(4)], [photo(5), photo(6)])
    told = fitting.told(made, evidence)
    assert len(told) == len(made.gradual)
    assert all(-0.2 <= at - span.end <= 0.5 for at, span in zip(told, made.gradual, strict=True))


def test_what_is_measured_of_a_mixture_is_what_mixtures_have() -> None:
    finder = DissolveFinder()
    (before, chroma), (after, _) = shot(1)[0], shot(2)[0]
    found: list[Signs] = []
    for number, share in enumerate([*[0.0] * 20, *np.linspace(0, 1, 12), *[1.0] * 3]):
        luma = ((1 - share) * before + share * after).round().astype(np.uint8)
        finder.push(MediaTime.of(number / 10), look(luma, chroma.astype(np.uint8)), cut=False)
        found = list(finder.signs()) or found
    signs = found[-1]
    assert signs.away < 0.02
    assert signs.kept == pytest.approx(0, abs=0.05)
    assert signs.blurred == pytest.approx(0, abs=0.05)
    assert signs.back == pytest.approx(0, abs=1e-3)
    assert max(evidence(each) for each in found) > 0


def test_a_regression_finds_the_weights_that_made_its_examples() -> None:
    rng = np.random.default_rng(1)
    values = np.c_[np.ones(4000), rng.normal(size=(4000, 2))]
    wanted = (rng.random(4000) < 1 / (1 + np.exp(-values @ [0.5, 2, -1]))).astype(float)
    assert fitting.logistic(values, wanted) == pytest.approx([0.5, 2, -1], abs=0.2)


def test_single_frames_of_a_synthetic_clip_are_those_of_the_whole() -> None:
    whole = list(synthetic.Sketch.of(3, "cuts", 1).frames(range(12)))
    some = list(synthetic.Sketch.of(3, "cuts", 1).frames([4, 11]))
    assert (some[0] == whole[4]).all()
    assert (some[1] == whole[11]).all()
