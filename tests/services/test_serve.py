"""A service process from the inside: its faces, who may call them, its end, and what each service is made of."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from watchword.v1 import (
    events_pb2,
    live_service_pb2,
    live_service_pb2_grpc,
    media_pb2,
    qa_service_pb2,
    qa_service_pb2_grpc,
    safety_pb2,
    safety_service_pb2,
    safety_service_pb2_grpc,
)

from pipeline.bus import Origin, Position, Record, Subscription
from pipeline.bus.memory import MemoryBus
from pipeline.errors import BrokerUnavailable, SettingInvalid, WatchwordError
from pipeline.graph import SERVICES, STEPS
from pipeline.safety.judge import Judge
from services.gateway.hub import Hub
from services.gateway.servicer import LiveServicer, QaServicer
from services.rpc import MESSAGE_OPTIONS, channel, error_of
from services.safety.servicer import SafetyServicer
from services.serve import Face, Parts, face_of, known, serve, start_server
from services.settings import Settings, Tls
from tests.fakes import Clear, ScriptedClassifier
from tests.processes import free_address

pytestmark = [pytest.mark.connected, pytest.mark.timeout(120)]

KEY = "an-api-key"
ORIGIN = Origin("transcribe", Position(1, 0))
LOOPBACK = Settings(listen="127.0.0.1:0")


def faces() -> list[Face]:
    """A unary face, and two whose calls stream one way or the other."""
    bus = MemoryBus()
    return [
        face_of(safety_service_pb2_grpc, "SafetyService", SafetyServicer(Judge(ScriptedClassifier()))),
        face_of(live_service_pb2_grpc, "LiveService", LiveServicer(bus, Hub(bus))),
        face_of(qa_service_pb2_grpc, "QaService", QaServicer(grpc.aio.insecure_channel("127.0.0.1:1"))),
    ]


@asynccontextmanager
async def serving(settings: Settings = LOOPBACK, of: Sequence[Face] | None = None) -> AsyncIterator[str]:
    """A running server; its address."""
    server, address = await start_server(faces() if of is None else of, settings.address("gateway"), settings, health.aio.HealthServicer())
    try:
        async with asyncio.timeout(60):
            yield address
    finally:
        await server.stop(None)


def calling(
    work: Callable[[grpc.aio.Channel, str], Awaitable[None]], settings: Settings = LOOPBACK, caller: Settings | None = None
) -> None:
    async def main() -> None:
        async with serving(settings) as address, channel(address, caller or settings) as link:
            await work(link, address)

    asyncio.run(main())


async def status(link: grpc.aio.Channel, service: str) -> int:
    stub: Any = health_pb2_grpc.HealthStub(link)
    return int((await stub.Check(health_pb2.HealthCheckRequest(service=service))).status)


def test_health_says_that_each_face_serves() -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        for service in ("watchword.v1.SafetyService", "watchword.v1.LiveService", "watchword.v1.QaService"):
            assert await status(link, service) == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await status(link, "watchword.v1.CaptionService")
        assert failed.value.code() is grpc.StatusCode.NOT_FOUND

    calling(work)


async def reflected(link: grpc.aio.Channel, request: reflection_pb2.ServerReflectionRequest) -> Any:
    make_stub: Any = reflection_pb2_grpc.ServerReflectionStub  # its types know the synchronous channel only
    stub = make_stub(link)
    return await anext(aiter(stub.ServerReflectionInfo(iter([request]))))


def test_reflection_lists_the_faces_and_describes_them() -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        listed = await reflected(link, reflection_pb2.ServerReflectionRequest(list_services=""))
        assert {service.name for service in listed.list_services_response.service} == {
            "watchword.v1.SafetyService",
            "watchword.v1.LiveService",
            "watchword.v1.QaService",
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
        }
        described = await reflected(link, reflection_pb2.ServerReflectionRequest(file_containing_symbol="watchword.v1.LiveService"))
        files = described.file_descriptor_response.file_descriptor_proto
        assert live_service_pb2.DESCRIPTOR.serialized_pb in files

    calling(work)


async def screen(link: grpc.aio.Channel, metadata: Any = ()) -> safety_pb2.Verdict:
    stub = safety_service_pb2_grpc.SafetyServiceStub(link)
    response = await stub.Screen(safety_service_pb2.ScreenRequest(text="a fine day"), metadata=metadata)
    assert isinstance(response, safety_service_pb2.ScreenResponse)
    return response.verdict


async def all_kinds(link: grpc.aio.Channel, metadata: Any = ()) -> AsyncIterator[grpc.StatusCode]:
    """How a unary call, a stream of responses, an `Ask` and a stream of requests end."""
    live, qa = live_service_pb2_grpc.LiveServiceStub(link), qa_service_pb2_grpc.QaServiceStub(link)
    ingest = [live_service_pb2.IngestRequest(chunk=media_pb2.MediaChunk(stream_id="s"))]
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: screen(link, metadata),
        lambda: live.Watch(live_service_pb2.WatchRequest(stream_id="nobody"), metadata=metadata).read(),
        lambda: qa.Ask(qa_service_pb2.AskRequest(stream_id="s", question="who?"), metadata=metadata).read(),
        lambda: live.Ingest(iter(ingest), metadata=metadata),
    ]
    for call in calls:
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            yield error.code()
        else:
            yield grpc.StatusCode.OK


@pytest.mark.parametrize("shown", ["", "Bearer wrong", KEY, f"Bearer {KEY}x"])
def test_a_call_without_the_key_is_refused_whatever_its_kind(shown: str) -> None:
    metadata = (("authorization", shown),) if shown else ()

    async def work(link: grpc.aio.Channel, address: str) -> None:
        codes = [code async for code in all_kinds(link, metadata)]
        assert codes == [grpc.StatusCode.UNAUTHENTICATED] * 4
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await screen(link, metadata)
        assert "authorization: Bearer" in (failed.value.details() or "")
        assert isinstance(error_of(failed.value, address), SettingInvalid)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await reflected(link, reflection_pb2.ServerReflectionRequest(list_services=""))
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED

    calling(work, replace(LOOPBACK, api_key=KEY))


def test_with_the_key_calls_of_every_kind_get_through() -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        codes = [code async for code in all_kinds(link, (("authorization", f"Bearer {KEY}"),))]
        assert codes == [
            grpc.StatusCode.OK,
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.INVALID_ARGUMENT,
        ], "each is answered by its servicer"

    calling(work, replace(LOOPBACK, api_key=KEY))


def test_health_needs_no_key_and_a_call_that_is_not_known_stays_unknown() -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        assert await status(link, "watchword.v1.SafetyService") == health_pb2.HealthCheckResponse.SERVING
        nothing: Any = link.unary_unary("/watchword.v1.SafetyService/Nothing")
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await nothing(b"")
        assert failed.value.code() is grpc.StatusCode.UNIMPLEMENTED

    calling(work, replace(LOOPBACK, api_key=KEY))


@dataclass(frozen=True)
class Certificate:
    tls: Tls

    @property
    def path(self) -> Path:
        return self.tls.certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate of this machine's loopback that signs itself."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def make_certificate(folder: Path) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl command to make a certificate")
    path, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"),
            *("-subj", "/CN=watchword", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", str(key), "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return Certificate(Tls(path, key))


def test_over_tls_the_key_travels_by_itself(certificate: Certificate) -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        assert (await screen(link)).action == safety_pb2.ACTION_ALLOW
        assert await status(link, "watchword.v1.SafetyService") == health_pb2.HealthCheckResponse.SERVING

    settings = replace(LOOPBACK, tls=certificate.tls, api_key=KEY)
    calling(work, settings, caller=Settings(tls_ca=certificate.path, api_key=KEY))


def test_over_tls_a_wrong_key_is_refused(certificate: Certificate) -> None:
    async def work(link: grpc.aio.Channel, _: str) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await screen(link)
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED

    settings = replace(LOOPBACK, tls=certificate.tls, api_key=KEY)
    calling(work, settings, caller=Settings(tls_ca=certificate.path, api_key="another"))


def test_who_does_not_speak_tls_or_trusts_another_gets_no_answer(certificate: Certificate, tmp_path: Path) -> None:
    stranger = make_certificate(tmp_path)

    async def work(link: grpc.aio.Channel, _: str) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await screen(link)
        assert failed.value.code() is grpc.StatusCode.UNAVAILABLE

    settings = replace(LOOPBACK, tls=certificate.tls)
    calling(work, settings, caller=LOOPBACK)
    calling(work, settings, caller=Settings(tls_ca=stranger.path))


def test_a_certificate_and_a_key_that_are_no_pair_are_refused_by_name(certificate: Certificate, tmp_path: Path) -> None:
    pair = Tls(certificate.path, make_certificate(tmp_path).tls.private_key)
    with pytest.raises(SettingInvalid, match="are no certificate and its private key") as refused:
        asyncio.run(start_server([], "127.0.0.1:0", Settings(tls=pair), health.aio.HealthServicer()))
    assert str(pair.private_key) in str(refused.value)


def listen_on(address: str) -> None:
    asyncio.run(start_server([], address, Settings(), health.aio.HealthServicer()))


def test_a_port_that_another_process_has_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(SettingInvalid, match=f"cannot listen on {address}: Address already in use; set WATCHWORD_LISTEN"):
            listen_on(address)


def test_a_port_is_not_shared_with_another_service() -> None:
    async def main() -> None:
        async with serving() as address:
            with pytest.raises(SettingInvalid, match="Address already in use"):
                await start_server([], address, Settings(), health.aio.HealthServicer())

    asyncio.run(main())


def test_a_host_that_is_not_this_machine_is_refused() -> None:
    with pytest.raises(SettingInvalid, match=r"cannot listen on 192\.0\.2\.1:0: Cannot assign requested address"):
        listen_on("192.0.2.1:0")


def test_a_service_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingInvalid, match=r"'nosuch'; one of transcriber, .*gateway is"):
        known("nosuch")
    assert [known(service) for service in SERVICES] == list(SERVICES)


class DeadBus(MemoryBus):
    """A bus whose broker stays away."""

    async def subscribe(self, topic: str, group: str) -> Subscription:
        raise BrokerUnavailable(f"{topic} cannot be read: no broker answers")


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for the safety service's models; what was closed."""
    closed: list[str] = []

    async def close() -> None:
        closed.append("parts")

    async def build(settings: Settings, bus: Any) -> Parts:
        return Parts(faces()[:1], {name: Clear for name, step in STEPS.items() if step.service == "safety"}, close=close)

    monkeypatch.setattr("services.safety.main.build", build)
    return closed


