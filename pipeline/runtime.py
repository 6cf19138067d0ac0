"""The one loop that runs a step, whatever bus it stands on.

A reader takes records in order and hands each to its stream's task through a bounded inbox; the task publishes what the
stage makes of it, and a committer remembers, now and then, from where the step would have to go on (`pipeline.ledger`).
Bad input is reported on the errors topic, counted, and passed over; the stream and the others go on.
"""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from watchword.v1 import errors_pb2, events_pb2, media_pb2

from pipeline import overload, telemetry
from pipeline.bus import Assigned, Bus, Origin, Position, Progress, Record, Revoked, Subscription
from pipeline.bus.codec import NO_STREAM, is_end
from pipeline.errors import BrokerUnavailable, InternalError, Overloaded, StreamEnded, TrackMissing, WatchwordError, reason_name
from pipeline.graph import TOPICS, Step, WhenFull, writers
from pipeline.ledger import Admission, Ledger
from pipeline.stage import Dated, Stage, StageFactory

log = structlog.get_logger(__name__)

STREAMS_AT_ONCE = 1024
"""How many streams one process works on; records of a further one are refused, since each holds buffers and a decoder."""


LAST_COMMIT_S = 2.0
"""How long a step that is asked to stop waits for its last commit; where it gives up, a little is read again."""
IDLE_S = 600.0
"""After how long without a record a stream is let go: its publisher may be gone without an end."""


async def run(step: Step, bus: Bus, make_stage: StageFactory, *, commit_interval_s: float = 0.2, idle_s: float = IDLE_S) -> None:
    """Run a step until it is cancelled; raises what the bus raises when it fails for good, such as `BrokerUnavailable`.

    A stream of which nothing came for `idle_s` is suspended: its stage says what it has left to say and is released, and
    nothing of the stream is read again. When the stream goes on, it goes on with a fresh stage.

    On cancellation the progress is committed, if that takes no longer than `LAST_COMMIT_S`. After any other end it is not, and a
    later run repeats some work, which the readers of its outputs recognise.
    """
    runner = _Runner(step, bus, make_stage, await bus.subscribe(step.reads, step.name), commit_interval_s, idle_s)
    try:
        await runner.run()
    except ExceptionGroup as group:
        raise _first(group) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


