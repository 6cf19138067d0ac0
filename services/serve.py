"""What every service process shares: the bus, its steps, its gRPC face with health and reflection, metrics, a tidy end."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
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
from services.settings import Settings

log = structlog.get_logger(__name__)

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
    background: Sequence[Callable[[], Awaitable[None]]] = ()
    """What else runs as long as the process does."""
    close: Callable[[], Awaitable[None]] | None = None


async def serve(service: str, settings: Settings, bus: Bus, *, ready: Callable[[str], None] = lambda _: None) -> None:
    """Run a service until it is cancelled or asked to stop by SIGTERM or SIGINT.

    `ready` is told the address once everything is loaded and listening. Raises what a step raises when it fails for good.
    """
    parts: Parts = await import_module(f"services.{service}.main").build(settings, bus)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError, RuntimeError):
            loop.add_signal_handler(name, stop.set)
    checker = health.aio.HealthServicer()
    server, address = await start_server(parts.faces, settings.address(service), settings, checker)
    if settings.metrics_port:
        start_http_server(settings.metrics_port, addr="127.0.0.1")
    steps = [step for step in STEPS.values() if step.service == service]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(step, bus, parts.stages[step.name]), name=step.name) for step in steps]
            tasks += [group.create_task(_forever(work), name=service) for work in parts.background]
            await checker.set("", health_pb2.HealthCheckResponse.SERVING)
            log.info("serving", service=service, address=address, steps=[step.name for step in steps])
            ready(address)
            await stop.wait()
            log.info("stopping", service=service)
            await checker.enter_graceful_shutdown()
            for task in tasks:
                task.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures
    finally:
        await server.stop(DRAIN_S)
        if parts.close is not None:
            await parts.close()


async def start_server(
    faces: Sequence[Face], address: str, settings: Settings, checker: health.aio.HealthServicer
) -> tuple[grpc.aio.Server, str]:
    """A running gRPC server with the faces, health and reflection, and the address it has; raises `SettingInvalid`."""
    interceptors = [KeyInterceptor(settings.api_key)] if settings.api_key else []
    server = grpc.aio.server(interceptors=interceptors, options=MESSAGE_OPTIONS)
    for face in faces:
        face.register(server)
        await checker.set(face.name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checker, server)
    reflection.enable_server_reflection((*(face.name for face in faces), health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    host = address.rpartition(":")[0]
    try:
        if settings.tls is None:
            port = server.add_insecure_port(address)
        else:
            pair = (settings.tls.private_key.read_bytes(), settings.tls.certificate.read_bytes())
            port = server.add_secure_port(address, grpc.ssl_server_credentials([pair]))
    except RuntimeError as error:
        raise SettingInvalid(f"cannot listen on {address}: is another process there? Set WATCHWORD_LISTEN to another host:port") from error
    await server.start()
    return server, f"{host}:{port}"


async def _forever(work: Callable[[], Awaitable[None]]) -> None:
    await work()


def face_of(module: Any, service: str, servicer: object) -> Face:
    """The face of a generated `*_service_pb2_grpc` module for a servicer of ours."""
    add = getattr(module, f"add_{service}Servicer_to_server")
    return Face(f"watchword.v1.{service}", lambda server: add(servicer, server))


def known(service: str) -> str:
    """The service's name; raises `SettingInvalid` where there is none of this name."""
    if service not in SERVICES:
        raise SettingInvalid(f"there is no service {service!r}; one of {', '.join(SERVICES)} is")
    return service
