"""How much processor time was taken: by this process, and by the PostgreSQL server that it asks, where that runs on this machine."""

import time
from pathlib import Path

from pipeline.memory.address import is_server
from pipeline.memory.sql import SqlStore


class Meter:
    """Counts from when it was made."""

    def __init__(self, server: int | None = None) -> None:
        """`server` is the process whose children count too."""
        self._server = server

    @classmethod
    async def of(cls, store: SqlStore) -> "Meter":
        """The meter for a memory; a server elsewhere cannot be measured and counts nothing."""
        if not is_server(store.database.shown):
            return cls()
        backend = await store.database.read("asking who answers", lambda db: int(db.rows("SELECT pg_backend_pid()")[0][0]))
        return cls(_parent(backend))

    def seconds(self) -> float:
        """Processor time up to now."""
        own = time.process_time()
        if self._server is None:
            return own
        return (
            own + sum(_ran_ns(int(child)) for child in Path(f"/proc/{self._server}/task/{self._server}/children").read_text().split()) / 1e9
        )


def _parent(process: int) -> int | None:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _ran_ns(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])
    except OSError:
        return 0
