"""Standing queries as server-sent events, over real HTTP, from a real memory's face."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx2
import pytest
from watchword.v1 import qa_service_pb2_grpc
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.media_pb2 import StreamEnd
from watchword.v1.qa_service_pb2 import StandRequest
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.bus import Origin, Position
from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid
from pipeline.graph import BRANCHES
from pipeline.timeline import MediaTime
from services.gateway import feeds, sse
from services.gateway.feeds import KEPT, WAITING, Feeds, Listener
from services.gateway.http import HttpFace
from services.gateway.sse import ENDED, Event, EventStream
from services.gateway.standing import Standing, heard
from services.memory.servicer import QaServicer
from services.memory.standing import StandingQueries
from services.settings import Settings, read
from tests.fakes import ScriptedEmbedder
from tests.services.test_serve import make_certificate

pytestmark = pytest.mark.connected

FIRE = {"query": "alert if someone says 'fire'", "stream": "gate-1", "cool_down_s": "0"}
Told = dict[str, Any]


@dataclass
class Place:
    """An HTTP face before a memory's."""

    bus: MemoryBus
    web: httpx2.AsyncClient
    face: HttpFace
    feeds: Feeds
    said: int = 0

    async def say(self, text: str) -> None:
        times = {"media_start": MediaTime.of(self.said).to_proto(), "media_end": MediaTime.of(self.said + 1).to_proto()}
        segment = TranscriptSegment(stream_id="gate-1", id=f"segment-{self.said}", is_final=True, text=text, **times)
        origin = Origin("screen-transcripts", Position(self.said, 0))
        await self.bus.publish("cleared", "gate-1", ClearedEvent(segment=segment), origin=origin)
        self.said += 1

    async def end(self) -> None:
        for branch in BRANCHES:
            end = ClearedEvent(end=StreamEnd(stream_id="gate-1"))
            await self.bus.publish("cleared", "gate-1", end, origin=Origin(branch, Position(99, 0)))

    @asynccontextmanager
    async def listening(self, last_id: str = "", **query: str) -> AsyncIterator[AsyncIterator[Told]]:
        """The events as they come, comments too; entered when the query is kept."""
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.web.stream("GET", "/v1/standing", params={**FIRE, **query}, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"].startswith("text/event-stream")
            events = parsed(response.aiter_lines())
            assert await anext(events) == {"retry": "2000"}
            yield events


async def parsed(lines: AsyncIterator[str]) -> AsyncIterator[Told]:
    """Server-sent events, as the standard has them read."""
    event: Told = {}
    async for line in lines:
        if line:
            name, _, value = line.partition(": ")
            event[name or "comment"] = json.loads(value) if name == "data" else value
        elif event:
            yield event
            event = {}


async def news(events: AsyncIterator[Told]) -> Told:
    """The next event that is no comment."""
    async with asyncio.timeout(20):
        while "comment" in (event := await anext(events)):
            pass
        return event


@asynccontextmanager
async def place(**settings: Any) -> AsyncIterator[Place]:
    bus = MemoryBus()
    standing = StandingQueries(bus, ScriptedEmbedder())
    following = asyncio.create_task(standing.run())
    memory = grpc.aio.server()
    qa_service_pb2_grpc.add_QaServiceServicer_to_server(QaServicer({}, standing), memory)
    port = memory.add_insecure_port("127.0.0.1:0")
    await memory.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        kept = Feeds(qa_service_pb2_grpc.QaServiceStub(channel).Stand, "the memory")
        face = HttpFace([Standing(kept, heartbeat_s=0.05)], Settings(http="127.0.0.1:0", **settings))
        serving = asyncio.create_task(face.run())
        tls = settings.get("tls")
        trusting = ssl.create_default_context(cafile=tls.certificate) if tls else True
        async with httpx2.AsyncClient(base_url=f"http{'s' if tls else ''}://{face.address}", timeout=20, verify=trusting) as web:
            yield Place(bus, web, face, kept)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
    await memory.stop(None)
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)


def run(work: Callable[[Place], Awaitable[None]], **settings: Any) -> None:
    async def within() -> None:
        async with place(**settings) as there:
            await work(there)

    asyncio.run(within())


def test_an_alert_comes_as_an_event_and_a_comment_where_nothing_happens() -> None:
    async def work(there: Place) -> None:
        async with there.listening() as events:
            assert await anext(events) == {"comment": "still here"}
            await there.say("Good morning.")
            await there.say("Fire, get out!")
            event = await news(events)
            assert event["event"] == "alert"
            assert event["id"] == event["data"]["id"]
            assert event["data"]["stream"] == "gate-1"
            assert event["data"]["evidence"][0]["text"] == "Fire, get out!"
            assert event["data"]["evidence"][0]["kind"] == "speech"

    run(work)


def test_who_comes_back_is_told_what_was_missed_and_no_more() -> None:
    async def work(there: Place) -> None:
        async with there.listening() as events:
            await there.say("Fire one.")
            last = (await news(events))["id"]
        await there.say("Fire two.")
        await there.say("Fire three.")
        async with there.listening(last) as events:
            assert [(await news(events))["data"]["evidence"][0]["text"] for _ in range(2)] == ["Fire two.", "Fire three."]
            async with there.listening() as new:
                await there.say("Fire four.")
                for each in (events, new):
                    assert (await news(each))["data"]["evidence"][0]["text"] == "Fire four.", "who is new is told from now on"
        async with there.listening("alert-of-long-ago") as events:
            assert (await news(events))["event"] == "gap"

    run(work)


