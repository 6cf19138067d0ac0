"""What every service process shares: the bus, its steps, its gRPC face with health and reflection, metrics, a tidy end."""

import asyncio
import contextlib
import errno
import signal
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from pipeline.bus import Bus
from pipeline.errors import SettingInvalid
from pipeline.graph import SERVICES, STEPS
from pipeline.runtime import run
from pipeline.stage import StageFactory
from services.rpc import MESSAGE_OPTIONS, KeyInterceptor
from services.settings import Settings, Tls

log = structlog.get_logger(__name__)

CALLS_AT_ONCE = 2048
"""Calls under way in one process, watching clients included; a further one is told RESOURCE_EXHAUSTED."""
DRAIN_S = 5.0
"""How long calls under way may take to finish when the process is asked to stop."""

Register = Callable[[grpc.aio.Server], None]


@dataclass(frozen=True)
class Face:
    """One gRPC service of a process."""

    name: str
    """Its full name, such as "watchword.v1.QaService"."""
    register: Register


@dataclass(frozen=True)
class Parts:
    """What a service is made of; its `main.build` puts it together."""

    faces: Sequence[Face]
    stages: Mapping[str, StageFactory] = field(default_factory=dict)
    """For each step of the service, what makes its stages."""
    background: Sequence[Callable[[], Coroutine[Any, Any, None]]] = ()
    """What else runs as long as the process does."""
    close: Callable[[], Awaitable[None]] | None = None


async def serve(service: str, settings: Settings, bus: Bus, *, alone: bool = False, ready: Callable[[str], None] = lambda _: None) -> None:
    """Run a service until it is cancelled or asked to stop by SIGTERM or SIGINT; `alone` is without its steps.

    `ready` is told the address once everything is loaded and listening. Raises what a step raises when it fails for good.
    """
    steps = [step for step in STEPS.values() if step.service == service and not alone]
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_metrics(settings.metrics_port))
        parts: Parts = await import_module(f"services.{service}.main").build(settings, bus)
        if parts.close is not None:
            stack.push_async_callback(parts.close)
        stop = asked_to_stop()
        checker = health.aio.HealthServicer()
        server, address = await start_server(parts.faces, settings.address(service), settings, checker)
        stack.push_async_callback(server.stop, DRAIN_S)
        async with one_failure(), asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(step, bus, parts.stages[step.name]), name=step.name) for step in steps]
            tasks += [group.create_task(work(), name=service) for work in parts.background]
            await checker.set("", health_pb2.HealthCheckResponse.SERVING)
            log.info("serving", service=service, address=address, steps=[step.name for step in steps])
            ready(address)
            await stop.wait()
            log.info("stopping", service=service)
            await checker.enter_graceful_shutdown()
            for task in tasks:
                task.cancel()


def asked_to_stop() -> asyncio.Event:
    """Set when the process gets SIGTERM or SIGINT; not before the models are loaded, which nothing needs to be saved from."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(name, stop.set)
    return stop


@contextlib.asynccontextmanager
async def one_failure() -> AsyncIterator[None]:
    """Raise the first failure of a task group by itself."""
    try:
        yield
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


@contextlib.contextmanager
def _metrics(port: int) -> Iterator[None]:
    """Serve Prometheus metrics on loopback; raises `SettingInvalid` where the port is taken."""
    if not port:
        yield
        return
    try:
        server, thread = start_http_server(port, addr="127.0.0.1")
    except OSError as error:
        raise SettingInvalid(f"cannot serve metrics on port {port}: {error.strerror}; set WATCHWORD_METRICS_PORT to another") from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def start_server(
    faces: Sequence[Face], address: str, settings: Settings, checker: health.aio.HealthServicer
) -> tuple[grpc.aio.Server, str]:
    """A running gRPC server with the faces, health and reflection, and the address it has; raises `SettingInvalid`."""
    credentials = _credentials(settings.tls) if settings.tls is not None else None
    await asyncio.to_thread(_require_free, address)
    interceptors = [KeyInterceptor(settings.api_key)] if settings.api_key else []
    # Without the second option two processes could listen on one port, and each would get some of the calls.
    server = grpc.aio.server(
        interceptors=interceptors, maximum_concurrent_rpcs=CALLS_AT_ONCE, options=[*MESSAGE_OPTIONS, ("grpc.so_reuseport", 0)]
    )
    for face in faces:
        face.register(server)
        await checker.set(face.name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection((*(face.name for face in faces), health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    try:
        port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise _cannot_listen(address, str(error)) from error
    await server.start()
    return server, f"{address.rpartition(':')[0]}:{port}"


def _credentials(tls: Tls) -> grpc.ServerCredentials:
    """What gRPC needs of the certificate and its key, after they were found to be a pair."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate, tls.private_key)
        return grpc.ssl_server_credentials([(tls.private_key.read_bytes(), tls.certificate.read_bytes())])
    except (ssl.SSLError, OSError) as error:
        raise SettingInvalid(
            f"WATCHWORD_TLS_CERTIFICATE={tls.certificate} and WATCHWORD_TLS_KEY={tls.private_key} "
            f"are no certificate and its private key, both in PEM form: {error}"
        ) from error


def _require_free(address: str) -> None:
    """Raise `SettingInvalid` where nobody can listen, with the cause, which gRPC writes to its log only."""
    host, _, port = address.rpartition(":")
    try:
        places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except OSError as error:
        raise _cannot_listen(address, error.strerror or str(error)) from error
    failures = []
    for family, kind, protocol, _, place in places:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(place)
        except OSError as error:
            failures.append(error)
    # A name may stand for an address that this machine does not have, such as localhost for ::1, beside one that it has.
    taken = [error for error in failures if error.errno == errno.EADDRINUSE]
    if taken or len(failures) == len(places):
        cause = (taken or failures)[0]
        raise _cannot_listen(address, cause.strerror or str(cause)) from cause


def _cannot_listen(address: str, cause: str) -> SettingInvalid:
    return SettingInvalid(f"cannot listen on {address}: {cause}; set WATCHWORD_LISTEN to another host:port")


def face_of(module: Any, service: str, servicer: object) -> Face:
    """The face of a generated `*_service_pb2_grpc` module for a servicer of ours."""
    add = getattr(module, f"add_{service}Servicer_to_server")
    return Face(f"watchword.v1.{service}", lambda server: add(servicer, server))


def known(service: str) -> str:
    """The service's name; raises `SettingInvalid` where there is none of this name."""
    if service not in SERVICES:
        raise SettingInvalid(f"there is no service {service!r}; one of {', '.join(SERVICES)} is")
    return service
