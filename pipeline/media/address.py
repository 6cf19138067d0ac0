"""What a user calls a source, what FFmpeg is told to open, and what is said when it cannot be opened."""

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from pipeline.errors import SourceError, SourceInvalid, SourceTruncated, SourceUnavailable

if TYPE_CHECKING:
    from av.container import InputContainer

LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "srt", "udp", "rtp"})
"""Kinds of URL whose media cannot wait."""
SCHEMES = LIVE_SCHEMES | {"file", "http", "https", "tcp"}
"""Kinds of URL that are opened."""

_OPTIONS = {scheme: {"rtsp_transport": "tcp"} for scheme in ("rtsp", "rtsps")}
# A live playlist is read from its latest segment: FFmpeg begins three before the end, as players do, and captions must come before these.
_OPTIONS |= {scheme: {"live_start_index": "-1"} for scheme in ("http", "https")}


def shown(source: str) -> str:
    """The source as it may appear in messages and logs: without user, password or query."""
    parts = urlsplit(source)
    if not parts.scheme or not parts.netloc:
        return source
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def address(source: str, name: str) -> tuple[str, str | None, dict[str, str]]:
    """What FFmpeg is told to open: URL, format if it cannot be guessed, and options."""
    if re.fullmatch(r"/dev/video\d+", source):
        return source, "v4l2", {"input_format": "mjpeg"}
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if not scheme or Path(source).exists():
        if not Path(source).exists():
            raise SourceUnavailable(f"{name} does not exist; give the path of a file, a URL or a device such as /dev/video0")
        if not Path(source).is_file():
            raise SourceInvalid(f"{name} is not a file")
        return f"file:{source}", None, {}
    if scheme not in SCHEMES:
        raise SourceInvalid(f"{name}: {scheme} is not a kind of source; known are {', '.join(sorted(SCHEMES))}")
    return source, None, _OPTIONS.get(scheme, {})


def open_error(source: str, name: str, error: Exception, timeout_s: float) -> SourceError:
    """The error to raise for what FFmpeg raised when it opened the source."""
    import av

    path = Path(source.removeprefix("file:"))
    if isinstance(error, av.error.ExitError | TimeoutError):
        return SourceUnavailable(f"{name} did not answer within {timeout_s:g} s")
    if isinstance(error, av.error.InvalidDataError) and path.is_file():
        with path.open("rb") as file:
            head = file.read(12)
        if not head:
            return SourceInvalid(f"{name} is empty")
        if head[4:8] == b"ftyp":
            return SourceTruncated(f"{name} begins as MP4, but its index (moov) is missing: it was cut off or is still being written")
        return SourceInvalid(f"{name} is not media: no audio or video format fits its content")
    if isinstance(error, av.error.InvalidDataError | av.error.LookupError):
        return SourceInvalid(f"{name} is not media: {words(error)}")
    return SourceUnavailable(f"{name} cannot be opened: {words(error)}")


def words(error: Exception) -> str:
    """What went wrong, without the address, which may hold a password."""
    return str(getattr(error, "strerror", None) or type(error).__name__)


def is_live(source: str, container: "InputContainer") -> bool:
    """Whether the source sends at its own pace: by its kind, or because neither its duration nor its size is known."""
    scheme = source.partition("://")[0].lower() if "://" in source else ""
    if source.startswith("/dev/") or scheme in LIVE_SCHEMES:
        return True
    if container.format.name == "hls":
        return not container.duration
    return scheme in ("http", "https", "tcp") and not container.duration and container.size <= 0
