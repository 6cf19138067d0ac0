"""What every decoder promises: compressed packets in, timed frames out, whose pixels stay where they were decoded."""

from dataclasses import dataclass
from enum import IntEnum
from fractions import Fraction
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from watchword.v1.media_pb2 import VideoParameters

Pixels = NDArray[np.uint8]


class Skip(IntEnum):
    """Which packets a decoder may pass over."""

    NOTHING = 0
    """Every packet gives its frame."""
    UNREFERENCED = 1
    """Frames that no other refers to are left out, where the codec marks them; the others are whole."""


class CodedPacket(NamedTuple):
    """One packet on its way to a decoder. A tuple, because most are looked at and never decoded."""

    pts: int
    """Nanoseconds of media time at which its frame is shown."""
    dts: int
    """Nanoseconds of media time at which it is decoded."""
    keyframe: bool
    """Whether decoding can start here."""
    data: bytes
    duration: int = 0
    """Nanoseconds for which its frame is shown, as far as anybody says; 0 where nobody does."""


@dataclass(frozen=True, slots=True)
class Small:
    """A whole frame made small, whatever its shape."""

    luma: Pixels
    """`uint8`, shape (height, width), 0 black to 255 white."""
    chroma: Pixels
    """Cb and Cr, `uint8`, shape (2, height / 2, width / 2), rounded up; 128 is no colour."""


class Surface(Protocol):
    """The pixels of one frame, in the memory where they were decoded, until someone asks for some of them."""

    @property
    def width(self) -> int:
        """Coded width in pixels."""
        ...

    @property
    def height(self) -> int:
        """Coded height in pixels."""
        ...

    def small(self, width: int, height: int) -> Small:
        """The whole frame's brightness and colour at this size, which is even."""
        ...

    def rgb(self, width: int, height: int) -> Pixels:
        """The whole frame at this size: `uint8`, shape (height, width, 3). It is scaled before it is converted."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame."""

    pts: int | None
    """Nanoseconds of media time at which it is shown, as its packet said."""
    dts: int | None
    """Nanoseconds of media time of the packet that released it."""
    keyframe: bool
    corrupt: bool
    """Whether the codec had to mend it."""
    surface: Surface
    pixel_aspect: Fraction = Fraction(1)
    """Width of a pixel over its height, as it is meant to be shown."""
    rotation: int = 0
    """Degrees counter-clockwise by which it is to be turned before it is shown."""


class DecoderFailed(Exception):
    """A packet could not be decoded; the decoder can be used again from a keyframe on."""


class DecoderLost(DecoderFailed):
    """The decoder itself is gone or does not answer; another must take its place."""


class Decoder(Protocol):
    """One track's decoder, used by one thread at a time."""

    @property
    def name(self) -> str:
        """What decodes, in a word or two, such as "cpu" or "cuda"."""
        ...

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """The frames that come out after this packet, in the order in which they are shown.

        Raises `DecoderFailed`, or `DecoderLost` where the decoder must be replaced.
        """
        ...

    def drain(self) -> list[Frame]:
        """The frames that are held back; the decoder starts afresh, at a keyframe, afterwards. Raises `DecoderLost`."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


@runtime_checkable
class Interruptible(Protocol):
    """A decoder whose work can be broken off."""

    def interrupt(self) -> None:
        """Let what is being decoded, or is decoded after this, fail with `DecoderLost`; from any thread."""
        ...


class DecoderFactory(Protocol):
    """Opens a decoder for a track."""

    def __call__(self, stream_id: str, parameters: VideoParameters) -> Decoder:
        """Raises `CodecUnsupported` or `MessageInvalid`."""
        ...


def native(surface: Surface) -> Any:
    """The library's own frame behind a surface, such as an `av.VideoFrame`; the surface itself where there is none."""
    return getattr(surface, "frame", surface)
