"""Commands of brokers and services: broker, serve, publish, streams, watch, ask, health."""

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from watchword.v1 import live_service_pb2, live_service_pb2_grpc, qa_service_pb2, qa_service_pb2_grpc
from watchword.v1.errors_pb2 import ErrorEvent

from pipeline.bus import Bus, Record
from pipeline.bus.kafka import KafkaBus
from pipeline.errors import ConversationUnknown, SettingInvalid, StreamEnded, reason_name
from pipeline.media.address import shown
from pipeline.timeline import MediaTime
from services.cli import logs
from services.cli.session import Session
from services.cli.status import INCOMPLETE
from services.cli.viewer import Viewer
from services.rpc import channel, error_of, is_accepted, reason_of
from services.serve import known
from services.serve import serve as serve_service
from services.settings import PORTS, Settings, read, require_address

LISTING_S = 10.0
"""How long the list of streams may take to come."""
POLL_S = 1.0
"""How often a stream that is not known yet is asked for."""
REFUSAL_S = 1.0
"""How long to wait, after everything was sent, for the services to say that they refuse it."""
RETRIES = 120
"""How often in a row a broken watch is taken up again before the failure is told: a gateway on a busy machine takes a minute to start."""
BROKEN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
"""How a watch ends that can be taken up again: the connection went, or this viewer was too slow."""


T = TypeVar("T")


def serve(service: str, *, alone: bool) -> None:
    """Run a service, the safety filter also alone, without a broker; raises what made it stop."""
    settings = read(os.environ)
    logs.configure(settings.log or "info")
    known(service)
    if alone and service != "safety":
        raise SettingInvalid(f"--alone: the {service} has nothing to do without a broker; only safety is of use by itself")

    async def work() -> None:
        bus = await (_audit_file(settings) if alone else _kafka(settings))
        try:
            await serve_service(
                service, settings, bus, alone=alone, ready=lambda address: print(f"{service}: serving on {address}", flush=True)
            )
        finally:
            await bus.close()

    asyncio.run(work())


def broker(listen: str) -> None:
    """Run a broker until it is stopped, by SIGTERM too; raises what made it end."""
    from pipeline.bus.broker import run_forever

    logs.configure(read(os.environ).log or "warning")
    # Without this the process of the broker itself would stay behind where the system does not end it with its parent.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    run_forever(
        listen, ready=lambda broker: print(f"broker: listening on {broker.address}, records in memory until it is stopped", flush=True)
    )


async def _audit_file(settings: Settings) -> Bus:
    from services.safety.alone import OwnAudit

    return await OwnAudit.open(settings)


async def _kafka(settings: Settings) -> Bus:
    bus = KafkaBus(settings.kafka, prefix=settings.topic_prefix, partitions=settings.partitions)
    await bus.start()
    return bus


def publish(source: str, *, stream_id: str, kafka: str, speed: float | None) -> None:
    """Send a source to Kafka and tell what was sent."""
    from pipeline.media.publish import publish as publish_source

    settings = read({**os.environ, "WATCHWORD_KAFKA": kafka})
    logs.configure(settings.log or "warning")

    async def work() -> None:
        bus = KafkaBus(settings.kafka, prefix=settings.topic_prefix, partitions=settings.partitions)
        await bus.start()
        publishing = asyncio.ensure_future(publish_source(source, bus, stream_id=stream_id, speed=speed))
        refused = asyncio.ensure_future(_refused(bus, stream_id))
        try:
            await asyncio.wait({publishing, refused}, return_when=asyncio.FIRST_COMPLETED)
            report = await publishing if publishing.done() else None
            await asyncio.wait({refused}, timeout=REFUSAL_S)
            if refused.done():
                raise refused.result()
        finally:
            for task in (publishing, refused):
                task.cancel()
            await asyncio.gather(publishing, refused, return_exceptions=True)
            await bus.close()
        if report is not None:
            length, tracks = report.media_end.clock(), " and ".join(report.tracks)
            much = f"{report.chunks} chunks, {report.bytes / 1e6:.1f} MB"
            print(f"published {shown(source)} as stream {stream_id}: {length} of {tracks}, {much}")
            for missing in report.missing:
                print(f"watchword: {missing} [{reason_name(missing.reason)}]", file=sys.stderr)
            if report.missing:
                sys.exit(INCOMPLETE)

    asyncio.run(work())


