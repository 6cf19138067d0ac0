"""Reranking: how near a passage that was found is to answering the question; the port, and multilingual-e5-small on the CPU.

An embedder for search puts a question near what is about the same things. This one was trained on questions and the
passages that answer them, in a hundred languages (Wang et al. 2024), so that its cosine tells an answer from a near miss.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import ModelMismatch
from pipeline.memory.store import DIMENSIONS, Vectors
from pipeline.models import locate
from pipeline.qa.packed import Marks, Packed, Sizes, read_packed, unpack
from pipeline.qa.unigram import Unigram

if TYPE_CHECKING:
    from pipeline.qa.bert import Encoder

FILE = "e5-small-q4.bin"
LAYERS, VOCABULARY, POSITIONS, SEGMENTS = 12, 250_037, 512, 2
MAX_TOKENS = 128
"""What is longer is read as far as this: a sentence and its context are shorter."""
UNRELATED, ANSWERING = 0.7, 0.9
"""Its cosines of a question with what has nothing to do with it, and with its answer, become 0 and 1."""
QUESTION, PASSAGE = "query: ", "passage: "
"""What the model wants before each, as its card says."""
REMEMBERED = 2000
"""Passages whose vectors are kept, 1.5 kB each: one talk is asked many questions."""
WORKING = {
    "attention.self.query": "q",
    "attention.self.key": "k",
    "attention.self.value": "v",
    "attention.output.dense": "ao",
    "intermediate.dense": "fi",
    "output.dense": "fo",
}
NORMS = {"attention.output.LayerNorm": "aln", "output.LayerNorm": "oln"}


class Reranker(Protocol):
    """Puts passages that were found in a better order, with the question in mind."""

    name: str
    """Catalog name of the model."""

    async def score(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """How near each passage is to being the answer, from 0 for one that has nothing to do with the question to about 1."""
        ...

    async def close(self) -> None:
        """Let go of the model."""
        ...


class E5Reranker:
    """A `Reranker` with multilingual-e5-small (https://huggingface.co/intfloat/multilingual-e5-small) in four bits.

    Its word vectors stay packed in the file, its layers are unpacked to 85 MB. A passage is encoded once.
    """

    name = "e5-small"

    def __init__(self, folder: Path) -> None:
        """Read the weights from `folder`; raises `ModelMismatch` where they are not this model's."""
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reranker")
        self._known: OrderedDict[str, Vectors] = OrderedDict()
        try:
            self._vocabulary, self._marks, self._encoder = self._worker.submit(_read, folder / FILE).result()
        except BaseException:
            self._worker.shutdown()
            raise

    async def score(self, question: str, passages: Sequence[str]) -> Sequence[float]:
        """See `Reranker`."""
        cosines = await asyncio.get_running_loop().run_in_executor(self._worker, self._cosines, question, list(passages))
        return [max(0.0, cosine - UNRELATED) / (ANSWERING - UNRELATED) for cosine in cosines]

    async def close(self) -> None:
        """See `Reranker`."""
        self._worker.shutdown()

    def _cosines(self, question: str, passages: list[str]) -> list[float]:
        unknown = [passage for passage in dict.fromkeys(passages) if passage not in self._known]
        vectors = self._encoded([QUESTION + question, *(PASSAGE + passage for passage in unknown)])
        # Copies, because a row keeps all the rows that it came with.
        self._known.update({passage: row.copy() for passage, row in zip(unknown, vectors[1:], strict=True)})
        cosines = []
        for passage in passages:
            self._known.move_to_end(passage)
            cosines.append(float(self._known[passage] @ vectors[0]))
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return cosines

    def _encoded(self, texts: list[str]) -> Vectors:
        import torch

        cut = [self._marked(self._vocabulary.tokens(text)[: MAX_TOKENS - 2]) for text in texts]
        longest = max(map(len, cut))
        tokens = torch.tensor([[*each, *[self._marks.fills] * (longest - len(each))] for each in cut])
        mask = torch.arange(longest) < torch.tensor([[len(each)] for each in cut])
        with torch.inference_mode():
            vectors: Vectors = self._encoder(tokens, mask).numpy()
        return vectors

    def _marked(self, tokens: list[int]) -> list[int]:
        return [self._marks.begins, *tokens, self._marks.ends]


def load() -> E5Reranker:
    """The catalog's reranker; raises `ModelMissing` or `ModelMismatch`."""
    return E5Reranker(locate("e5-small"))


def _read(path: Path) -> tuple[Unigram, Marks, "Encoder"]:
    import torch

    from pipeline.qa.bert import FEED_FORWARD, HEADS, Encoder

    torch.set_num_threads(1)
    packed = read_packed(path)
    sizes = Sizes(DIMENSIONS, LAYERS, HEADS, FEED_FORWARD, VOCABULARY, POSITIONS, SEGMENTS)
    try:
        if packed.sizes != sizes:
            raise ModelMismatch(f"it has {packed.sizes}, not {sizes}")
        words = packed.rows("emb.word")

        def rows(tokens: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(unpack(words[tokens.numpy()]))

        weights = {name: torch.from_numpy(values) for name, values in _weights(packed, FEED_FORWARD).items()}
        vocabulary = Unigram(packed.pieces, unknown=packed.unknown, normalised=packed.normalised)
        return vocabulary, packed.marks, Encoder(weights, layers=LAYERS, rows=rows)
    except (KeyError, RuntimeError, ModelMismatch) as error:
        raise ModelMismatch(f"The weights in {path} are not those of multilingual-e5-small: {error}.") from error


def _weights(packed: Packed, feed_forward: int) -> dict[str, Vectors]:
    """The tensors by the names that `Encoder` knows them by."""
    weights = {
        "embeddings.position_embeddings.weight": packed.tensor("emb.pos", POSITIONS, DIMENSIONS),
        "embeddings.token_type_embeddings.weight": packed.tensor("emb.type", SEGMENTS, DIMENSIONS),
        "embeddings.LayerNorm.weight": packed.tensor("emb.ln.w", DIMENSIONS),
        "embeddings.LayerNorm.bias": packed.tensor("emb.ln.b", DIMENSIONS),
    }
    for layer in range(LAYERS):
        for theirs, ours in (WORKING | NORMS).items():
            out = feed_forward if ours == "fi" else DIMENSIONS
            into = (feed_forward if ours == "fo" else DIMENSIONS,) if theirs in WORKING else ()
            weights[f"encoder.layer.{layer}.{theirs}.weight"] = packed.tensor(f"l{layer}.{ours}.w", out, *into)
            weights[f"encoder.layer.{layer}.{theirs}.bias"] = packed.tensor(f"l{layer}.{ours}.b", out)
    return weights
