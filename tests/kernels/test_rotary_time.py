"""Rotary embeddings by time: closed forms, transformers' results, and each path against the reference."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels.rotary_time import axes_of, rotary_time

pytestmark = pytest.mark.unit

torch = pytest.importorskip("torch")

TOLERANCE = {"float32": 2e-6, "bfloat16": 2e-2, "float16": 3e-3}
"""Of values up to 1, which turning makes up to 1.42."""
LAYOUTS = {"sectioned": (16, 24, 24), "interleaved": (24, 20, 20)}


def some(length: int, dtype: str, heads: int = 5, key_heads: int = 2, batch: int = 2, width: int = 128) -> tuple[Any, Any, Any]:
    """Queries and keys as an attention has them, tokens before heads in memory, and fractions as positions."""
    torch.manual_seed(length)
    values = [torch.rand(batch, length, count, width).mul(2).sub(1).to(getattr(torch, dtype)) for count in (heads, key_heads)]
    return values[0].transpose(1, 2), values[1].transpose(1, 2), torch.rand(3, batch, length) * 30_000


def referred(queries: Any, keys: Any, positions: Any, sections: tuple[int, ...], layout: Any, theta: float = 1e6) -> tuple[Any, Any]:
    from kernels.rotary_time import frequencies_of, reference

    turned = queries.clone(), keys.clone()
    axes = torch.from_numpy(axes_of(sections, layout))
    reference.rotary_time(*turned, positions.expand(3, len(queries), -1), axes, frequencies_of(len(axes), theta), 1.0)
    return turned


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layout", LAYOUTS)
class TestPaths:
    @pytest.mark.parametrize("length", [1, 37, 700])
    def test_the_fast_one_is_the_reference(self, length: int, layout: Any, dtype: str) -> None:
        queries, keys, positions = some(length, dtype)
        wanted = referred(queries, keys, positions, LAYOUTS[layout], layout)
        rotary_time(queries, keys, positions, sections=LAYOUTS[layout], layout=layout)
        for found, turned in zip((queries, keys), wanted, strict=True):
            np.testing.assert_allclose(found.float(), turned.float(), rtol=0, atol=TOLERANCE[dtype])

    def test_the_interpreted_one_is_the_reference(self, interpreted: Callable[..., Any], layout: Any, dtype: str) -> None:
        """Both strides of an attention's tensors and a width that is no power of two."""
        sections = tuple(each // 4 + 1 for each in LAYOUTS[layout])
        queries, keys, positions = some(3, dtype, width=2 * sum(sections))
        wanted = referred(queries, keys, positions, sections, layout)
        passed = [values.double().numpy() for values in (queries, keys)]
        found = interpreted(
            "rotary_time", "rotary_time", *passed, positions.numpy(), sections=sections, layout=layout, floats=dtype, in_place=True
        )
        for values, turned in zip(found, wanted, strict=False):
            np.testing.assert_allclose(values, turned.float(), rtol=0, atol=TOLERANCE[dtype])

    def test_it_is_transformers_own(self, layout: Any, dtype: str) -> None:
        queries, keys, positions = some(50, dtype)
        theirs, embedding = _transformers(layout)
        cosine, sine = embedding(queries, positions)
        wanted = theirs(queries, keys, cosine, sine)
        rotary_time(queries, keys, positions, sections=LAYOUTS[layout], theta=5e6, layout=layout)
        for found, turned in zip((queries, keys), wanted, strict=True):
            np.testing.assert_allclose(found.float(), turned.float(), rtol=0, atol=TOLERANCE[dtype])


def _transformers(layout: str) -> tuple[Any, Any]:
    """`apply_rotary_pos_emb`, and the module that makes its tables."""
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": list(LAYOUTS[layout])}
    if layout == "sectioned":
        pytest.importorskip("transformers.models.qwen2_5_vl")
        from transformers.models.qwen2_5_vl import configuration_qwen2_5_vl as configuration
        from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl as modeling

        config = configuration.Qwen2_5_VLTextConfig(hidden_size=128 * 4, num_attention_heads=4, rope_parameters=rope)
        return modeling.apply_rotary_pos_emb, modeling.Qwen2_5_VLRotaryEmbedding(config)
    pytest.importorskip("transformers.models.qwen3_vl")
    from transformers.models.qwen3_vl import configuration_qwen3_vl as configuration3
    from transformers.models.qwen3_vl import modeling_qwen3_vl as modeling3

    return modeling3.apply_rotary_pos_emb, modeling3.Qwen3VLTextRotaryEmbedding(
        configuration3.Qwen3VLTextConfig(head_dim=128, rope_parameters=rope)
    )


def test_it_compiles_for_a_gpu(compiled: Callable[..., list[str]]) -> None:
    queries, keys = np.zeros((1, 4, 3, 128)), np.zeros((1, 1, 3, 128))
    (assembler,) = compiled(
        "rotary_time", "rotary_time", queries, keys, np.zeros((3, 1, 3), np.float32), sections=(16, 24, 24), floats="bfloat16"
    )
    assert "cos.approx" not in assembler  # which is wrong for positions of thousands


class TestMeaning:
    def test_where_all_positions_are_zero_nothing_turns(self) -> None:
        queries, keys, positions = some(5, "float32")
        before = queries.clone()
        rotary_time(queries, keys, positions * 0, sections=(16, 24, 24))
        assert torch.equal(queries, before)

    def test_products_depend_on_how_far_apart_two_are(self) -> None:
        """Moved on in time together, a query and a key give the same product."""
        torch.manual_seed(0)
        query, key = torch.rand(2, 1, 1, 1, 128)
        products = []
        for start in (0.0, 12.5):
            here, there = query.clone(), key.clone()
            rotary_time(here, there.clone(), torch.tensor([start + 2.25, 3, 4]).view(3, 1, 1), sections=(16, 24, 24))
            rotary_time(there, query.clone(), torch.tensor([start, 3, 4]).view(3, 1, 1), sections=(16, 24, 24))
            products.append(float((here * there).sum()))
        assert products[0] == pytest.approx(products[1], rel=1e-5)

    def test_each_axis_turns_its_own_section(self) -> None:
        for axis, begin, end in ((0, 0, 16), (1, 16, 40), (2, 40, 64)):
            queries, keys = torch.ones(1, 1, 1, 128), torch.ones(1, 1, 1, 128)
            positions = torch.zeros(3, 1, 1)
            positions[axis] = 0.5
            rotary_time(queries, keys, positions, sections=(16, 24, 24))
            moved = (queries[0, 0, 0] != 1).view(2, 64)
            assert moved[:, begin:end].all()
            assert moved.sum() == 2 * (end - begin)

    def test_interleaved_deals_frequencies_out(self) -> None:
        assert axes_of((24, 20, 20), "interleaved").tolist() == [0, 1, 2] * 20 + [0] * 4
        assert axes_of((2, 1, 1), "sectioned").tolist() == [0, 0, 1, 2]

    def test_frequencies_and_scaling_of_a_variant(self) -> None:
        queries, keys = torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4)
        rotary_time(queries, keys, torch.ones(3, 1, 1), sections=(1, 1, 0), frequencies=torch.tensor([torch.pi / 2, 0.0]), scaling=2.0)
        np.testing.assert_allclose(queries.flatten(), [-2, 2, 2, 2], atol=1e-6)

    def test_positions_may_be_the_same_for_a_batch(self) -> None:
        queries, keys, positions = some(6, "float32")
        again = queries.clone(), keys.clone()
        rotary_time(queries, keys, positions[:, :1], sections=(16, 24, 24))
        rotary_time(*again, positions[:, :1].repeat(1, 2, 1).contiguous(), sections=(16, 24, 24))
        assert torch.equal(queries, again[0])

    def test_nothing_is_nothing(self) -> None:
        rotary_time(torch.zeros(1, 2, 0, 128), torch.zeros(1, 1, 0, 128), torch.zeros(3, 1, 0), sections=(16, 24, 24))


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        ({"queries": np.zeros((1, 2, 3, 128), np.float32)}, TypeError, "torch tensors"),
        ({"queries": torch.zeros(1, 2, 3, 128, dtype=torch.float64)}, TypeError, "float64"),
        ({"keys": torch.zeros(1, 2, 3, 128, dtype=torch.float16)}, TypeError, "float16"),
        ({"positions": torch.zeros(3, 1, 3, dtype=torch.bfloat16)}, TypeError, "2048"),
        ({"keys": torch.zeros(1, 2, 4, 128)}, ValueError, "agree but in heads"),
        ({"positions": torch.zeros(3, 2, 3)}, ValueError, r"not \(3, 2, 3\)"),
        ({"sections": (16, 24, 23)}, ValueError, "half of D = 128"),
        ({"layout": "mixed"}, ValueError, "'mixed'"),
        ({"frequencies": torch.zeros(63)}, ValueError, "64 frequencies"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any], error: type[Exception], told: str) -> None:
    said: dict[str, Any] = {
        "queries": torch.zeros(1, 2, 3, 128),
        "keys": torch.zeros(1, 2, 3, 128),
        "positions": torch.zeros(3, 1, 3),
        "sections": (16, 24, 24),
    }
    with pytest.raises(error, match=told):
        rotary_time(**said | change)
