"""The sound of an open source as chunks, as `pipeline.media.publish` cuts them: the same packets, the same media times."""

from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path

from watchword.v1.media_pb2 import AudioParameters, MediaChunk, Rational

from pipeline.errors import MediaMissing, TrackMissing
from pipeline.media.holes import Hole
from pipeline.media.runs import Runs
from pipeline.media.source import Source
from pipeline.media.stamps import Stamped
from pipeline.media.tracks import Kind, Track
from pipeline.timeline import MediaTime


class Sound:
    """A source of which only the sound, or only the pictures, are taken; media time zero stays that of the whole."""

    problem = None
    live = True
    """There is no other track that a chunk would have to wait for."""

    def __init__(self, source: Source, name: str, kind: Kind = "audio") -> None:
        """`name` is what the source is called in messages. Raises `TrackMissing` or `CodecUnsupported`."""
        if kind not in source.tracks:
            wanted = "transcribe" if kind == "audio" else "describe"
            raise source.problem or TrackMissing(f"{name} has no {kind} track: there is nothing to {wanted}")
        self._source = source
        self._kind = kind
        self.tracks: Mapping[Kind, Track] = {kind: source.tracks[kind]}

    @property
    def zero(self) -> Fraction | None:
        """As `Source.zero`."""
        return self._source.zero

    def missing(self) -> list[Hole]:
        """As `Source.missing`, where the whole source holds nothing."""
        return self._source.missing()

    def packets(self) -> Iterator[tuple[Kind, Stamped]]:
        """As `Source.packets`."""
        return ((kind, stamped) for kind, stamped in self._source.packets() if kind == self._kind)

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()


def chunks(sound: Source, stream_id: str) -> Iterator[MediaChunk]:
    """The chunks of what is taken of a source; blocks while it reads. Raises what `Source.packets` raises, after the last chunk."""
    zero = sound.zero
    for sequence, run in enumerate(Runs(sound, stream_id)):
        zero = run.start if zero is None else zero
        parameters = run.track.parameters
        yield MediaChunk(
            stream_id=stream_id,
            epoch=1,
            sequence=sequence,
            audio=parameters if isinstance(parameters, AudioParameters) else None,
            video=None if isinstance(parameters, AudioParameters) else parameters,
            time_base=Rational(numerator=run.track.unit.numerator, denominator=run.track.unit.denominator),
            media_offset=MediaTime.of(run.shift - zero).to_proto(),
            packets=run.packets,
        )


def missing(sound: Sound, name: str) -> list[MediaMissing]:
    """Where the source of this name was found to hold nothing since this was asked last."""
    return [hole.told(name, -(sound.zero or Fraction(0))) for hole in sound.missing()]


def length(source: str) -> MediaTime | None:
    """How long a file is, as its header states it; `None` where it does not, or the source is no file."""
    import av

    if not Path(source).is_file():
        return None
    try:
        with av.open(f"file:{source}", metadata_errors="replace") as container:
            return MediaTime(container.duration * 1000) if container.duration else None
    except (av.FFmpegError, ValueError, OSError):
        return None
