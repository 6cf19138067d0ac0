"""The doctor: one finding per thing, quick, and never a failure of its own."""

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.doctor import Finding, State, examine
from pipeline.memory.engine import sqlite3
from pipeline.models import load_catalog, locate

pytestmark = pytest.mark.unit


def found(what: str, findings: list[Finding]) -> Finding:
    (finding,) = [finding for finding in findings if finding.what == what]
    return finding


def test_this_machine_has_what_the_default_profile_needs() -> None:
    findings = examine()
    for what in ("python", "decoders", "onnxruntime", *(f"model {name}" for name in load_catalog())):
        assert found(what, findings).state is State.OK, found(what, findings)
    assert {"processor", "memory", "hardware decoding", "gpu", "sqlite", "broker wheel", "ffmpeg program"} < {
        each.what for each in findings
    }
    assert not any(finding.what == "broker" for finding in findings)
    first, built, *_ = found("hardware decoding", examine(decoder="cpu")).detail.splitlines()
    assert first.startswith("video is decoded by the CPU (")
    assert built.startswith("PyAV is built for ")


def test_what_is_not_well_comes_with_something_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor, "MIN_CORES", 10_000)
    monkeypatch.setattr(doctor, "MIN_MEMORY_BYTES", 10**18)
    monkeypatch.setattr(doctor, "_version", lambda package: None)
    findings = examine(kafka="nobody")
    for what in ("gpu", "processor", "memory", "broker wheel", "broker"):
        assert found(what, findings).state is State.WARN
        assert found(what, findings).advice
    assert "CPU" in found("gpu", findings).detail
    assert "[gpu]" in found("gpu", findings).advice
    assert found("ffmpeg program", findings).state is State.OK


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Puts a program called nvidia-smi on the path."""
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def test_a_gpu_whose_packages_are_missing_is_unused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "print('NVIDIA H100, 81559 MiB, 580.1')")
    monkeypatch.setattr(doctor, "_version", {"torch": "2.13.0+cpu", "triton": "3.9.0"}.get)
    finding = found("gpu", examine())
    assert finding.state is State.WARN
    assert "NVIDIA H100, 81559 MiB, 580.1; unused for lack of onnxruntime-gpu, PyNvVideoCodec, a CUDA build of torch" in finding.detail


def test_a_gpu_with_its_packages_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "print('NVIDIA H100, 81559 MiB, 580.1')")
    monkeypatch.setattr(doctor, "_version", lambda package: "2.13.0")
    assert found("gpu", examine()) == Finding("gpu", State.OK, "NVIDIA H100, 81559 MiB, 580.1")


@pytest.mark.parametrize("script", ["raise SystemExit(9)", "import time; time.sleep(60)"])
def test_a_driver_that_fails_or_hangs_is_a_finding(script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, script)
    finding = found("gpu", examine())
    assert finding.state is State.WARN
    assert "nvidia-smi failed" in finding.detail


def test_a_broker_that_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert found("broker", examine(kafka=f"{address},elsewhere:9092")).state is State.OK


def test_a_broker_that_does_not_answer_is_a_finding_with_advice() -> None:
    finding = found("broker", examine(kafka="127.0.0.1:1"))
    assert finding.state is State.WARN
    assert "127.0.0.1:1 does not answer" in finding.detail
    assert "watchword broker" in finding.advice


@pytest.mark.parametrize("address", ["", "host", "host:port", "host:0", "host:70000"])
def test_an_address_that_is_none_is_said_to_be_so(address: str) -> None:
    assert "is not host:port" in found("broker", examine(kafka=address)).detail


def test_a_name_that_nobody_looks_up_does_not_hold_the_doctor(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hang(*args: object, **options: object) -> object:
        released.wait(60)
        raise OSError("too late")

    monkeypatch.setattr(doctor, "CONNECT_TIMEOUT_S", 0.01)
    monkeypatch.setattr(socket, "create_connection", hang)
    try:
        assert "no answer within" in found("broker", examine(kafka="far.example:9092")).detail
    finally:
        released.set()


@pytest.mark.parametrize("failure", [RuntimeError("broken"), ImportError("no such library"), OSError("denied")])
def test_a_check_that_fails_is_a_finding_and_the_others_go_on(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Iterable[Finding]:
        raise failure

    healthy = [finding.what for finding in examine()]
    for name in ("_decoders", "_hardware_decoding", "_onnxruntime"):
        monkeypatch.setattr(doctor, name, fail)
    findings = examine()
    assert [finding.what for finding in findings] == healthy
    for what in ("decoders", "hardware decoding", "onnxruntime"):
        assert found(what, findings) == Finding(what, State.WARN, f"could not be looked at: {type(failure).__name__}: {failure}")


def test_a_decoder_that_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DECODERS", {**doctor.DECODERS, "av1": ("no-such-decoder",)})
    finding = found("decoders", examine())
    assert finding.state is State.WARN
    assert finding.detail.endswith("; not av1")


def test_a_sqlite_without_full_text_search_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = sqlite3.connect

    class Without(sqlite3.Connection):
        def execute(self, *args: object) -> sqlite3.Cursor:
            raise sqlite3.OperationalError("no such module: fts5")

    connect: Callable[..., sqlite3.Connection] = lambda database: real(database, factory=Without)  # noqa: E731
    monkeypatch.setattr(sqlite3, "connect", connect)
    assert found("sqlite", examine()).state is State.MISSING


def test_a_model_with_a_flipped_byte_is_found_only_when_looking_deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "flipped_weights"
    package.mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    file = load_catalog()["silero-vad"].files[1]
    content = bytearray((locate("silero-vad") / file.path).read_bytes())
    content[-1] ^= 1
    (package / file.path).write_bytes(content)
    path = tmp_path / "catalog.toml"
    path.write_text(
        '[[model]]\nname = "flipped"\ntask = "t"\nlicence = "MIT"\npackage = "flipped-weights"\nversion = "1"\nmodule = "flipped_weights"\n'
        f'files = [{{ path = "{file.path}", bytes = {file.size}, sha256 = "{file.sha256}" }}]\n'
        '[[model]]\nname = "absent"\ntask = "t"\nlicence = "MIT"\npackage = "absent-weights"\nversion = "1"\nmodule = "absent_weights"\n'
        f'files = [{{ path = "{file.path}", bytes = {file.size}, sha256 = "{file.sha256}" }}]\n'
    )
    catalog = load_catalog(path)
    assert found("model flipped", examine(catalog=catalog)).state is State.OK
    deep = examine(catalog=catalog, deep=True)
    assert found("model flipped", deep).state is State.WARN
    assert "expected" in found("model flipped", deep).detail
    assert found("model opennsfw", deep) == Finding("model opennsfw", State.OK, "picture safety; hashes verified")
    assert found("model absent", deep).state is State.MISSING
    assert "absent-weights" in found("model absent", deep).advice


def test_it_takes_less_than_three_seconds() -> None:
    def took_s() -> float:
        before = time.monotonic()
        examine(kafka="127.0.0.1:1")
        return time.monotonic() - before

    assert any(took_s() < 3 for _ in range(5)), "whatever else this machine does meanwhile"
