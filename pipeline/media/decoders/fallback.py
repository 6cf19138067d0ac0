"""A decoder behind which another stands until its first frame has come."""

from collections.abc import Callable

import structlog

from pipeline.media.decoders.port import CodedPacket, Decoder, DecoderFailed, Frame, Interruptible, Skip

_log = structlog.get_logger(__name__)

_PATIENCE = 64
"""Packets after which a decoder that has given no frame and raised nothing is given up."""


class FallingBack:
    """Uses the first decoder unless it fails before it has given a frame; then the second, from the first packet on."""

    def __init__(self, stream_id: str, first: Decoder, second: Callable[[], Decoder]) -> None:
        """`second` opens the other decoder; it raises what is then raised."""
        self._stream_id = stream_id
        self._decoder = first
        self._second: Callable[[], Decoder] | None = second
        self._given: list[tuple[CodedPacket, Skip]] = []

    @property
    def name(self) -> str:
        """That of the decoder in use."""
        return self._decoder.name

    def decode(self, packet: CodedPacket, skip: Skip = Skip.NOTHING) -> list[Frame]:
        """See `Decoder.decode`."""
        if self._second is None:
            return self._decoder.decode(packet, skip)
        if packet.keyframe:
            self._given.clear()
        self._given.append((packet, skip))
        try:
            frames = self._decoder.decode(packet, skip)
        except DecoderFailed as error:
            return self._fall_back(str(error))
        if frames:
            self._settle()
        elif len(self._given) >= _PATIENCE:
            return self._fall_back(f"no frame after {_PATIENCE} packets")
        return frames

    def drain(self) -> list[Frame]:
        """See `Decoder.drain`."""
        frames = self._decoder.drain()
        if self._second is not None and not frames and self._given:
            return self._fall_back("no frame for what was given") + self._decoder.drain()
        if frames:
            self._settle()
        return frames

    def interrupt(self) -> None:
        """See `Interruptible.interrupt`."""
        if isinstance(self._decoder, Interruptible):
            self._decoder.interrupt()

    def close(self) -> None:
        """Let go of the decoder in use."""
        self._decoder.close()

    def _settle(self) -> None:
        self._second, self._given = None, []

    def _fall_back(self, cause: str) -> list[Frame]:
        assert self._second is not None
        _log.warning("decoder does not decode this stream", stream=self._stream_id, decoder=self._decoder.name, cause=cause)
        self._decoder.close()
        self._decoder = self._second()
        given = self._given
        self._settle()
        return [frame for packet, skip in given for frame in self._decoder.decode(packet, skip)]
