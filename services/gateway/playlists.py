"""HLS playlists and WebVTT segments as text (RFC 8216)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.live_subtitles import Stretch
from pipeline.subtitles import stamp, webvtt
from pipeline.timeline import CLOCK_HZ, NANOS, MediaTime

PLAYLIST = "application/vnd.apple.mpegurl"
VTT = "text/vtt; charset=utf-8"
WRAPS = 2**33
"""At which that clock begins again at 0."""
GROUP = "captions"


@dataclass(frozen=True)
class Listing:
    """What a playlist of subtitles says besides its stretches."""

    target: MediaTime
    """No stretch is longer."""
    begun: float | None
    """Unix time in seconds at media time 0."""
    ended: bool


def media_playlist(stretches: Sequence[tuple[Stretch, str]], listing: Listing) -> str:
    """The playlist of some stretches, which follow one another, each with its address; there is at least one."""
    first = stretches[0][0]
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:3",
        f"#EXT-X-TARGETDURATION:{-(-listing.target.nanos // NANOS)}",
        f"#EXT-X-MEDIA-SEQUENCE:{first.number}",
    ]
    if listing.begun is not None:
        lines.append(f"#EXT-X-PROGRAM-DATE-TIME:{_date(listing.begun, first.start)}")
    for stretch, address in stretches:
        lines += [f"#EXTINF:{(stretch.end - stretch.start).seconds:.3f},", address]
    if listing.ended:
        lines.append("#EXT-X-ENDLIST")
    return "\n".join(lines) + "\n"


def segment(stretch: Stretch, clock: int) -> str:
    """A stretch as WebVTT (section 3.5); `clock` is what that of the pictures says at media time 0.

    An empty line ends it: some players read segments as one text.
    """
    ticks = (clock + stretch.start.nanos * CLOCK_HZ // NANOS) % WRAPS
    return webvtt(stretch.cues, header=f"X-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:{stamp(stretch.start)}") + "\n"


def rendition(name: str, address: str, *, language: str = "", is_default: bool = True) -> str:
    """The line of a master playlist that offers a playlist of subtitles (section 4.3.4.1)."""
    known = f'LANGUAGE="{language}",' if language else ""
    default = "YES" if is_default else "NO"
    return f'#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="{GROUP}",NAME="{name}",{known}DEFAULT={default},AUTOSELECT=YES,FORCED=NO,URI="{address}"'


def master(renditions: Sequence[str], *, pictures: str, bandwidth: int, codecs: str) -> str:
    """A master playlist of subtitles beside a media playlist that is elsewhere."""
    told = f'CODECS="{codecs}",' if codecs else ""
    stream = f'#EXT-X-STREAM-INF:BANDWIDTH={bandwidth},{told}SUBTITLES="{GROUP}"'
    return "\n".join(["#EXTM3U", "#EXT-X-VERSION:3", *renditions, stream, pictures]) + "\n"


def _date(begun: float, at: MediaTime) -> str:
    moment = datetime.fromtimestamp(begun, UTC) + timedelta(microseconds=at.nanos // 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
