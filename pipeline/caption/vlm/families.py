"""What is different between the architectures: how a picture is encoded, how time is told, where tokens are, how they go through.

Everything goes to the language model as embeddings with positions of ours, at the prompt and at each written token. So transformers
never counts positions, and what was encoded or read once need not be again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image

from pipeline.caption import positions
from pipeline.caption.positions import Frame, Piece, Placed, Text, Video
from pipeline.caption.vlm.patches import MAX_FRAME_PIXELS, Preprocessing, patchify, square, whole_tokens
from pipeline.caption.vlm.windows import join_windows
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from torch import Tensor

HALF = (0.5, 0.5, 0.5)
ENCODED_AT_ONCE = 8
"""Pictures in one pass through the vision tower: more would only take more memory."""


@dataclass(frozen=True, eq=False)
class Features:
    """A picture as tokens of the language model."""

    tokens: "Tensor"
    """[rows * columns, hidden], or fewer."""
    rows: int
    columns: int
    levels: tuple["Tensor", ...] = ()
    """What is added after the first layers (DeepStack of Qwen3-VL), each as `tokens`."""
    kept: tuple[int, ...] | None = None
    """Which places of the grid the tokens have, in order, where some are left out; all where it is None."""
    stands_for: tuple[int, ...] | None = None
    """How many tokens each stands for, itself and what was left out for it; where it is None each stands for itself."""

    @property
    def count(self) -> int:
        """How many tokens."""
        return self.rows * self.columns if self.kept is None else len(self.kept)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return sum(each.nbytes for each in (self.tokens, *self.levels))


Part = str | int
"""Of a prompt: text, or the number of a picture."""


class Family(Protocol):
    """An architecture with its weights. What takes tensors runs on the caller's thread, without gradients."""

    network: Any

    @property
    def placeholder(self) -> str:
        """What a chat template writes where a video belongs."""
        ...

    @property
    def template(self) -> str:
        """The chat format of the published checkpoints, for a tokenizer that brings none."""
        ...

    @property
    def max_pixels(self) -> int:
        """The most pixels that a picture is shown with."""
        ...

    def tokens_each(self, size: tuple[int, int], max_pixels: int) -> int:
        """How many tokens a picture of a size (width, height) takes."""
        ...

    def encode(self, pictures: Sequence[Image.Image], max_pixels: int) -> list[Features]:
        """The pictures, each by itself, as tokens."""
        ...

    def video(self, times: Sequence[MediaTime]) -> list[Part]:
        """What stands in the prompt in the placeholder's place for pictures of these times, told from the first on."""
        ...

    def place(self, parts: Sequence[int | Features], times: Sequence[MediaTime], *, start: int, behind: int) -> Placed:
        """Where runs of so many text tokens and pictures are; `start` and `behind` as in `positions.place`."""
        ...

    def forward(
        self, embeddings: "Tensor", ids: "Tensor", mask: "Tensor", cache: Any, shown: "Tensor | None", levels: Sequence["Tensor"]
    ) -> "Tensor":
        """The hidden states [B, S, hidden] of embeddings of that shape behind a cache of P tokens, which they are added to.

        `ids` [4, B, S] are positions, `mask` [B, P + S] is 0 for padding (or, as [B, 1, S, P + S], says what each may look at as booleans,
        or what is added to attention's scores), `shown` [B, S] says which are of pictures, `levels` are theirs.
        """
        ...


