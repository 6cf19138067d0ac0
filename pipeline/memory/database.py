"""The port to the database under the scene memory: what SQLite and PostgreSQL do differently, and nothing else.

Both get the same SQL with `:name` parameters. A `Database` runs work inside transactions, in threads that it owns.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from pipeline.memory.store import Vectors

T = TypeVar("T")

Values = Mapping[str, Any]
Row = tuple[Any, ...]


class Session(Protocol):
    """A transaction under way."""

    def rows(self, sql: str, values: Values | None = None) -> list[Row]:
        """All rows that a query gives."""
        ...

    def run(self, sql: str, values: Values | None = None) -> int:
        """Run a statement; says how many rows it changed."""
        ...

    def run_many(self, sql: str, values: Sequence[Values]) -> None:
        """Run a statement once for each set of values."""
        ...


class Database(Protocol):
    """Runs work on one database. Work is called with a `Session` and must do nothing but use it: it may be run again."""

    shown: str
    """What may be told of where it is: the file's name, or the address without the password."""
    hamming: str
    """An SQL expression: in how many bits `m.code` and `:code` differ."""
    words_of: str
    """An SQL expression: `:indexed` as the word index takes it, of a moment of the stream with the number `:no`."""
    listed: str
    """A set of the strings in the JSON list `:names`, to stand after IN."""

    async def read(self, doing: str, work: Callable[[Session], T]) -> T:
        """Run work that changes nothing; raises `StoreUnavailable`, which names what was being done."""
        ...

    async def write(self, doing: str, work: Callable[[Session], T]) -> T:
        """Run work in a transaction of its own, or not at all; raises `StoreUnavailable`."""
        ...

    async def scrub(self) -> None:
        """Make sure that what was deleted does not stand in the database's files any more, as far as the database can."""
        ...

    async def close(self) -> None:
        """Finish what is under way and let go."""
        ...

    def match(self, words: Iterable[str]) -> str:
        """The value of `:words` that finds any of these words, taken literally; empty where there are none."""
        ...

    def rank(self, db: Session, words: str, where: str, values: Values, limit: int) -> list[Row]:
        """Id, score (less is better) and start of the moments that hold any of what `match` gave, the best first, by BM25.

        `where` is what else must hold of a moment `m`; `values` has its values, and `low` and `high`, the range of ids.
        """
        ...

    def nearest(self, db: Session, code: bytes, most: int) -> list[int] | None:
        """The ids whose codes are nearest, at most so many, in no order; some may belong to no moment.

        `None` where looking at every moment's code by `hamming` is as fast, or as fast as it gets.
        """
        ...

    def indexed(self, text: str) -> str:
        """The value of a moment's `:indexed`."""
        ...

    def cosines(self, db: Session, numbers: Sequence[int], vector: Vectors) -> dict[int, float]:
        """The cosines of a vector, [384], and those of moments, by their ids."""
        ...

    def vector(self, vector: Vectors) -> object:
        """A vector as a value."""
        ...

    def code(self, code: bytes) -> object:
        """A code as a value."""
        ...
