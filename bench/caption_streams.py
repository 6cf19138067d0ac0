"""How many live streams one device describes: scenes that end all the time, each on its own clock, as cameras send them.

    python -m bench.caption_streams --model 7b --streams 16,33,64     # a GPU
    python -m bench.caption_streams --model tiny --streams 4,8 --every 3

The model has random weights of a published shape, so the words mean nothing, and each description takes as many tokens as it may: the
worst case. Each stream closes a scene every so many seconds, beginning at a moment of its own; its keyframes come while the scene is open,
as the sampler sends them. Measured is from the end of a scene to its first token and to its last. A first round is not counted.
Latencies that grow from round to round mean that the device does not keep up; the table says so.
"""

import argparse
import asyncio
import platform
import statistics
import time
from contextlib import aclosing
from dataclasses import dataclass, replace

import numpy as np

from bench.captioning import SHAPES, SPECIAL, config_of, learn_tokenizer, scene_of
from pipeline.caption.model import SceneView
from pipeline.caption.style import Style
from pipeline.caption.vlm.captioner import VlmCaptioner
from pipeline.caption.vlm.checkpoint import device_of
from pipeline.caption.vlm.families import Qwen25
from pipeline.caption.vlm.worker import Limits

VOCABULARY = 152_064
"""Of the published models; the last layer's size is a good part of a token's cost."""
STYLE = Style(voice="calm and factual")


@dataclass(frozen=True)
class Told:
    """How long one scene took, in seconds from its end."""

    round: int
    first: float
    whole: float


def captioner_of(shape: str, tokens: int, limits: Limits) -> VlmCaptioner:
    """A captioner with random weights, which are made where they are used."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.set_num_threads(1)
    torch.manual_seed(1)
    device = device_of()
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        network = Qwen2_5_VLForConditionalGeneration(config_of(shape, VOCABULARY)).eval()
    torch.set_default_dtype(torch.float32)
    tokenizer = learn_tokenizer()
    # What the tokenizer cannot write, and what would end a text, is never the likeliest.
    network.lm_head.weight.data[len(tokenizer) :] = 0
    network.lm_head.weight.data[: len(SPECIAL)] = 0
    return VlmCaptioner(shape, Qwen25(network, "<|video_pad|>", {}), tokenizer, max_new_tokens=tokens, limits=limits)


async def stream(captioner: VlmCaptioner, scenes: list[SceneView], every: float, offset: float) -> list[Told]:
    """A camera: its keyframes come when they come, and its scenes end when they end."""
    began, found = time.perf_counter() + offset, list[Told]()

    async def describe(number: int, scene: SceneView) -> None:
        ended, first = time.perf_counter(), 0.0
        async with aclosing(captioner.tell(scene)) as parts:
            async for _ in parts:
                first = first or time.perf_counter() - ended
        found.append(Told(number, first, time.perf_counter() - ended))

    async with asyncio.TaskGroup() as group:
        for number, scene in enumerate(scenes):
            for place, shot in enumerate(scene.shots):
                await _until(began + (number + (place + 0.5) / len(scene.shots)) * every)
                captioner.look_ahead(shot)
            await _until(began + (number + 1) * every)
            group.create_task(describe(number, scene))
    return found


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.perf_counter()))


async def measure(captioner: VlmCaptioner, views: list[list[SceneView]], every: float) -> list[Told]:
    """All streams at once, their scenes' ends spread evenly."""
    streams = (stream(captioner, scenes, every, every * number / len(views)) for number, scenes in enumerate(views))
    return [told for found in await asyncio.gather(*streams) for told in found]


def row(count: int, told: list[Told], every: float) -> str:
    """A line of the table."""
    kept = [each for each in told if each.round]
    last = max(each.round for each in told)
    by_round = [statistics.median(each.whole for each in told if each.round == number) for number in (1, last)]
    behind = by_round[1] > max(every, 1.3 * by_round[0])
    columns = [f"{np.percentile([getattr(each, name) for each in kept], at):8.2f}" for name in ("first", "whole") for at in (50, 95)]
    return f"{count:8d} {' '.join(columns)} {'falls behind' if behind else 'keeps up'} ({by_round[0]:.2f} s, then {by_round[1]:.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="tiny")
    parser.add_argument("--streams", default="4", help="how many, separated by commas")
    parser.add_argument("--every", type=float, default=10.0, help="seconds from scene to scene of a stream")
    parser.add_argument("--keyframes", type=int, default=5, help="of a scene; 30 a minute is what the sampler sends at most")
    parser.add_argument("--tokens", type=int, default=100, help="of a description")
    parser.add_argument("--rounds", type=int, default=2, help="scenes of each stream that are counted")
    asked = parser.parse_args()
    import torch
    import transformers

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()}, one thread"
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{device}; {versions}, bfloat16")
    limits = replace(Limits.of(device_of()), repeats=0)  # random weights fall into loops, and every token is wanted
    captioner = captioner_of(asked.model, asked.tokens, limits)
    parameters = sum(each.numel() for each in captioner.worker.parameters())
    scene = f"a scene of {asked.keyframes} keyframes of 448x252 every {asked.every:g} s"
    print(f"{parameters / 1e9:.2f} G parameters, random; {scene}, described by {asked.tokens} tokens\n")
    print("seconds from a scene's end\n streams first p50      p95 whole p50      p95")
    for count in map(int, asked.streams.split(",")):
        size = asked.rounds + 1
        views = [[_view(number * size + turn, asked.keyframes) for turn in range(size)] for number in range(count)]
        print(row(count, asyncio.run(measure(captioner, views, asked.every)), asked.every), flush=True)


def _view(number: int, keyframes: int) -> SceneView:
    scene = scene_of(number, keyframes)
    return SceneView(scene.start, scene.end, scene.shots, STYLE)


if __name__ == "__main__":
    main()