class Qwen25:
    """Qwen2.5-VL: a video is one block; time is in the temporal ids."""

    def __init__(self, network: Any, pad: str, stated: Mapping[str, Any]) -> None:
        """`pad` is the text of the video token, `stated` what the checkpoint says of `Preprocessing`."""
        vision = network.config.vision_config
        self.network = network
        # Each keyframe fills its temporal patch by itself, so the patch need not be filled: the weights are added up instead.
        self.preprocessing = Preprocessing(vision.patch_size, vision.spatial_merge_size, **stated)
        _fold_time(network.model.visual)
        if network.device.type == "cuda":
            # A processor has as much to do either way (docs/log.md).
            join_windows(network.model.visual)
        self._pad = pad
        self._rate = float(getattr(vision, "tokens_per_second", 1))

    @property
    def placeholder(self) -> str:
        """See `Family`."""
        return self._pad

    @property
    def template(self) -> str:
        """See `Family`."""
        return QWEN_TEMPLATE

    @property
    def max_pixels(self) -> int:
        """See `Family`."""
        return self.preprocessing.max_pixels

    def tokens_each(self, size: tuple[int, int], max_pixels: int) -> int:
        """See `Family`."""
        width, height = whole_tokens(size, self.preprocessing.token, max_pixels=max_pixels)
        return width * height // self.preprocessing.token**2

    def encode(self, pictures: Sequence[Image.Image], max_pixels: int = MAX_FRAME_PIXELS) -> list[Features]:
        """See `Family`."""
        found: list[Features] = []
        for first in range(0, len(pictures), ENCODED_AT_ONCE):
            found += self._encode(pictures[first : first + ENCODED_AT_ONCE], max_pixels)
        return found

    def _encode(self, pictures: Sequence[Image.Image], max_pixels: int) -> list[Features]:
        import torch

        cut = [patchify(picture, self.preprocessing, max_pixels=max_pixels) for picture in pictures]
        pixels = torch.from_numpy(np.concatenate([rows for rows, _ in cut])).to(self.network.device, self.network.dtype)
        grids = torch.tensor([(1, *grid) for _, grid in cut], device=self.network.device)
        told = self.network.model.get_video_features(pixels, grids, return_dict=True)
        merge = self.preprocessing.merge
        return [
            Features(tokens, rows // merge, columns // merge, tuple(level[number] for level in getattr(told, "deepstack_features", ())))
            for number, (tokens, (_, (rows, columns))) in enumerate(zip(told.pooler_output, cut, strict=True))
        ]

    def video(self, times: Sequence[MediaTime]) -> list[Part]:
        """See `Family`."""
        return list(range(len(times)))

    def place(self, parts: Sequence[int | Features], times: Sequence[MediaTime], *, start: int, behind: int) -> Placed:
        """See `Family`; neighbouring pictures are one video."""
        pieces: list[Piece] = []
        clock = iter(times)
        for _, group in groupby(parts, lambda part: isinstance(part, int)):
            run = list(group)
            frames = tuple(Frame(next(clock), part.rows, part.columns, part.kept) for part in run if isinstance(part, Features))
            pieces.append(Video(frames) if frames else Text(sum(part for part in run if isinstance(part, int))))
        return positions.place(pieces, tokens_per_second=self._rate, start=start, behind=behind)

    def forward(
        self, embeddings: "Tensor", ids: "Tensor", mask: "Tensor", cache: Any, shown: "Tensor | None", levels: Sequence["Tensor"]
    ) -> "Tensor":
        """See `Family`."""
        hidden: Tensor = self.network.model.language_model(
            inputs_embeds=embeddings, position_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return hidden


class Qwen3(Qwen25):
    """Qwen3-VL: each frame is a block of its own with its time before it in text, and feeds the first layers too."""

    def __init__(self, network: Any, pad: str, opening: str, closing: str, stated: Mapping[str, Any]) -> None:
        """`opening` and `closing` are the texts of the tokens around a block."""
        super().__init__(network, pad, {"mean": HALF, "std": HALF, **stated})
        self._opening, self._closing = opening, closing

    @property
    def placeholder(self) -> str:
        """See `Family`: the block, because each frame gets one of its own."""
        return self._opening + self._pad + self._closing

    def video(self, times: Sequence[MediaTime]) -> list[Part]:
        """See `Family`."""
        parts: list[Part] = []
        for number, time in enumerate(times):
            parts += [positions.qwen3_time(time - times[0]) + self._opening, number, self._closing]
        return parts

    def forward(
        self, embeddings: "Tensor", ids: "Tensor", mask: "Tensor", cache: Any, shown: "Tensor | None", levels: Sequence["Tensor"]
    ) -> "Tensor":
        """See `Family`."""
        hidden: Tensor = self.network.model.language_model(
            inputs_embeds=embeddings,
            position_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
            visual_pos_masks=shown if levels else None,
            deepstack_visual_embeds=list(levels) or None,
        ).last_hidden_state
        return hidden


class Smol:
    """SmolVLM2: frames are squares of one size, positions are one-dimensional, the time stands before each frame in text."""

    def __init__(self, network: Any, stated: Mapping[str, Any]) -> None:
        config = network.config
        self.network = network
        self._side = int(config.vision_config.image_size)
        self._rows: int = self._side // int(config.vision_config.patch_size) // int(config.scale_factor)
        self._how = Preprocessing(config.vision_config.patch_size, config.scale_factor, **{"mean": HALF, "std": HALF, **stated})

    @property
    def placeholder(self) -> str:
        """See `Family`."""
        return "<video>"

    @property
    def template(self) -> str:
        """See `Family`."""
        return SMOL_TEMPLATE

    @property
    def max_pixels(self) -> int:
        """See `Family`; it does not matter, because there is one size only."""
        return self._how.max_pixels

    def tokens_each(self, size: tuple[int, int], max_pixels: int) -> int:
        """See `Family`: always the same."""
        return self._rows * self._rows

    def encode(self, pictures: Sequence[Image.Image], max_pixels: int = MAX_FRAME_PIXELS) -> list[Features]:
        """See `Family`; there is one size only, so `max_pixels` does not matter."""
        import torch

        found: list[Features] = []
        for first in range(0, len(pictures), ENCODED_AT_ONCE):
            pixels = np.stack([square(each, self._side, self._how) for each in pictures[first : first + ENCODED_AT_ONCE]])
            tensor = torch.from_numpy(pixels)[None].to(self.network.device, self.network.dtype)
            (tokens,) = self.network.model.get_image_features(tensor, return_dict=True).pooler_output
            found += [Features(each, self._rows, self._rows) for each in tokens.split(self._rows**2)]
        return found

    def video(self, times: Sequence[MediaTime]) -> list[Part]:
        """See `Family`; the words of SmolVLM2's own processor."""
        span = round((times[-1] - times[0]).seconds)
        parts: list[Part] = [f"You are provided the following series of {len(times)} frames from a {_duration(span)} [H:MM:SS] video.\n"]
        for number, text in enumerate(positions.clock_times(times)):
            parts += [f"\nFrame from {text}:<fake_token_around_image><global-img>", number, "<fake_token_around_image>"]
        return [*parts, "\n\n"]

    def place(self, parts: Sequence[int | Features], times: Sequence[MediaTime], *, start: int, behind: int) -> Placed:
        """See `Family`; a picture's tokens keep their places in it where some are left out."""
        pieces = [Text(part) if isinstance(part, int) else Text(part.rows * part.columns, part.kept) for part in parts]
        return positions.place(pieces, tokens_per_second=1, start=start, behind=behind)

    def forward(
        self, embeddings: "Tensor", ids: "Tensor", mask: "Tensor", cache: Any, shown: "Tensor | None", levels: Sequence["Tensor"]
    ) -> "Tensor":
        """See `Family`."""
        hidden: Tensor = self.network.model.text_model(
            inputs_embeds=embeddings, position_ids=ids[1], attention_mask=mask, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return hidden


def _fold_time(visual: Any) -> None:
    """Let a vision tower take one frame for each temporal patch, as if the frame were repeated to fill it."""
    import torch

    class OneFrame(torch.nn.Module):
        """The tower's first layer, its weights added up over time."""

        def __init__(self, projection: Any) -> None:
            super().__init__()
            folded = projection.weight.detach().float().sum(dim=2).flatten(1).to(projection.weight.dtype)
            self.weight = torch.nn.Parameter(folded, requires_grad=False)
            self.bias = projection.bias

        def forward(self, patches: "Tensor") -> "Tensor":
            """Rows of patches [n, 3 * patch * patch] to [n, hidden]."""
            return torch.nn.functional.linear(patches.to(self.weight.dtype), self.weight, self.bias)

    visual.patch_embed = OneFrame(visual.patch_embed.proj)


def _duration(seconds: int) -> str:
    """ "0:01:07"."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


QWEN_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SMOL_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}"
    "{% if message['content'][0]['type'] == 'video' %}:{% else %}: {% endif %}"
    "{% for part in message['content'] %}{% if part['type'] == 'video' %}<video>{% else %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
