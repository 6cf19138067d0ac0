"""A vector in 48 bytes: one bit for the sign of each number.

The number of bits in which two codes differ grows with the angle between their vectors (Charikar, "Similarity Estimation
Techniques from Rounding Algorithms", STOC 2002), so the nearest codes are looked at closely and the rest not at all.
"""

import numpy as np

from pipeline.memory.store import DIMENSIONS, Vectors

CODE_BYTES = DIMENSIONS // 8


def encode(vectors: Vectors) -> list[bytes]:
    """The codes of vectors, [n, 384]."""
    return [row.tobytes() for row in np.packbits(vectors > 0, axis=1, bitorder="little")]


def distance(one: bytes, other: bytes) -> int:
    """In how many bits two codes differ."""
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()
