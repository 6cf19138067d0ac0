"""The client in `docs/publishing.md` that wants captions only, run as anyone would run it, against a real transcriber."""

import asyncio
import os
import subprocess
import sys
import wave
from pathlib import Path

import pytest
from grpc_health.v1 import health

from pipeline.bus.memory import MemoryBus
from services.serve import start_server
from services.settings import Settings
from services.transcriber import main
from tests.processes import DEMO, ROOT

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

EXAMPLE = ROOT / "examples" / "live_captions.py"


def test_the_page_quotes_the_example_to_the_letter() -> None:
    page = (ROOT / "docs" / "publishing.md").read_text(encoding="utf-8")
    assert f"```python\n{EXAMPLE.read_text(encoding='utf-8')}```\n" in page


def recording(path: Path, seconds: float) -> Path:
    """The beginning of the sample clip's sound, as 16-bit WAV."""
    import av

    with wave.open(str(path), "wb") as sound, av.open(str(DEMO)) as demo:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
        for frame in demo.decode(audio=0):
            if frame.time is not None and frame.time < seconds:
                for part in resampler.resample(frame):
                    sound.writeframes(part.to_ndarray().tobytes())
    return path


async def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The example against a transcriber that is served for it."""
    parts = await main.build(Settings(), MemoryBus())
    server, address = await start_server(parts.faces, "127.0.0.1:0", Settings(), health.aio.HealthServicer())
    try:
        command = [sys.executable, str(EXAMPLE), arguments[0], address, *arguments[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "protos")}
        return await asyncio.to_thread(subprocess.run, command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    finally:
        await server.stop(None)
        if parts.close is not None:
            await parts.close()


def test_it_prints_the_finals_with_their_times(tmp_path: Path) -> None:
    done = asyncio.run(run(str(recording(tmp_path / "beginning.wav", 5.0))))
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.lower().startswith("0:00  welcome to the watchw")
    assert second.lower().startswith("0:03  this tall tower")


def test_it_tells_why_it_was_refused(tmp_path: Path) -> None:
    done = asyncio.run(run(str(recording(tmp_path / "short.wav", 0.5)), "de"))
    assert done.returncode == 1
    assert done.stderr.startswith("INVALID_ARGUMENT: ")
    assert "knows only English" in done.stderr
