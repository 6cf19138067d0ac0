"""The gateway's gRPC faces: LiveService, and QaService passed on to the memory."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import NoReturn

import grpc
from watchword.v1 import events_pb2, live_service_pb2, live_service_pb2_grpc, media_pb2, qa_service_pb2, qa_service_pb2_grpc

from pipeline.bus import Bus, Context, Origin, Position
from pipeline.bus.codec import PUBLISHER
from pipeline.errors import BrokerRenewed, RequestInvalid, StreamEnded, WatchwordError
from pipeline.media.chunks import media_end, validate
from pipeline.timeline import ZERO
from services.gateway.hub import Hub, Viewer
from services.rpc import ServicerContext, abort, accept, after_config, error_of, is_accepted, reason_of

AFTER_ALL_CHUNKS = 2**62
"""A sequence number beyond any chunk's: where a gap stands in the epoch that it ends."""
STALLED_S = 30.0
"""How long a client that was dropped for being slow may take to fetch the news; then the call is cut."""


class LiveServicer(live_service_pb2_grpc.LiveServiceServicer):
    """Media in, everything that was understood out."""

    def __init__(self, bus: Bus, hub: Hub) -> None:
        self._bus = bus
        self._hub = hub
        self._taken_in: set[str] = set()
        """The streams that are being taken in now."""

    async def ListStreams(
        self, request: live_service_pb2.ListStreamsRequest, context: ServicerContext
    ) -> live_service_pb2.ListStreamsResponse:
        """The known streams."""
        return live_service_pb2.ListStreamsResponse(streams=self._hub.streams())

    async def Watch(self, request: live_service_pb2.WatchRequest, context: ServicerContext) -> None:
        """The stream's kept past, then what happens, to its end."""
        try:
            viewer = self._hub.watch(request.stream_id, request.resume_token)
        except WatchwordError as error:
            await abort(context, error)
        try:
            await accept(context)
            async for response in viewer.updates():
                await _write(context, response, viewer)
        except WatchwordError as error:
            await abort(context, error)
        finally:
            self._hub.leave(viewer)

    async def Ingest(
        self, request_iterator: AsyncIterator[live_service_pb2.IngestRequest], context: ServicerContext
    ) -> live_service_pb2.IngestResponse:
        """Publish a client's chunks, and the stream's end when the client is done or gone."""
        try:
            config, requests = await after_config(request_iterator, "IngestRequest")
            return await self._take_in(config, requests)
        except WatchwordError as error:
            await abort(context, error)

    async def _take_in(
        self, config: live_service_pb2.IngestConfig, requests: AsyncIterator[live_service_pb2.IngestRequest]
    ) -> live_service_pb2.IngestResponse:
        stream_id = config.stream_id
        if self._hub.is_complete(stream_id):
            raise StreamEnded(f"stream {stream_id} has ended: ids are used once; send it under another")
        if stream_id in self._taken_in:
            raise RequestInvalid(f"stream {stream_id} is being sent by another client of this gateway")
        self._taken_in.add(stream_id)
        try:
            return await self._pass_on(stream_id, config.live, requests)
        finally:
            self._taken_in.remove(stream_id)

    async def _pass_on(
        self, stream_id: str, live: bool, requests: AsyncIterator[live_service_pb2.IngestRequest]
    ) -> live_service_pb2.IngestResponse:
        intake = _Intake(self._bus, stream_id, live)
        cause: str | None = "the client went away"
        try:
            async for request in requests:
                match request.WhichOneof("request"):
                    case "chunk":
                        await intake.chunk(request.chunk)
                    case "gap":
                        await intake.gap(request.gap)
                    case _:
                        raise RequestInvalid(f"stream {stream_id}: after the config only chunks and gaps may follow")
            cause = ""
        except BrokerRenewed:
            cause = None  # the beginning is gone: an end alone would keep the client from sending the stream again
            raise
        except WatchwordError as error:
            cause = str(error)
            raise
        finally:
            if intake.chunks and cause is not None:
                await asyncio.shield(intake.end(cause))
        return live_service_pb2.IngestResponse(chunks=intake.chunks)