async def until_ready(settings: Settings, bus: Any) -> tuple[asyncio.Task[None], str]:
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve("safety", settings, bus, ready=address.set_result))
    task.add_done_callback(lambda done: address.done() or address.cancel())
    try:
        return task, await address
    except asyncio.CancelledError:
        await task
        raise


async def first(bus: MemoryBus, topic: str) -> Message:
    subscription = await bus.follow(topic)
    while True:
        record = await subscription.next()
        if isinstance(record, Record):
            assert not isinstance(record.value, WatchwordError)
            return record.value


@pytest.mark.parametrize("way", ["terminated", "cancelled"])
def test_a_service_works_until_it_is_asked_to_stop(way: str, closed: list[str]) -> None:
    async def main() -> None:
        bus = MemoryBus()
        async with asyncio.timeout(60):
            task, address = await until_ready(LOOPBACK, bus)
            async with channel(address, LOOPBACK) as link:
                assert await status(link, "") == health_pb2.HealthCheckResponse.SERVING
                assert (await screen(link)).action == safety_pb2.ACTION_ALLOW
            end = events_pb2.TranscriptEvent(end=media_pb2.StreamEnd(stream_id="s"))
            await bus.publish("transcripts", "s", end, origin=ORIGIN)
            ended = await first(bus, "cleared")
            assert isinstance(ended, events_pb2.ClearedEvent)
            assert ended.end.stream_id == "s"
            assert not closed
            if way == "terminated":
                os.kill(os.getpid(), signal.SIGTERM)
                await task
            else:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            async with channel(address, LOOPBACK) as link:
                with pytest.raises(grpc.aio.AioRpcError):
                    await status(link, "")

    asyncio.run(main())
    assert closed == ["parts"]


