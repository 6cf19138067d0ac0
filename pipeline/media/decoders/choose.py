"""Which decoder decodes: chosen by what is here, or by who runs it, and said in either case."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import structlog
from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import CodecUnsupported
from pipeline.media.decoders.cpu import open_cpu
from pipeline.media.decoders.fallback import FallingBack
from pipeline.media.decoders.hardware import open_hardware
from pipeline.media.decoders.isolated import isolating
from pipeline.media.decoders.nvidia import open_nvidia
from pipeline.media.decoders.port import Decoder, DecoderFactory

_log = structlog.get_logger(__name__)

Wanted = Literal["auto", "cpu", "cuda", "vaapi", "videotoolbox", "pynvvideocodec"]
WANTED: tuple[Wanted, ...] = ("auto", "cpu", "cuda", "vaapi", "videotoolbox", "pynvvideocodec")
"""What `WATCHWORD_DECODER` can be."""
AUTOMATIC: tuple[Wanted, ...] = ("pynvvideocodec", "cuda", "videotoolbox", "vaapi")
"""In which order devices are tried before the CPU decodes."""
_ASKED = VideoParameters(codec="h264")
"""What a device is asked for to see whether it is there: each that decodes anything decodes this."""

Openers = dict[str, DecoderFactory]


@dataclass(frozen=True)
class Choice:
    """What decodes, and why not something else."""

    name: Wanted
    """One of `WANTED`, not "auto"."""
    why: str
    refused: tuple[tuple[str, str], ...] = ()
    """Devices that cannot be used, each with the reason."""


def openers() -> Openers:
    """How each decoder is opened, by its name."""

    def on(device: str) -> DecoderFactory:
        return lambda stream_id, parameters: open_hardware(device, stream_id, parameters)

    return {"cpu": open_cpu, "pynvvideocodec": open_nvidia, **{device: on(device) for device in ("cuda", "vaapi", "videotoolbox")}}


def choose(wanted: Wanted = "auto", *, known: Openers | None = None) -> Choice:
    """What will decode on this machine. Tries devices, which takes a fraction of a second; raises nothing.

    A device that was asked for by name and is not there is not used either: the CPU is, and the reason is told.
    """
    known = known or openers()
    if wanted == "cpu":
        return Choice("cpu", "asked for")
    refused: list[tuple[str, str]] = []
    for name in AUTOMATIC if wanted == "auto" else (wanted,):
        problem = _problem(known[name])
        if problem is None:
            return Choice(name, "found" if wanted == "auto" else "asked for", tuple(refused))
        refused.append((name, problem))
    why = "no device decodes" if wanted == "auto" else f"{wanted} was asked for, but cannot be used"
    return Choice("cpu", why, tuple(refused))


def _problem(opener: DecoderFactory) -> str | None:
    try:
        opener("probe", _ASKED).close()
    except CodecUnsupported as error:
        return str(error).removeprefix("stream probe: ")
    return None


def factory(choice: Choice, *, apart: bool = False, known: Openers | None = None) -> DecoderFactory:
    """Opens decoders as chosen. Behind a device stands the CPU, for codecs it does not know and devices that fail.

    `apart` gives each decoder a process of its own.
    """
    known = known or openers()
    if apart:
        known = {name: isolating(name) for name in known}
    cpu, chosen = known["cpu"], known[choice.name]
    if choice.name == "cpu":
        return cpu

    def open_decoder(stream_id: str, parameters: VideoParameters) -> Decoder:
        second: Callable[[], Decoder] = lambda: cpu(stream_id, parameters)  # noqa: E731
        try:
            return FallingBack(stream_id, chosen(stream_id, parameters), second)
        except CodecUnsupported as error:
            _log.warning("decoded on the CPU", stream=stream_id, decoder=choice.name, cause=str(error))
            return second()

    return open_decoder


def say(choice: Choice) -> None:
    """One line in the log."""
    _log.info("decoder chosen", decoder=choice.name, why=choice.why, refused=_words(choice.refused))


def _words(refused: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in refused)
