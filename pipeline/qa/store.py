"""The scene memory's port, where it was before it had a package of its own."""

from pipeline.memory.store import *  # noqa: F403
