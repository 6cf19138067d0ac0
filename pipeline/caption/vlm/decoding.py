"""The tokens of many scenes, written together and greedily: prompts are read, then one token of each scene is written a step.

Prompts of different lengths are filled up on the left, where nothing looks. Positions are those of each prompt, for its
reading and for each written token. So a scene can join those that are being written, and one that is finished, or that nobody waits
for any more, leaves at once: nobody waits for the slowest (continuous batching; Orca, 2022).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.caption.positions import Placed
from pipeline.caption.vlm.families import Family, Features
from pipeline.caption.vlm.lowrank import Adapter, Switch
from pipeline.caption.vlm.prompt import Tokens
from pipeline.caption.vlm.table import Table
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
    adapter: Adapter | None = None
    """What changes the network for this row; its prefix was read with it."""
    keep: int = 0
    """So many tokens at the beginning are to be kept as `kept`, which only a row by itself can."""
    kept: Prefix | None = field(default=None, init=False)
    written: int = field(default=0, init=False)
    """Tokens that were written and read."""
    placed: Placed = field(init=False)

    @property
    def known(self) -> int:
        """How many tokens were read."""
        return (self.prefix.placed.tokens if self.prefix else 0) + self.placed.tokens + self.written

    @property
    def next_ids(self) -> list[int]:
        """The position of the next written token, as `Family.forward` takes it."""
        return [self.known, *[self.placed.next + self.written] * 3]


class Decoder:
    """Reads and writes with one network; blocks, and belongs to one thread."""

    def __init__(self, family: Family, switch: Switch | None = None) -> None:
        """`switch` is the one that rows' adapters were added to."""
        self._family = family
        self._switch = switch or Switch(family.network)
        self._network = family.network
        self._table: Table | None = None
        self._text_config = self._network.config.get_text_config(decoder=True)

    def read(self, tokens: Tokens, adapter: Adapter | None = None) -> Prefix:
        """Read a beginning of text once, to go on from it many times with the same adapter."""
        import torch

        placed = self._family.place([len(tokens)], (), start=0, behind=0)
        cache = self._cache([None])
        ids = torch.from_numpy(placed.ids).to(self._network.device)
        with self._switch.on([adapter]):
            self._family.forward(self._embed(tokens)[None], ids, torch.ones_like(ids[0]), cache, None, ())
        return Prefix(tuple((layer.keys, layer.values) for layer in cache.layers), placed)

    def states(self, rows: Sequence[Row]) -> "Tensor":
        """The hidden states [rows, length, hidden] of rows without prefixes, read in one go and filled up on the left.

        For training: gradients flow. The rows' adapters must be on, and pictures may have been encoded with gradients.
        """
        embeddings, ids, weight, of_pictures, levels = self._prompts(rows)
        return self._family.forward(embeddings, ids, self._mask(weight, ids), self._cache([None] * len(rows)), of_pictures, levels)

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
        """An empty batch, which rows can join; the one before must be done with."""
        if self._table is None:
            self._table = Table(self._family, self._switch, recorded=self._network.device.type == "cuda")
        return Writing(self, self._table)

    def let_go(self) -> None:
        """Free what batches are kept in; the one that was begun must be done with."""
        self._table = None

    def open(self, rows: Sequence[Row]) -> tuple[list[tuple[int, float]], list[tuple["Tensor", "Tensor"]]]:
        """Read the prompts of the rows together: of each its first token and the logarithm of its probability, and what was read.

        That is its keys and values [layers, 2, heads, tokens, width], without the places that it was filled up with, and for how many
        tokens each of its tokens stands.
        """
        import torch

        behind = max(0 if row.prefix is None else row.prefix.placed.tokens for row in rows)
        cache = self._cache([row.prefix for row in rows], behind)
        embeddings, ids, weight, of_pictures, levels = self._prompts(rows)
        known = torch.stack([padded(torch.ones(row.prefix.placed.tokens if row.prefix else 0), behind) for row in rows])
        there = torch.cat([known.to(weight), weight], dim=1)
        with self._switch.on([row.adapter for row in rows]):
            hidden = self._family.forward(embeddings, ids, self._mask(there, ids), cache, of_pictures, levels)
            best, tokens = self._network.lm_head(hidden[:, -1]).float().log_softmax(dim=-1).max(dim=-1)
        if (first := rows[0]).keep:
            first.kept = self._kept(cache, first.keep)
        read = [torch.stack([torch.stack([layer.keys[row], layer.values[row]]) for layer in cache.layers]) for row in range(len(rows))]
        places = [at.nonzero()[:, 0] for at in there]
        compact = [
            (each if len(at) == each.shape[3] else each[:, :, :, at], weights[at])
            for each, weights, at in zip(read, there, places, strict=True)
        ]
        return list(zip(tokens.tolist(), best.tolist(), strict=True)), compact

    def _mask(self, weight: "Tensor", ids: "Tensor") -> "Tensor":
        """What attention is told of tokens [rows, known + new] that stand for so many each, 0 for padding.

        `ids` are the new ones' positions. Where each stands for itself it is told what is there, and finds the quickest way itself.
        """
        import torch

        if bool((weight <= 1).all()):
            return weight.long()
        length, new = weight.shape[1], ids.shape[2]
        ahead = torch.ones(new, length, dtype=torch.bool, device=weight.device).triu(length - new + 1)
        share = weight.log()[:, None, None].expand(-1, -1, new, -1).masked_fill(ahead, -torch.inf)
        # Padding sees nothing at all, of which no share can be made; so nothing is never quite nothing.
        return share.to(self._network.dtype).clamp(min=torch.finfo(self._network.dtype).min)

    def _kept(self, cache: Any, tokens: int) -> Prefix:
        layers = tuple((layer.keys[:, :, :tokens].clone(), layer.values[:, :, :tokens].clone()) for layer in cache.layers)
        return Prefix(layers, self._family.place([tokens], (), start=0, behind=0))

    def _prompts(self, rows: Sequence[Row]) -> "tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]":
        """The rows' prompts, filled up on the left: embeddings, positions, weights, what is of pictures, what is added to these.

        A weight is how many tokens one stands for, 0 for padding.
        """
        import torch

        for row in rows:
            counts = [part if isinstance(part, Features) else len(part) for part in row.parts]
            start, behind = (row.prefix.placed.next, row.prefix.placed.tokens) if row.prefix else (0, 0)
            row.placed = self._family.place(counts, row.times, start=start, behind=behind)
        length = max(row.placed.tokens for row in rows)
        embeddings = torch.stack([padded(self._read_in(row), length) for row in rows])
        ids = np.stack([np.pad(row.placed.ids[:, 0], ((0, 0), (length - row.placed.tokens, 0))) for row in rows], axis=1)
        weight = torch.stack([padded(torch.cat([_weights(part) for part in row.parts]), length) for row in rows])
        shown = torch.stack([padded(torch.cat([_of_picture(part) for part in row.parts]), length) for row in rows])
        pictures = [part for row in rows for part in row.parts if isinstance(part, Features)]
        levels = [torch.cat(each) for each in zip(*(picture.levels for picture in pictures), strict=True)]
        device = self._network.device
        return embeddings, torch.from_numpy(ids).to(device), weight.to(device), shown.to(device, torch.bool), levels

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

    def __init__(self, decoder: Decoder, table: Table) -> None:
        self._decoder = decoder
        self._table = table
        self._rows: list[Row] = []
        """By their seats."""
        self._tokens: list[int] = []
        """The last of each row, which is not read yet."""

    def __len__(self) -> int:
        return len(self._rows)

    def join(self, rows: Sequence[Row]) -> list[Row]:
        """Read the prompts of rows and write the first token of each; the rows that are done with it."""
        chosen, read = self._decoder.open(rows)
        done = []
        for row, (token, certainty), known in zip(rows, chosen, read, strict=True):
            if not row.take(token, certainty):
                done.append(row)
                continue
            self._table.put(len(self._rows), *known)
            self._rows.append(row)
            self._tokens.append(token)
        return done

    def step(self) -> list[Row]:
        """Write a token of each row; the rows that are done with it."""
        rows = self._rows
        adapters = [row.adapter for row in rows]
        told = self._table.step(self._tokens, [row.next_ids for row in rows], [row.known for row in rows], adapters).tolist()
        done = []
        for seat in reversed(range(len(self._rows))):
            row, (token, certainty) = self._rows[seat], told[seat]
            row.written += 1
            self._tokens[seat] = int(token)
            if not row.take(int(token), certainty):
                done.append(row)
                self._leave(seat)
        return done

    def _leave(self, seat: int) -> None:
        """Free a seat; the last row moves there, so that the first seats are the taken ones."""
        row, token = self._rows.pop(), self._tokens.pop()
        if seat < len(self._rows):
            self._table.move(len(self._rows), seat, row.known)
            self._rows[seat], self._tokens[seat] = row, token


def padded(values: "Tensor", length: int, axis: int = 0) -> "Tensor":
    """The values with zeros before them along an axis, up to a length."""
    import torch

    missing = list(values.shape)
    missing[axis] = length - values.shape[axis]
    return torch.cat([values.new_zeros(missing), values], dim=axis) if missing[axis] else values


def _weights(part: Tokens | Features) -> "Tensor":
    import torch

    if isinstance(part, Features) and part.stands_for is not None:
        return torch.tensor(part.stands_for, dtype=torch.float)
    return torch.ones(part.count if isinstance(part, Features) else len(part))


def _of_picture(part: Tokens | Features) -> "Tensor":
    import torch

    return torch.ones(part.count) if isinstance(part, Features) else torch.zeros(len(part))
