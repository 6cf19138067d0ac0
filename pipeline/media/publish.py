"""Sends a source's packets to the bus as they are, in chunks, at the pace at which they were recorded."""

import asyncio
import random
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TypeVar

import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from watchword.v1.errors_pb2 import ErrorEvent
from watchword.v1.events_pb2 import AudioEvent, VideoEvent
from watchword.v1.media_pb2 import AudioParameters, Gap, MediaChunk, Rational, StreamEnd

from pipeline import telemetry
from pipeline.bus import Bus, Context, Origin, Position
from pipeline.bus.codec import PUBLISHER, STREAM_ID, STREAM_ID_RULE
from pipeline.clock import Clock, SystemClock
from pipeline.errors import (
    BrokerUnavailable,
    MediaMissing,
    RequestInvalid,
    SourceInvalid,
    SourceUnavailable,
    WatchwordError,
    reason_name,
)
from pipeline.media.address import shown
from pipeline.media.runs import Run, Runs
from pipeline.media.source import Source, open_source
from pipeline.media.tracks import KINDS, Kind, Track
from pipeline.timeline import ZERO, MediaTime

_log = structlog.get_logger(__name__)

T = TypeVar("T")

_EVENTS = {"audio": AudioEvent, "video": VideoEvent}
HOLES_KEPT = 100
"""How many holes of a source a report lists."""
_LAST_WORD_TIMEOUT_S = 5.0
"""How long the end of a stream that is being cancelled may take to be sent."""


@dataclass(frozen=True)
class Retry:
    """How often, and after what waits, a lost live source is connected to again."""

    attempts: int = 10
    """Attempts in a row before it is given up."""
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0

    def wait_s(self, attempt: int, chance: float) -> float:
        """Seconds to wait before an attempt, counted from 1: twice as long each time; `chance` (0 to 1) takes off up to half."""
        wait: float = min(self.first_wait_s * 2 ** (attempt - 1), self.longest_wait_s)
        return wait * (1 - 0.5 * chance)


@dataclass(frozen=True)
class Started:
    """What is known when the first chunk is about to be sent."""

    started_at: float
    """Unix time in seconds."""
    live: bool
    tracks: Mapping[Kind, Track]


@dataclass
class PublishReport:
    """What was sent."""

    chunks: int = 0
    bytes: int = 0
    """Bytes of packets."""
    media_end: MediaTime = ZERO
    """Media time at which the last packet of either track ends."""
    tracks: tuple[Kind, ...] = ()
    gaps: int = 0
    """How many times a live source was away."""
    missing: list[MediaMissing] = field(default_factory=list)
    """The first of the stretches of which nothing came, `HOLES_KEPT` at most; all are told on the topic `errors`."""


async def publish(
    source: str,
    bus: Bus,
    *,
    stream_id: str,
    speed: float | None = 1.0,
    live: bool | None = None,
    clock: Clock | None = None,
    on_started: Callable[[Started], None] | None = None,
    retry: Retry = Retry(),
    opener: Callable[[str], Source] = open_source,
) -> PublishReport:
    """Publish a source to the topics `audio` and `video` until it ends.

    A recording is sent at `speed` times its natural pace, or as fast as the bus takes it where `speed` is `None`; a live
    source sets its own pace, and is connected to again when it is lost. `live` overrides what the source is taken for.

    Both topics are ended, with the cause where it is a failure, also when the source has no such track; but when the
    source could not be opened nothing is sent at all, so that the stream id stays free. Raises `SourceError`,
    `CodecUnsupported`, `MessageTooLarge`, `BrokerUnavailable`, or `RequestInvalid`; a `SourceTruncated`, or a
    `CodecUnsupported` for one track of two, is raised after everything that could be read was sent.
    """
    if not STREAM_ID.fullmatch(stream_id):
        raise RequestInvalid(f"{stream_id[:50]!r} is not a stream id: {STREAM_ID_RULE}")
    if speed is not None and not 0 < speed < float("inf"):
        raise RequestInvalid(f"stream {stream_id}: a speed of {speed} is not possible; give a positive number, or none for full speed")
    publisher = _Publisher(source, bus, stream_id, speed, live, clock or SystemClock(), on_started, retry, opener)
    try:
        await publisher.run()
    except BrokerUnavailable:
        raise
    except WatchwordError as error:
        await publisher.end(str(error))
        raise _named(error, stream_id) from error
    except asyncio.CancelledError:
        await publisher.stop()
        raise
    except BaseException:
        await publisher.end("publishing failed")
        raise
    finally:
        publisher.close()
    await publisher.end("")
    return publisher.report


