#!/usr/bin/env bash
# Makes an environment for each peer: bench/transcription/peers/setup.sh DIRECTORY [CHECKPOINT]
# About 5 GB and some minutes. CHECKPOINT is Whisper tiny.en in openai-whisper's format (.pt), which WhisperLiveKit's default
# policy decodes with; without it the other policy and WhisperLive can be run.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    printf '%s\n' "usage: $0 DIRECTORY [CHECKPOINT]" >&2
    exit 2
fi
mkdir -p "$1"
directory=$(cd "$1" && pwd)
checkpoint=${2:-}
python=${PYTHON:-python3.11}

# A CPU build: the torch that most package indexes serve for Linux brings several GB of CUDA libraries.
torch() {
    local pip=$1/bin/pip
    if "$pip" install -qqq --dry-run --no-deps --report - torch==2.13.0 2>/dev/null | grep '"version": "[0-9.]*+cpu"' >/dev/null; then
        "$pip" install -qq torch==2.13.0
    elif [ "$(uname -s)" = Linux ]; then
        "$pip" install -qqq uv
        "$1/bin/uv" pip install -q --python "$1/bin/python" --torch-backend cpu torch==2.13.0
    else
        "$pip" install -qq torch==2.13.0
    fi
}

environment() { # name, package
    printf '%s\n' "$2 in $directory/$1" >&2
    [ -x "$directory/$1/bin/python" ] || "$python" -m venv "$directory/$1"
    torch "$directory/$1"
    "$directory/$1/bin/pip" install -qq -r "$here/$1.txt"
    # Their own requirements ask for CUDA libraries, OpenVINO, a microphone: see the comments in the .txt files.
    "$directory/$1/bin/pip" install -qq --no-deps "$2"
}

export PIP_DISABLE_PIP_VERSION_CHECK=1
environment whisperlivekit whisperlivekit==0.2.26
environment whisper-live whisper-live==0.10.0
if [ -n "$checkpoint" ]; then
    mkdir -p "$directory/whisperlivekit/weights"
    cp "$checkpoint" "$directory/whisperlivekit/weights/tiny.en.pt"
fi
