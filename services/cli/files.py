"""Files that a command leaves: each is whole or not there, also where the disk is full or the process is killed."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import SettingInvalid


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file beside its place, which is put there when it is whole; raises `SettingInvalid` with the cause, and leaves what was there.

    A file that was there keeps its permissions, and a link to it leads to the new one. What is no file, such as a pipe, is written
    to as it is.
    """
    place = path.resolve()
    is_new = not place.exists()
    is_place = is_new or place.is_file()
    beside = place.with_name(f".{place.name}.part") if is_place else place
    try:
        with beside.open("wb") as file:
            if is_place and not is_new:
                shutil.copymode(place, beside)
            yield file
        if is_place:
            beside.replace(place)
    except BaseException as error:
        if is_place:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def write(path: Path, content: str | bytes) -> None:
    """Write a file as `writing` does."""
    with writing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def unwritable(path: Path, error: OSError) -> SettingInvalid:
    """The error to raise where a file cannot be written, or not on."""
    return SettingInvalid(f"{path} cannot be written: {error.strerror or error}")