def _named(error: WatchwordError, stream_id: str) -> WatchwordError:
    """The error with the stream named in its message."""
    name = f"stream {stream_id}: "
    return error if str(error).startswith(name) else type(error)(f"{name}{error}")


@dataclass
class _Publisher:
    source: str
    bus: Bus
    stream_id: str
    speed: float | None
    live: bool | None
    clock: Clock
    on_started: Callable[[Started], None] | None
    retry: Retry
    opener: Callable[[str], Source]
    report: PublishReport = field(default_factory=PublishReport)

    def __post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="demux")
        self._context: Context | None = None
        self._open: Source | None = None
        self._epoch = 0
        self._sequences: dict[Kind, int] = {}
        self._ends: dict[Kind, MediaTime] = {}
        self._failures = 0
        self._media_zero_at = 0.0
        self._offset = Fraction(0)

    async def run(self) -> None:
        """Send everything there is."""
        source = await self._connect()
        while True:
            lost = await self._send_all(source)
            if lost is None:
                break
            source = await self._reconnect(lost)
        if self._context is None:
            raise SourceInvalid(f"{shown(self.source)} holds no packets; nothing was published")
        if source.problem is not None:
            raise source.problem

    async def end(self, cause: str) -> None:
        """Say the last word on both topics, unless nothing was ever said."""
        if self._context is None:
            return
        context, self._context = self._context, None
        for kind in KINDS:
            last = StreamEnd(stream_id=self.stream_id, media_end=self._ends.get(kind, ZERO).to_proto(), cause=cause)
            await self.bus.publish(kind, self.stream_id, _EVENTS[kind](end=last), context=context)
        _log.info("stream_ended", stream=self.stream_id, chunks=self.report.chunks, cause=cause)

    async def stop(self) -> None:
        """Say the last word if the bus takes it soon; raises nothing, since whoever cancels waits for the cancel."""
        try:
            async with asyncio.timeout(_LAST_WORD_TIMEOUT_S):
                await self.end("publishing was stopped")
        except (TimeoutError, WatchwordError) as error:
            cause = str(error) or f"the bus took nothing for {_LAST_WORD_TIMEOUT_S:g} s"
            _log.warning("stream_not_ended", stream=self.stream_id, cause=cause)

    def close(self) -> None:
        """Let go of the source; where its thread is still reading, as soon as it has stopped."""
        if self._open is not None:
            self._thread.submit(self._open.close)
        self._thread.shutdown(wait=False)

    async def _connect(self) -> Source:
        source = await self._in_thread(lambda: self.opener(self.source))
        self._open = source
        self._epoch = max(int(self.clock.now() * 1000), self._epoch + 1)
        self._sequences = dict.fromkeys(KINDS, 0)
        self.report.tracks = tuple(kind for kind in KINDS if kind in source.tracks or kind in self.report.tracks)
        _log.info("source_opened", stream=self.stream_id, source=shown(self.source), epoch=self._epoch, tracks=tuple(source.tracks))
        if source.problem is not None:
            _log.warning("track_left_out", stream=self.stream_id, cause=str(source.problem))
        return source

    async def _send_all(self, source: Source) -> SourceUnavailable | None:
        """Send the source to its end; why it was lost, if it is live and was."""
        zero = source.zero
        runs = iter(Runs(source, self.stream_id))
        try:
            while (run := await self._in_thread(lambda: next(runs, None))) is not None:
                zero = run.start if zero is None else zero
                if self._sequences == dict.fromkeys(KINDS, 0):
                    await self._begin(source, run, zero)
                if not source.live and self.speed is not None:
                    seconds = float(run.complete + self._offset) / self.speed
                    await self.clock.sleep_until(self._media_zero_at + seconds)
                await self._send(run)
                await self._say_missing(source)
        except SourceUnavailable as lost:
            if source.live and self._context is not None:
                return lost
            raise
        return None

    async def _begin(self, source: Source, run: Run, zero: Fraction) -> None:
        """Fix where the connection's clock stands on the stream's, when its first packets are there."""
        now = self.clock.monotonic()
        if self._context is None:
            self._offset = -zero
            self._media_zero_at = now - (max(float(run.complete - zero), 0) if source.live else 0)
            started_at = self.clock.now()
            live = source.live if self.live is None else self.live
            self._context = Context(started_at, live)
            if self.on_started is not None:
                self.on_started(Started(started_at, live, source.tracks))
            return
        end = max(self._ends.values(), default=ZERO)
        start = max(MediaTime.of(now - self._media_zero_at - float(run.complete - zero)), end)
        self._offset = Fraction(start.nanos, 1_000_000_000) - zero
        await self._say_gap(end, start)

    async def _say_gap(self, start: MediaTime, end: MediaTime) -> None:
        assert self._context is not None
        gap = Gap(
            stream_id=self.stream_id,
            id=f"gap-{start.millis}",
            media_start=start.to_proto(),
            media_end=end.to_proto(),
            cause=f"the source was lost and connected to again after {(end - start).seconds:.1f} s",
        )
        origin = Origin(PUBLISHER, Position(self._epoch, -1))
        for kind in KINDS:
            await self.bus.publish(kind, self.stream_id, _EVENTS[kind](gap=gap), origin=origin, context=self._context)
        self.report.gaps += 1

    async def _say_missing(self, source: Source) -> None:
        """Report where the source was found to hold nothing, as far as packets were read."""
        assert self._context is not None
        for hole in source.missing():
            start = MediaTime.of(hole.start + self._offset)
            missing = hole.told(f"stream {self.stream_id}: {shown(self.source)}", self._offset)
            event = ErrorEvent(
                stream_id=self.stream_id,
                id=f"error-{PUBLISHER}-{self._epoch}-{start.millis}",
                step=PUBLISHER,
                reason=missing.reason,
                message=str(missing),
                media_time=start.to_proto(),
            )
            event.occurred_at.FromNanoseconds(int(self.clock.now() * 1_000_000_000))
            telemetry.ERRORS.labels(PUBLISHER, reason_name(missing.reason)).inc()
            origin = Origin(PUBLISHER, Position(self._epoch, start.millis))
            await self.bus.publish("errors", self.stream_id, event, origin=origin, context=self._context)
            if len(self.report.missing) < HOLES_KEPT:
                self.report.missing.append(missing)

    async def _reconnect(self, lost: SourceUnavailable) -> Source:
        """Connect again, after longer and longer waits; raises what the last attempt raised."""
        error: WatchwordError = lost
        while self._failures < self.retry.attempts:
            self._failures += 1
            wait_s = self.retry.wait_s(self._failures, random.random())
            _log.warning("source_lost", stream=self.stream_id, cause=str(error), attempt=self._failures, wait_s=round(wait_s, 2))
            if self._open is not None:
                source, self._open = self._open, None
                await self._in_thread(source.close)
            await self.clock.sleep_until(self.clock.monotonic() + wait_s)
            try:
                return await self._connect()
            except WatchwordError as failure:
                error = failure
        raise SourceUnavailable(f"{error}; given up after {self.retry.attempts} attempts") from error

    async def _send(self, run: Run) -> None:
        assert self._context is not None
        kind = run.track.kind
        chunk = self._chunk(run)
        await self.bus.publish(kind, self.stream_id, _EVENTS[kind](chunk=chunk), context=self._context)
        self._failures = 0
        self._sequences[kind] += 1
        self._ends[kind] = max(MediaTime.of(run.end + self._offset), self._ends.get(kind, ZERO))
        self.report.chunks += 1
        self.report.bytes += sum(len(packet.data) for packet in run.packets)
        self.report.media_end = max(self._ends[kind], self.report.media_end)

    def _chunk(self, run: Run) -> MediaChunk:
        sent_at = Timestamp()
        sent_at.FromNanoseconds(int(self.clock.now() * 1_000_000_000))
        parameters = run.track.parameters
        return MediaChunk(
            stream_id=self.stream_id,
            epoch=self._epoch,
            sequence=self._sequences[run.track.kind],
            audio=parameters if isinstance(parameters, AudioParameters) else None,
            video=None if isinstance(parameters, AudioParameters) else parameters,
            time_base=Rational(numerator=run.track.unit.numerator, denominator=run.track.unit.denominator),
            media_offset=MediaTime.of(run.shift + self._offset).to_proto(),
            packets=run.packets,
            sent_at=sent_at,
        )

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)
