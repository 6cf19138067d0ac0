"""`watchword watch` in a process of its own: a break in the connection costs it nothing, and shows nothing twice; what there is."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
from watchword.v1 import events_pb2, live_service_pb2, live_service_pb2_grpc, media_pb2, transcript_pb2

from pipeline.bus import Context, Origin, Position, Record
from pipeline.bus.memory import MemoryBus
from pipeline.graph import BRANCHES
from services.gateway import hub as hub_module
from services.gateway.hub import Hub, Viewer
from services.gateway.servicer import LiveServicer

pytestmark = pytest.mark.connected

STREAM = "camera-1"


class WatchedHub(Hub):
    """Says when it has heard of a stream, when of all that was said before, and when a viewer is about to be told what happens."""

    def __init__(self, bus: MemoryBus, before: int) -> None:
        super().__init__(bus)
        self.heard, self.came, self.caught_up = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._before = before

    def take(self, record: Record) -> None:
        super().take(record)
        self._before -= 1
        if self._before <= 0:
            self.caught_up.set()
        self.heard.set()

    def watch(self, stream_id: str, resume_token: str) -> Viewer:
        viewer = super().watch(stream_id, resume_token)
        updates = viewer.updates

        def began() -> AsyncIterator[live_service_pb2.WatchResponse]:
            self.came.set()
            return updates()

        viewer.updates = began  # type: ignore[method-assign]
        return viewer


class Gateway:
    """A gateway that can go away and come back at its address; what is on the bus stays."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.port = 0
        self._sent = 0

    async def start(self, *, having_read_all: bool = False) -> None:
        self.hub = WatchedHub(self.bus, self._sent)
        self._following = asyncio.create_task(self.hub.run())
        if having_read_all:
            await self.hub.caught_up.wait()
        self._server = grpc.aio.server()
        live_service_pb2_grpc.add_LiveServiceServicer_to_server(LiveServicer(self.bus, self.hub), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        self._following.cancel()
        await asyncio.gather(self._following, return_exceptions=True)
        # What was sent on the calls is read before they end.
        await self._server.stop(1)

    async def say(self, event: events_pb2.ClearedEvent, step: str = "screen-transcripts") -> None:
        self._sent += 1
        await self.bus.publish("cleared", STREAM, event, origin=Origin(step, Position(self._sent, 0)), context=Context())

    async def say_final(self, text: str) -> None:
        segment = transcript_pb2.TranscriptSegment(stream_id=STREAM, id=f"segment-{self._sent}", text=text, is_final=True)
        await self.say(events_pb2.ClearedEvent(segment=segment))

    async def begin(self) -> None:
        """Make the stream known, with nothing to show of it."""
        await self.say(events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=STREAM)), BRANCHES[-1])

    async def end(self) -> None:
        for step in BRANCHES:
            await self.say(events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=STREAM)), step)


async def watch(port: int, *options: str) -> asyncio.subprocess.Process:
    return await command(port, "watch", STREAM, *options)


async def command(port: int, *arguments: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-m", "services.cli.main", *arguments, "--gateway", f"127.0.0.1:{port}"]
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={**os.environ, "PYTHONUNBUFFERED": "1"})


async def shown(process: asyncio.subprocess.Process, text: str) -> str:
    """All that is printed up to the line with `text`."""
    assert process.stdout is not None
    lines: list[str] = []
    while not lines or text not in lines[-1]:
        line = await process.stdout.readline()
        assert line, (lines, process.stderr and await process.stderr.read())
        lines.append(line.decode())
    return "".join(lines)


def with_gateway(work: Callable[[Gateway], Awaitable[Any]]) -> None:
    async def main() -> None:
        gateway = Gateway()
        await gateway.start()
        try:
            async with asyncio.timeout(60):
                await work(gateway)
        finally:
            await gateway.stop()

    asyncio.run(main())


async def to_the_end(gateway: Gateway, process: asyncio.subprocess.Process, before: str = "") -> None:
    """What came during the break and comes after it is shown, once each, and the command ends well."""
    await gateway.say_final("said meanwhile")
    await gateway.start()
    printed = before + await shown(process, "said meanwhile")
    await gateway.say_final("said after it")
    await gateway.end()
    rest, why = await process.communicate()
    printed += rest.decode()
    assert process.returncode == 0, why
    assert [printed.count(text) for text in ("said before", "said meanwhile", "said after it")] == [before.count("said before"), 1, 1]


@pytest.mark.parametrize("options", [(), ("--no-wait",)], ids=" ".join)
def test_who_was_shown_nothing_before_a_break_misses_nothing(options: tuple[str, ...]) -> None:
    async def work(gateway: Gateway) -> None:
        await gateway.begin()
        await gateway.hub.heard.wait()
        process = await watch(gateway.port, *options)
        await gateway.hub.came.wait()
        await gateway.stop()
        await to_the_end(gateway, process)

    with_gateway(work)


def test_who_waits_for_a_stream_waits_for_the_gateway_too() -> None:
    async def work(gateway: Gateway) -> None:
        process = await watch(gateway.port)
        await shown(process, "waiting for stream")
        await gateway.stop()
        await to_the_end(gateway, process)

    with_gateway(work)


def test_what_was_shown_before_a_break_is_not_shown_again() -> None:
    async def work(gateway: Gateway) -> None:
        await gateway.say_final("said before")
        process = await watch(gateway.port)
        before = await shown(process, "said before")
        await gateway.stop()
        before += await shown(process, "is away; waiting for it")
        await to_the_end(gateway, process, before)

    with_gateway(work)


def test_who_was_away_for_too_long_is_told_so_and_goes_on_with_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(gateway: Gateway) -> None:
        await gateway.say_final("said before")
        process = await watch(gateway.port)
        before = await shown(process, "said before")
        await gateway.stop()
        monkeypatch.setattr(hub_module, "HISTORY_UPDATES", 3)
        for number in range(5):
            await gateway.say_final(f"long ago {number}")
        await gateway.start(having_read_all=True)
        printed = before + await shown(process, "not kept any more") + await shown(process, "long ago 4")
        assert "long ago 1" not in printed
        await gateway.end()
        rest, why = await process.communicate()
        assert process.returncode == 0, why
        assert (printed + rest.decode()).count("said before") == 1

    with_gateway(work)


def test_who_does_not_know_what_there_is_is_told() -> None:
    async def work(gateway: Gateway) -> None:
        await gateway.say_final("Hello.")
        await gateway.end()
        wrong = await command(gateway.port, "watch", "camera-2", "--no-wait")
        printed, why = await wrong.communicate()
        assert wrong.returncode == 1
        assert f"no stream 'camera-2' is known here; these were heard of last: {STREAM}" in why.decode()
        listing = await command(gateway.port, "streams")
        printed, why = await listing.communicate()
        assert (listing.returncode, printed.decode()) == (0, f"{STREAM}  0:00  ended\n"), why

    with_gateway(work)
