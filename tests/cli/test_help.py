"""The command line answers at once, because what is heavy is loaded only by the command that needs it."""

import json
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, watchword

pytestmark = pytest.mark.connected

HEAVY = {"av", "ctranslate2", "faster_whisper", "grpc", "kafka", "numpy", "onnxruntime", "torch", "transformers", "PIL"}
COMMANDS = ("run", "transcribe", "publish", "serve", "streams", "watch", "ask", "broker", "models", "doctor", "health")


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("models", "list")])
def test_help_loads_nothing_heavy(command: tuple[str, ...]) -> None:
    code = (
        "import atexit, json, sys\n"
        "from services.cli.main import main\n"
        "atexit.register(lambda: print(json.dumps([name for name in sys.modules if '.' not in name]), file=sys.stderr))\n"
        f"sys.argv = ['watchword', *{command!r}, '--help']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "Usage:" in done.stdout
    assert not HEAVY & set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("group", [(), ("models",), ("audit",), ("review",)])
def test_the_list_of_commands_breaks_no_sentence_off(group: tuple[str, ...]) -> None:
    listed = watchword(*group, "--help").stdout.partition("Commands:")[2]
    assert listed
    assert "..." not in listed


def test_its_version_is_told() -> None:
    assert re.fullmatch(r"watchword \d+\.\d+\.\d+\n", watchword("--version").stdout)


def test_doctor_tells_what_is_here_and_what_to_do() -> None:
    done = watchword("doctor", "--kafka", "127.0.0.1:1")
    assert done.returncode == 0, done.stderr
    assert "model whisper-tiny.en" in done.stdout
    assert "start one: watchword broker" in done.stdout


def test_models_list_and_verify_name_every_model() -> None:
    listed, verified = watchword("models", "list"), watchword("models", "verify")
    assert listed.returncode == verified.returncode == 0
    for name in ("whisper-tiny.en", "silero-vad", "efficientnet-lite0", "ppocr-v6", "opennsfw", "minilm-l6-v2"):
        assert name in listed.stdout
        assert name in verified.stdout