async def _refused(bus: KafkaBus, stream_id: str) -> StreamEnded:
    """Why the services refuse the stream, once they do: its id has been used."""
    errors = await bus.follow("errors")
    while True:
        record = await errors.next()
        if not isinstance(record, Record) or record.stream_id != stream_id or not isinstance(record.value, ErrorEvent):
            continue
        if record.value.reason == StreamEnded.reason:
            return StreamEnded(record.value.message)


def streams(gateway: str) -> None:
    """Print a line for each stream that the gateway knows."""
    settings = read(os.environ)
    require_address(gateway)

    async def listed() -> Sequence[live_service_pb2.StreamInfo]:
        async with channel(gateway, settings) as link:
            stub: Any = live_service_pb2_grpc.LiveServiceStub(link)
            response = await stub.ListStreams(live_service_pb2.ListStreamsRequest(), timeout=LISTING_S)
            return list(response.streams)

    known = asyncio.run(_calling(gateway, listed()))
    if not known:
        print("no stream has been heard of yet", file=sys.stderr)
    for each in known:
        print(f"{each.stream_id}  {MediaTime.from_proto(each.media_end).clock()}  {'ended' if each.ended else 'live'}")


def watch(stream_id: str, *, gateway: str, events: Path | None, out: Path | None, wait: bool) -> None:
    """Show a stream through the gateway."""
    settings = read(os.environ)
    require_address(gateway)
    logs.configure(settings.log or "error")
    with Session(events=events, out=out) as session:
        asyncio.run(_calling(gateway, _watch(stream_id, gateway, settings, session, wait)))


async def _watch(stream_id: str, gateway: str, settings: Settings, session: Session, wait: bool) -> None:
    token, answered, broken = "", False, 0
    async with channel(gateway, settings) as link:
        live = live_service_pb2_grpc.LiveServiceStub(link)
        while True:
            try:
                call = live.Watch(live_service_pb2.WatchRequest(stream_id=stream_id, resume_token=token))
                if await is_accepted(call):
                    answered, broken = True, 0
                async for update in call:
                    token = update.resume_token or token
                    _show(update, session.viewer)
                return
            except grpc.aio.AioRpcError as error:
                is_unknown = error.code() is grpc.StatusCode.NOT_FOUND
                if is_unknown and wait:
                    if not answered:
                        session.terminal.say(f"waiting for stream {stream_id} …")
                    answered, broken = True, 0
                elif token and error.code() is grpc.StatusCode.INVALID_ARGUMENT:
                    # The token was given by this very call: what followed it is not kept any more.
                    session.terminal.say("some of what happened meanwhile is not kept any more; on with what is:")
                    token = ""
                    continue
                elif answered and broken < RETRIES and (is_unknown or error.code() in BROKEN):
                    # A gateway that has been started again does not know a stream until it has read of it.
                    broken += 1
                    if broken == 1 and error.code() is grpc.StatusCode.UNAVAILABLE:
                        session.terminal.say(f"the gateway at {gateway} is away; waiting for it …")
                else:
                    raise
                await asyncio.sleep(POLL_S)


def _show(update: live_service_pb2.WatchResponse, viewer: Viewer) -> None:
    started_at = update.started_at.ToNanoseconds() / 1e9 if update.HasField("started_at") else None
    match update.WhichOneof("update"):
        case "event":
            viewer.cleared(update.event, started_at)
        case "error":
            viewer.error(update.error)
        case _:
            pass


@dataclass(frozen=True)
class AskOptions:
    """How a question is asked."""

    more: Sequence[str] = ()
    """More streams to ask about."""
    answerer: str = ""
    follow: bool = False
    """Whether further questions are read from the terminal, line by line, as one conversation."""


