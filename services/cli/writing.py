"""Files that a user asks for: one that cannot be written is a wrong option, with the option's name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import SettingInvalid


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Raises `SettingInvalid` where the system refuses what is written meanwhile, such as on a full disk."""
    try:
        yield
    except OSError as error:
        raise SettingInvalid(f"{option} {path} cannot be written: {error.strerror or error}") from None
