"""Keyframes found by what they look like: labels in the space of texts, and a CLIP or SigLIP checkpoint (tiny, random weights)."""

import asyncio
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from watchword.v1.answer_pb2 import Answer
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.scene_pb2 import Keyframe

from pipeline.caption.labels import CLASSES, names
from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.stage import Index
from pipeline.memory.store import DIMENSIONS, EVERYTHING, Kind, Scope, Vectors
from pipeline.qa import model
from pipeline.qa.clip import ClipLooks, fitted
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.qa.model import Embedder
from pipeline.qa.question import read
from pipeline.qa.visual import LabelLooks, Looks, PictureEmbedder, Visual, answering, recognised
from pipeline.timeline import MediaTime

pytestmark = pytest.mark.connected

Seen = Mapping[str, float]


class Classifier:
    """Sees in a picture of one grey what its script says of that grey."""

    def __init__(self, seen: Mapping[int, Seen]) -> None:
        self._seen = seen

    def look_at(self, picture: Image.Image) -> object:
        grey = int(np.asarray(picture.convert("L")).mean().round())
        probabilities = np.full(CLASSES, 1e-6, np.float32)
        for name, share in self._seen[min(self._seen, key=lambda each: abs(each - grey))].items():
            probabilities[names().index(name)] = share
        return type("Seen", (), {"probabilities": probabilities})()


SCENES: Mapping[int, Seen] = {
    20: {"a golden retriever": 0.5, "a Labrador retriever": 0.2, "a tennis ball": 0.1},
    90: {"an espresso": 0.9} if "an espresso" in names() else {"espresso": 0.9},
    160: {"a sports car": 0.3, "a convertible car": 0.15},
    230: {"a sports car": 0.35, "a convertible car": 0.1},
}


def jpeg(grey: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), (grey, grey, grey)).save(file, "JPEG")
    return file.getvalue()


def keyframe(second: int, grey: int) -> ClearedEvent:
    time = MediaTime.of(second).to_proto()
    return ClearedEvent(keyframe=Keyframe(stream_id="s", id=f"frame-{second}000", media_time=time, jpeg=jpeg(grey), width=64, height=48))


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return model.load()


async def stored(embedder: Embedder, looks: PictureEmbedder) -> SqliteStore:
    store = SqliteStore()
    stage = Index("s", store, embedder, looks)
    for number, grey in enumerate(SCENES):
        async for _ in stage.process(keyframe(4 * number, grey)):
            pass
    return store


def asked(embedder: Embedder, question: str) -> Answer:
    async def whole() -> Answer:
        looks = LabelLooks(Classifier(SCENES), embedder)  # type: ignore[arg-type]
        store = await stored(embedder, looks)
        *_, answer = [part async for part in ExtractiveAnswerer(store, embedder, visual=Visual(store, looks)).ask("s", question)]
        await store.close()
        assert isinstance(answer, Answer)
        return answer

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("Is there a dog?", "At 0:00 the picture shows “probably a dog (0.70)”."),
        ("What animal appears in the video?", "At 0:00 the picture shows “probably a dog (0.70)”."),
        ("Which vehicle is visible?", "At 0:08 the picture shows “perhaps a car (0.45)”."),
    ],
)
def test_what_pictures_are_recognised_to_show_is_told_with_its_time(embedder: Embedder, question: str, said: str) -> None:
    answer = asked(embedder, question)
    assert answer.supported
    assert answer.text == said


@pytest.mark.parametrize(
    "question", ["Is there a horse?", "What does the dog carry?", "Is there a ball?", "How many dogs are there?", "What is in the car?"]
)
def test_nothing_is_told_of_what_no_picture_is_sure_of_or_was_not_asked_by_name(embedder: Embedder, question: str) -> None:
    assert not asked(embedder, question).supported


