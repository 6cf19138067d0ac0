"""The port to whatever describes a scene, and how to get an adapter for it."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from watchword.v1.scene_pb2 import KeyframeReason

from pipeline.caption.seen import Glance
from pipeline.caption.style import PLAIN, Style
from pipeline.errors import RequestInvalid, SettingInvalid
from pipeline.telemetry import ADAPTERS_UNKNOWN
from pipeline.timeline import MediaTime

ADAPTERS = ("tags", "transformers", "served")
PRECISIONS = ("auto", "float32", "bfloat16", "int8", "int4")


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
    """All that a captioner is told about a scene; the description may depend on nothing else."""

    start: MediaTime
    """Time of the scene's first frame."""
    end: MediaTime
    """Time at which the next scene starts."""
    shots: tuple[Shot, ...]
    """At least one, in order of time."""
    style: Style = PLAIN
    """How it is to be described; a captioner that cannot follow it does what it can."""
    before: tuple[str, ...] = ()
    """The descriptions of the scenes just before, the latest last; bounded, and a captioner may pass them over."""
    asked: str = ""
    """What is asked about the pictures instead of a description; only models that are asked in words can answer it."""


@dataclass(frozen=True)
class Action:
    """Something that happens in a scene."""

    what: str
    start: MediaTime
    end: MediaTime


@dataclass(frozen=True)
class Description:
    """A scene in words."""

    text: str
    """One or a few sentences; empty where the model has nothing to say."""
    on_screen_text: tuple[str, ...] = ()
    """Words read in the pictures, one entry a line, in reading order."""
    objects: tuple[str, ...] = ()
    """What was recognised with some confidence, best first."""
    detail: str = ""
    """More than is told live."""
    actions: tuple[Action, ...] = ()
    """What happens, in order."""
    people: int | None = None
    """How many people can be seen at most at one time; `None` where nothing tells."""
    camera: str = ""
    """How the camera moves; empty where nothing tells."""
    confidence: float | None = None
    """How sure the model is, 0 to 1, as it says itself or by the probabilities of its words; `None` where it cannot tell."""
    used: tuple[int, ...] | None = None
    """The numbers of the shots that were looked at; `None` means all."""
    seen: tuple[Glance, ...] = ()
    """What a detector found in the shots, at their times; empty where none looked or nothing is sure."""
    revision: str = ""
    """Which version of the model described it, where one is known."""
    adapter: str = ""
    """The adapter that was on in the model; empty for none."""
    prompt: str = ""
    """The version of the words it was asked with; empty where it is not asked in words."""
    remark: str = ""
    """What did not go as it should, such as a reply that had to be mended; for operators."""


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


@runtime_checkable
class Attentive(Protocol):
    """A captioner that gains by seeing keyframes before their scene is complete."""

    def look_ahead(self, shot: Shot, style: Style) -> None:
        """A keyframe of a scene that is open and will be described so: prepare for it if there is time. Never blocks and never fails."""
        ...


@runtime_checkable
class Adaptable(Protocol):
    """A captioner with adapters, one of which may be switched on for a scene by its style."""

    @property
    def adapters(self) -> Collection[str] | None:
        """Their names; `None` where only somebody else, such as a server, knows them."""
        ...


@runtime_checkable
class Telling(Protocol):
    """A captioner that tells a description while it writes it."""

    def tell(self, scene: SceneView) -> AsyncGenerator[str | Description, None]:
        """The sentence so far, again and again, then the description, which is what `describe` returns; may be closed at any time."""
        ...


@runtime_checkable
class Closing(Protocol):
    """A captioner that holds on to something, such as a thread or connections."""

    async def aclose(self) -> None:
        """Let go of it; nothing is described any more."""
        ...


async def telling(captioner: Captioner, scene: SceneView) -> AsyncGenerator[str | Description, None]:
    """What a captioner tells of a scene: as `Telling`, or the description alone."""
    if isinstance(captioner, Telling):
        async with aclosing(captioner.tell(scene)) as told:
            async for each in told:
                yield each
    else:
        yield await captioner.describe(scene)


def require_adapter(captioner: Captioner, style: Style) -> None:
    """Raise `RequestInvalid`, and count it, where a style wants an adapter that the captioner does not have."""
    known = captioner.adapters if isinstance(captioner, Adaptable) else ()
    if style.adapter and known is not None and style.adapter not in known:
        ADAPTERS_UNKNOWN.inc()
        there = f"there are {', '.join(sorted(known))}" if known else "it has none"
        raise RequestInvalid(f"the captioner {captioner.name} has no adapter {style.adapter!r}; {there}")


async def aclose(captioner: object) -> None:
    """Let a captioner go, if it is `Closing`."""
    if isinstance(captioner, Closing):
        await captioner.aclose()


def load(
    adapter: str = "tags",
    *,
    directory: Path | None = None,
    url: str = "",
    model: str = "",
    key: str = "",
    max_new_tokens: int = 96,
    adapters: Mapping[str, Path] | None = None,
    precision: str = "auto",
    thin: str = "none",
    picture_tokens: int = 4096,
) -> Captioner:
    """Load a captioner, which takes seconds.

    `tags` needs the catalog models `efficientnet-lite0`, `ppocr-v6` and `mobilenetv3-centernet`; `transformers` needs `directory`, a
    checkpoint of Qwen2.5-VL, Qwen3-VL or SmolVLM2 or the name of one in the catalog; `served` needs the `url` of a server with
    OpenAI's chat API and its name of the `model`, and shows it the `key`. A model writes at most `max_new_tokens` tokens for
    a sentence. For `transformers` alone are `adapters`, directories by name; `precision`, one of `PRECISIONS`; `thin`, as
    `vlm.thinning.read_thinning` has it; and `picture_tokens`, what the pictures of a scene may take. Raises `ModelMissing`,
    `ModelMismatch`, or `SettingInvalid` for what cannot be meant.
    """
    if adapter == "tags":
        from pipeline.caption.tags import load_tags
        from pipeline.models import locate

        return load_tags(labels=locate("efficientnet-lite0"), text=locate("ppocr-v6"), things=locate("mobilenetv3-centernet"))
    if adapter == "transformers":
        from pipeline.caption.vlm import load_vlm
        from pipeline.caption.vlm.checkpoint import device_of
        from pipeline.caption.vlm.thinning import read_thinning
        from pipeline.caption.vlm.worker import Limits

        if directory is None:
            raise SettingInvalid('the captioner "transformers" needs the directory of a checkpoint; none was given')
        return load_vlm(
            _checkpoint(directory),
            max_new_tokens=max_new_tokens,
            precision=precision,  # type: ignore[arg-type]
            limits=Limits(scene_tokens=picture_tokens, thinning=read_thinning(thin)).on(device_of()),
            adapters=adapters,
        )
    if adapter == "served":
        from pipeline.caption.served import ServedCaptioner

        if not url or not model:
            raise SettingInvalid('the captioner "served" needs a server and its model, as URL#NAME; none was given')
        return ServedCaptioner(url, model=model, key=key, max_new_tokens=max_new_tokens)
    raise SettingInvalid(f"no captioner is called {adapter!r}; there are {', '.join(ADAPTERS)}")


def _checkpoint(named: Path) -> Path:
    """The directory itself, or where the catalog's model of that name lies."""
    from pipeline.models import load_catalog, locate

    return locate(str(named)) if not named.exists() and str(named) in load_catalog() else named
