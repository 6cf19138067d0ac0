"""What a packet asks for, what a picture comes to, and how much of either there was: the words of sparse decoding."""

from dataclasses import dataclass
from enum import IntEnum

from pipeline.timeline import MediaTime


@dataclass(frozen=True)
class Outcome:
    """What was decided when a picture was shown."""

    chosen: MediaTime | None = None
    """The latest picture that became a keyframe, if any did."""
    opened: MediaTime | None = None
    """The picture with which a scene began, if one did."""


class Need(IntEnum):
    """What has to be decoded because of a packet."""

    NOTHING = 0
    PACKET = 1
    """Itself, with all that was kept."""
    WAKE = 2
    """The same, because the packet stands out."""
    PICTURE = 3
    """One picture: it is time to see whether all is still as it was."""
    ALL = 4
    """A whole chunk has not been noted yet."""


@dataclass
class Counts:
    """What was done with the packets so far."""

    packets: int = 0
    decoded: int = 0
    """Packets that were given to a decoder; some of them twice."""
    probes: int = 0
    """Keyframe packets that were decoded while the picture was still."""
    wakes: int = 0
    """How often a still or calm picture was found to be neither."""
