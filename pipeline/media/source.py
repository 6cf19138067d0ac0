"""Where media comes from: files, network streams and capture devices, opened and demultiplexed by FFmpeg; never decoded."""

import time
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from watchword.v1.media_pb2 import VideoParameters

from pipeline.errors import CodecUnsupported, SourceError, SourceInvalid, SourceTruncated, SourceUnavailable, TrackMissing, WatchwordError
from pipeline.media import tracks
from pipeline.media.address import address, is_live, open_error, shown, words
from pipeline.media.holes import Hole, Holes
from pipeline.media.stamps import MAX_LEAP_S, MAX_SILENCE_S, MAX_SKIP_S, Demuxed, Shifts, Stamped
from pipeline.media.tracks import Kind, Track

if TYPE_CHECKING:
    from av.container import InputContainer

OPEN_TIMEOUT_S = 10.0
"""How long a source may take to answer."""
READ_TIMEOUT_S = 10.0
"""How long a source may stay silent."""

_INDEXED = ("mov", "matroska", "avi", "wav")
"""Formats whose header states the true duration, so that an early end can be told."""
_TS_DISCONT = 0x0200
"""FFmpeg's mark (AVFMT_TS_DISCONT) of formats whose pieces may have clocks of their own."""
_EARLY_S = 0.5
"""How many seconds before the stated end a file may end without being called truncated."""


class Source(Protocol):
    """An open source; one thread uses it."""

    @property
    def tracks(self) -> Mapping[Kind, Track]:
        """The audio track, the video track, or both."""
        ...

    @property
    def live(self) -> bool:
        """Whether the source sends at its own pace and cannot wait."""
        ...

    @property
    def zero(self) -> Fraction | None:
        """Seconds on the source's clock that are media time zero; `None` where the first packet decides."""
        ...

    @property
    def problem(self) -> WatchwordError | None:
        """What is wrong with a part of the source, although the rest can be used: a track of an unknown codec."""
        ...

    def missing(self) -> list[Hole]:
        """Where the source was found to hold nothing since this was asked last; the packets that follow such a hole have been given."""
        ...

    def packets(self) -> Iterator[tuple[Kind, Stamped]]:
        """The packets as the container orders them.

        Raises `SourceTruncated` after the last packet that could be read, `SourceUnavailable` when a live source is lost.
        """
        ...

    def close(self) -> None:
        """Let go of the source."""
        ...


def open_source(source: str, *, open_timeout_s: float = OPEN_TIMEOUT_S, read_timeout_s: float = READ_TIMEOUT_S) -> Source:
    """Open a file, a URL (rtsp, rtmp, srt, udp, http, HLS) or a capture device such as /dev/video0; blocks.

    Raises `SourceUnavailable`, `SourceInvalid`, `SourceTruncated`, `TrackMissing` or `CodecUnsupported`.
    """
    import av

    name = shown(source)
    url, form, options = address(source, name)
    try:
        container = av.open(
            url,
            mode="r",
            format=form,
            options=options,
            metadata_errors="replace",
            timeout=(open_timeout_s, read_timeout_s),
        )
    except (av.FFmpegError, ValueError, OSError) as error:
        raise open_error(source, name, error, open_timeout_s) from None
    try:
        return AvSource(source, container, read_timeout_s)
    except BaseException:
        container.close()
        raise


