"""Bring a hub model onto this machine: the only code of Watchword that fetches weights, run only when a user asks."""

import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.models.catalog import Catalog, HubSource, Model, ModelFile, load_catalog
from pipeline.models.verify import cache_dir, check, check_file, expected_files, lock_path, pulled_directory, read_lock, sha256_of

Fetch = Callable[[Model, HubSource, str, Path], Path]
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
    broken download is resumed. A model that a package ships is only checked.
    Raises `ModelMissing` when a file cannot be had, `ModelMismatch` when it is not the one expected; it is then not kept.
    """
    known = catalog if catalog is not None else load_catalog()
    if name not in known:
        raise ModelMissing(f"no model is called {name!r}; the catalog has {', '.join(known)}")
    model, cache = known[name], cache or cache_dir()
    if not isinstance(model.source, HubSource):
        return Pulled(check(model, cache=cache), ())
    bring = fetch or (from_directory(source) if source is not None else from_hub())
    directory = pulled_directory(model, cache)
    staging = directory.with_name(directory.name + ".partial")
    for file in model.files:
        _settle(model, model.source, file, bring, directory=directory, staging=staging, cache=cache)
    shutil.rmtree(staging, ignore_errors=True)
    unnamed = {file.path for file in model.files if file.sha256 is None}
    return Pulled(check(model, cache=cache), tuple(file for file in expected_files(model, cache) if file.path in unnamed))


def from_directory(source: Path) -> Fetch:
    """Takes files from a local directory laid out as the repository is."""

    def fetch(model: Model, hub: HubSource, path: str, into: Path) -> Path:
        found = source / path
        if not found.is_file():
            raise ModelMissing(f"model {model.name}: {source} holds no {path}; it must be laid out as {hub.repo} at {hub.revision}")
        target = into / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(found, target)
        return target

    return fetch


def from_hub(endpoint: str | None = None) -> Fetch:
    """Takes files from the Hugging Face hub, or from a mirror with its protocol; resumes what was broken off."""

    def fetch(model: Model, hub: HubSource, path: str, into: Path) -> Path:
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


def _settle(model: Model, hub: HubSource, file: ModelFile, bring: Fetch, *, directory: Path, staging: Path, cache: Path) -> None:
    """Have one file in place that is the one expected, or, where nothing is, becomes so."""
    locked = read_lock(model, cache)
    expected = file if file.sha256 is not None else locked.get(file.path)
    target = directory / file.path
    if expected is not None and target.is_file() and sha256_of(target, cache=cache, afresh=True) == expected.sha256:
        return
    staged = bring(model, hub, file.path, staging)
    try:
        check_file(model, expected or file, staged, cache=cache)
        _refuse_pickle(model, staged)
    except ModelMismatch:
        # Else the next pull would find it complete and never fetch it again.
        staged.unlink()
        raise
    if expected is None:
        seen = ModelFile(file.path, staged.stat().st_size, sha256_of(staged, cache=cache))
        _write_lock(model, hub, {**locked, file.path: seen}, cache)
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
