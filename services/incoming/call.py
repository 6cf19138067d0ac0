"""What calls that send media have in common: so many at once, their media as chunks, and what of it could not be decoded."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

from watchword.v1.media_pb2 import MediaChunk
from watchword.v1.transcribe_service_pb2 import Pcm

from pipeline import telemetry
from pipeline.errors import MediaUndecodable, Overloaded, RequestInvalid, SourceTruncated, reason_name
from pipeline.media.tracks import Kind
from services.incoming.pieces import of_container, of_samples


class Places:
    """How many calls may be under way in this process: each holds a decoder, and one that sends a file a thread."""

    def __init__(self, most: int, what: str) -> None:
        """`what` is being done `most` times, as in "videos are being described"."""
        self._most, self._what = most, what
        self._taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place for as long as the block runs; raises `Overloaded` where none is free."""
        if self._taken >= self._most:
            raise Overloaded(f"{self._most} {self._what} here already; try again later, or another service")
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


class Refused:
    """What of a call's media could not be decoded: counted, and the first is told when all is taken in."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.first: MediaUndecodable | None = None

    def note(self, error: MediaUndecodable) -> None:
        """Count it."""
        telemetry.ERRORS.labels(self._step, reason_name(error.reason)).inc()
        self.first = self.first or error


class Sent:
    """The media of a call, after its config: chunks, or bytes of a file or of bare samples in the field that is named like their kind."""

    def __init__(self, stream_id: str, requests: AsyncIterator[Any], kind: Kind, *, pcm: Pcm | None = None) -> None:
        """With `pcm` the bytes are bare samples."""
        self._stream_id, self._requests, self._kind, self._pcm = stream_id, requests, kind, pcm
        self.failure: SourceTruncated | None = None
        """That the media ended before their time; what was there until then is told first."""

    async def chunks(self) -> AsyncGenerator[MediaChunk, None]:
        """Chunk after chunk; raises `RequestInvalid` for a message that does not belong here, and what cannot be read at all."""
        first = await anext(self._requests, None)
        if first is None:
            return
        async with aclosing(self._source(first)) as chunks:
            try:
                async for chunk in chunks:
                    yield chunk
            except SourceTruncated as failure:
                self.failure = failure

    def _source(self, first: Any) -> AsyncGenerator[MediaChunk, None]:
        if first.WhichOneof("request") != self._kind:
            if self._pcm is not None:
                raise RequestInvalid(f"stream {self._stream_id}: the config says `pcm`, so only bytes may follow it")
            return self._field("chunk", first)
        if self._pcm is not None:
            return of_samples(self._stream_id, self._pcm, self._field(self._kind, first))
        return of_container(self._stream_id, self._field(self._kind, first), self._kind)

    async def _field(self, name: str, first: Any) -> AsyncGenerator[Any, None]:
        """That field of each request; no other may follow."""
        request = first
        while request is not None:
            if (sent := request.WhichOneof("request")) != name:
                raise RequestInvalid(f"stream {self._stream_id}: {sent or 'nothing'} where only {name} may follow")
            yield getattr(request, name)
            request = await anext(self._requests, None)
