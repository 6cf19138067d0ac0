"""Frames that stay where torch has them: NV12 on a GPU, scaled there, so that only small pictures ever come to the CPU.

The same code runs on torch's CPU tensors, which is how it is tested where there is no GPU.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.media.decoders.port import Pixels, Small

if TYPE_CHECKING:
    from torch import Tensor

_BLACK, _WHITE = 16.0, 235.0
"""Of luma in limited range (ITU-R BT.601-7, 2.5.3); chroma has 16 to 240."""


class Nv12Surface:
    """One NV12 frame: a plane of luma and one of chroma at half the size, two values side by side."""

    def __init__(self, luma: "Tensor", chroma: "Tensor", *, full_range: bool = False, bt709: bool = False) -> None:
        """`luma` has a shape (height, width), `chroma` (height / 2, width / 2, 2) or (height / 2, width); both are `uint8`, or 16 bits
        of which the highest ten or twelve count (P010, P012, P016), of which eight are kept.

        `full_range` says that black is 0 and white 255, `bt709` that the colours are those of ITU-R BT.709, not BT.601.
        """
        luma, chroma = _eight_bits(luma), _eight_bits(chroma)
        self._luma = luma
        self._chroma = chroma if chroma.ndim == 3 else chroma.reshape(chroma.shape[0], -1, 2)
        self._full_range = full_range
        self._bt709 = bt709

    @property
    def width(self) -> int:
        """Coded width in pixels."""
        return int(self._luma.shape[1])

    @property
    def height(self) -> int:
        """Coded height in pixels."""
        return int(self._luma.shape[0])

    @property
    def planes(self) -> "tuple[Tensor, Tensor]":
        """Luma and chroma, for models that take them from the device (both speak DLPack)."""
        return self._luma, self._chroma

    def small(self, width: int, height: int) -> Small:
        """See `Surface.small`."""
        luma = self._light(_sampled(self._luma[None, None], width, height))
        chroma = _sampled(self._chroma.permute(2, 0, 1)[None], width // 2, height // 2)
        if not self._full_range:
            chroma = (chroma - 128) * (255 / 224) + 128
        return Small(_bytes(luma[0, 0]), _bytes(chroma[0]))

    def rgb(self, width: int, height: int) -> Pixels:
        """See `Surface.rgb`."""
        import torch

        light = self._light(_averaged(self._luma[None, None], width, height)) / 255
        chroma = _averaged(self._chroma.permute(2, 0, 1)[None], width, height) - 128
        blue, red = (chroma[:, index : index + 1] / (255 if self._full_range else 224) for index in (0, 1))
        of_red, of_blue = (0.2126, 0.0722) if self._bt709 else (0.299, 0.114)
        of_green = 1 - of_red - of_blue
        channels = (
            light + 2 * (1 - of_red) * red,
            light - 2 * (1 - of_red) * of_red / of_green * red - 2 * (1 - of_blue) * of_blue / of_green * blue,
            light + 2 * (1 - of_blue) * blue,
        )
        return _bytes(255 * torch.cat(channels, dim=1)[0].permute(1, 2, 0))

    def _light(self, luma: "Tensor") -> "Tensor":
        """Luma from 0 to 255, whatever its range."""
        return luma if self._full_range else (luma - _BLACK) * (255 / (_WHITE - _BLACK))


def _eight_bits(plane: "Tensor") -> "Tensor":
    import torch

    if plane.dtype != torch.uint16:
        return plane
    # Of unsigned 16 bits torch knows little more than how to make signed ones of them.
    return ((plane.to(torch.int32) >> 8) & 0xFF).to(torch.uint8)


def _sampled(picture: "Tensor", width: int, height: int) -> "Tensor":
    """A picture as swscale's fast bilinear scaling makes it small, so that thumbnails are alike whoever makes them.

    It looks at the four pixels around one place for each small one. Across, it spreads these places a little too far: so
    that the last pixel but one falls on the last but one (libswscale, `sws_init_context`, measured with single lines).
    """
    across = (_numbers(width, picture) + 0.5) * ((picture.shape[-1] - 2) / max(width - 2, 1)) - 0.5
    down = (_numbers(height, picture) + 0.5) * (picture.shape[-2] / height) - 0.5
    return _between(_between(picture, across, -1), down, -2)


def _between(picture: "Tensor", places: "Tensor", axis: int) -> "Tensor":
    """What lies at these places along an axis, between the two pixels beside each."""
    last = picture.shape[axis] - 1
    places = places.clamp(0, last)
    before = places.long()
    after = (before + 1).clamp(max=last)
    share = (places - before).float()
    if axis == -2:
        share = share[:, None]
    return picture.index_select(axis, before).float() * (1 - share) + picture.index_select(axis, after).float() * share


def _numbers(count: int, like: "Tensor") -> "Tensor":
    import torch

    return torch.arange(count, device=like.device, dtype=torch.float64)


def _averaged(picture: "Tensor", width: int, height: int) -> "Tensor":
    """A picture scaled so that each pixel is the mean of what it stands for; one that must grow is interpolated."""
    from torch.nn.functional import interpolate

    if picture.shape[-1] < width or picture.shape[-2] < height:
        return interpolate(picture.float(), size=(height, width), mode="bilinear", align_corners=False)
    return interpolate(picture.float(), size=(height, width), mode="area")


def _bytes(picture: "Tensor") -> Pixels:
    return np.ascontiguousarray(picture.round().clamp(0, 255).byte().cpu().numpy())


def torch_has_cuda() -> bool:
    """Whether torch is here and can use a GPU of NVIDIA's."""
    try:
        import torch
    except (ImportError, OSError, RuntimeError):  # a build for CUDA whose libraries are not all there raises the latter two
        return False
    return bool(torch.cuda.is_available())


def as_tensor(exporter: Any, *, in_order: bool = False) -> "Tensor":
    """What a DLPack exporter holds, without a copy, on its device.

    `in_order` says that what makes it is queued where torch queues its own work, so that neither has to wait for the other;
    PyAV's planes refuse to be asked.
    """
    import torch

    if in_order:
        from torch.utils.dlpack import from_dlpack

        return from_dlpack(exporter.__dlpack__())

    found: Tensor = torch.utils.dlpack.from_dlpack(exporter)
    return found
