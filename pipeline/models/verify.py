"""Where a model's files lie, and whether they are the ones the catalog names."""

import hashlib
import importlib.util
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pipeline.errors import ModelError, ModelMismatch, ModelMissing
from pipeline.models.catalog import Catalog, HubSource, Model, ModelFile, PackageSource, load_catalog

REMEMBERED_FROM_BYTES = 200_000_000
"""Files larger than this are not hashed anew by every process: their hash takes a second or more."""

_hashed: dict[tuple[str, int, int], str] = {}
_hashing = threading.Lock()


class ModelState(Enum):
    """How a model stands on this machine."""

    PRESENT = "present"
    MISSING = "missing"
    MISMATCH = "mismatch"


@dataclass(frozen=True)
class ModelRow:
    """A model and how it stands."""

    model: Model
    state: ModelState
    hashed: bool
    """Whether the contents were looked at, not only the sizes."""
    directory: Path | None
    """Where its files lie; `None` unless present."""
    detail: str
    """What is wrong and what would help; empty when present."""


def cache_dir() -> Path:
    """Where pulled models lie unless a caller says otherwise: `~/.cache/watchword`."""
    return Path.home() / ".cache" / "watchword"


def locate(name: str, *, catalog: Catalog | None = None, cache: Path | None = None) -> Path:
    """The directory of a model, after its files were found to be the ones the catalog names.

    Sizes are compared at each call, SHA-256 once per process and file. Nothing is imported and nothing is fetched.
    Raises `ModelMissing` with what would help, or `ModelMismatch` with the file and both hashes.
    """
    known = catalog if catalog is not None else load_catalog()
    if name not in known:
        raise ModelMissing(f"no model is called {name!r}; the catalog has {', '.join(known)}")
    return check(known[name], cache=cache)


def list_models(*, catalog: Catalog | None = None, cache: Path | None = None) -> list[ModelRow]:
    """How each model of the catalog stands, judged by the sizes of its files; quick."""
    return [_row(model, cache=cache, hashed=False) for model in (load_catalog() if catalog is None else catalog).values()]


def verify_all(*, catalog: Catalog | None = None, cache: Path | None = None) -> list[ModelRow]:
    """How each model of the catalog stands, each file hashed anew whatever was seen before."""
    return [_row(model, cache=cache, hashed=True) for model in (load_catalog() if catalog is None else catalog).values()]


def check(model: Model, *, cache: Path | None = None, hashes: bool = True, afresh: bool = False) -> Path:
    """The model's directory; raises as `locate` does. `hashes=False` compares sizes only, `afresh` trusts no earlier hash."""
    cache = cache or cache_dir()
    directory = find_directory(model, cache)
    for file in expected_files(model, cache):
        path = directory / file.path
        if not path.is_file():
            raise ModelMissing(f"model {model.name}: {path} is not there; get it with: {model.renewal}")
        check_file(model, file, path, cache=cache, hashes=hashes, afresh=afresh)
    return directory


def check_file(model: Model, file: ModelFile, path: Path, *, cache: Path, hashes: bool = True, afresh: bool = True) -> None:
    """Raise `ModelMismatch` unless `path` has the size and hash of `file`, as far as they are known."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        raise ModelMismatch(
            f"model {model.name}: {path} has {size:,} bytes, the catalog names {file.size:,}; "
            f"it is damaged or of another version. Get it again with: {model.renewal}"
        )
    if hashes and file.sha256 is not None:
        found = sha256_of(path, cache=cache, afresh=afresh)
        if found != file.sha256:
            raise ModelMismatch(
                f"model {model.name}: {path} has sha256 {found}, expected {file.sha256}; "
                f"it is damaged or of another version. Get it again with: {model.renewal}"
            )


def find_directory(model: Model, cache: Path) -> Path:
    """Where the model's files should lie; raises `ModelMissing` when there is no such place."""
    if isinstance(model.source, PackageSource):
        directory = package_directory(model.source)
        if directory is not None:
            return directory
        raise ModelMissing(f"model {model.name}: the package {model.source.package} is not installed; get it with: {model.remedy}")
    directory = pulled_directory(model, cache)
    if not directory.is_dir():
        raise ModelMissing(
            f"model {model.name} was not pulled to {directory}; get it with: {model.remedy}, "
            f"or on a machine without a network: {model.remedy} --from DIR"
        )
    return directory


