"""Nothing is told to anybody: libraries that report on their users are silenced before they are loaded."""

import wave
from pathlib import Path

import pytest

from tests.processes import watchword

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("command", ["doctor", "transcribe"])
def test_no_library_keeps_reports_on_its_user(command: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    with wave.open(str(tmp_path / "silence.wav"), "wb") as sound:
        sound.setparams((1, 2, 16_000, 16_000, "NONE", ""))
        sound.writeframes(bytes(32_000))
    arguments = {"doctor": (), "transcribe": (tmp_path / "silence.wav", "--out", tmp_path / "out")}[command]
    done = watchword(command, *arguments, env={"HOME": str(home), "XDG_CACHE_HOME": "", "ORT_DISABLE_TELEMETRY": ""})
    assert done.returncode == 0, done.stderr
    # ONNX Runtime gives each machine a number and collects what it will send to its maker.
    assert [path for path in home.rglob("*") if path.name in ("deviceid", "onnxruntime.db")] == []
