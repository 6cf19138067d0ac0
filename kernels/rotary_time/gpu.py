"""Rotary embeddings in Triton: one program turns all heads of one token's queries and keys, from its three positions."""

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def _turn(values, head_stride, heads, half, cosine, sine, dimension, HEADS: tl.constexpr):
    for start in range(0, heads, HEADS):
        head = start + tl.arange(0, HEADS)
        inside = (head < heads)[:, None] & (dimension < half)[None, :]
        places = values + head.to(tl.int64)[:, None] * head_stride + dimension[None, :]
        first = tl.load(places, mask=inside, other=0).to(tl.float32)
        second = tl.load(places + half, mask=inside, other=0).to(tl.float32)
        tl.store(places, (first * cosine - second * sine).to(values.dtype.element_ty), mask=inside)
        tl.store(places + half, (second * cosine + first * sine).to(values.dtype.element_ty), mask=inside)


@triton.jit
def _rotary_kernel(
    queries, keys, positions, axes, frequencies, scaling, length, half, query_heads, key_heads,
    query_batch, query_head, query_token, key_batch, key_head, key_token, position_axis, position_batch, position_token,
    HALF: tl.constexpr, HEADS: tl.constexpr,
):  # fmt: skip
    token, batch = (tl.program_id(0) % length).to(tl.int64), (tl.program_id(0) // length).to(tl.int64)
    dimension = tl.arange(0, HALF)
    real = dimension < half
    axis = tl.load(axes + dimension, mask=real, other=0)
    position = tl.load(positions + axis * position_axis + batch * position_batch + token * position_token, mask=real, other=0)
    angle = position.to(tl.float32) * tl.load(frequencies + dimension, mask=real, other=0)
    # Positions go into tens of thousands. This is right for them: Triton takes libdevice's cosine, not the processor's fast one.
    cosine, sine = (tl.cos(angle) * scaling)[None, :], (tl.sin(angle) * scaling)[None, :]
    _turn(queries + batch * query_batch + token * query_token, query_head, query_heads, half, cosine, sine, dimension, HEADS)
    _turn(keys + batch * key_batch + token * key_token, key_head, key_heads, half, cosine, sine, dimension, HEADS)


def rotary_time(
    queries: torch.Tensor, keys: torch.Tensor, positions: torch.Tensor, axes: torch.Tensor, frequencies: torch.Tensor, scaling: float
) -> None:
    """As the reference; the last axis of queries and keys must be contiguous, all others may have any strides."""
    for values in (queries, keys):
        if values.stride(-1) != 1:
            raise ValueError(f"the head dimension must be contiguous, not in steps of {values.stride(-1)}")
    batch, _, length, width = queries.shape
    half: Any = width // 2
    if not batch * length:
        return
    _rotary_kernel[(batch * length,)](
        queries, keys, positions, axes, frequencies, scaling, length, half, queries.shape[1], keys.shape[1],
        *queries.stride()[:3], *keys.stride()[:3], *positions.stride(),
        HALF=triton.next_power_of_2(half), HEADS=4,
    )  # fmt: skip