class _Inbox:
    """The records of one stream that wait for its task."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._records: deque[Record] = deque()
        self._changed = asyncio.Condition()

    @property
    def full(self) -> bool:
        return len(self._records) >= self._capacity

    @property
    def empty(self) -> bool:
        return not self._records

    async def put(self, record: Record) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self.full)
            self._records.append(record)
            self._changed.notify_all()

    async def get(self) -> Record:
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._records))
            record = self._records.popleft()
            self._changed.notify_all()
            return record

    def drop_least_novel(self) -> Record | None:
        """Take the least novel keyframe out, if one waits."""
        index = overload.least_novel([record.value for record in self._records if isinstance(record.value, Message)])
        if index is None:
            return None
        record = self._records[index]
        del self._records[index]
        return record


@dataclass
class _Stream:
    """A stream that the step works on."""

    partition: int
    stage: Stage
    inbox: _Inbox
    task: asyncio.Task[None] | None = None
    overloads: int = 0


@dataclass
class _Outputs:
    """Numbers what one record leads to."""

    record: Record
    count: int = 0

    def origin(self, step: str) -> Origin:
        origin = Origin(step, Position(self.record.offset, self.count))
        self.count += 1
        return origin


class _Runner:
    def __init__(
        self, step: Step, bus: Bus, make_stage: StageFactory, subscription: Subscription, commit_interval_s: float, idle_s: float
    ) -> None:
        self._step = step
        self._bus = bus
        self._make_stage = make_stage
        self._subscription = subscription
        self._commit_interval_s = commit_interval_s
        self._idle_s = idle_s
        self._topic = TOPICS[step.reads]
        self._routes = {
            message: [name for name in step.writes if TOPICS[name].message is message]
            for message in {TOPICS[name].message for name in step.writes}
        }
        self._ledgers: dict[int, Ledger] = {}
        self._streams: dict[str, _Stream] = {}
        self._late: OrderedDict[str, None] = OrderedDict()
        """Streams of which it was reported that something came after their end."""
        self._dirty = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def run(self) -> None:
        try:
            async with self._group:
                self._group.create_task(self._commit_now_and_then(), name=f"{self._step.name}:commit")
                await self._read()
        except asyncio.CancelledError:
            await self._commit_last()
            raise
        finally:
            for stream in self._streams.values():
                stream.stage.close()
            telemetry.STREAMS_LIVE.labels(self._step.name).dec(len(self._streams))
            await self._subscription.close()

    async def _read(self) -> None:
        while True:
            match await self._subscription.next():
                case Assigned(partition, progress):
                    self._ledgers[partition] = Ledger(progress, writers(self._step.reads))
                case Revoked(partitions):
                    await self._hand_over(partitions)
                case record:
                    await self._dispatch(record)

    async def _dispatch(self, record: Record) -> None:
        ledger = self._ledgers[record.partition]
        telemetry.RECORDS_IN.labels(self._step.name).inc()
        if isinstance(record.value, WatchwordError):
            await self._report(record, _Outputs(record), record.value)
            ledger.pass_over(record.offset)
            self._dirty.set()
            return
        match ledger.admit(record.stream_id, record.offset, record.origin, is_end=is_end(record.value)):
            case Admission.TAKE:
                await self._take(record, ledger)
            case Admission.DUPLICATE:
                telemetry.RECORDS_DUPLICATE.labels(self._step.name).inc()
            case Admission.ENDED:
                await self._refuse_late(record)
            case Admission.SKIP:
                pass
        self._dirty.set()

    async def _refuse_late(self, record: Record) -> None:
        """Count what came after the end, and report the first of it: a second publisher may send thousands of chunks."""
        if record.stream_id in self._late:
            telemetry.ERRORS.labels(self._step.name, reason_name(StreamEnded.reason)).inc()
            return
        self._late[record.stream_id] = None
        if len(self._late) > STREAMS_AT_ONCE:
            self._late.popitem(last=False)
        late = StreamEnded(f"stream {record.stream_id} has ended; all that comes after is refused: publish under another stream id")
        await self._report(record, _Outputs(record), late)

    async def _take(self, record: Record, ledger: Ledger) -> None:
        stream = self._streams.get(record.stream_id)
        if stream is None:
            if len(self._streams) >= STREAMS_AT_ONCE:
                ledger.drop(record.stream_id, record.offset)
                await self._report(
                    record,
                    _Outputs(record),
                    Overloaded(f"stream {record.stream_id}: this process works on {STREAMS_AT_ONCE:,} streams already; start another"),
                )
                return
            stream = self._open(record)
        taken: Record | None = record
        if record.context.live and stream.inbox.full:
            taken = await self._make_room(stream, record, ledger)
        if taken is not None:
            await stream.inbox.put(taken)

    def _open(self, record: Record) -> _Stream:
        stream = _Stream(record.partition, self._new_stage(record), _Inbox(self._topic.capacity))
        self._streams[record.stream_id] = stream
        stream.task = self._group.create_task(self._work(record.stream_id, stream), name=f"{self._step.name}:{record.stream_id}")
        telemetry.STREAMS_LIVE.labels(self._step.name).inc()
        return stream

    def _new_stage(self, record: Record) -> Stage:
        stage = self._make_stage(record.stream_id)
        if isinstance(stage, Dated) and record.context.started_at is not None:
            stage.began_at(record.context.started_at)
        return stage

    async def _make_room(self, stream: _Stream, record: Record, ledger: Ledger) -> Record | None:
        """Apply the topic's rule for a live source that is ahead; `None` when the record itself is left out."""
        assert isinstance(record.value, Message)
        policy = self._topic.when_full
        left_out, taken = record, record
        if policy is WhenFull.KEYFRAMES_ONLY:
            thinned = overload.keyframes_only(record.value)
            if thinned is record.value:
                return record
            if thinned is not None:
                taken = Record(record.topic, record.partition, record.offset, record.stream_id, thinned, record.origin, record.context)
            else:
                ledger.drop(record.stream_id, record.offset)
        elif policy is WhenFull.DROP_LEAST_NOVEL:
            dropped = stream.inbox.drop_least_novel()
            if dropped is None:
                return record
            left_out = dropped
            ledger.drop(dropped.stream_id, dropped.offset)
        else:
            return record
        telemetry.RECORDS_DROPPED.labels(self._step.name, policy.value).inc()
        stream.overloads += 1
        if stream.overloads == 1:
            await self._report(
                left_out,
                _Outputs(left_out),
                Overloaded(f"stream {record.stream_id}: {self._step.name} cannot keep up with the live source; applying {policy.value}"),
            )
        return None if taken is record and policy is WhenFull.KEYFRAMES_ONLY else taken

    async def _work(self, stream_id: str, stream: _Stream) -> None:
        ledger = self._ledgers[stream.partition]
        outputs: _Outputs | None = None
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    record = await stream.inbox.get()
            except TimeoutError:
                if outputs is not None and await self._suspend(stream_id, stream, outputs):
                    return
                continue
            outputs = _Outputs(record)
            assert isinstance(record.value, Message)
            if is_end(record.value):
                if ledger.is_last(stream_id, record.offset):
                    await self._finish(stream_id, stream, record, outputs)
                    return
                ledger.drop(stream_id, record.offset)
            else:
                self._note_lag(record.value)
                with telemetry.ITEM_SECONDS.labels(self._step.name).time():
                    accepted = await self._pass_on(record, outputs, stream.stage.process(record.value))
                if accepted:
                    ledger.settle(stream_id, record.offset, stream.stage.held)
                else:
                    ledger.drop(stream_id, record.offset)
            self._dirty.set()

    async def _suspend(self, stream_id: str, stream: _Stream, outputs: _Outputs) -> bool:
        """Let a silent stream go; False when it goes on just now, with a fresh stage. `outputs` are those of its last record."""
        log.info("suspended", step=self._step.name, stream=stream_id)
        telemetry.STREAMS_SUSPENDED.labels(self._step.name).inc()
        await self._pass_on(outputs.record, outputs, stream.stage.flush())
        stream.stage.close()
        self._ledgers[stream.partition].release(stream_id)
        self._dirty.set()
        if not stream.inbox.empty:
            stream.stage = self._new_stage(outputs.record)
            return False
        del self._streams[stream_id]
        telemetry.STREAMS_LIVE.labels(self._step.name).dec()
        return True

    async def _finish(self, stream_id: str, stream: _Stream, record: Record, outputs: _Outputs) -> None:
        await self._report_missing_track(stream_id, stream, record, outputs)
        await self._pass_on(record, outputs, stream.stage.flush())
        end = _end_of(record.value)
        for topic in self._step.writes:
            event = TOPICS[topic].message(end=end)
            await self._publish(topic, record, outputs, event)
        stream.stage.close()
        del self._streams[stream_id]
        telemetry.STREAMS_LIVE.labels(self._step.name).dec()
        self._ledgers[stream.partition].finish(stream_id)
        self._dirty.set()

    async def _report_missing_track(self, stream_id: str, stream: _Stream, record: Record, outputs: _Outputs) -> None:
        """Tell that a source had nothing for this step, unless publishing failed, which is told by itself."""
        published = not writers(self._step.reads)
        if published and self._ledgers[stream.partition].is_empty(stream_id) and not _end_of(record.value).cause:
            missing = TrackMissing(f"stream {stream_id} has no {self._step.reads} track: there is nothing to {self._step.name}")
            await self._report(record, outputs, missing)

    async def _pass_on(self, record: Record, outputs: _Outputs, said: AsyncIterator[Message]) -> bool:
        """Publish what a stage says; False when it refused the item. What the bus or a store raises is not the item's fault and goes up."""
        while True:
            try:
                output = await anext(said)
            except StopAsyncIteration:
                return True
            except WatchwordError as error:
                if error.ends_step:
                    raise
                await self._report(record, outputs, error)
                return False
            except Exception as error:
                log.exception("stage_failed", step=self._step.name, stream=record.stream_id, record=record.where)
                await self._report(record, outputs, InternalError(f"stream {record.stream_id}: {self._step.name} failed: {error!r}"))
                return False
            if isinstance(output, errors_pb2.ErrorEvent):
                await self._publish_error(record, outputs, output)
                continue
            for topic in self._routes[type(output)]:
                await self._publish(topic, record, outputs, output)

    async def _publish(self, topic: str, record: Record, outputs: _Outputs, message: Message) -> None:
        await self._bus.publish(topic, record.stream_id, message, origin=outputs.origin(self._step.name), context=record.context)
        telemetry.RECORDS_OUT.labels(self._step.name, topic).inc()

    async def _report(self, record: Record, outputs: _Outputs, error: WatchwordError) -> None:
        await self._publish_error(record, outputs, errors_pb2.ErrorEvent(reason=error.reason, message=str(error)))

    async def _publish_error(self, record: Record, outputs: _Outputs, event: errors_pb2.ErrorEvent) -> None:
        event.stream_id = "" if record.stream_id == NO_STREAM else record.stream_id
        event.step = self._step.name
        event.origin = record.where
        event.id = f"error-{self._step.name}-{record.partition}-{record.offset}-{outputs.count}"
        event.occurred_at.CopyFrom(_now())
        reason = reason_name(event.reason)
        telemetry.ERRORS.labels(self._step.name, reason).inc()
        log.warning("refused", step=self._step.name, stream=record.stream_id, reason=reason, record=record.where)
        await self._publish("errors", record, outputs, event)

    async def _hand_over(self, partitions: tuple[int, ...]) -> None:
        leaving = {stream_id: stream for stream_id, stream in self._streams.items() if stream.partition in partitions}
        tasks = [stream.task for stream in leaving.values() if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for stream_id, stream in leaving.items():
            stream.stage.close()
            del self._streams[stream_id]
        telemetry.STREAMS_LIVE.labels(self._step.name).dec(len(leaving))
        await self._subscription.release({number: self._ledgers.pop(number).progress() for number in partitions if number in self._ledgers})

    async def _commit_now_and_then(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._subscription.commit(self._progress())
            telemetry.RECORDS_HELD.labels(self._step.name).set(sum(ledger.held for ledger in self._ledgers.values()))
            await asyncio.sleep(self._commit_interval_s)

    async def _commit_last(self) -> None:
        try:
            async with asyncio.timeout(LAST_COMMIT_S):
                await self._subscription.commit(self._progress())
        except (TimeoutError, BrokerUnavailable) as error:
            cause = str(error) or f"the bus took nothing for {LAST_COMMIT_S:g} s"
            log.warning("stopped_without_commit", step=self._step.name, cause=cause, follows="a little is read again at the next start")

    def _progress(self) -> dict[int, Progress]:
        return {number: ledger.progress() for number, ledger in self._ledgers.items()}

    def _note_lag(self, value: Message) -> None:
        if isinstance(value, events_pb2.AudioEvent | events_pb2.VideoEvent) and value.chunk.HasField("sent_at"):
            telemetry.LAG_SECONDS.labels(self._step.name).set(time.time() - value.chunk.sent_at.ToNanoseconds() / 1e9)


def _end_of(event: Message | WatchwordError) -> media_pb2.StreamEnd:
    end = getattr(event, "end", None)
    assert isinstance(end, media_pb2.StreamEnd)
    return end


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now