def package_directory(source: PackageSource) -> Path | None:
    """Where the files of an installed package lie; `None` if it is not installed."""
    # A top-level name is looked up without importing it, so no code of the package runs.
    spec = importlib.util.find_spec(source.module)
    locations = (spec.submodule_search_locations or ()) if spec else ()
    folders = (Path(location, source.folder) for location in locations)
    return next((folder for folder in folders if folder.is_dir()), None)


def pulled_directory(model: Model, cache: Path) -> Path:
    """Where a model lies once it was pulled; another revision lies elsewhere."""
    if isinstance(model.source, PackageSource):
        return cache / "models" / model.name
    revision = model.source.revision[:12] if isinstance(model.source, HubSource) else model.source.packages[0].version
    return cache / "models" / f"{model.name}@{revision}"


def lock_path(model: Model, cache: Path) -> Path:
    """The file that remembers what the first pull of a model saw."""
    directory = pulled_directory(model, cache)
    return directory.with_name(directory.name + ".lock.json")


def expected_files(model: Model, cache: Path) -> list[ModelFile]:
    """The model's files; what the catalog does not know is filled in from the first pull's lock.

    Raises `ModelMissing` where neither knows a hash, and `ModelMismatch` when the lock cannot be read.
    """
    if all(file.sha256 is not None for file in model.files):
        return list(model.files)
    locked = read_lock(model, cache)
    filled = []
    for file in model.files:
        seen = locked.get(file.path)
        if file.sha256 is None and seen is None:
            raise ModelMissing(f"model {model.name}: no pull has seen {file.path} yet; get it with: {model.remedy}")
        filled.append(file if file.sha256 is not None or seen is None else seen)
    return filled


def read_lock(model: Model, cache: Path) -> Mapping[str, ModelFile]:
    """What the first pull saw, by path; empty when there was none. Raises `ModelMismatch` when it cannot be read."""
    path = lock_path(model, cache)
    try:
        files = json.loads(path.read_text("utf-8"))["files"]
        return {name: ModelFile(path=name, size=int(seen["bytes"]), sha256=str(seen["sha256"])) for name, seen in files.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelMismatch(f"model {model.name}: its lock {path} cannot be read ({error}); delete it and pull the model again") from error


def sha256_of(path: Path, *, cache: Path | None = None, afresh: bool = False) -> str:
    """The file's SHA-256 in hex; remembered for this process, and across processes where the file is large."""
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    with _hashing:
        if not afresh and key in _hashed:
            return _hashed[key]
        remembered = _Remembered(cache or cache_dir()) if stat.st_size > REMEMBERED_FROM_BYTES else None
        digest = remembered.get(key) if remembered and not afresh else None
        if digest is None:
            with path.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if remembered:
                remembered.put(key, digest)
        _hashed[key] = digest
        return digest


class _Remembered:
    """Hashes of large files, in a file of the cache directory; a cache that cannot be used is as good as none."""

    def __init__(self, cache: Path) -> None:
        self._path = cache / "verified.json"

    def get(self, key: tuple[str, int, int]) -> str | None:
        entry = self._entries().get(key[0])
        return str(entry[2]) if isinstance(entry, list) and len(entry) == 3 and entry[:2] == [key[1], key[2]] else None

    def put(self, key: tuple[str, int, int], digest: str) -> None:
        entries = self._entries() | {key[0]: [key[1], key[2], digest]}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial = self._path.with_suffix(".partial")
            partial.write_text(json.dumps(entries, indent=1), "utf-8")
            partial.replace(self._path)
        except OSError:
            # A read-only root file system: the next process hashes again.
            return

    def _entries(self) -> dict[str, object]:
        try:
            entries = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return entries if isinstance(entries, dict) else {}


def _row(model: Model, *, cache: Path | None, hashed: bool) -> ModelRow:
    try:
        directory = check(model, cache=cache, hashes=hashed, afresh=hashed)
    except ModelError as error:
        state = ModelState.MISSING if isinstance(error, ModelMissing) else ModelState.MISMATCH
        return ModelRow(model, state, hashed, None, str(error))
    return ModelRow(model, ModelState.PRESENT, hashed, directory, "")
