"""The contract on the wire: linted, documented, generated as it stands, and compatible."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

PROTOS = Path(__file__).parent.parent / "protos"
BUF = Path(sys.executable).parent / "buf"
FILES = sorted(PROTOS.rglob("*.proto"))


def buf(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BUF, *map(str, arguments)], cwd=PROTOS, capture_output=True, text=True, check=False)


def test_they_are_linted() -> None:
    linted = buf("lint")
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_generated_code_says_what_the_file_says(path: Path) -> None:
    text = path.read_text()
    module = importlib.import_module(f"watchword.v1.{path.stem}_pb2")
    assert set(re.findall(r"^message (\w+)", text, re.MULTILINE)) == set(module.DESCRIPTOR.message_types_by_name)
    for name, message in module.DESCRIPTOR.message_types_by_name.items():
        body = re.search(rf"^message {name} {{(?:}}|(.*?)^}})", text, re.MULTILINE | re.DOTALL)
        numbers = {field: int(number) for field, number in re.findall(r"(\w+) = (\d+);", (body and body[1]) or "")}
        assert {field.name: field.number for field in message.fields} == numbers, f"run .ci/setup: {name} was generated from another text"


@pytest.mark.parametrize("path", [path for path in FILES if path.stem.endswith("_service")], ids=lambda path: path.stem)
def test_services_have_stubs(path: Path) -> None:
    stubs = importlib.import_module(f"watchword.v1.{path.stem}_pb2_grpc")
    for service in re.findall(r"^service (\w+)", path.read_text(), re.MULTILINE):
        assert hasattr(stubs, f"{service}Stub")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_keeps_to_the_package_and_says_what_it_is_about(path: Path) -> None:
    first, *rest = path.read_text().splitlines()
    assert re.fullmatch(r"// .+\.", first)
    assert "package watchword.v1;" in rest


BROKEN = {
    "a moved field": ("string stream_id = 1;", "string stream_id = 101;"),
    "a changed type": ("int64 sequence = 3;", "string sequence = 3;"),
    "a removed field": ("  bytes data = 5;\n", ""),
    "a renamed field": ("bool keyframe = 4;", "bool is_keyframe = 4;"),
}


@pytest.mark.parametrize("change", BROKEN)
def test_what_would_break_others_is_noticed(change: str, tmp_path: Path) -> None:
    changed = _copy(tmp_path)
    media = changed / "watchword/v1/media.proto"
    before = media.read_text()
    assert BROKEN[change][0] in before
    media.write_text(before.replace(*BROKEN[change], 1))
    assert buf("breaking", changed, "--against", PROTOS).returncode == 100


def test_what_is_added_breaks_nothing(tmp_path: Path) -> None:
    changed = _copy(tmp_path)
    media = changed / "watchword/v1/media.proto"
    media.write_text(media.read_text().replace("  bytes data = 5;\n", "  bytes data = 5;\n  // New.\n  bool corrupt = 999;\n", 1))
    compared = buf("breaking", changed, "--against", PROTOS)
    assert compared.returncode == 0, compared.stdout


def _copy(to: Path) -> Path:
    for path in [PROTOS / "buf.yaml", *FILES]:
        copy = to / path.relative_to(PROTOS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    return to
