"""Transcription as a call."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import replace

from google.protobuf.message import Message
from watchword.v1 import events_pb2, transcribe_service_pb2, transcribe_service_pb2_grpc
from watchword.v1.transcribe_service_pb2 import StreamingTranscribeConfig, StreamingTranscribeRequest, StreamingTranscribeResponse

from pipeline.errors import RequestInvalid, SettingInvalid, WatchwordError
from pipeline.stage import Stage
from pipeline.transcribe.options import Options
from services import speech
from services.incoming.call import Places, Refused, Sent
from services.rpc import ServicerContext, abort, after_config, through

CALLS_AT_ONCE = 64
"""Streaming calls under way in one process: each holds a decoder, and one that sends a file a thread."""

OptionsOf = Callable[[str], Options]
"""What the settings ask of the stream with the given id."""
MakeStage = Callable[[str, Options], Stage]
Require = Callable[[Options], None]
"""Raises `SettingInvalid` for options that the model cannot meet."""


class TranscribeServicer(transcribe_service_pb2_grpc.TranscribeServiceServicer):
    """One stage per call."""

    def __init__(self, options_of: OptionsOf, make_stage: MakeStage, require: Require, *, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._options_of = options_of
        self._make_stage = make_stage
        self._require = require
        self._calls = Places(calls_at_once, "streams are being transcribed")

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
        try:
            with self._calls.one():
                await self._stream(request_iterator, context)
        except WatchwordError as error:
            await abort(context, error)

    async def _stream(self, request_iterator: AsyncIterator[StreamingTranscribeRequest], context: ServicerContext) -> None:
        config, requests = await after_config(request_iterator, "StreamingTranscribeRequest")
        stage = self._make_stage(config.stream_id, self._asked(config))
        audio = Sent(config.stream_id, requests, "audio", pcm=config.pcm if config.HasField("pcm") else None)
        refused = Refused("transcribe")

        async def events() -> AsyncGenerator[Message, None]:
            async with aclosing(audio.chunks()) as chunks:
                async for chunk in chunks:
                    yield events_pb2.AudioEvent(chunk=chunk)

        async with aclosing(events()) as sent, aclosing(through(stage, sent, refused.note)) as said:
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
