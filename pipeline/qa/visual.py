"""Keyframes found by what they look like: the port, and out of the box the classifier's labels in the space of texts.

ConSE (M. Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic Embeddings", ICLR 2014): a picture's vector is the mean
of its likeliest labels' text vectors, weighted by their probabilities, so that any question's vector can be compared with it.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from pipeline.caption.labels import GROUPS, POSSIBLE, PROBABLE, names
from pipeline.caption.pictures import decode
from pipeline.memory.store import Kind, Moment, SceneStore, Scope, Span, Vectors
from pipeline.qa.classes import is_kind_of
from pipeline.qa.model import Embedder
from pipeline.qa.question import Question
from pipeline.qa.vectors import WordVectors
from pipeline.qa.words import content, stem, word_list
from pipeline.timeline import MediaTime

if TYPE_CHECKING:
    from pipeline.caption.tags import Classifier

LIKELIEST = 10
"""So many labels make a vector, as in ConSE."""
WORTH_KEEPING = 0.05
"""Labels and groups of at least this probability are kept with the vector."""
SEARCHED = 24
TWICE = 2
"""Pictures that must agree where none alone is sure."""
THINGS = word_list("object objects thing things item items anything")
"""Words that name whatever is recognised."""
ASKS_WHETHER = re.compile(
    r"^(?:and )?(?:(?:is|are|was|were) (?:there|an?|the|any)\b|(?:can|do|could) (?:you|we|i|one) see\b|does an?\b|"
    r"(?:what|which) (?:kinds? of )?(?P<of>\w+)\b|when does an?\b|where is an?\b)"
)
"""How a question begins that is answered by naming what is recognised."""
NAMED = re.compile(r"^(.+) (0\.\d\d)$")


@dataclass(frozen=True)
class Looks:
    """What a picture looks like."""

    vector: Vectors
    """Of length 1, [384]."""
    text: str = ""
    """What is recognised with which probability, "a dog 0.94; a borzoi 0.31"; empty where a model recognises nothing by name."""


class PictureEmbedder(Protocol):
    """Puts pictures and words into one space of 384 dimensions."""

    name: str
    """What the vectors were made by: only those of one maker are comparable."""

    async def pictures(self, jpegs: Sequence[bytes]) -> list[Looks]:
        """How each picture looks; raises `MediaUndecodable` for what is none."""
        ...

    async def words(self, text: str) -> Vectors:
        """Where a picture of this would be, [384]."""
        ...

    async def close(self) -> None:
        """Let go of the model."""
        ...


class LabelLooks:
    """A `PictureEmbedder` out of the classifier that tags are made with (EfficientNet-Lite0, ImageNet) and the embedder of texts."""

    name = "conse-efficientnet-lite0-minilm"

    def __init__(self, classifier: "Classifier", embedder: Embedder) -> None:
        self._classifier, self._embedder = classifier, embedder
        self._labels = WordVectors(embedder, most=len(names()))

    async def pictures(self, jpegs: Sequence[bytes]) -> list[Looks]:
        """See `PictureEmbedder`."""
        return [await self._looks(await asyncio.to_thread(self._probabilities, jpeg)) for jpeg in jpegs]

    async def words(self, text: str) -> Vectors:
        """See `PictureEmbedder`."""
        return np.asarray((await self._embedder.embed([text]))[0])

    async def close(self) -> None:
        """See `PictureEmbedder`; the embedder belongs to the caller."""

    def _probabilities(self, jpeg: bytes) -> Vectors:
        return self._classifier.look_at(decode(jpeg, what="keyframe")).probabilities

    async def _looks(self, probabilities: Vectors) -> Looks:
        best = np.argsort(-probabilities)[:LIKELIEST]
        labels = [names()[index] for index in best]
        vectors = await self._labels.of(labels)
        mean = sum(
            (float(probabilities[index]) * vectors[label] for index, label in zip(best, labels, strict=True)),
            np.zeros_like(vectors[labels[0]]),
        )
        known = {label: float(probabilities[index]) for index, label in zip(best, labels, strict=True)}
        known |= {group: float(probabilities[list(classes)].sum()) for group, classes in GROUPS.items()}
        told = sorted(((share, name) for name, share in known.items() if share >= WORTH_KEEPING), reverse=True)
        text = "; ".join(f"{name} {min(share, 0.99):.2f}" for share, name in told)
        return Looks((mean / max(float(np.linalg.norm(mean)), 1e-9)).astype(np.float32), text)


def load_label_looks(embedder: Embedder) -> LabelLooks:
    """With the catalog's classifier; raises `ModelMissing` or `ModelMismatch`."""
    import torch

    from pipeline.caption.tags import Classifier
    from pipeline.models import locate

    torch.set_num_threads(1)
    (weights,) = locate("efficientnet-lite0").glob("efficientnet-lite0-*.pth")
    return LabelLooks(Classifier(weights), embedder)


