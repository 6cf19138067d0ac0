"""The port to whatever describes a scene, and how to get an adapter for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.errors import SettingInvalid
from pipeline.timeline import MediaTime

ADAPTERS = ("tags", "transformers")


@dataclass(frozen=True)
class Shot:
    """One keyframe as a captioner sees it."""

    time: MediaTime
    """Presentation time."""
    reason: KeyframeReason
    """Why it was chosen."""
    score: float
    """How new the picture is, 0 to 1."""
    motion: float
    """Mean absolute luma difference of successive frames since the keyframe before, 0 to 1."""
    jpeg: bytes
    """The picture."""


@dataclass(frozen=True)
class SceneView:
    """All that a captioner is told about a scene; the description may depend on nothing else.

    What was said of earlier scenes is not told: a stage that starts again after a crash does not have it, and would
    describe the scene differently.
    """

    start: MediaTime
    """Time of the scene's first frame."""
    end: MediaTime
    """Time at which the next scene starts."""
    shots: tuple[Shot, ...]
    """At least one, in order of time."""


@dataclass(frozen=True)
class Description:
    """A scene in words."""

    text: str
    """One or a few sentences; empty where the model has nothing to say."""
    on_screen_text: tuple[str, ...] = ()
    """Words read in the pictures, one entry a line, in reading order."""
    labels: tuple[str, ...] = ()
    """What was recognised with some confidence, best first."""


class Captioner(Protocol):
    """Describes scenes; one object serves every stream of a process."""

    @property
    def name(self) -> str:
        """What a caption says it was made by."""
        ...

    async def describe(self, scene: SceneView) -> Description:
        """Describe a scene; the same scene gets the same words.

        Raises `MediaUndecodable` for a picture that cannot be read.
        """
        ...


def load(adapter: str = "tags", *, directory: Path | None = None, threads: int = 1, max_new_tokens: int = 96) -> Captioner:
    """Load a captioner, which takes seconds.

    `tags` needs the catalog models `efficientnet-lite0` and `ppocr-v6`; `transformers` needs `directory`, a checkpoint
    of the Qwen2.5-VL architecture or the name of one in the catalog, and writes at most `max_new_tokens` tokens a scene.
    `threads` is how many threads one inference uses. Raises `ModelMissing`, `ModelMismatch`, or `SettingInvalid` for what
    cannot be meant.
    """
    if adapter == "tags":
        from pipeline.caption.tags import load_tags
        from pipeline.models import locate

        return load_tags(labels=locate("efficientnet-lite0"), text=locate("ppocr-v6"), threads=threads)
    if adapter == "transformers":
        from pipeline.caption.vlm import load_vlm

        if directory is None:
            raise SettingInvalid('the captioner "transformers" needs the directory of a Qwen2.5-VL checkpoint; none was given')
        return load_vlm(_checkpoint(directory), threads=threads, max_new_tokens=max_new_tokens)
    raise SettingInvalid(f"no captioner is called {adapter!r}; there are {' and '.join(ADAPTERS)}")


def _checkpoint(named: Path) -> Path:
    """The directory itself, or where the catalog's model of that name lies."""
    from pipeline.models import load_catalog, locate

    return locate(str(named)) if not named.exists() and str(named) in load_catalog() else named