def test_a_step_that_fails_for_good_ends_the_service_with_its_error(closed: list[str]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            task, _ = await until_ready(LOOPBACK, DeadBus())
            await task

    with pytest.raises(BrokerUnavailable, match="no broker answers"):
        asyncio.run(main())
    assert closed == ["parts"]


def test_a_port_that_is_taken_ends_the_service_before_it_begins(closed: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SettingInvalid, match="Address already in use"):
        asyncio.run(serve("safety", Settings(listen=f"127.0.0.1:{other.getsockname()[1]}"), MemoryBus()))
    assert closed == ["parts"]


def test_metrics_are_served_while_the_service_runs(closed: list[str]) -> None:
    port = int(free_address().rpartition(":")[2])

    async def main() -> bytes:
        async with asyncio.timeout(60):
            task, _ = await until_ready(replace(LOOPBACK, metrics_port=port), MemoryBus())
            told = await asyncio.to_thread(fetch, f"http://127.0.0.1:{port}/metrics")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            return told

    assert b"watchword_streams_live" in asyncio.run(main())
    with socket.create_server(("127.0.0.1", port)):
        pass


def fetch(url: str) -> bytes:
    with urlopen(url, timeout=30) as response:
        return bytes(response.read())


def test_a_metrics_port_that_is_taken_is_refused_by_name(closed: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(SettingInvalid, match="WATCHWORD_METRICS_PORT"):
        asyncio.run(serve("safety", replace(LOOPBACK, metrics_port=int(other.getsockname()[1])), MemoryBus()))


FACES = {
    "transcriber": ["TranscribeService"],
    "sampler": ["SampleService"],
    "captioner": ["CaptionService"],
    "safety": ["SafetyService"],
    "memory": ["QaService", "MemoryService"],
    "gateway": ["LiveService", "QaService"],
}


@pytest.fixture(scope="module")
def built() -> dict[str, tuple[list[str], list[str]]]:
    """Each service built with its real models: the names of its faces and of the steps it has stages for."""

    async def main() -> dict[str, tuple[list[str], list[str]]]:
        found = {}
        for service in SERVICES:
            parts = await build(service)
            async with serving(of=parts.faces) as address, grpc.aio.insecure_channel(address, options=MESSAGE_OPTIONS) as link:
                serves = [face.name for face in parts.faces if await status(link, face.name) == health_pb2.HealthCheckResponse.SERVING]
            found[service] = (serves, list(parts.stages))
            for make_stage in parts.stages.values():
                make_stage("s").close()
            if parts.close is not None:
                await parts.close()
        return found

    return asyncio.run(main())


async def build(service: str) -> Parts:
    parts = await import_module(f"services.{service}.main").build(replace(LOOPBACK, store=":memory:"), MemoryBus())
    assert isinstance(parts, Parts)
    return parts


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_its_faces_and_a_stage_for_each_of_its_steps(service: str, built: dict[str, tuple[list[str], list[str]]]) -> None:
    serves, stages = built[service]
    assert serves == [f"watchword.v1.{name}" for name in FACES[service]]
    assert stages == [name for name, step in STEPS.items() if step.service == service]
