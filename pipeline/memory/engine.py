"""The SQLite that the scene memory runs on: Python's own, or pysqlite3's where Python's cannot load extensions."""

import contextlib
import sqlite3
from typing import TYPE_CHECKING

__all__ = ["sqlite3"]

if not TYPE_CHECKING and not hasattr(sqlite3.Connection, "enable_load_extension"):
    # Some builds of Python leave loading out (pyenv's default, Apple's); then sqlite-vec needs another SQLite.
    with contextlib.suppress(ImportError):
        import pysqlite3 as sqlite3
