"""What captions can be asked to be: a language, a translation, a glossary; for all streams, and for those of a name."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pipeline.errors import SettingInvalid
from pipeline.transcribe.options import AUTO, Options

MAX_TERMS = 200
"""Terms of a glossary, at most; a model is led by some dozens of them, and more only cost."""
MAX_TERM_CHARACTERS = 100

_LANGUAGE = re.compile(r"([A-Za-z]{2,3})(-[A-Za-z0-9]{1,8})*")
"""A BCP 47 tag as far as it matters here: the language, then script, region and the like (RFC 5646, section 2.1)."""
_PATTERN = re.compile(r"[A-Za-z0-9._:*?-]{1,200}")


def language(text: str) -> str:
    """The language of a BCP 47 tag, or `AUTO`; "pt-BR" is "pt", because models are asked for languages only. Raises `ValueError`."""
    if text == AUTO:
        return AUTO
    match = _LANGUAGE.fullmatch(text)
    if match is None:
        raise ValueError('a BCP 47 language such as "de" or "pt-BR" is needed, or "auto"')
    return match[1].lower()


def glossary(terms: Sequence[str]) -> tuple[str, ...]:
    """The terms without surrounding space, each once and none empty; raises `ValueError`."""
    found = tuple(dict.fromkeys(term for term in (" ".join(term.split()) for term in terms) if term))
    if long := next((term for term in found if len(term) > MAX_TERM_CHARACTERS), None):
        raise ValueError(f"the term {long[:30]!r}… has {len(long)} characters; at most {MAX_TERM_CHARACTERS} are possible")
    if len(found) > MAX_TERMS:
        raise ValueError(f"{len(found)} terms; at most {MAX_TERMS} are possible")
    return found


def read_glossary(text: str) -> tuple[str, ...]:
    """Terms between commas; or of a file, one a line, where the text has a "/" and so is a path. Raises `ValueError`."""
    return glossary(_text_of(Path(text)).splitlines() if "/" in text else text.split(","))


@dataclass(frozen=True)
class StreamRule:
    """What the streams of a name are asked to be; `None` leaves a thing as it is for all."""

    match: str
    """A stream id, in which "*" stands for any characters and "?" for one."""
    language: str | None = None
    translate: bool | None = None
    glossary: tuple[str, ...] | None = None

    def apply(self, options: Options) -> Options:
        """The options with what the rule says."""
        said: dict[str, Any] = {"language": self.language, "translate": self.translate, "glossary": self.glossary}
        return replace(options, **{name: value for name, value in said.items() if value is not None})


def read_rules(path: Path) -> tuple[StreamRule, ...]:
    """The rules of a TOML file, as `docs/settings.md` describes it; raises `ValueError`, which names each wrong entry."""
    try:
        document = tomllib.loads(_text_of(path))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    entries = document.pop("stream", [])
    problems = [f"{key!r} is not known; only [[stream]] is" for key in document]
    rules = []
    if not isinstance(entries, list):
        entries, problems = [], [*problems, "each rule begins with [[stream]]"]
    for number, entry in enumerate(entries, start=1):
        rule, wrong = _rule(entry)
        problems += [f"stream {number}: {problem}" for problem in wrong]
        rules.append(rule)
    if problems:
        raise ValueError(f"{path}: {'; '.join(problems)}")
    return tuple(rules)


@dataclass(frozen=True)
class Asked:
    """What a caller asks for, on top of what the settings say."""

    language: str = ""
    """As `language` takes it; empty means what the settings say."""
    translate: bool | None = None
    """`None` means what the settings say."""
    terms: Sequence[str] = ()
    """They come before those of the settings."""

    def over(self, options: Options) -> Options:
        """The options with what is asked for; raises `SettingInvalid`."""
        try:
            return replace(
                options,
                language=language(self.language) if self.language else options.language,
                translate=options.translate if self.translate is None else self.translate,
                glossary=glossary([*self.terms, *options.glossary]),
            )
        except ValueError as error:
            raise SettingInvalid(f"what is asked of the captions: {error}") from None


def options_of(stream_id: str, options: Options, rules: Sequence[StreamRule]) -> Options:
    """What the captions of a stream are asked to be: `options`, and what the first rule that matches its id says."""
    rule = next((rule for rule in rules if fnmatchcase(stream_id, rule.match)), None)
    return options if rule is None else rule.apply(options)


def _rule(entry: object) -> tuple[StreamRule, list[str]]:
    """A rule and what is wrong with its entry."""
    if not isinstance(entry, dict):
        return StreamRule(""), ["it holds nothing"]
    known: Mapping[str, Callable[[object], Any]] = {"match": _match, "language": _language, "translate": _truth, "glossary": _terms}
    problems = [f"{key!r} is not known; {', '.join(known)} are" for key in entry if key not in known]
    if "match" not in entry:
        problems.append("'match' is missing")
    said: dict[str, Any] = {"match": ""}
    for key, parse in known.items():
        if key in entry:
            try:
                said[key] = parse(entry[key])
            except ValueError as error:
                problems.append(f"{key}: {error}")
    return StreamRule(**said), problems


def _match(value: object) -> str:
    if not isinstance(value, str) or not _PATTERN.fullmatch(value):
        raise ValueError("a stream id is needed, in which * and ? may stand for other characters")
    return value


def _language(value: object) -> str:
    return language(value if isinstance(value, str) else "")


def _truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is needed")
    return value


def _terms(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(term, str) for term in value):
        raise ValueError("a list of texts is needed")
    return glossary(value)


def _text_of(path: Path) -> str:
    if not path.is_file():
        raise ValueError(f"{path} is no file")
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from None
