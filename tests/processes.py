"""Real `watchword` processes, as a user starts them."""

import contextlib
import json
import os
import queue
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
DEMO = ROOT / "samples" / "demo.mp4"
TRUTH: dict[str, Any] = json.loads((ROOT / "samples" / "demo.json").read_text(encoding="utf-8"))
QUESTIONS = [question["question"] for question in TRUTH["questions"]]
COMMAND = [sys.executable, "-W", "error::ResourceWarning", "-m", "services.cli.main"]

Event = dict[str, Any]


def watchword(*arguments: str | Path, env: Mapping[str, str] | None = None, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def read_events(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def of_type(events: list[Event], *types: str) -> list[Event]:
    return [event for event in events if event["type"] in types]


def free_address() -> str:
    """Where a process can listen that must be known before it is there; below the ports that connections are given by themselves."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"
    raise AssertionError("no free port")


class Process:
    """A `watchword` process in the background, whose output is read as it comes."""

    def __init__(self, *arguments: str, env: Mapping[str, str]) -> None:
        self._arguments = arguments
        self.popen = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=ROOT,
            env={**os.environ, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.output: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, text: str, timeout_s: float = 150) -> str:
        """The first line, from here on, that holds `text`."""
        while True:
            try:
                line = self._lines.get(timeout=timeout_s)
            except queue.Empty:
                line = None
            if line is None:
                raise AssertionError(f"{' '.join(self._arguments)} did not say {text!r}, but:\n{''.join(self.output)}")
            if text in line:
                return line

    def kill(self) -> None:
        """As `kill -9` does."""
        self.popen.kill()
        self.popen.wait(10)
        self._reader.join(10)

    def stop(self) -> int:
        """As an operator does; its exit status."""
        self.popen.terminate()
        try:
            status = self.popen.wait(90)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        self._reader.join(10)
        return status

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with self.popen.stdout as lines:
            for line in lines:
                self.output.append(line)
                self._lines.put(line)
        self._lines.put(None)


@contextlib.contextmanager
def running(*arguments: str, env: Mapping[str, str]) -> Iterator[Process]:
    """A process that is gone when the block is left."""
    process = Process(*arguments, env=env)
    try:
        yield process
    finally:
        if process.popen.poll() is None:
            process.kill()
