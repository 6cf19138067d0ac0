"""The vectors of words, embedded once: the same few thousand words come in one question, and one event, after another."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from pipeline.memory.store import Vectors
from pipeline.qa.model import Embedder

REMEMBERED_WORDS = 5000
"""Words whose vectors are kept; 1.5 kB each."""


class WordVectors:
    """Vectors of an embedder by their text; those asked for last are kept."""

    def __init__(self, embedder: Embedder, *, most: int = REMEMBERED_WORDS) -> None:
        self._embedder, self._most = embedder, most
        self._known: OrderedDict[str, Vectors] = OrderedDict()

    async def of(self, words: Sequence[str]) -> dict[str, Vectors]:
        """The vector of each word, [384]; embeds those that are not known, in one call. Raises what the embedder raises."""
        vectors = {word: self._known[word] for word in words if word in self._known}
        if unknown := [word for word in dict.fromkeys(words) if word not in vectors]:
            embedded = np.asarray(await self._embedder.embed(unknown))
            # Copies, because a row keeps all the rows that it came with.
            vectors.update({word: row.copy() for word, row in zip(unknown, embedded, strict=True)})
        for word in words:
            self._known[word] = vectors[word]
            self._known.move_to_end(word)
        while len(self._known) > self._most:
            self._known.popitem(last=False)
        return vectors
