"""Sentences that look like speech to a search, and vectors that look like theirs."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.memory.store import DIMENSIONS, Entry, Kind, Moment, Vectors
from pipeline.models import locate
from pipeline.qa import model
from pipeline.timeline import MediaTime

REAL = 2000
"""So many sentences are embedded by the model; the vectors of all others are theirs with noise."""
NOISE = 0.6
"""Length of the noise, of a vector of length 1."""
ASKED_NOISE = 0.5
KINDS = (Kind.SPEECH,) * 8 + (Kind.DESCRIPTION, Kind.ON_SCREEN_TEXT)
EVERY_S = 4.0
BATCH = 256
PER_STREAM = 20_000


@dataclass(frozen=True)
class Talk:
    """An endless talk: what is said at each number is always the same."""

    words: tuple[str, ...]
    cumulative: np.ndarray
    real: Vectors

    @classmethod
    def make(cls) -> "Talk":
        """Read the vocabulary and embed some sentences; a minute on one core."""
        lines = (locate("minilm-l6-v2") / "vocab.txt").read_text("utf-8").splitlines()
        words = tuple(line for line in lines if len(line) > 1 and line.isascii() and line.isalpha())
        weights = 1 / np.arange(1, len(words) + 1)
        talk = cls(words, np.cumsum(weights) / weights.sum(), np.empty((0, DIMENSIONS), np.float32))

        async def embed() -> Vectors:
            embedder = model.load()
            vectors = await embedder.embed([talk.text(number) for number in range(REAL)])
            await embedder.close()
            return vectors

        return cls(words, talk.cumulative, asyncio.run(embed()))

    def text(self, number: int) -> str:
        """The sentence of a number."""
        random = np.random.default_rng(number)
        drawn = np.searchsorted(self.cumulative, random.random(int(random.integers(4, 17))))
        return " ".join(self.words[min(int(each), len(self.words) - 1)] for each in drawn)

    def moment(self, number: int, per_stream: int) -> Moment:
        """The sentence with its place."""
        stream, place = divmod(number, per_stream)
        start = MediaTime.of(place * EVERY_S)
        kind = KINDS[number % len(KINDS)]
        return Moment(f"stream-{stream}", f"i-{number}", kind, 0, self.text(number), start, start + MediaTime.of(EVERY_S - 0.5), "bench")

    def vectors(self, numbers: Sequence[int]) -> Vectors:
        """The vectors of sentences, [n, 384]."""
        found = self.real[np.asarray(numbers) % REAL] + NOISE * np.stack([_noise(number) for number in numbers])
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    def question(self, number: int, random: np.random.Generator) -> Vectors:
        """A vector near a sentence's."""
        noise = random.standard_normal(self.real.shape[1])
        vector = self.vectors([number])[0] + ASKED_NOISE * noise / np.linalg.norm(noise)
        return (vector / np.linalg.norm(vector)).astype(np.float32)


def batches(talk: Talk, first: int, last: int, *, per_stream: int = PER_STREAM) -> Iterator[list[Entry]]:
    """The sentences from one number to before another, as they are stored together."""
    for start in range(first, last, BATCH):
        numbers = range(start, min(last, start + BATCH))
        moments = [talk.moment(number, per_stream) for number in numbers]
        vectors = talk.vectors(numbers)
        yield [Entry(m.stream_id, m.source_id, (m,), v[None]) for m, v in zip(moments, vectors, strict=True)]


def _noise(number: int) -> Vectors:
    noise = np.random.default_rng(number + 10**9).standard_normal(DIMENSIONS)
    return (noise / np.linalg.norm(noise)).astype(np.float32)
