"""The rules of a chunk: what makes one valid, what it spans, how packets are cut into chunks, and what is left of one under load."""

from collections.abc import Iterable, Iterator
from fractions import Fraction

from watchword.v1.media_pb2 import MediaChunk, Packet

from pipeline.bus.codec import STREAM_ID, STREAM_ID_RULE
from pipeline.errors import MessageInvalid, MessageTooLarge
from pipeline.media.decoders.port import CodedPacket
from pipeline.timeline import NANOS, MediaTime, nanos_of

MAX_SPAN = Fraction(1, 2)
"""Seconds between the first and the last packet of a chunk, in decoding order, at most."""
MAX_BYTES = 900_000
"""Bytes of packets in a chunk, at most; leaves room for the rest of the message under the bus's own limit."""
MAX_MEDIA_TIME = MediaTime.of(10 * 365 * 86_400)
"""Ten years: a media time beyond it, either way, is a mistake of the publisher."""

_ROUNDING = Fraction(1, 500)
"""Seconds by which containers that count in milliseconds may overstate a span."""
_LONGEST = MAX_SPAN + _ROUNDING


def validate(chunk: MediaChunk, stream_id: str) -> None:
    """Raise `MessageInvalid`, naming the stream and the broken rule, unless the chunk is one of the stream's and can be decoded."""
    _validated(chunk, stream_id)


def read(chunk: MediaChunk, stream_id: str) -> list[CodedPacket]:
    """The chunk's packets in media time, each read once; raises what `validate` raises."""
    return _in_media_time(chunk, _validated(chunk, stream_id))


def coded(chunk: MediaChunk) -> list[CodedPacket]:
    """The packets in media time of a chunk that is known to be valid."""
    return _in_media_time(chunk, _as_sent(chunk))


def _as_sent(chunk: MediaChunk) -> list[CodedPacket]:
    """The packets in the chunk's own time base."""
    return [
        CodedPacket(
            packet.pts,
            packet.dts if packet.HasField("dts") else packet.pts,
            packet.keyframe,
            packet.data,
            packet.duration,
        )
        for packet in chunk.packets
    ]


def _in_media_time(chunk: MediaChunk, packets: list[CodedPacket]) -> list[CodedPacket]:
    above, below = chunk.time_base.numerator, chunk.time_base.denominator
    offset = MediaTime.from_proto(chunk.media_offset).nanos
    factor, rest = divmod(above * NANOS, below)
    if not rest:
        return [
            CodedPacket(pts * factor + offset, dts * factor + offset, keyframe, data, duration * factor)
            for pts, dts, keyframe, data, duration in packets
        ]
    return [
        CodedPacket(
            nanos_of(pts, above, below) + offset, nanos_of(dts, above, below) + offset, keyframe, data, nanos_of(duration, above, below)
        )
        for pts, dts, keyframe, data, duration in packets
    ]


def _validated(chunk: MediaChunk, stream_id: str) -> list[CodedPacket]:
    """The packets as they were sent; raises what `validate` raises."""
    packets = _as_sent(chunk)
    if chunk.stream_id != stream_id:
        raise MessageInvalid(f"stream {stream_id}: a chunk of stream {chunk.stream_id[:50]!r} does not belong here")
    if not STREAM_ID.fullmatch(stream_id):
        raise MessageInvalid(f"stream {stream_id[:50]!r}: this is no stream id: {STREAM_ID_RULE}")
    if problem := _problem(chunk, packets):
        raise MessageInvalid(f"stream {stream_id}: {problem} (chunk {chunk.epoch}/{chunk.sequence}); see docs/publishing.md")
    return packets


def _problem(chunk: MediaChunk, packets: list[CodedPacket]) -> str | None:
    """The first rule that the chunk breaks, in words."""
    match chunk.WhichOneof("parameters"):
        case "audio":
            codec = chunk.audio.codec
            if not 0 < chunk.audio.sample_rate <= 768_000:
                return f"a sample rate of {chunk.audio.sample_rate} Hz"
            if not 0 < chunk.audio.channels <= 64:
                return f"{chunk.audio.channels} audio channels"
        case "video":
            codec = chunk.video.codec
            if not (0 <= chunk.video.width <= 16_384 and 0 <= chunk.video.height <= 16_384):
                return f"pictures of {chunk.video.width} x {chunk.video.height} pixels"
        case _:
            return "a chunk that says neither audio nor video parameters"
    if not codec:
        return "a chunk that names no codec"
    if chunk.epoch < 0 or chunk.sequence < 0:
        return "a negative epoch or sequence number"
    if chunk.time_base.numerator <= 0 or chunk.time_base.denominator <= 0:
        return f"a time base of {chunk.time_base.numerator}/{chunk.time_base.denominator}"
    if not packets:
        return "a chunk without packets"
    return _problem_of_packets(chunk, packets)


