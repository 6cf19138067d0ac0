"""Which memory a setting means: a file is SQLite, a `postgresql://` address a server."""

from pathlib import Path
from typing import Any

from pipeline.errors import SettingInvalid
from pipeline.memory.sql import SqlStore

SCHEMES = ("postgresql://", "postgres://")


def is_server(address: str) -> bool:
    """Whether the address is a server's, which several processes may use at a time."""
    return address.startswith(SCHEMES)


def open_store(address: str | Path, **options: Any) -> SqlStore:
    """The memory at an address; blocks. `options` are those of `SqlStore`. Raises `SettingInvalid` and `StoreUnavailable`."""
    text = str(address)
    if is_server(text):
        try:
            from pipeline.memory.postgres import PostgresStore
        except ImportError as error:
            raise SettingInvalid(f"A scene memory in PostgreSQL needs psycopg, which is not here ({error}): install watchword[postgres].") from None
        return PostgresStore(text, **options)
    if "://" in text:
        raise SettingInvalid(f"A scene memory at {text.split('://')[0]}:// is not possible: a file's name or postgresql:// is.")
    from pipeline.memory.sqlite import SqliteStore

    return SqliteStore(text, **options)
