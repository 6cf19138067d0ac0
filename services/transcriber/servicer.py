"""Transcription as a call."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

from google.protobuf.message import Message
from watchword.v1 import events_pb2, transcribe_service_pb2, transcribe_service_pb2_grpc
from watchword.v1.media_pb2 import MediaChunk
from watchword.v1.transcribe_service_pb2 import StreamingTranscribeConfig, StreamingTranscribeRequest, StreamingTranscribeResponse

from pipeline import telemetry
from pipeline.errors import MediaUndecodable, Overloaded, RequestInvalid, SettingInvalid, SourceTruncated, WatchwordError, reason_name
from pipeline.stage import Stage
from pipeline.transcribe.options import Options
from services import speech
from services.rpc import ServicerContext, abort, after_config, through
from services.transcriber import incoming

CALLS_AT_ONCE = 64
"""Streaming calls under way in one process: each holds a decoder, and one that sends a file a thread."""

OptionsOf = Callable[[str], Options]
"""What the settings ask of the stream with the given id."""
MakeStage = Callable[[str, Options], Stage]
Require = Callable[[Options], None]
"""Raises `SettingInvalid` for options that the model cannot meet."""


class TranscribeServicer(transcribe_service_pb2_grpc.TranscribeServiceServicer):
    """One stage per call."""

    def __init__(self, options_of: OptionsOf, make_stage: MakeStage, require: Require) -> None:
        self._options_of = options_of
        self._make_stage = make_stage
        self._require = require
        self._calls = 0

    async def Transcribe(
        self, request_iterator: AsyncIterator[transcribe_service_pb2.TranscribeRequest], context: ServicerContext
    ) -> AsyncIterator[transcribe_service_pb2.TranscribeResponse]:
        """Partials and finals while the audio comes in."""
        try:
            config, requests = await after_config(request_iterator, "TranscribeRequest")
            stage = self._make_stage(config.stream_id, self._options_of(config.stream_id))
            async for said in through(stage, _events(requests)):
                if isinstance(said, events_pb2.TranscriptEvent) and said.HasField("segment"):
                    yield transcribe_service_pb2.TranscribeResponse(segment=said.segment)
        except WatchwordError as error:
            await abort(context, error)

    async def StreamingTranscribe(self, request_iterator: AsyncIterator[StreamingTranscribeRequest], context: ServicerContext) -> None:
        """Captions of whatever audio is sent."""
        # Responses are written, not yielded: a call that is cancelled then ends right here, and what it holds is let go.
        self._calls += 1
        try:
            if self._calls > CALLS_AT_ONCE:
                raise Overloaded(f"{CALLS_AT_ONCE} streams are being transcribed here already; try again later, or another service")
            await self._stream(request_iterator, context)
        except WatchwordError as error:
            await abort(context, error)
        finally:
            self._calls -= 1

    async def _stream(self, request_iterator: AsyncIterator[StreamingTranscribeRequest], context: ServicerContext) -> None:
        config, requests = await after_config(request_iterator, "StreamingTranscribeRequest")
        stage = self._make_stage(config.stream_id, self._asked(config))
        audio = _Audio(config, requests)
        refused = _Refused()
        async with aclosing(audio.events()) as events, aclosing(through(stage, events, refused.note)) as said:
            async for event in said:
                if response := _response(event, config.interim_results):
                    await context.write(response)
        if failure := audio.failure or refused.first:
            raise failure

    def _asked(self, config: StreamingTranscribeConfig) -> Options:
        """The settings' options with what the call asks for; raises `RequestInvalid`."""
        options = self._options_of(config.stream_id)
        try:
            asked = speech.Asked(config.language, config.translate or None, config.glossary)
            options = replace(asked.over(options), interim=config.interim_results)
            self._require(options)
        except SettingInvalid as error:
            raise RequestInvalid(f"stream {config.stream_id}: {error}") from error
        return options


class _Refused:
    """What of a call's audio could not be decoded: counted, and the first is told when all is heard."""

    def __init__(self) -> None:
        self.first: MediaUndecodable | None = None

    def note(self, error: MediaUndecodable) -> None:
        """Count it."""
        telemetry.ERRORS.labels("transcribe", reason_name(error.reason)).inc()
        self.first = self.first or error


class _Audio:
    """The audio of a call, as the events that a stage takes."""

    def __init__(self, config: StreamingTranscribeConfig, requests: AsyncIterator[StreamingTranscribeRequest]) -> None:
        self._stream_id = config.stream_id
        self._pcm = config.pcm if config.HasField("pcm") else None
        self._requests = requests
        self.failure: SourceTruncated | None = None
        """That the audio ended before its time; what was heard until then is told first."""

    async def events(self) -> AsyncGenerator[Message, None]:
        """Chunk after chunk; raises `RequestInvalid` for a message that does not belong here, and what cannot be heard at all."""
        first = await anext(self._requests, None)
        if first is None:
            return
        async with aclosing(self._chunks(first)) as chunks:
            try:
                async for chunk in chunks:
                    yield events_pb2.AudioEvent(chunk=chunk)
            except SourceTruncated as failure:
                self.failure = failure

    def _chunks(self, first: StreamingTranscribeRequest) -> AsyncGenerator[MediaChunk, None]:
        if first.WhichOneof("request") != "audio":
            return self._sent_chunks(first)
        if self._pcm is not None:
            return incoming.of_samples(self._stream_id, self._pcm, self._sent_bytes(first))
        return incoming.of_container(self._stream_id, self._sent_bytes(first))

    async def _sent_chunks(self, first: StreamingTranscribeRequest) -> AsyncGenerator[MediaChunk, None]:
        if self._pcm is not None:
            raise RequestInvalid(f"stream {self._stream_id}: the config says `pcm`, so only bytes may follow it")
        async for request in self._all("chunk", first):
            yield request.chunk

    async def _sent_bytes(self, first: StreamingTranscribeRequest) -> AsyncGenerator[bytes, None]:
        async for request in self._all("audio", first):
            yield request.audio

    async def _all(self, kind: str, first: StreamingTranscribeRequest) -> AsyncGenerator[StreamingTranscribeRequest, None]:
        request: StreamingTranscribeRequest | None = first
        while request is not None:
            if (sent := request.WhichOneof("request")) != kind:
                raise RequestInvalid(f"stream {self._stream_id}: {sent or 'nothing'} where only {kind} may follow")
            yield request
            request = await anext(self._requests, None)


def _response(event: Message, interim_results: bool) -> StreamingTranscribeResponse | None:
    if not isinstance(event, events_pb2.TranscriptEvent):
        return None
    match event.WhichOneof("event"):
        case "segment" if interim_results or event.segment.is_final:
            return StreamingTranscribeResponse(segment=event.segment)
        case "stats":
            return StreamingTranscribeResponse(stats=event.stats)
        case _:
            return None


async def _events(requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
    async for request in requests:
        assert isinstance(request, transcribe_service_pb2.TranscribeRequest)
        if request.WhichOneof("request") != "chunk":
            raise RequestInvalid("after the config only chunks may follow")
        yield events_pb2.AudioEvent(chunk=request.chunk)