def as_moment(stream_id: str, keyframe_id: str, at: MediaTime, looks: Looks, model: str) -> Moment:
    """How a keyframe's looks are stored, beside its vector."""
    return Moment(stream_id, keyframe_id, Kind.PICTURE, 0, looks.text or "picture", at, at, model)


def recognised(text: str) -> dict[str, float]:
    """What `Looks.text` says, by name."""
    found = (NAMED.match(part.strip()) for part in text.split(";"))
    return {match.group(1): float(match.group(2)) for match in found if match}


class Visual:
    """Looks for pictures in one memory."""

    def __init__(self, store: SceneStore, embedder: PictureEmbedder) -> None:
        self._store, self._embedder = store, embedder

    async def near(self, streams: Sequence[str], question: Question, span: Span, *, limit: int = SEARCHED) -> list[tuple[Moment, float]]:
        """The pictures that look most like what a question's words name, with their cosines; they need not show it."""
        if not question.words:
            return []
        vector = await self._embedder.words(" ".join(question.words))
        hits = await self._store.search(Scope(tuple(streams), frozenset([Kind.PICTURE]), span), (), vector, limit=limit)
        return [(hit.moment, hit.cosine) for hit in hits.by_vector if hit.moment.model == self._embedder.name]

    async def shown(self, streams: Sequence[str], question: Question, span: Span) -> list[tuple[Moment, float]]:
        """What a question asks for by name, where pictures are recognised to show it: the first such picture, with how sure that is.

        Nothing is said of what was not named, so that "what does the dog carry?" is not answered with a dog.
        """
        asks = ASKS_WHETHER.search(question.text.lower().strip())
        # "What animal is there?" asks by name, "what is in the cup?" does not.
        if asks is None or (asks["of"] and asks["of"] not in (*question.words, *THINGS)):
            return []
        found: dict[str, list[tuple[float, Moment]]] = {}
        for moment, _ in await self.near(streams, question, span):
            for name, share in answering(question, recognised(moment.text)).items():
                found.setdefault(name, []).append((share, moment))
        answers = []
        for name, seen in found.items():
            best = max(share for share, _ in seen)
            often = [moment for share, moment in seen if share >= POSSIBLE]
            if best >= PROBABLE or len(often) >= TWICE:
                first = min(often, key=lambda moment: (moment.start, moment.id))
                how = "probably" if best >= PROBABLE else "perhaps"
                told = replace(first, kind=Kind.DESCRIPTION, text=f"{how} {name} ({best:.2f})")
                answers.append((told, best))
        return sorted(answers, key=lambda answer: -answer[1])


def answering(question: Question, known: Mapping[str, float]) -> dict[str, float]:
    """Which of what is recognised every one of a question's words names: "animal" a dog, "objects" anything."""
    return {name: share for name, share in known.items() if question.words and all(_names(word, name) for word in question.words)}


def _names(word: str, name: str) -> bool:
    if word in THINGS:
        return True
    plain = re.sub(r"\([^)]*\)", "", name)
    heads = [words[-1] for part in re.split(r",| or ", plain) if (words := content(part))]
    return any(stem(word) == stem(head) or is_kind_of(head, word) for head in heads)
