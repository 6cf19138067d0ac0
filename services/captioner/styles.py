"""How the descriptions of single streams are to be written, from a TOML file."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline.caption.style import PLAIN, Style
from pipeline.errors import SettingInvalid

_PATTERN = re.compile(r"[A-Za-z0-9._:*?-]{1,200}")


@dataclass(frozen=True)
class StyleRule:
    """How the streams of a name are described."""

    match: str
    """A stream id, in which "*" stands for any characters and "?" for one."""
    style: Style


def style_of(stream_id: str, rules: Sequence[StyleRule]) -> Style:
    """The style of the first rule that matches, else the plain one."""
    return next((rule.style for rule in rules if fnmatchcase(stream_id, rule.match)), PLAIN)


def read_styles(path: Path) -> tuple[StyleRule, ...]:
    """The rules of a file, as `docs/captions.md` describes it; raises `ValueError`, which names each wrong entry."""
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path} is no TOML that can be read: {error}") from None
    entries = document.pop("stream", [])
    problems = [f"{key!r} is not known; only [[stream]] is" for key in document]
    if not isinstance(entries, list):
        entries, problems = [], [*problems, "each rule begins with [[stream]]"]
    rules = []
    for number, entry in enumerate(entries, start=1):
        try:
            rules.append(_rule(entry))
        except (ValueError, SettingInvalid) as error:
            problems.append(f"stream {number}: {error}")
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return tuple(rules)


def _rule(entry: object) -> StyleRule:
    known: Mapping[str, Callable[[object], Any]] = {
        "match": _match,
        "structured": _truth,
        "prompt": _text,
        "voice": _text,
        "language": _text,
        "words": _whole,
        "forbidden": _texts,
        "adapter": _text,
    }
    if not isinstance(entry, dict) or "match" not in entry:
        raise ValueError("'match' is missing")
    said: dict[str, Any] = {}
    for key, value in entry.items():
        if key not in known:
            raise ValueError(f"{key!r} is not known; {', '.join(known)} are")
        try:
            said[key] = known[key](value)
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    return StyleRule(said.pop("match"), Style(**said))


def _match(value: object) -> str:
    if not isinstance(value, str) or not _PATTERN.fullmatch(value):
        raise ValueError("a stream id is needed, in which * and ? may stand for other characters")
    return value


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is needed")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number is needed")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of texts is needed")
    return tuple(value)