class AvSource:
    """A source opened by FFmpeg."""

    def __init__(self, source: str, container: "InputContainer", read_timeout_s: float) -> None:
        """Choose the tracks: the default audio track and the best moving picture; a cover picture is none."""
        self._name = shown(source)
        self._container = container
        self._read_timeout_s = read_timeout_s
        self._is_file = Path(source).is_file() or source.startswith("file:")
        self.problem: WatchwordError | None = None
        self.live = is_live(source, container)
        self._streams: dict[Kind, Any] = {}
        for kind, stream in _chosen(container):
            if stream is None:
                continue
            try:
                tracks.require_codec(source, self._name, kind, stream)
            except CodecUnsupported as error:
                self.problem = error
                continue
            self._streams[kind] = stream
        if not self._streams:
            raise self.problem or TrackMissing(f"{self._name} has neither a sound track nor moving pictures; nothing can be published")
        self._shifts = Shifts(_longest_leap_s(container))
        self._holes = Holes(self._streams)
        self._stamps = {kind: tracks.stamps(kind, stream, self._shifts) for kind, stream in self._streams.items()}
        self.tracks: dict[Kind, Track] = {
            kind: Track(kind, tracks.parameters(kind, stream), self._stamps[kind].unit) for kind, stream in self._streams.items()
        }
        video = self.tracks.get("video")
        can_be_opened_again = self._is_file or ("://" in source and not self.live)
        if can_be_opened_again and video is not None and isinstance(video.parameters, VideoParameters):
            video.parameters.rotation = tracks.stated_rotation(container, self._streams["video"].index, timeout_s=read_timeout_s)

    @property
    def zero(self) -> Fraction | None:
        """The earliest start that the container states for the tracks; an encoder's run-in lies before it."""
        starts = [stream.start_time * stream.time_base for stream in self._streams.values() if stream.start_time is not None]
        return min(starts) if len(starts) == len(self._streams) else None

    def packets(self) -> Iterator[tuple[Kind, Stamped]]:
        """The packets as the container orders them; see `Source.packets`."""
        import av

        kinds: dict[int, Kind] = {stream.index: kind for kind, stream in self._streams.items()}
        latest = time.monotonic()
        try:
            for packet in self._container.demux(*self._streams.values()):
                if not packet.size:
                    continue
                kind = kinds[packet.stream_index]
                demuxed = Demuxed(bytes(packet), packet.is_keyframe or kind == "audio", packet.pts, packet.dts, packet.duration or 0)
                stamped = self._stamps[kind].stamp(demuxed)
                self._holes.see(kind, *self._span(kind, stamped))
                yield kind, stamped
                latest = time.monotonic()
        except (av.FFmpegError, OSError, ValueError) as error:
            raise self._read_error(error) from None
        if self.live:
            self._require_farewell(time.monotonic() - latest)
        self._require_whole()

    def missing(self) -> list[Hole]:
        """See `Source.missing`."""
        return self._holes.take()

    def close(self) -> None:
        """Let go of the source."""
        self._container.close()

    def _span(self, kind: Kind, stamped: Stamped) -> tuple[Fraction, Fraction]:
        """From when to when the packet is decoded, in seconds on the source's clock."""
        packet, unit = stamped.packet, self._stamps[kind].unit
        start = (packet.dts if packet.HasField("dts") else packet.pts) * unit + stamped.shift
        return start, start + packet.duration * unit

    def _read_error(self, error: Exception) -> SourceError:
        import av

        reached = float(self._shifts.reached or 0)
        if self.live:
            silent = isinstance(error, av.error.ExitError | TimeoutError)
            return SourceUnavailable(f"{self._name} was lost: {'it stayed silent' if silent else words(error)}")
        return SourceTruncated(f"{self._name} can be read up to {reached:.1f} s only: {words(error)}")

    def _require_farewell(self, silent_s: float) -> None:
        """Raise unless the end of a live source is meant: only HLS can say so, in its playlist."""
        if self._container.format.name != "hls":
            raise SourceUnavailable(f"{self._name} was closed by the other side")
        # FFmpeg gives up on a playlist that does not change; connecting again would only read its last segments again.
        if silent_s > self._read_timeout_s:
            raise SourceTruncated(f"{self._name} has had no new segment for {silent_s:.0f} s, but its playlist does not say that it ended")

    def _require_whole(self) -> None:
        """Raise `SourceTruncated` where the file ended long before the end that its header states."""
        reached = self._shifts.reached
        if reached is None:
            raise SourceInvalid(f"{self._name} has tracks but not a single packet; was the recording stopped before it began?")
        stated = self._container.duration
        if not (self._is_file and stated and self._container.format.name.startswith(_INDEXED)):
            return
        end = float(max(reached, reached - (self.zero or 0)))
        if end < stated / 1_000_000 - _EARLY_S:
            raise SourceTruncated(
                f"{self._name} stops after {end:.1f} s, although its header states {stated / 1_000_000:.1f} s; "
                "what was there has been published, the rest is missing from the file"
            )


def _longest_leap_s(container: "InputContainer") -> float:
    """By how many seconds a packet of the container can be ahead before it is taken for one of another clock."""
    if container.format.name == "hls":
        return MAX_SKIP_S
    return MAX_LEAP_S if container.format.flags & _TS_DISCONT else MAX_SILENCE_S


def _chosen(container: "InputContainer") -> tuple[tuple[Kind, Any], ...]:
    """The stream to publish of each kind, or `None`."""
    return (("audio", tracks.audio_stream(container)), ("video", tracks.video_stream(container)))
