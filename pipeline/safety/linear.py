"""A linear classifier of offensive text: a bag of words, weighted, and five calibrated support vector machines averaged.

The weights are those of the package alt-profanity-check 1.9.1 (MIT), trained on about 200,000 labelled texts: Davidson et al.,
"Automated Hate Speech Detection and the Problem of Offensive Language" (tweets; MIT), and the Toxic Comment Classification
Challenge (Wikipedia talk pages; CC0). The package keeps them as pickles, which are not loaded here; tools/offensive_classifier.py
made `offensive.npz` of them. It knows English words and no order: "kill the process" and "shot dead by police" are as far from
safe for it as some insults, so it is made to flag, not to act, and has a policy only where somebody asks for one.
"""

import re
from functools import cache
from pathlib import Path

import numpy as np

POLICY = "offensive-tone"
"""The name of this classifier in verdicts and policies."""

WEIGHTS = Path(__file__).with_name("offensive.npz")
_TOKEN = re.compile(r"\b\w\w+\b")


class Offensive:
    """The classifier; loading takes 20 ms and 2 MB."""

    def __init__(self, path: Path = WEIGHTS) -> None:
        with np.load(path, allow_pickle=False) as weights:
            words = weights["vocabulary"].tobytes().decode().split("\n")
            self._index = {word: number for number, word in enumerate(words)}
            self._idf = weights["idf"].astype(np.float64)
            self._coefficients = weights["coefficients"].astype(np.float64)
            self._intercepts = weights["intercepts"]
            self._slopes, self._offsets = weights["slopes"], weights["offsets"]

    def score(self, text: str) -> float:
        """How likely people would call the text offensive, 0 to 1."""
        counts: dict[int, int] = {}
        for word in _TOKEN.findall(text.lower()):
            number = self._index.get(word)
            if number is not None:
                counts[number] = counts.get(number, 0) + 1
        known = list(counts)
        weights = self._idf[known] * np.fromiter(counts.values(), np.float64, len(known))
        norm = float(np.linalg.norm(weights))
        if norm:
            weights /= norm
        margins = self._coefficients[:, known] @ weights + self._intercepts
        # Platt's sigmoid: each machine was calibrated by itself, and their probabilities are averaged.
        return float(np.mean(1 / (1 + np.exp(self._slopes * margins + self._offsets))))


@cache
def shipped() -> Offensive:
    """The classifier with the weights of this package, loaded once."""
    return Offensive()
