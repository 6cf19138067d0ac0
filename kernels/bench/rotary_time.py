"""What `rotary_time` is compared with."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from kernels.bench.cases import FAST, Case, gpu, installed


def cases() -> Iterator[Case]:
    """Prompts and single tokens of a model of 7B: 28 heads, 4 of keys."""
    if not installed("transformers") or not installed("torch"):
        return
    import torch
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRotaryEmbedding, apply_rotary_pos_emb

    from kernels.rotary_time import axes_of, frequencies_of, reference, rotary_time

    torch.set_num_threads(1)
    rope = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}
    config: Any = Qwen2_5_VLTextConfig(hidden_size=128 * 28, num_attention_heads=28, rope_parameters=rope)
    sections, axes, frequencies = (16, 24, 24), torch.from_numpy(axes_of((16, 24, 24), "sectioned")), frequencies_of(64, 1e6)
    for device in ("cpu", "cuda") if gpu() else ("cpu",):
        embedding: Any = Qwen2_5_VLRotaryEmbedding(config).to(device)
        for dtype in (torch.float32, torch.bfloat16):
            for length in (1000, 1):
                queries, keys = (torch.rand(1, length, heads, 128, device=device).transpose(1, 2).to(dtype) for heads in (28, 4))
                positions = torch.rand(3, 1, length, device=device) * 1000
                table = embedding(queries, positions)
                values = (queries, keys)

                def theirs(values: Any = values, positions: Any = positions, embedding: Any = embedding) -> object:
                    return apply_rotary_pos_emb(*values, *embedding(values[0], positions))

                ways: dict[str, Callable[[], object]] = {
                    FAST: partial(rotary_time, *values, positions, sections=sections),
                    "transformers, the tables as well": theirs,
                    "transformers, the tables kept": partial(apply_rotary_pos_emb, *values, *table),
                }
                if device == "cpu":
                    ways["reference"] = partial(reference.rotary_time, *values, positions, axes, frequencies, 1.0)
                yield Case("rotary_time", f"{length} tokens, {str(dtype)[6:]}, {device}", ways, on_gpu=device == "cuda")
