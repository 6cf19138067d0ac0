"""Low-rank changes to a network's layers (LoRA, Hu et al., 2021), each for its own rows of a batch, switched on and off between passes.

The weights themselves are never touched. So many adapters live beside one network, scenes that want different ones are described in one
batch, and where none is on the network computes what it always did, to the bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LowRank:
    """What is added to the output of one linear layer."""

    down: "Tensor"
    """[rank, inputs]."""
    up: "Tensor"
    """[outputs, rank]."""
    scale: float

    def of(self, inputs: "Tensor") -> "Tensor":
        """What is added for inputs [..., inputs]: [..., outputs]."""
        from torch.nn import functional

        added: Tensor = functional.linear(functional.linear(inputs.to(self.down.dtype), self.down), self.up) * self.scale
        return added


@dataclass(frozen=True, eq=False)
class Adapter:
    """A set of changes under a name."""

    name: str
    layers: Mapping[str, LowRank]
    """By the name of the layer in the network."""
    sees: bool
    """Whether it changes how pictures are encoded."""
    revision: str = ""
    """Twelve hexadecimal digits that change with its weights."""


class Switch:
    """What is on, for one network; belongs to the thread that the network belongs to."""

    def __init__(self, network: Any) -> None:
        self._network = network
        self._hooked: set[str] = set()
        self._on: Sequence[tuple[Adapter, Tensor | None]] = ()

    def add(self, adapter: Adapter) -> None:
        """Make an adapter possible; it is not on by that."""
        for name in adapter.layers.keys() - self._hooked:
            self._network.get_submodule(name).register_forward_hook(self._hook(name))
            self._hooked.add(name)

    @contextmanager
    def on(self, rows: Sequence[Adapter | None]) -> Iterator[None]:
        """While it lasts, each row of a batch is changed by its own adapter, or by none; `rows` has one for each."""
        wanted = {id(each): each for each in rows if each is not None}
        if len(wanted) == 1 and all(each is not None for each in rows):
            self._on = [(each, None) for each in wanted.values()]
        else:
            self._on = [(each, self._numbers(rows, each)) for each in wanted.values()]
        try:
            yield
        finally:
            self._on = ()

    def _numbers(self, rows: Sequence[Adapter | None], adapter: Adapter) -> "Tensor":
        import torch

        return torch.tensor([number for number, each in enumerate(rows) if each is adapter], device=self._network.device)

    def _hook(self, name: str) -> Any:
        def changed(_: Any, inputs: "tuple[Tensor, ...]", output: "Tensor") -> "Tensor":
            for adapter, rows in self._on:
                low = adapter.layers.get(name)
                if low is None:
                    continue
                if rows is None:
                    output = output + low.of(inputs[0]).to(output.dtype)
                else:
                    output = output.index_add(0, rows, low.of(inputs[0].index_select(0, rows)).to(output.dtype))
            return output

        return changed
