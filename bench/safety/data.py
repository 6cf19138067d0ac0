"""The labelled texts, and intervals for what is counted on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

TEXTS = Path(__file__).with_name("texts.tsv")
SPLITS = (TEXTS, TEXTS.with_name("texts_more.tsv"), TEXTS.with_name("test.tsv"))
"""What the rules were made with, twice, and what they were only judged on."""


@dataclass(frozen=True)
class Labelled:
    """A text and what a careful person says of it."""

    text: str
    question: bool
    policies: frozenset[str]
    """The policies that it violates; none of a harmless one."""


def read(path: Path = TEXTS) -> Iterator[Labelled]:
    """The texts of a file: labels between commas, a tab, the text; a "?" before it makes it a question."""
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        labels, text = line.split("\t")
        yield Labelled(text.removeprefix("?"), text.startswith("?"), frozenset(labels.split(",")) - {"-"})


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share (E. B. Wilson, 1927), which holds for few and for extreme counts too; (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)
