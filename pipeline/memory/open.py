"""Which memory a setting means: a file is SQLite, a `postgresql://` address a server."""

from pathlib import Path
from typing import Any

from pipeline.errors import SettingInvalid
from pipeline.memory.address import checked, is_server
from pipeline.memory.sql import SqlStore


def open_store(address: str | Path, **options: Any) -> SqlStore:
    """The memory at an address; blocks. `options` are those of `SqlStore`. Raises `SettingInvalid` and `StoreUnavailable`."""
    text = str(address)
    try:
        checked(text)
    except ValueError as error:
        raise SettingInvalid(f"The address of the scene memory is wrong: {error}.") from None
    if is_server(text):
        try:
            from pipeline.memory.postgres import PostgresStore
        except ImportError as error:
            raise SettingInvalid(
                f"A scene memory in PostgreSQL needs psycopg, which is not here ({error}): install watchword[postgres]."
            ) from None
        return PostgresStore(text, **options)
    from pipeline.memory.sqlite import SqliteStore

    return SqliteStore(text, **options)


def existing_store(address: str) -> SqlStore:
    """The memory at an address where there must be one: for who looks at it. Raises `SettingInvalid` where there is no such file."""
    if "://" not in address and not Path(address).is_file():
        raise SettingInvalid(f"there is no store {address}; name its file or its address with --store, or WATCHWORD_STORE")
    return open_store(address)
