"""Keys and values of scenes that are being written, a seat for each, and one more token of all of them at a time.

What a scene has read lies in its seat from the first place on, without gaps, whatever it was read with; positions were given to the keys
before, so their order does not matter. On a GPU a step is recorded once for a number of seats and places and then replayed
(CUDA graph): a thousand small launches, which Python would be slower to ask for than the GPU is to do. A step in which an adapter is on is
not recorded, because it is another one for each arrangement of adapters.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.caption.vlm.families import Family
from pipeline.caption.vlm.lowrank import Adapter, Switch

if TYPE_CHECKING:
    from torch import Tensor

PLACES = 128
"""Seats grow by so many places."""
RECORDED_PLACES = 512
"""A recorded step looks at a multiple of so many places: fewer recordings, and what is looked at in vain costs little there."""


class Table:
    """Seats for scenes, and steps that write a token of each; belongs to one thread."""

    def __init__(self, family: Family, switch: Switch, *, recorded: bool) -> None:
        """`switch` is what adapters are switched on with; `recorded` is whether steps are recorded and replayed, which a GPU alone can."""
        self._family = family
        self._switch = switch
        self._recorded = recorded
        self._kept: Tensor | None = None
        """[layers, 2, seats, heads, places, width]: keys, then values."""
        self._shares: Tensor | None = None
        """[seats, places]: the logarithm of how many tokens each stands for; there is none while each stands for itself."""
        self._recordings: dict[tuple[int, int], _Recording] = {}

    def put(self, seat: int, read: "Tensor", weights: "Tensor") -> None:
        """Let a seat begin with keys and values [layers, 2, heads, tokens, width] of tokens that stand for so many each [tokens]."""
        tokens = read.shape[3]
        kept = self._room(seat + 1, tokens)
        kept[:, :, seat, :, :tokens] = read
        if self._shares is None and bool((weights > 1).any()):
            # From here on every step is told shares, and those that were recorded without are of no use.
            self._shares = weights.new_zeros(kept.shape[2], kept.shape[4])
            self._recordings.clear()
        if self._shares is not None:
            self._shares[seat] = 0
            self._shares[seat, :tokens] = weights.log()

    def move(self, seat: int, to: int, tokens: int) -> None:
        """Put so many tokens of a seat in the place of another's."""
        assert self._kept is not None
        self._kept[:, :, to, :, :tokens] = self._kept[:, :, seat, :, :tokens]
        if self._shares is not None:
            self._shares[to] = self._shares[seat]

    def step(
        self, tokens: Sequence[int], ids: Sequence[Sequence[int]], counts: Sequence[int], adapters: Sequence[Adapter | None]
    ) -> "Tensor":
        """Read one more token of the first seats, of which `counts` are known so far: the likeliest next ones and the logarithms of
        their probabilities [seats, 2], in float64, which is exact for both. `ids` [seats, 4] are the tokens' positions, `adapters`
        what is on in each seat."""
        import torch

        seats, places = len(tokens), max(counts) + 1
        recorded = self._recorded and not any(adapters)
        if recorded:
            seats = next(size for size in _SIZES if size >= seats) if seats <= _SIZES[-1] else seats
            places = -(-places // RECORDED_PLACES) * RECORDED_PLACES
        kept = self._room(seats, places)
        empty = seats - len(tokens)
        read, at = ([*values, *[0] * empty] for values in (tokens, counts))
        device = kept.device
        given = torch.tensor([[each, place, *where] for each, place, where in zip(read, at, [*ids, *[[0] * 4] * empty], strict=True)]).to(
            device
        )
        if not recorded:
            with self._switch.on(adapters):
                return self._next(kept, places, given)
        recording = self._recordings.get((seats, places))
        if recording is None:
            recording = self._recordings[seats, places] = _Recording(lambda inside: self._next(kept, places, inside), given)
        return recording.replay(given)[: len(tokens)]

    def _next(self, kept: "Tensor", places: int, given: "Tensor") -> "Tensor":
        """The step itself; `given` [seats, 6] is a token, how many are known, and four positions of each."""
        import torch

        network = self._family.network
        seats, at = len(given), given[:, 1]
        mask = (torch.arange(places, device=given.device) <= at[:, None])[:, None, None]
        if self._shares is not None:
            mask = self._shares[:seats, None, None, :places].masked_fill(~mask, -torch.inf).to(network.dtype)
        embedded = network.get_input_embeddings()(given[:, :1])
        cache = _seated(kept, seats, places, at)
        hidden = self._family.forward(embedded, given[:, 2:].T[:, :, None], mask, cache, None, ())
        likely, best = network.lm_head(hidden[:, -1]).float().log_softmax(dim=-1).max(dim=-1)
        return torch.stack([best.double(), likely.double()], dim=1)

    def _room(self, seats: int, places: int) -> "Tensor":
        """The keys and values, with at least so many seats and places; growing them costs a copy, and the recordings."""
        config, device = self._family.network.config.get_text_config(decoder=True), self._family.network.device
        have = (0, 0) if self._kept is None else (self._kept.shape[2], self._kept.shape[4])
        if self._kept is not None and seats <= have[0] and places <= have[1]:
            return self._kept
        import torch

        wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        grown = max(have[0], 1 << (seats - 1).bit_length()), max(have[1], -(-places // PLACES) * PLACES)
        shape = (config.num_hidden_layers, 2, grown[0], config.num_key_value_heads, grown[1], wide)
        larger = torch.zeros(shape, dtype=self._family.network.dtype, device=device)
        if self._kept is not None:
            larger[:, :, : have[0], :, : have[1]] = self._kept
        if self._shares is not None:
            shares = self._shares.new_zeros(grown)
            shares[: have[0], : have[1]] = self._shares
            self._shares = shares
        self._kept = larger
        self._recordings.clear()
        return larger


_SIZES = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64)
"""Numbers of seats that steps are recorded for."""


def _seated(kept: "Tensor", seats: int, places: int, at: "Tensor") -> Any:
    """A cache of transformers that writes each seat's token where it belongs and shows the first seats and places."""
    import torch
    from transformers.cache_utils import Cache, DynamicLayer

    each = torch.arange(seats, device=kept.device)
    layer_type: Any = DynamicLayer

    class Layer(layer_type):  # type: ignore[misc]
        """Of one of the network's layers."""

        def __init__(self, known: "Tensor") -> None:
            super().__init__()
            self.keys, self.values = known[0, :seats, :, :places], known[1, :seats, :, :places]
            self.is_initialized = True

        def update(self, key_states: "Tensor", value_states: "Tensor", *_: object, **__: object) -> "tuple[Tensor, Tensor]":
            self.keys[each, :, at] = key_states[:, :, 0]
            self.values[each, :, at] = value_states[:, :, 0]
            return self.keys, self.values

        def get_seq_length(self) -> int:
            return places - 1

    return Cache(layers=[Layer(known) for known in kept])


class _Recording:
    """A step on a GPU, recorded once: what it is given is copied to where it was recorded with."""

    def __init__(self, step: Any, given: "Tensor") -> None:
        import torch

        self._given = given.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            # What is made at a first run, such as handles and work space, must not be recorded.
            step(self._given)
        torch.cuda.current_stream().wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._told = step(self._given)

    def replay(self, given: "Tensor") -> "Tensor":
        """The step with other values."""
        self._given.copy_(given)
        self._graph.replay()
        told: Tensor = self._told
        return told
