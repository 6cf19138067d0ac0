"""When a model is caught in a loop: it says the same few tokens over and over, as models do of pictures that they do not know."""

from collections.abc import Sequence

LONGEST = 8
"""Tokens of what is looked for; a longer loop is ended by the most tokens that a sentence may have."""


def repeated(tokens: Sequence[int], most: int) -> int:
    """How many tokens at the end only say again what stands before them, where it is said more than `most` times in a row; else 0."""
    for length in range(1, LONGEST + 1):
        span = length * (most + 1)
        if len(tokens) >= span and all(tokens[-place] == tokens[-place - length] for place in range(1, span - length + 1)):
            return span - length
    return 0
