"""The tokens of many scenes, written together and greedily: prompts are read, then one token of each scene is written a step.

Prompts of different lengths are filled up on the left, where nothing looks. Positions are those of each prompt, for its
reading and for each written token. So a scene can join those that are being written (its keys and values are put beside theirs), and
one that is finished, or that nobody waits for any more, leaves at once: nobody waits for the slowest (continuous batching, Orca, 2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.caption.positions import Placed
from pipeline.caption.vlm.families import Family, Features
from pipeline.caption.vlm.prompt import Tokens
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from torch import Tensor


ATTENTION_ON_CPU = 3.4
"""How much longer an operation of attention takes than one of a product of matrices, in bfloat16 on one core (docs/log.md)."""


@dataclass(frozen=True, eq=False)
class Prefix:
    """A beginning that has been read: what the network keeps of it."""

    layers: tuple[tuple["Tensor", "Tensor"], ...]
    """Keys and values of each layer, [1, heads, tokens, width]."""
    placed: Placed

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(each.nbytes for layer in self.layers for each in layer)


@dataclass(eq=False)
class Row:
    """A scene in a batch."""

    parts: Sequence[Tokens | Features]
    """What is read, behind the prefix."""
    times: Sequence[MediaTime]
    """Of the pictures among the parts."""
    take: Callable[[int, float], bool]
    """Told each written token and the logarithm of its probability; whether another one is wanted."""
    prefix: Prefix | None = None
    keep: int = 0
    """So many tokens at the beginning are to be kept as `kept`, which only a row by itself can."""
    kept: Prefix | None = field(default=None, init=False)
    written: int = field(default=0, init=False)
    placed: Placed = field(init=False)


class Decoder:
    """Reads and writes with one network; blocks, and belongs to one thread."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._network = family.network
        self._text_config = self._network.config.get_text_config(decoder=True)

    def read(self, tokens: Tokens) -> Prefix:
        """Read a beginning of text once, to go on from it many times."""
        import torch

        placed = self._family.place([len(tokens)], (), start=0, behind=0)
        cache = self._cache([None])
        ids = torch.from_numpy(placed.ids).to(self._network.device)
        self._family.forward(self._embed(tokens)[None], ids, torch.ones_like(ids[0]), cache, None, ())
        return Prefix(tuple((layer.keys, layer.values) for layer in cache.layers), placed)

    def worth_going_on(self, known: int, rest: int) -> bool:
        """Whether going on from so many tokens costs less than reading them again with the rest, for a row by itself.

        In one go attention is causal, and half of it is left out; going on it needs a mask, and all of it is done.
        """
        config = self._text_config
        heads, layers, width = config.num_attention_heads, config.num_hidden_layers, config.hidden_size
        each = getattr(config, "head_dim", None) or width // heads
        token = 2 * layers * (2 * width * each * (heads + config.num_key_value_heads) + 3 * width * config.intermediate_size)
        pair = 4 * layers * heads * each * (ATTENTION_ON_CPU if self._network.device.type == "cpu" else 1)
        whole = known + rest
        return bool(rest * token + rest * whole * pair < whole * token + whole**2 / 2 * pair)

    def begin(self) -> "Writing":
        """A batch that rows can join."""
        return Writing(self)

    def open(self, rows: Sequence[Row]) -> tuple["Tensor", Any, "Tensor"]:
        """Read the prompts of the rows together: the last hidden states [B, hidden], the cache, and which of its places are there [B, P]."""
        import torch

        behind = max(0 if row.prefix is None else row.prefix.placed.tokens for row in rows)
        cache = self._cache([row.prefix for row in rows], behind)
        embeddings, ids, seen, of_pictures, levels = self._prompts(rows)
        known = torch.stack([padded(torch.ones(row.prefix.placed.tokens if row.prefix else 0), behind) for row in rows])
        mask = torch.cat([known, seen], dim=1).to(self._network.device, torch.long)
        hidden = self._family.forward(embeddings, ids, mask, cache, of_pictures, levels)
        if (first := rows[0]).keep:
            first.kept = self._kept(cache, first.keep)
        return hidden[:, -1], cache, mask

    def go_on(self, rows: Sequence[Row], tokens: Sequence[int], cache: Any, mask: "Tensor") -> "Tensor":
        """Read one more token of each row: the hidden states [B, hidden]. `mask` [B, P + 1] counts it as there."""
        import torch

        ids = torch.tensor([self._next(row) for row in rows], device=self._network.device).T[:, :, None]
        return self._family.forward(self._embed(tokens)[:, None], ids, mask, cache, None, [])[:, -1]

    def choose(self, hidden: "Tensor") -> list[tuple[int, float]]:
        """The likeliest next token of each row and the logarithm of its probability."""
        import torch

        logits = self._network.lm_head(hidden).float()
        best, tokens = logits.log_softmax(dim=-1).max(dim=-1)
        # One copy from the device, which waits for it; a token's number is exact in float64.
        return [(int(token), likely) for token, likely in torch.stack([tokens.double(), best.double()], dim=1).tolist()]

    def cache_of(self, layers: "Sequence[tuple[Tensor, Tensor]]") -> Any:
        """A cache that begins with keys and values, [B, heads, P, width] of each layer."""
        from transformers import DynamicCache

        return DynamicCache(layers, config=self._text_config)

    def _kept(self, cache: Any, tokens: int) -> Prefix:
        layers = tuple((layer.keys[:, :, :tokens].clone(), layer.values[:, :, :tokens].clone()) for layer in cache.layers)
        return Prefix(layers, self._family.place([tokens], (), start=0, behind=0))

    def _next(self, row: Row) -> list[int]:
        """The position of the row's next written token."""
        behind = row.prefix.placed.tokens if row.prefix else 0
        row.written += 1
        return [behind + row.placed.tokens + row.written - 1, *[row.placed.next + row.written - 1] * 3]

    def _prompts(self, rows: Sequence[Row]) -> "tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]":
        """The rows' prompts, filled up on the left: embeddings, positions, what is there, what is of pictures, what is added to these."""
        import torch

        for row in rows:
            counts = [part if isinstance(part, Features) else len(part) for part in row.parts]
            start, behind = (row.prefix.placed.next, row.prefix.placed.tokens) if row.prefix else (0, 0)
            row.placed = self._family.place(counts, row.times, start=start, behind=behind)
        length = max(row.placed.tokens for row in rows)
        embeddings = torch.stack([padded(self._read_in(row), length) for row in rows])
        ids = np.stack([np.pad(row.placed.ids[:, 0], ((0, 0), (length - row.placed.tokens, 0))) for row in rows], axis=1)
        seen = torch.stack([padded(torch.ones(row.placed.tokens), length) for row in rows])
        shown = torch.stack([padded(torch.cat([_of_picture(part) for part in row.parts]), length) for row in rows])
        pictures = [part for row in rows for part in row.parts if isinstance(part, Features)]
        levels = [torch.cat(each) for each in zip(*(picture.levels for picture in pictures), strict=True)]
        device = self._network.device
        return embeddings, torch.from_numpy(ids).to(device), seen, shown.to(device, torch.bool), levels

    def _read_in(self, row: Row) -> "Tensor":
        import torch

        return torch.cat([part.tokens.to(self._network.dtype) if isinstance(part, Features) else self._embed(part) for part in row.parts])

    def _embed(self, tokens: Sequence[int]) -> "Tensor":
        import torch

        embedded: Tensor = self._network.get_input_embeddings()(torch.tensor(tokens, dtype=torch.long, device=self._network.device))
        return embedded

    def _cache(self, prefixes: Sequence[Prefix | None], length: int = 0) -> Any:
        """A cache in which each row has its prefix, on the right of `length` places."""
        import torch
        from transformers import DynamicCache

        known = next((prefix for prefix in prefixes if prefix is not None), None)
        if known is None:
            return DynamicCache(config=self._text_config)
        layers = []
        for number, (keys, _) in enumerate(known.layers):
            nothing = keys[:, :, :0]
            rows = [(nothing, nothing) if prefix is None else prefix.layers[number] for prefix in prefixes]
            layers.append(tuple(torch.cat([padded(row[side], length, axis=2) for row in rows]) for side in (0, 1)))
        return DynamicCache(layers, config=self._text_config)


