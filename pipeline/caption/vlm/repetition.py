"""When a model is caught in a loop: it says the same few tokens over and over, as models do of pictures that they do not know."""

from collections.abc import Sequence

MOST = 8
"""So often the same may follow itself: "knock, knock, knock" is a sentence."""
LONGEST = 8
"""Tokens of what is looked for; a longer loop is ended by the most tokens that a sentence may have."""


def repeated(tokens: Sequence[int]) -> int:
    """How many tokens at the end only say again what stands before them, more than `MOST` times in all; 0 where none do."""
    for length in range(1, LONGEST + 1):
        span = length * (MOST + 1)
        if len(tokens) >= span and all(tokens[-place] == tokens[-place - length] for place in range(1, span - length + 1)):
            return span - length
    return 0
