"""Rotary embeddings on a CPU, a few tokens at a time: they stay in the cache, and no second copy of queries or keys is made.

Half of a head's values is too short a run for the library to be fast, so whole heads are multiplied by the cosine, and their
halves, exchanged, by the sine, which has the sign. In 16 bits the tables have 16 bits as well, as in transformers.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_VALUES = 1 << 18
"""Worked on at a time: 1 MB in float32."""


def rotary_time(queries: "Tensor", keys: "Tensor", positions: "Tensor", axes: "Tensor", frequencies: "Tensor", scaling: float) -> None:
    """As the reference."""
    import torch

    angles = (positions.float()[axes.long()].permute(1, 2, 0) * frequencies)[:, None]
    cosine, sine = angles.cos(), angles.sin()
    if scaling != 1:
        cosine, sine = cosine * scaling, sine * scaling
    cosine, sine = torch.cat([cosine, cosine], dim=-1).to(queries.dtype), torch.cat([-sine, sine], dim=-1).to(queries.dtype)
    for values in (queries, keys):
        batch, heads, length, width = values.shape
        half = width // 2
        step = max(1, _VALUES // max(1, batch * heads * width))
        exchanged = torch.empty_like(values[:, :, :step])
        for begin in range(0, length, step):
            part = values[:, :, begin : begin + step]
            other = exchanged[:, :, : part.shape[2]]
            other[..., :half] = part[..., half:]
            other[..., half:] = part[..., :half]
            part.mul_(cosine[:, :, begin : begin + step]).addcmul_(other, sine[:, :, begin : begin + step])