class Writing:
    """Rows that are written together, a token of each a step; others join between two steps, and those that have enough leave."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._rows: list[Row] = []
        self._tokens: list[int] = []
        """The last of each row, which is not read yet."""
        self._cache: Any = None
        self._mask: Tensor | None = None
        """Which places of the cache are there, [B, P]."""

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, rows: Sequence[Row]) -> list[Row]:
        """Read the prompts of rows, write the first token of each, and go on with them from the next step; the rows that are done already."""
        import torch

        hidden, cache, mask = self._decoder.open(rows)
        joined = Writing(self._decoder)
        joined._rows, joined._cache, joined._mask = list(rows), cache, mask
        done = joined._take(hidden)
        if not joined:
            return done
        if self._mask is None:
            self._rows, self._tokens, self._cache, self._mask = joined._rows, joined._tokens, joined._cache, joined._mask
            return done
        length = max(self._mask.shape[1], joined._mask.shape[1])
        both = [
            tuple(
                torch.cat([padded(each, length, axis=2) for each in pair]) for pair in ((one.keys, other.keys), (one.values, other.values))
            )
            for one, other in zip(self._cache.layers, joined._cache.layers, strict=True)
        ]
        self._cache = self._decoder.cache_of(both)  # type: ignore[arg-type]
        self._mask = torch.cat([padded(each, length, axis=1) for each in (self._mask, joined._mask)])
        self._rows += joined._rows
        self._tokens += joined._tokens
        return done

    def step(self) -> list[Row]:
        """Write a token of each row; the rows that are done with it."""
        import torch

        assert self._mask is not None
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(self._rows), 1)], dim=1)
        return self._take(self._decoder.go_on(self._rows, self._tokens, self._cache, self._mask))

    def _take(self, hidden: "Tensor") -> list[Row]:
        chosen = self._decoder.choose(hidden)
        staying = [number for number, row in enumerate(self._rows) if row.take(*chosen[number])]
        self._tokens = [chosen[number][0] for number in staying]
        if len(staying) == len(self._rows):
            return []
        before, self._rows = self._rows, [self._rows[number] for number in staying]
        self._keep(staying)
        return [row for row in before if row not in self._rows]

    def _keep(self, staying: Sequence[int]) -> None:
        """Of the cache, only some rows, and no place that none of them needs."""
        import torch

        if not staying:
            self._cache, self._mask = None, None
            return
        assert self._mask is not None
        kept = torch.tensor(staying, device=self._mask.device)
        mask = self._mask[kept]
        needless = int(mask.any(dim=0).int().argmax())
        self._mask = mask[:, needless:]
        layers = [tuple(each[kept, :, needless:] for each in (layer.keys, layer.values)) for layer in self._cache.layers]
        self._cache = self._decoder.cache_of(layers)  # type: ignore[arg-type]


def padded(values: "Tensor", length: int, axis: int = 0) -> "Tensor":
    """The values with zeros before them along an axis, up to a length."""
    import torch

    missing = list(values.shape)
    missing[axis] = length - values.shape[axis]
    return torch.cat([values.new_zeros(missing), values], dim=axis) if missing[axis] else values


def _of_picture(part: Tokens | Features) -> "Tensor":
    import torch

    return torch.ones(part.count) if isinstance(part, Features) else torch.zeros(len(part))
