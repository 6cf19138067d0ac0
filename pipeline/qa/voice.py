"""How an answer is to sound: brand voice, language, length. It changes wording alone; citations are checked and answers judged after it."""

import fnmatch
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SettingInvalid

MAX_CHARACTERS = 1_000
"""The longest style."""


@dataclass(frozen=True)
class Voice:
    """A style for the streams of a name; a tenant's streams share one by their names' beginning."""

    streams: str
    """A pattern with "*", such as "acme-*"."""
    style: str
    """In words, as one would tell a writer."""


def read_voices(path: Path) -> tuple[Voice, ...]:
    """The `[[voice]]` tables of a TOML file; raises `SettingInvalid` with what is wrong in it."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("voice", [])
        voices = tuple(Voice(str(table["streams"]), str(table["style"]).strip()) for table in tables)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingInvalid(f"the voices in {path} cannot be read: {error!r}; each [[voice]] has streams and style") from error
    long = next((voice for voice in voices if len(voice.style) > MAX_CHARACTERS), None)
    if long is not None:
        raise SettingInvalid(f"the voices in {path}: the style for {long.streams} is longer than {MAX_CHARACTERS:,} characters")
    return voices


def style_of(stream_id: str, voices: Sequence[Voice]) -> str:
    """The style of the first voice whose pattern fits; empty where none does."""
    return next((voice.style for voice in voices if fnmatch.fnmatchcase(stream_id, voice.streams)), "")
