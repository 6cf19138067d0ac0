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
    """An SQL expression: `:indexed` as the word index takes it."""
    listed: str
    """A set of the strings in the JSON list `:names`, to stand after IN."""
    by_words: str
    """A query for id, score (less is better) and start of what matches `:words`; `{where}` stands for what else must hold."""

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

    def indexed(self, text: str) -> str:
        """The value of a moment's `:indexed`."""
        ...

    def vector(self, vector: Vectors) -> object:
        """A vector as a value."""
        ...

    def code(self, code: bytes) -> object:
        """A code as a value."""
        ...
