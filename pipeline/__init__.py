"""Media, models, messages and the bus: everything Watchword does, without its processes and its network faces."""

import os

# What is seen and said here is nobody else's business: ONNX Runtime (from 1.31) sends its maker reports, and the hub's client counts its
# users, unless they are told not to before they are imported.
for _switch in ("ORT_DISABLE_TELEMETRY", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK"):
    os.environ[_switch] = os.environ.get(_switch) or "1"
