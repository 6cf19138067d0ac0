"""Experiment switches; not to be kept."""
import json, os
V = json.loads(os.environ.get("TINY", "{}"))
