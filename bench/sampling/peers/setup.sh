#!/usr/bin/env bash
# PySceneDetect with OpenCV in an environment of its own: bench/sampling/peers/setup.sh DIRECTORY
set -euo pipefail
python3 -m venv "$1"
"$1/bin/pip" install --quiet "scenedetect==0.7.2" opencv-python-headless