def ask(stream_id: str, question: str, *, gateway: str, events: Path | None, options: AskOptions = AskOptions()) -> None:
    """Ask a question through the gateway."""
    settings = read(os.environ)
    require_address(gateway)
    logs.configure(settings.log or "error")

    async def work(session: Session) -> None:
        async with channel(gateway, settings) as link:
            stub = qa_service_pb2_grpc.QaServiceStub(link)
            conversation = await _ask_one(stub, session, stream_id, question, "", options)
            while options.follow and (line := await asyncio.to_thread(sys.stdin.readline)):
                if line.strip():
                    conversation = await _ask_on(stub, session, stream_id, line.strip(), conversation, options)

    with Session(events=events, summary=False) as session:
        asyncio.run(_calling(gateway, work(session)))


async def _ask_on(stub: Any, session: Session, stream_id: str, question: str, conversation: str, options: AskOptions) -> str:
    """Go on with a conversation; one that is not kept any more begins anew, which is told."""
    try:
        return await _ask_one(stub, session, stream_id, question, conversation, options)
    except grpc.aio.AioRpcError as error:
        if reason_of(error) != reason_name(ConversationUnknown.reason):
            raise
        session.terminal.say("what was asked before is not kept any more; the question is asked by itself:")
        return await _ask_one(stub, session, stream_id, question, "", options)


async def _ask_one(stub: Any, session: Session, stream_id: str, question: str, conversation: str, options: AskOptions) -> str:
    """Ask and show one question; the id of the conversation."""
    session.terminal.ask(question)
    request = qa_service_pb2.AskRequest(
        stream_id=stream_id, stream_ids=options.more, question=question, conversation_id=conversation, answerer=options.answerer
    )
    async for part in stub.Ask(request):
        match part.WhichOneof("part"):
            case "answer":
                session.terminal.end_answer(part.answer)
                session.viewer.answer(part.answer)
                conversation = part.answer.conversation_id
            case "text":
                session.terminal.answer(part.text)
    return conversation


def stand(stream_id: str, query: str, *, gateway: str) -> None:
    """Tell each time that a standing query holds, until interrupted or the stream has ended; it may be a pattern with "*".

    Services that go are waited for, as `watch` does.
    """
    settings = read(os.environ)
    require_address(gateway)
    logs.configure(settings.log or "error")

    async def work() -> None:
        async with channel(gateway, settings) as link:
            stub = qa_service_pb2_grpc.QaServiceStub(link)
            began, broken = False, 0
            while True:
                try:
                    call = stub.Stand(qa_service_pb2.StandRequest(query=query, streams=[stream_id]))
                    if await is_accepted(call):
                        again = " again; what came meanwhile was not looked at" if began else ""
                        print(f"watching {stream_id} for: {query}{again}", flush=True)
                        began, broken = True, 0
                    async for alert in call:
                        print(f"{alert.stream_id}  {alert.reason}", flush=True)
                    print(f"stream {stream_id} has ended", flush=True)
                    return
                except grpc.aio.AioRpcError as error:
                    if not began or broken >= RETRIES or error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    broken += 1
                    await asyncio.sleep(POLL_S)

    asyncio.run(_calling(gateway, work()))


def health(address: str) -> None:
    """Exit with 0 if the service at the address, or of this name on this machine, says that it is serving."""
    settings = read(os.environ)
    address = settings.address(address) if address in PORTS else require_address(address)

    async def check() -> int:
        async with channel(address, settings) as link:
            stub: Any = health_pb2_grpc.HealthStub(link)
            response = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
            return int(response.status)

    status = asyncio.run(_calling(address, check()))
    print(health_pb2.HealthCheckResponse.ServingStatus.Name(status))
    sys.exit(0 if status == health_pb2.HealthCheckResponse.SERVING else 1)


async def _calling(address: str, work: Coroutine[Any, Any, T]) -> T:
    """Turn a failed call into one clear error."""
    try:
        return await work
    except grpc.aio.AioRpcError as error:
        raise error_of(error, address) from None
