"""`watchword ask` in a process of its own: `--live` outlasts the services that it listens to, `--follow` what it asked before."""

import asyncio
import os
import sys

import grpc
import pytest
from watchword.v1 import qa_service_pb2_grpc

from pipeline.bus.memory import MemoryBus
from pipeline.qa.conversation import Conversations
from services.memory.servicer import QaServicer
from services.memory.standing import StandingQueries
from tests.fakes import ScriptedEmbedder
from tests.services.test_live_http import STREAM, memory

pytestmark = pytest.mark.connected

COMMAND = [sys.executable, "-m", "services.cli.main", "ask", "cam-*", "tell me when a dog appears", "--live", "--gateway"]


async def listening(port: int = 0) -> tuple[grpc.aio.Server, int]:
    """A memory's face, and its port."""
    server = grpc.aio.server()
    qa_service_pb2_grpc.add_QaServiceServicer_to_server(QaServicer({}, StandingQueries(MemoryBus(), ScriptedEmbedder())), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server, port


async def called(port: int) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return await asyncio.create_subprocess_exec(*COMMAND, f"127.0.0.1:{port}", stdout=pipe, stderr=pipe, env=environment)


def test_it_asks_again_when_what_it_listens_to_is_back_and_says_so_once() -> None:
    async def within() -> None:
        server, port = await listening()
        process = await called(port)
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await process.stdout.readline() == b"watching cam-* for: tell me when a dog appears\n"
            await server.stop(None)
            server, _ = await listening(port)
            assert b"again; what came meanwhile was not looked at" in await process.stdout.readline()
            process.terminate()
            assert await process.stdout.read() == b"", "it was said once"
            await process.wait()
        await server.stop(None)

    asyncio.run(within())


def test_a_conversation_that_was_forgotten_begins_anew() -> None:
    async def within() -> None:
        async with memory() as asking:
            servicer = QaServicer({})
            servicer._asking = asking
            server = grpc.aio.server()
            qa_service_pb2_grpc.add_QaServiceServicer_to_server(servicer, server)
            address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            pipe = asyncio.subprocess.PIPE
            command = [*COMMAND[:4], STREAM, "When does the harbour conference open?", "--follow", "--gateway", address]
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(60):
                while b"Monday" not in (line := await process.stdout.readline()):
                    assert line, "the first question is answered"
                asking._conversations = Conversations()
                said, why = await process.communicate(b"How long does the conference last?\n")
            await server.stop(None)
        assert process.returncode == 0, why
        assert b"not kept any more" in said
        assert b"three days" in said

    asyncio.run(within())


def test_it_gives_up_where_nobody_was_there() -> None:
    async def within() -> None:
        server, port = await listening()
        await server.stop(None)
        process = await called(port)
        async with asyncio.timeout(60):
            said, why = await process.communicate()
        assert (process.returncode, said) == (1, b"")
        assert b"nothing answers" in why

    asyncio.run(within())