class _Intake:
    """Publishes one client's stream."""

    def __init__(self, bus: Bus, stream_id: str, live: bool) -> None:
        self._bus = bus
        self._stream_id = stream_id
        self._context = Context(started_at=time.time(), live=live)
        self._ends = {"audio": ZERO, "video": ZERO}
        self._epoch = 0
        self.chunks = 0

    async def chunk(self, chunk: media_pb2.MediaChunk) -> None:
        """Publish a chunk on its track's topic; raises `MessageInvalid`."""
        validate(chunk, self._stream_id)
        topic = chunk.WhichOneof("parameters") or ""
        event = events_pb2.AudioEvent(chunk=chunk) if topic == "audio" else events_pb2.VideoEvent(chunk=chunk)
        await self._bus.publish(topic, self._stream_id, event, context=self._context)
        self._ends[topic] = max(self._ends[topic], media_end(chunk))
        self._epoch = chunk.epoch
        self.chunks += 1

    async def gap(self, gap: media_pb2.Gap) -> None:
        """Publish a gap on both topics, after all that the epoch so far may hold."""
        if gap.stream_id != self._stream_id:
            raise RequestInvalid(f"stream {self._stream_id}: a gap of stream {gap.stream_id[:50]!r} does not belong here")
        origin = Origin(PUBLISHER, Position(self._epoch, AFTER_ALL_CHUNKS))
        for topic, event in (("audio", events_pb2.AudioEvent(gap=gap)), ("video", events_pb2.VideoEvent(gap=gap))):
            await self._bus.publish(topic, self._stream_id, event, origin=origin, context=self._context)

    async def end(self, cause: str) -> None:
        """End the stream on both topics."""
        for topic, message in (("audio", events_pb2.AudioEvent), ("video", events_pb2.VideoEvent)):
            end = media_pb2.StreamEnd(stream_id=self._stream_id, media_end=self._ends[topic].to_proto(), cause=cause)
            await self._bus.publish(topic, self._stream_id, message(end=end), context=self._context)


class QaServicer(qa_service_pb2_grpc.QaServiceServicer):
    """Questions, passed on to the memory service."""

    def __init__(self, memory: grpc.aio.Channel) -> None:
        self._memory = qa_service_pb2_grpc.QaServiceStub(memory)

    async def Ask(self, request: qa_service_pb2.AskRequest, context: ServicerContext) -> AsyncIterator[qa_service_pb2.AskResponse]:
        """The memory's answer, part by part; its failures with their status."""
        try:
            async for response in self._memory.Ask(request, timeout=context.time_remaining()):
                yield response
        except grpc.aio.AioRpcError as error:
            await _pass_on(context, error)

    async def Stand(self, request: qa_service_pb2.StandRequest, context: ServicerContext) -> AsyncIterator[qa_service_pb2.StandResponse]:
        """The memory's alerts as they come; its failures with their status."""
        call = self._memory.Stand(request, timeout=context.time_remaining())
        try:
            if await is_accepted(call):
                await accept(context)
            async for response in call:
                yield response
        except grpc.aio.AioRpcError as error:
            await _pass_on(context, error)


async def _pass_on(context: ServicerContext, error: grpc.aio.AioRpcError) -> NoReturn:
    """End the call as the memory ended its own."""
    if reason_of(error):
        await context.abort(error.code(), error.details() or "", tuple(error.trailing_metadata() or ()))
    await abort(context, error_of(error, "the memory service"))


async def _write(context: ServicerContext, response: live_service_pb2.WatchResponse, viewer: Viewer) -> None:
    """Send one response; a client that was cut off and takes nothing any more is let go after a while."""
    write = asyncio.ensure_future(context.write(response))
    slow = asyncio.ensure_future(viewer.cut_off.wait())
    try:
        await asyncio.wait({write, slow}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait_for(write, STALLED_S)
    finally:
        for task in (write, slow):
            task.cancel()
        await asyncio.gather(write, slow, return_exceptions=True)
