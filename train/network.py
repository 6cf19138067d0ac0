"""Watchword-Tiny's network: the Qwen2.5-VL architecture of `transformers`, made small, and the heads that teach it."""

from typing import Any

import torch
from torch import nn

from train.render import GRID, TOKEN
from train.scenes import COLOURS, DIRECTIONS, NUMBERS, SHAPES, SIDE, SPEEDS, WORDS
from train.tokenizer import END, IMAGE, PAD, VIDEO, VISION_END, VISION_START

PATCH, MERGE = TOKEN // 2, 2
TOKENS_PER_SECOND = 4
"""Temporal positions in a second: the whole second of a frame is a quarter of its temporal id."""
WIDTH, LAYERS = 192, 5
PLACE_LAYER, MOTION_LAYER = 1, 3
"""After how many layers the auxiliary heads ask where a thing is, and how it moves: early enough for the text to read it."""
SECONDS = 20


def build_network(vocabulary: int) -> Any:
    """A new `Qwen2_5_VLForConditionalGeneration` with random weights."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocabulary,
            "hidden_size": WIDTH,
            "intermediate_size": 448,
            "num_hidden_layers": LAYERS,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            # The sections take turns, so that time, height and width each get quick and slow frequencies: in the usual
            # three blocks, width would get the slowest, and neighbouring columns of a small picture would look the same.
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [1] * 24},
            "bos_token_id": PAD,
            "eos_token_id": END,
            "pad_token_id": PAD,
            "max_position_embeddings": 4096,
        },
        vision_config={
            "depth": 3,
            "hidden_size": 96,
            "intermediate_size": 224,
            "num_heads": 3,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "temporal_patch_size": 1,
            "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [0, 1, 2],
            "window_size": SIDE,
            "tokens_per_second": TOKENS_PER_SECOND,
        },
        image_token_id=IMAGE,
        video_token_id=VIDEO,
        vision_start_token_id=VISION_START,
        vision_end_token_id=VISION_END,
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


class Heads(nn.Module):
    """Small classifiers of a clip's tokens, used in training alone: what is there, where, and how it moves."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = nn.Linear(WIDTH, len(SHAPES) + 2)
        self.colour = nn.Linear(WIDTH, len(COLOURS) + 1)
        self.word = nn.Linear(WIDTH, len(WORDS))
        self.centre = nn.Linear(WIDTH, 2)
        self.second = nn.Linear(WIDTH, SECONDS)
        self.arrival = nn.Linear(WIDTH, 3)
        self.direction = nn.Linear(WIDTH, len(DIRECTIONS) + 1)
        self.speed = nn.Linear(WIDTH, len(SPEEDS))
        self.count = nn.Linear(WIDTH, len(NUMBERS) - 1)


def see(network: Any, patches: torch.Tensor) -> torch.Tensor:
    """The vision tower on patches [frames, patches, values] of equal frames: tokens [frames, tokens, WIDTH].

    The same as the library's, which goes through the frames one by one in Python.
    """
    visual = network.model.visual
    frames, count, _ = patches.shape
    heads = visual.config.num_heads
    hidden = nn.functional.linear(patches, visual.patch_embed.proj.weight.flatten(1))
    cos, sin = visual.rotary_pos_emb(hidden, _patch_places(GRID * MERGE, GRID * MERGE).to(hidden.device))
    cos, sin = cos[None, None].to(hidden.dtype), sin[None, None].to(hidden.dtype)
    for block in visual.blocks:
        query, key, value = block.attn.qkv(_even(block.norm1, hidden)).view(frames, count, 3, heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = _attend(_turn(query, cos, sin), _turn(key, cos, sin), value, None)
        hidden = hidden + block.attn.proj(mixed.transpose(1, 2).reshape(frames, count, -1))
        hidden = hidden + block.mlp(_even(block.norm2, hidden))
    merged = _even(visual.merger.ln_q, hidden).view(frames, count // MERGE**2, -1)
    tokens: torch.Tensor = visual.merger.mlp(merged)
    return tokens


def _even(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    return nn.functional.rms_norm(hidden, hidden.shape[-1:], norm.weight.to(hidden.dtype), norm.variance_epsilon)


def _turn(rows: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    one, other = rows.chunk(2, dim=-1)
    return rows * cos + torch.cat([-other, one], dim=-1) * sin


def _patch_places(rows: int, columns: int) -> torch.Tensor:
    """Row and column of each patch [rows * columns, 2], the patches of a token after one another."""
    grid = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij"))
    split = grid.view(2, rows // MERGE, MERGE, columns // MERGE, MERGE)
    return split.permute(0, 1, 3, 2, 4).reshape(2, -1).T


def read(network: Any, embedded: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """What each layer of the language model makes of `embedded` [batch, length, WIDTH]; the last after its final norm.

    `positions` is [3, batch, length]; `mask` [batch, 1, length, length] is true where a token may look.
    """
    model = network.model.language_model
    batch, length, _ = embedded.shape
    hidden = embedded
    cos, sin = (each[:, None] for each in model.rotary_emb(hidden, positions))
    unseen = torch.zeros(mask.shape, dtype=hidden.dtype, device=mask.device).masked_fill(~mask, -30000.0)
    states = []
    for layer in model.layers:
        inner, normal = layer.self_attn, _even(layer.input_layernorm, hidden)
        query, key, value = (
            each(normal).view(batch, length, -1, inner.head_dim).transpose(1, 2) for each in (inner.q_proj, inner.k_proj, inner.v_proj)
        )
        mixed = _attend(_turn(query, cos, sin), _turn(key, cos, sin), value, unseen)
        hidden = hidden + inner.o_proj(mixed.transpose(1, 2).reshape(batch, length, -1))
        hidden = hidden + layer.mlp(_even(layer.post_attention_layernorm, hidden))
        states.append(hidden)
    states[-1] = _even(model.norm, hidden)
    return states


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, unseen: torch.Tensor | None) -> torch.Tensor:
    """Plain attention: at these sizes four times as fast backwards, on a CPU, as the fused kernel."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    weights: torch.Tensor = (scores if unseen is None else scores + unseen).softmax(-1, dtype=scores.dtype)
    return weights @ value