def test_the_end_of_the_streams_ends_it_and_a_browser_does_not_come_back() -> None:
    async def work(there: Place) -> None:
        async with there.listening() as events:
            await there.say("Fire!")
            await there.end()
            assert [(await news(events))["event"] for _ in range(2)] == ["alert", "end"]
            with pytest.raises(StopAsyncIteration):
                await news(events)
        assert (await there.web.get("/v1/standing", params=FIRE, headers={"Last-Event-ID": ENDED})).status_code == 204

    run(work)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"query": ""}, "1 to 500 characters"),
        ({"threshold": "high"}, "a number from 0 to 1"),
        ({"hits": "3", "of": "2"}, "3 of 2"),
        ({"stram": "x"}, "'stram' is not known"),
    ],
)
def test_what_cannot_be_kept_is_refused(query: dict[str, str], message: str) -> None:
    async def work(there: Place) -> None:
        refused = await there.web.get("/v1/standing", params={**FIRE, **query})
        assert (refused.status_code, refused.json()["reason"]) == (400, "REQUEST_INVALID")
        assert message in refused.json()["message"]

    run(work)


@pytest.mark.parametrize("over_tls", [False, True])
def test_only_who_shows_the_key_is_told_anything(over_tls: bool, tmp_path: Path) -> None:
    async def work(there: Place) -> None:
        for shown in ({}, {"Authorization": "Bearer wrong"}):
            refused = await there.web.get("/v1/standing", params=FIRE, headers=shown)
            assert (refused.status_code, refused.json()["reason"]) == (401, "UNAUTHENTICATED")
        there.web.headers["Authorization"] = "Bearer secret"
        async with there.listening() as events:
            await there.say("Fire!")
            assert (await news(events))["event"] == "alert"

    run(work, api_key="secret", tls=make_certificate(tmp_path).tls if over_tls else None)


def test_without_a_key_no_page_of_another_name_gets_in() -> None:
    async def work(there: Place) -> None:
        for headers, status in (({"Host": "evil.example"}, 400), ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "image"}, 403)):
            refused = await there.web.get("/v1/standing", params=FIRE, headers=headers)
            assert (refused.status_code, refused.json()["reason"]) == (status, "REQUEST_INVALID")
        assert not there.feeds._feeds, "and nothing is looked for on behalf of one"
        assert (await there.web.get("/v1/nothing")).status_code == 404
        assert (await there.web.post("/v1/standing", params=FIRE)).status_code == 405

    run(work)


def test_a_memory_that_is_away_is_told_and_so_is_a_port_that_is_taken() -> None:
    async def work(there: Place) -> None:
        with pytest.raises(SettingInvalid, match="WATCHWORD_HTTP"):
            HttpFace([], Settings(http=there.face.address))
        async with grpc.aio.insecure_channel("127.0.0.1:1") as nobody:
            there.feeds._stand = qa_service_pb2_grpc.QaServiceStub(nobody).Stand
            refused = await there.web.get("/v1/standing", params=FIRE)
            assert (refused.status_code, refused.json()["reason"]) == (503, "SERVICE_UNAVAILABLE")

    run(work)


def test_who_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALLED_S", 0.05)

    async def work(there: Place) -> None:
        held = AsyncExitStack()
        listener: Listener = await held.enter_async_context(there.feeds.listening(StandRequest(query="'fire'")))
        for number in range(WAITING + 5):
            listener.offer(Event(str(number), "alert", {}))
        assert listener.waiting.qsize() == WAITING + 1, "and the last one says why"

        async def stuck(_: Any) -> None:
            await asyncio.Event().wait()

        async with asyncio.timeout(10):
            await EventStream(heard(listener), held, 9.0)({}, asyncio.Event().wait, lambda message: stuck(message))
        assert not any(feed.listeners for feed in there.feeds._feeds.values())

    run(work)


def test_queries_are_bounded_and_one_that_nobody_listens_to_goes_first() -> None:
    async def work(there: Place) -> None:
        kept = there.feeds
        held = [kept.listening(StandRequest(query="'fire'", streams=[str(number)])) for number in range(feeds.FEEDS)]
        for each in held:
            await each.__aenter__()
        refused = await there.web.get("/v1/standing", params=FIRE)
        assert (refused.status_code, refused.json()["reason"]) == (429, "OVERLOADED")
        await held[3].__aexit__(None, None, None)
        async with there.listening() as events:
            await there.say("Fire!")
            assert (await news(events))["event"] == "alert"
        for each in (*held[:3], *held[4:]):
            await each.__aexit__(None, None, None)

    run(work)


def test_history_is_bounded() -> None:
    feed = feeds._Feed(StandRequest(query="x"))
    for number in range(KEPT + 9):
        feed.tell(Event(str(number), "alert", {}))
    assert [event.id for event in feed.history] == [str(number) for number in range(9, KEPT + 9)]
    assert feed.listener("9").waiting.qsize() == KEPT - 1


def test_beyond_loopback_it_wants_a_certificate_and_a_key() -> None:
    with pytest.raises(SettingInvalid, match=r"WATCHWORD_HTTP=0\.0\.0\.0:80: beyond loopback"):
        read({"WATCHWORD_HTTP": "0.0.0.0:80"})
