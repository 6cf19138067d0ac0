"""What it costs to come to the first word about a scene, beside plain transformers with its own image processor.

    python -m bench.captioning                      # a random model of Watchword-Tiny's size
    python -m bench.captioning --model half-billion --rounds 3

Both sides get the same JPEGs, the same instruction and the same weights, and read as many tokens. `preprocessing` is from JPEG bytes to
patches (and from decoded pictures to patches); `first token` is from JPEG bytes to the first token. Of ours it is measured cold, where
nothing is known; with the instruction read before; and as the pipeline does it, where the keyframes were encoded while their scene
was open. `plain` is `Qwen2VLImageProcessorPil` and `generate`, the pictures as images, because the library's video processor needs
torchvision. The sides take turns within each round; the table has the median of the rounds and the ratio of the medians.
"""

import argparse
import io
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.model import SceneView, Shot
from pipeline.caption.style import Style, instruction, question
from pipeline.caption.vlm import load_vlm, patchify
from pipeline.caption.vlm.checkpoint import device_of
from pipeline.caption.vlm.families import QWEN_TEMPLATE
from pipeline.caption.vlm.worker import Ahead, Job, Worker
from pipeline.timeline import ZERO, MediaTime

ROOT = Path(__file__).parents[1]
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>", "<|image_pad|>")
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tiny": (
        {"hidden_size": 192, "intermediate_size": 512, "num_hidden_layers": 6, "num_attention_heads": 6, "num_key_value_heads": 6},
        {"depth": 4, "hidden_size": 128, "intermediate_size": 256, "num_heads": 4},
    ),
    "half-billion": (
        {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2},
        {"depth": 16, "hidden_size": 768, "intermediate_size": 3072, "num_heads": 12},
    ),
    # The published Qwen2.5-VL of these sizes, but for the vocabulary.
    "3b": (
        {"hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2},
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
    ),
    "7b": (
        {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4},
        {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16},
    ),
}
STYLE = Style(structured=True, voice="calm and factual")


def save(directory: Path, shape: str) -> int:
    """Write a random checkpoint and a tokenizer learned from the documentation; how many parameters it has."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    tokenizer = learn_tokenizer()
    tokenizer.save_pretrained(directory)
    torch.manual_seed(1)
    network = Qwen2_5_VLForConditionalGeneration(config_of(shape, len(tokenizer))).to(torch.bfloat16)
    network.save_pretrained(directory)
    return sum(each.numel() for each in network.parameters())


def learn_tokenizer() -> Any:
    """A tokenizer of 4,096 pieces, learned from the documentation."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=4096, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False)
    tokenizer.train([str(path) for path in sorted(ROOT.glob("docs/**/*.md"))], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2], additional_special_tokens=[SPECIAL[1], *SPECIAL[3:]]
    )


