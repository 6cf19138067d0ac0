"""Other live captioners, each run by its own Python in an environment of its own: see README.md here."""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bench.transcription.metrics import Display, Run
from bench.transcription.sessions import Session, write_wav

DIRECTORY = Path(__file__).parent


@dataclass(frozen=True)
class How:
    """How a peer is run."""

    environment: str
    """Folder of its virtual environment, as `setup.sh` names it."""
    script: str
    arguments: tuple[str, ...] = ()


PEERS: dict[str, How] = {
    "whisperlivekit": How("whisperlivekit", "whisperlivekit_runner.py"),
    "whisperlivekit-simul": How("whisperlivekit", "whisperlivekit_runner.py", ("--policy", "simulstreaming")),
    "whisper-live": How("whisper-live", "whisper_live_runner.py"),
}


class Peer:
    """A peer's server, started anew for each session and fed in real time over its own protocol."""

    def __init__(self, name: str, environments: Path) -> None:
        """`environments` is the directory that `setup.sh` filled."""
        self.name = name
        self._how = PEERS[name]
        self._environments = environments

    def run(self, session: Session) -> Run:
        """Play one session to it. Takes as long as the session, and raises `RuntimeError` with the peer's last words if it fails."""
        python = self._environments / self._how.environment / "bin" / "python"
        if not python.exists():
            raise SystemExit(f"{self.name}: {python} is missing; bench/transcription/peers/setup.sh makes it")
        with tempfile.TemporaryDirectory() as folder:
            wav = Path(folder) / "session.wav"
            write_wav(session, wav)
            command = [str(python), str(DIRECTORY / self._how.script), "--wav", str(wav), *self._how.arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, env=_environment(), cwd=folder, timeout=session.seconds * 10 + 600
            )
        if done.returncode:
            raise RuntimeError(f"{self.name} failed on {session.name}:\n{done.stderr[-3000:]}")
        *displays, cost = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("{"))
        shown = tuple(Display.from_json(line) for line in displays)
        return Run(shown, cost["cpu_s"], session.seconds, lost_s=cost["lost_s"], versions=cost["versions"])

    def close(self) -> None:
        """Nothing to let go of: each session's processes have ended with it."""


def _environment() -> dict[str, str]:
    """One thread a model, no hub, and no module of this repository in the peer's way."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return kept | threads | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