def _problem_of_packets(chunk: MediaChunk, packets: list[CodedPacket]) -> str | None:
    shown, decoded, _, data, durations = zip(*packets, strict=True)
    sizes = [*map(len, data)]
    if min(durations) < 0:
        return "a packet of negative duration"
    if not min(sizes):
        return "a packet without bytes"
    above, below = chunk.time_base.numerator, chunk.time_base.denominator
    offset = MediaTime.from_proto(chunk.media_offset).nanos
    first, last = min(decoded), max(decoded)
    if any(abs(nanos_of(pts, above, below) + offset) > MAX_MEDIA_TIME.nanos for pts in (min(shown), max(shown), first, last)):
        return "a packet more than ten years from the stream's start"
    if sum(sizes) > MAX_BYTES:
        return f"{sum(sizes):,} bytes of packets, more than {MAX_BYTES:,}"
    if (last - first) * above * _LONGEST.denominator > _LONGEST.numerator * below:
        return f"packets that span {float((last - first) * time_base(chunk)):.3f} s, more than {float(MAX_SPAN)} s"
    return None


def time_base(chunk: MediaChunk) -> Fraction:
    """Seconds per unit of the packets' pts, dts and duration."""
    return Fraction(chunk.time_base.numerator, chunk.time_base.denominator)


def decoding_pts(packet: Packet) -> int:
    """When the packet is decoded, in time-base units: its dts, or its pts where it has none."""
    return packet.dts if packet.HasField("dts") else packet.pts


def packet_time(chunk: MediaChunk, packet: Packet) -> MediaTime:
    """Presentation time of one of the chunk's packets."""
    return MediaTime.from_pts(packet.pts, time_base(chunk), MediaTime.from_proto(chunk.media_offset))


def media_start(chunk: MediaChunk) -> MediaTime:
    """Media time at which the first of the chunk's packets is presented."""
    pts = min(packet.pts for packet in chunk.packets)
    return MediaTime.from_pts(pts, time_base(chunk), MediaTime.from_proto(chunk.media_offset))


def media_end(chunk: MediaChunk) -> MediaTime:
    """Media time at which the last of the chunk's packets ends; a packet of unknown duration ends where it starts."""
    pts = max([packet.pts + packet.duration for packet in chunk.packets])
    unit, offset = chunk.time_base, MediaTime.from_proto(chunk.media_offset).nanos
    return MediaTime(nanos_of(pts, unit.numerator, unit.denominator) + offset)


def thin(chunk: MediaChunk) -> MediaChunk | None:
    """The chunk with only those packets at which decoding can start; `None` where it has none."""
    if not any(packet.keyframe for packet in chunk.packets):
        return None
    if all(packet.keyframe for packet in chunk.packets):
        return chunk
    thinned = MediaChunk()
    thinned.CopyFrom(chunk)
    thinned.thinned = True
    del thinned.packets[:]
    thinned.packets.extend(packet for packet in chunk.packets if packet.keyframe)
    return thinned


def cut(packets: Iterable[Packet], unit: Fraction, *, stream_id: str, span: Fraction = MAX_SPAN) -> Iterator[list[Packet]]:
    """The packets in runs of at most `span` seconds and 900 kB, none of them empty.

    `unit` is the time base of the packets in seconds. Raises `MessageTooLarge` for a packet that fits in no chunk.
    """
    cutter = Cutter(unit, stream_id=stream_id, span=span)
    for packet in packets:
        if run := cutter.add(packet):
            yield run
    if run := cutter.rest():
        yield run


class Cutter:
    """Cuts one track's packets into runs that make a chunk each, as they come."""

    def __init__(self, unit: Fraction, *, stream_id: str, span: Fraction = MAX_SPAN) -> None:
        """`unit` is the packets' time base in seconds, `span` the longest run in seconds."""
        self._unit = unit
        self._stream_id = stream_id
        self._span = min(span, MAX_SPAN)
        self._run: list[Packet] = []
        self._bytes = 0

    def add(self, packet: Packet) -> list[Packet]:
        """Take the next packet in decoding order; the run that it completes, which does not hold it, or nothing.

        Raises `MessageTooLarge` for a packet that fits in no chunk; the packet is left out.
        """
        if len(packet.data) > MAX_BYTES:
            raise MessageTooLarge(
                f"stream {self._stream_id}: a single packet of {len(packet.data):,} bytes is over the limit of {MAX_BYTES:,} for a chunk; "
                "encode the source at a lower bit rate or picture size"
            )
        complete: list[Packet] = []
        if self._run and (self._bytes + len(packet.data) > MAX_BYTES or self._end(packet) > self._span):
            complete = self.rest()
        self._run.append(packet)
        self._bytes += len(packet.data)
        return complete

    def rest(self) -> list[Packet]:
        """The run that was begun, which may be empty."""
        run, self._run, self._bytes = self._run, [], 0
        return run

    def _end(self, packet: Packet) -> Fraction:
        """Seconds from the start of the run to the end of `packet`."""
        return (decoding_pts(packet) + packet.duration - decoding_pts(self._run[0])) * self._unit