def test_a_question_finds_the_picture_that_looks_most_like_it(embedder: Embedder) -> None:
    async def nearest(question: str) -> str:
        looks = LabelLooks(Classifier(SCENES), embedder)  # type: ignore[arg-type]
        store = await stored(embedder, looks)
        (best, _), *_ = await Visual(store, looks).near(["s"], read(question), EVERYTHING)
        words = await store.search(Scope(("s",)), ("espresso",), np.eye(1, DIMENSIONS, dtype=np.float32)[0])
        await store.close()
        assert not words.by_words, "labels are no words that were said or shown"
        return best.source_id

    assert asyncio.run(nearest("Where is the puppy?")) == "frame-0000"
    assert asyncio.run(nearest("Who drinks coffee?")) == "frame-4000"
    assert asyncio.run(nearest("Where does the automobile stand?")) in ("frame-8000", "frame-12000")


def test_a_name_answers_where_every_word_asks_for_it() -> None:
    known = recognised("a dog 0.94; a Welsh springer spaniel 0.37; a lorry, van or bus 0.06")
    assert known == {"a dog": 0.94, "a Welsh springer spaniel": 0.37, "a lorry, van or bus": 0.06}
    assert set(answering(read("Is there a spaniel?"), known)) == {"a Welsh springer spaniel"}
    assert set(answering(read("Is there a van?"), known)) == {"a lorry, van or bus"}
    assert answering(read("Is there a dog with a hat?"), known) == {}
    assert recognised("picture") == {}


def checkpoint(folder: Path, family: str) -> Path:
    """A tiny checkpoint with random weights, laid out as those of the hub are."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import (
        CLIPConfig,
        CLIPImageProcessor,
        CLIPModel,
        PreTrainedTokenizerFast,
        SiglipConfig,
        SiglipImageProcessor,
        SiglipModel,
    )

    torch.manual_seed(0)
    words = ["<pad>", "<unk>", "<end>", "a", "photo", "of", "dog", "car"]
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 2)])
    text = {"vocab_size": len(words), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 3, "pad_token_id": 0, "projection_dim": 48}
    vision = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    }
    size = {"height": 32, "width": 32}
    if family == "clip":
        vision["projection_dim"] = 48
        CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=48)).save_pretrained(folder)
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(folder)
    else:
        del text["projection_dim"]
        SiglipModel(SiglipConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
        SiglipImageProcessor(size=size).save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["clip", "siglip"])
def test_a_checkpoint_finds_pictures_and_names_none(embedder: Embedder, tmp_path: Path, family: str) -> None:
    async def looked() -> tuple[Sequence[Looks], Vectors, list[tuple[str, float]]]:
        looks = ClipLooks(checkpoint(tmp_path / family, family))
        store = await stored(embedder, looks)
        near = await Visual(store, looks).near(["s"], read("Is there a dog?"), EVERYTHING)
        assert await Visual(store, looks).shown(["s"], read("Is there a dog?"), EVERYTHING) == []
        assert all(moment.kind is Kind.PICTURE for moment, _ in near)
        other = Visual(store, LabelLooks(Classifier(SCENES), embedder))  # type: ignore[arg-type]
        assert await other.near(["s"], read("Is there a dog?"), EVERYTHING) == [], "another model's vectors say nothing to this one"
        found = await looks.pictures([jpeg(grey) for grey in SCENES]), await looks.words("dog"), [(m.source_id, c) for m, c in near]
        await store.close()
        return found

    looks, words, near = asyncio.run(looked())
    assert len(near) == len(SCENES)
    cosines = sorted((float(each.vector @ words) for each in looks), reverse=True)
    assert [cosine for _, cosine in near] == pytest.approx(cosines, abs=1e-3)
    assert float(np.linalg.norm(words)) == pytest.approx(1)


def test_what_is_no_such_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="no config"):
        ClipLooks(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ModelMismatch, match="holds a bert"):
        ClipLooks(tmp_path)


def test_more_dimensions_keep_their_cosines_nearly_and_fewer_exactly() -> None:
    random = np.random.default_rng(1)
    for size, error in ((768, 0.2), (512, 0.15), (256, 1e-6)):
        rows = random.standard_normal((20, size)).astype(np.float32)
        rows[1::2] = rows[::2] + 0.7 * rows[1::2]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        made = fitted(rows)
        assert made.shape == (20, DIMENSIONS)
        assert np.abs(made @ made.T - rows @ rows.T).max() < error
