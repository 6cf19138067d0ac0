"""Weights in 8 or 4 bits: a quarter to a half of the memory, and of what must be read for each token that is written.

8 bits: each row of a matrix has a scale. 4 bits: each group of 32 weights of a row has a scale and an offset. Activations stay as they are,
and so do embeddings and the matrix of the vocabulary, which small models suffer most from. torch's own kernels multiply where it has them
for the device; elsewhere the weights are unpacked for each product, which is slow and saves memory all the same.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

GROUP = 32
MOST_ROWS = 32
"""Of more than so many rows torch's 8-bit kernel is slower than unpacking the weights for a product (docs/log.md)."""


class Linear8(nn.Module):
    """A linear layer of 8-bit weights."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        weight = layer.weight.detach().float()
        scale = (weight.abs().amax(1).clamp(min=1e-8) / 127).to(layer.weight.dtype)
        self.scale: Tensor
        self.weight: Tensor
        self.register_buffer("scale", scale)
        self.register_buffer("weight", (weight / scale.float()[:, None]).round().clamp(-127, 127).to(torch.int8))

    def forward(self, inputs: "Tensor") -> "Tensor":
        """[..., inputs] to [..., outputs]."""
        few = inputs.numel() <= MOST_ROWS * self.in_features
        if few and inputs.device.type == "cpu" and not torch.is_grad_enabled():
            flat = inputs.reshape(-1, self.in_features).contiguous()
            found: Tensor = torch._weight_int8pack_mm(flat, self.weight, self.scale).view(*inputs.shape[:-1], -1)
            return found if self.bias is None else found + self.bias
        return functional.linear(inputs, self.unpacked(), self.bias)

    def unpacked(self) -> "Tensor":
        """The weights [outputs, inputs] as the network computes with them."""
        return self.weight.to(self.scale.dtype) * self.scale[:, None]


class Linear4(nn.Module):
    """A linear layer of 4-bit weights; its number of inputs is a multiple of `GROUP`."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features, self.bias = layer.in_features, layer.out_features, layer.bias
        groups = layer.weight.detach().float().view(layer.out_features, -1, GROUP)
        low, high = groups.amin(-1), groups.amax(-1)
        scale = (high - low).clamp(min=1e-8) / 15
        levels = ((groups - low[..., None]) / scale[..., None]).round().clamp(0, 15).to(torch.uint8).flatten(1)
        # What torch's kernel adds is the value of level 8.
        offset = low + 8 * scale
        self.scales: Tensor
        self.packed: Tensor
        self.register_buffer("scales", torch.stack([scale, offset], -1).transpose(0, 1).contiguous().to(layer.weight.dtype))
        self._kernel = layer.weight.device.type == "cpu" and layer.weight.dtype == torch.bfloat16 and layer.out_features % 16 == 0
        if self._kernel:
            self.register_buffer("packed", torch._convert_weight_to_int4pack_for_cpu(levels.int(), 1))
        else:
            self.register_buffer("packed", levels[:, ::2] << 4 | levels[:, 1::2])

    def forward(self, inputs: "Tensor") -> "Tensor":
        """[..., inputs] to [..., outputs]."""
        if self._kernel and not torch.is_grad_enabled():
            flat = inputs.reshape(-1, self.in_features).contiguous()
            found: Tensor = torch._weight_int4pack_mm_for_cpu(flat, self.packed, GROUP, self.scales).view(*inputs.shape[:-1], -1)
            return found if self.bias is None else found + self.bias
        return functional.linear(inputs, self.unpacked(), self.bias)

    def unpacked(self) -> "Tensor":
        """The weights [outputs, inputs] as the network computes with them."""
        if self._kernel:
            one = torch.eye(self.in_features, dtype=self.scales.dtype)
            return torch._weight_int4pack_mm_for_cpu(one, self.packed, GROUP, self.scales).T
        levels = torch.stack([self.packed >> 4, self.packed & 15], -1).view(self.out_features, -1, GROUP)
        scale, offset = self.scales.transpose(0, 1).unbind(-1)
        return ((levels.to(scale.dtype) - 8) * scale[..., None] + offset[..., None]).flatten(1)


def quantise(network: Any, bits: int) -> int:
    """Put 8- or 4-bit layers in the place of a network's linear ones; how many bytes all its weights then take.

    What has no multiple of `GROUP` inputs gets 8 bits in any case.
    """
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.Linear) and not name.endswith("lm_head"):
            place, _, last = name.rpartition(".")
            fewer = Linear4 if bits == 4 and layer.in_features % GROUP == 0 else Linear8
            setattr(network.get_submodule(place), last, fewer(layer))
    return sum(each.nbytes for each in (*network.parameters(), *network.buffers()))
