"""Files that a command leaves: each is whole or not there, also where the disk is full or the process is killed."""

from pathlib import Path

from pipeline.errors import SettingInvalid


def write(path: Path, content: str | bytes) -> None:
    """Write a file beside its place and put it there when it is whole; raises `SettingInvalid` with the cause, and leaves what was there.

    What is no file, such as a pipe, is written to as it is.
    """
    is_place = path.is_file() or not path.exists()
    beside = path.with_name(f".{path.name}.part") if is_place else path
    try:
        beside.write_bytes(content.encode() if isinstance(content, str) else content)
        if is_place:
            beside.replace(path)
    except OSError as error:
        if is_place:
            beside.unlink(missing_ok=True)
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> SettingInvalid:
    """The error to raise where a file cannot be written, or not on."""
    return SettingInvalid(f"{path} cannot be written: {error.strerror or error}")