def config_of(shape: str, vocabulary: int) -> Any:
    """The configuration of a network of one of `SHAPES`."""
    from transformers import Qwen2_5_VLConfig

    text, vision = SHAPES[shape]
    half = text["hidden_size"] // text["num_attention_heads"] // 2
    sections = [half - 2 * (3 * half // 8), 3 * half // 8, 3 * half // 8]
    return Qwen2_5_VLConfig(
        text_config=text
        | {
            "vocab_size": vocabulary, "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e6, "mrope_section": sections},
        },
        vision_config=vision
        | {
            "patch_size": 14, "out_hidden_size": text["hidden_size"], "window_size": 112, "tokens_per_second": 2,
            "fullatt_block_indexes": [vision["depth"] // 2 - 1, vision["depth"] - 1],
        },
        image_token_id=6, video_token_id=5, vision_start_token_id=3, vision_end_token_id=4,
    )  # fmt: skip


def scene_of(number: int, keyframes: int) -> SceneView:
    """A scene of noise and shapes that no other one has, as JPEGs of 448x252."""
    rng = np.random.default_rng(number)
    shots = []
    for index in range(keyframes):
        pixels = np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((28, 28, 1))) + rng.normal(0, 4, (252, 448, 3))
        buffer = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=85)
        shots.append(Shot(MediaTime.of(index * 1.3), KeyframeReason.KEYFRAME_REASON_CHANGE, 0.5, 0.0, buffer.getvalue()))
    return SceneView(ZERO, MediaTime.of(keyframes * 1.3), tuple(shots), STYLE)


class Plain:
    """transformers as its documentation has it: image processor, chat template, `generate`."""

    def __init__(self, directory: Path, tokenizer: Any) -> None:
        import torch
        from transformers import Qwen2_5_VLForConditionalGeneration
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

        self._network = Qwen2_5_VLForConditionalGeneration.from_pretrained(directory, dtype=torch.bfloat16).to(device_of()).eval()
        self._tokenizer = tokenizer
        self._processor = Qwen2VLImageProcessorPil(min_pixels=28 * 28, max_pixels=448 * 448)

    def preprocess(self, pictures: Sequence[Image.Image]) -> Any:
        """Patches and grids."""
        return self._processor(list(pictures), return_tensors="pt")

    def first_token(self, scene: SceneView) -> int:
        """From JPEGs to the first token."""
        import torch

        seen = self.preprocess(opened(scene))
        places = [int(grid.prod()) // 4 for grid in seen["image_grid_thw"]]
        pictures = "".join(f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>" for count in places)
        content = [{"type": "text", "text": f"{instruction(STYLE)}\n{pictures}{question(STYLE)}"}]
        text = self._tokenizer.apply_chat_template(
            [{"role": "user", "content": content}], chat_template=QWEN_TEMPLATE, add_generation_prompt=True, tokenize=False
        )
        ids = torch.tensor([self._tokenizer.encode(text, add_special_tokens=False)], device=self._network.device)
        with torch.inference_mode():
            tokens = self._network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=(ids == 6).int(),
                pixel_values=seen["pixel_values"].to(ids.device, torch.bfloat16),
                image_grid_thw=seen["image_grid_thw"].to(ids.device),
                max_new_tokens=1,
                do_sample=False,
            )
        return int(tokens.shape[1])


def opened(scene: SceneView) -> list[Image.Image]:
    """The scene's pictures, decoded."""
    return [Image.open(io.BytesIO(shot.jpeg)).convert("RGB") for shot in scene.shots]


def first_token(worker: Worker, scene: SceneView) -> None:
    """From JPEGs to the first token, with what the worker knows."""
    job = Job(scene, 1, lambda _: None)
    (failure,) = worker.run([job])
    assert failure is None
    assert len(job.tokens) == 1


def timed(work: Callable[[], object]) -> float:
    """Seconds of processor time of this process, so that other work on the machine does not count; with a GPU, seconds until it is done."""
    import torch

    if not torch.cuda.is_available():
        start = time.process_time()
        work()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def measure(directory: Path, rounds: int, keyframes: int) -> dict[str, list[float]]:
    """Seconds of each way, round by round."""
    captioner = load_vlm(directory, precision="bfloat16")
    worker = captioner.worker
    plain = Plain(directory, worker._tokenizer)
    how = worker._family.preprocessing  # type: ignore[attr-defined]
    found: dict[str, list[float]] = {}

    def one(number: int) -> None:
        scene = scene_of(number, keyframes)
        pictures = opened(scene)

        def note(name: str, work: Callable[[], object]) -> None:
            found.setdefault(name, []).append(timed(work))

        note("pictures to patches, plain", lambda: plain.preprocess(pictures))
        note("pictures to patches, ours", lambda: [patchify(each, how) for each in pictures])
        note("JPEG to patches, plain", lambda: plain.preprocess(opened(scene)))
        note("JPEG to patches, ours", lambda: [patchify(each, how) for each in opened(scene)])
        note("first token, plain", lambda: plain.first_token(scene))
        worker.features.clear()
        worker.prefixes.clear()
        note("first token, ours, cold", lambda: first_token(worker, scene))
        worker.features.clear()
        note("first token, ours, instruction known", lambda: first_token(worker, scene))
        worker.features.clear()
        note("encoding ahead, ours", lambda: [worker.encode([Ahead(shot)]) for shot in scene.shots])
        note("first token, ours, pictures known too", lambda: first_token(worker, scene))

    # A warm-up, which is not counted, then scenes that nobody has seen.
    for number in range(rounds + 1):
        one(number)
    return {name: values[1:] for name, values in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="tiny")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keyframes", type=int, default=8)
    asked = parser.parse_args()
    import torch
    import transformers

    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / asked.model
        parameters = save(directory, asked.model)
        print(f"{platform.machine()}, {platform.processor() or platform.platform()}, Python {platform.python_version()}")
        print(f"torch {torch.__version__} on one thread, transformers {transformers.__version__}, bfloat16")
        print(f"{parameters / 1e6:.1f} M parameters, random")
        found = measure(directory, asked.rounds, asked.keyframes)
    time_of = f"on {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "of processor time"
    print(f"{asked.keyframes} keyframes of 448x252; milliseconds {time_of}, median of {asked.rounds} rounds (least to most)\n")
    for name, values in found.items():
        milliseconds = [value * 1e3 for value in values]
        baseline = next((medians for other, medians in found.items() if other == f"{name.split(',')[0]}, plain"), None)
        ratio = f"{statistics.median(baseline) / statistics.median(values):6.2f}x" if baseline and "ours" in name else ""
        print(f"{name:40s} {statistics.median(milliseconds):9.1f}  ({min(milliseconds):.1f} to {max(milliseconds):.1f}) {ratio}")


if __name__ == "__main__":
    main()
