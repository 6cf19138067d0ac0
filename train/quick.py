"""What a network in training says of clips: greedily, many at once, without the product's captioner."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from train.batches import Clock, patches_of, prompt_of
from train.network import read, see
from train.render import render
from train.scenes import Scene
from train.tokenizer import END

LONGEST = 40


@torch.no_grad()
def say(network: Any, tokenizer: Any, scenes: Sequence[Scene], clock: Clock = "time", *, device: torch.device) -> list[str]:
    """A caption for each scene."""
    alike: dict[int, list[int]] = defaultdict(list)
    for index, scene in enumerate(scenes):
        alike[len(scene.times)].append(index)
    texts = [""] * len(scenes)
    for indices in alike.values():
        group = [scenes[index] for index in indices]
        rows = [prompt_of(tokenizer, scene, clock, LONGEST) for scene in group]
        length = len(rows[0][0])
        tokens = torch.tensor([row[0] for row in rows]).to(device)
        positions = torch.from_numpy(np.stack([row[1] for row in rows], axis=1)).to(device)
        frames = np.concatenate([_photographed(render(scene, np.random.default_rng(index))) for index, scene in zip(indices, group, strict=True)])
        with torch.autocast(device.type, torch.bfloat16):
            pictures = see(network, patches_of(frames).to(device)).flatten(0, 1)
            seen = torch.tensor([row[2] for row in rows], device=device)
            places = (seen + torch.arange(len(rows), device=device)[:, None] * length).flatten()
            embedded = network.get_input_embeddings()(tokens).to(pictures.dtype)
            embedded = embedded.flatten(0, 1).index_copy(0, places, pictures).view_as(embedded)
            said = []
            for _ in range(LONGEST):
                now = embedded.shape[1]
                mask = torch.ones(now, now, dtype=torch.bool, device=device).tril()[None, None]
                hidden = read(network, embedded, positions[:, :, :now], mask)[-1][:, -1]
                best = network.lm_head(hidden).argmax(-1)
                said.append(best)
                embedded = torch.cat([embedded, network.get_input_embeddings()(best)[:, None].to(embedded.dtype)], dim=1)
        for index, row in zip(indices, torch.stack(said, 1).tolist(), strict=True):
            texts[index] = tokenizer.decode(row[: row.index(END)] if END in row else row)
    return texts


def _photographed(frames: Any) -> Any:
    import io

    from PIL import Image

    from train.batches import to_jpeg

    return np.stack([np.asarray(Image.open(io.BytesIO(to_jpeg(each)))) for each in frames])
