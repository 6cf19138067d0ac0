"""Streams over real HTTP: what is known, what happens, pictures, the recording, and questions."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
from watchword.v1.errors_pb2 import ERROR_REASON_MEDIA_UNDECODABLE, ErrorEvent
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.media_pb2 import StreamEnd
from watchword.v1.qa_service_pb2 import AskRequest, AskResponse
from watchword.v1.safety_pb2 import ACTION_ALLOW, ACTION_BLOCK, Verdict, Withheld
from watchword.v1.scene_pb2 import Keyframe
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.bus import Context, Origin, Position, Record
from pipeline.bus.memory import MemoryBus
from pipeline.errors import SettingInvalid, StoreUnavailable
from pipeline.graph import BRANCHES
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Kind, Moment
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.timeline import MediaTime
from services.cli.run_page import RunPage
from services.gateway import hub as hub_module
from services.gateway import live, punctual, questions, sse
from services.gateway.hls import Hls
from services.gateway.http import HttpFace
from services.gateway.hub import Hub
from services.gateway.live import Streams
from services.gateway.page_files import Page
from services.gateway.questions import Ask, Questions
from services.gateway.sse import ENDED, EventStream
from services.gateway.subtitle_tracks import SubtitleTracks
from services.memory.servicer import Asking
from services.settings import Settings
from tests.fakes import ScriptedEmbedder
from tests.services.test_standing_http import Told, parsed

pytestmark = pytest.mark.connected

STREAM, PICTURE = "talk", b"\xff\xd8 a picture"
EVENTS = f"/v1/streams/{STREAM}/events"


@dataclass
class Source:
    """What the steps say of one stream, handed to hubs as the bus would."""

    hubs: list[Hub]
    records: list[Record] = field(default_factory=list)
    started_at: float = 1000.5
    live: bool = False
    clock: int | None = None

    def tell(self, event: ClearedEvent, step: str = "screen-transcripts") -> None:
        self._take("cleared", event, Origin(step, Position(len(self.records), 0)))

    def fail(self, message: str) -> None:
        error = ErrorEvent(stream_id=STREAM, id="error-1", message=message, reason=ERROR_REASON_MEDIA_UNDECODABLE)
        self._take("errors", error, Origin("transcribe", Position(1, 0)))

    def say(self, number: int, text: str, **fields: Any) -> None:
        times = {"media_start": MediaTime.of(number).to_proto(), "media_end": MediaTime.of(number + 1).to_proto()}
        segment = TranscriptSegment(stream_id=STREAM, id=f"segment-{number}", text=text, is_final=True, **times)
        segment.MergeFrom(TranscriptSegment(**fields))
        self.tell(ClearedEvent(segment=segment))

    def show(self, number: int, jpeg: bytes = PICTURE) -> None:
        at = MediaTime.of(number).to_proto()
        verdict = Verdict(action=ACTION_ALLOW)
        frame = Keyframe(stream_id=STREAM, id=f"keyframe-{number}", media_time=at, jpeg=jpeg, scene_id="scene-0", verdict=verdict)
        self.tell(ClearedEvent(keyframe=frame), "screen-keyframes")

    def withhold(self, item_id: str, kind: str) -> None:
        gone = Withheld(stream_id=STREAM, id=item_id, kind=kind, verdict=Verdict(action=ACTION_BLOCK, cause="too much"))
        self.tell(ClearedEvent(withheld=gone), f"screen-{kind}s")

    def end(self) -> None:
        for branch in BRANCHES:
            self.tell(ClearedEvent(end=StreamEnd(stream_id=STREAM)), branch)

    def _take(self, topic: str, event: Any, origin: Origin) -> None:
        offset = sum(record.topic == topic for record in self.records)
        record = Record(topic, 0, offset, STREAM, event, origin, Context(self.started_at, self.live, self.clock))
        self.records.append(record)
        for hub in self.hubs:
            hub.take(record)


@dataclass
class Place:
    """An HTTP face before a hub."""

    web: httpx2.AsyncClient
    face: HttpFace
    source: Source
    streams: Streams

    @asynccontextmanager
    async def listening(self, last_id: str = "") -> AsyncIterator[AsyncIterator[Told]]:
        headers = {"Last-Event-ID": last_id} if last_id else {}
        async with self.web.stream("GET", EVENTS, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            events = parsed(response.aiter_lines())
            assert await anext(events) == {"retry": "2000"}
            yield events

    async def asked(self, question: str, **more: str) -> list[Told]:
        body = {"question": question, **more}
        async with self.web.stream("POST", f"/v1/streams/{STREAM}/ask", json=body) as response:
            assert response.status_code == 200, await response.aread()
            return [event async for event in parsed(response.aiter_lines())][1:]


@asynccontextmanager
async def serving(
    ask: Ask | None = None,
    *,
    address: str = "127.0.0.1:0",
    hub: Hub | None = None,
    recordings: dict[str, Path] | None = None,
    key: str = "",
    tracks: SubtitleTracks | None = None,
    origins: tuple[str, ...] = (),
    patience_s: float = 60,
) -> AsyncIterator[Place]:
    tracks = tracks or SubtitleTracks()
    hub = hub or Hub(MemoryBus(), followers=[tracks])
    streams = Streams(hub, recordings=recordings, heartbeat_s=0.05)
    parts = [Page(), streams, Hls(tracks, key, first_s=0.3), Questions(ask or nobody)]
    face = HttpFace(parts, Settings(http=address, api_key=key, hls_origins=origins))
    running = asyncio.create_task(face.run())
    try:
        async with httpx2.AsyncClient(base_url=f"http://{face.address}", timeout=20) as web, asyncio.timeout(patience_s):
            yield Place(web, face, Source([hub]), streams)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def nobody(_: AskRequest) -> AsyncGenerator[AskResponse, None]:
    raise StoreUnavailable("the memory is away")
    yield


def run(work: Callable[[Place], Awaitable[None]], **options: Any) -> None:
    async def within() -> None:
        async with serving(**options) as there:
            await work(there)

    asyncio.run(within())


async def told(events: AsyncIterator[Told], many: int) -> list[Told]:
    """The next events that are no comments."""
    found: list[Told] = []
    async with asyncio.timeout(20):
        while len(found) < many:
            event = await anext(events)
            if "comment" not in event:
                found.append(event)
    return found


def test_the_known_streams_are_listed_and_one_that_is_about_to_begin() -> None:
    async def work(there: Place) -> None:
        there.source.say(3, "Hello.")
        assert (await there.web.get("/v1/streams")).json()["streams"] == [
            {"stream": "next", "ended": False, "media_end": 0.0, "started_at": None, "recording": True},
            {"stream": STREAM, "ended": False, "media_end": 4.0, "started_at": 1000.5, "recording": False},
        ]

    run(work, recordings={"next": Path(__file__)})


def test_events_are_the_objects_of_the_events_file_to_the_end_and_then_there_is_nothing() -> None:
    async def work(there: Place) -> None:
        there.source.say(1, "Hello <b>there</b>.\nAgain.")
        there.source.show(1)
        async with there.listening() as events:
            final, keyframe, verdict = [event["data"] for event in await told(events, 3)]
            assert (final["type"], final["id"], final["text"]) == ("final", "segment-1", "Hello <b>there</b>.\nAgain.")
            assert (keyframe["type"], keyframe["id"], keyframe["reason"]) == ("keyframe", "keyframe-1", "unspecified")
            assert (verdict["of"], verdict["action"]) == ("keyframe-1", "allow")
            assert PICTURE.decode("latin-1") not in json.dumps(keyframe)
            assert await anext(events) == {"comment": "still here"}
            there.source.fail("a bad packet")
            there.source.end()
            failure, end = await told(events, 2)
            assert (failure["data"]["type"], failure["data"]["reason"]) == ("error", "MEDIA_UNDECODABLE")
            assert (end["event"], end["id"], end["data"]["media_end"]) == ("end", ENDED, 2.0)
            with pytest.raises(StopAsyncIteration):
                await anext(events)
        assert (await there.web.get(EVENTS, headers={"Last-Event-ID": ENDED})).status_code == 204

    run(work)


def test_who_comes_back_is_told_what_was_missed_and_no_more() -> None:
    async def work(there: Place) -> None:
        there.source.say(1, "One.")
        there.source.show(2)
        async with there.listening() as events:
            first, keyframe, verdict = await told(events, 3)
            assert "id" not in keyframe, "who is gone between a picture and its verdict is told both again"
        there.source.say(3, "Three.")
        for last, expected in ((first["id"], ["keyframe-2", "verdict-keyframe-2", "segment-3"]), (verdict["id"], ["segment-3"])):
            async with there.listening(last) as events:
                assert [event["data"]["id"] for event in await told(events, len(expected))] == expected

    run(work)


def test_who_was_away_too_long_is_told_that_something_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HISTORY_UPDATES", 3)

    async def work(there: Place) -> None:
        for number in range(9):
            there.source.say(number, "Again.")
        async with there.listening("2.0") as events:
            missed, *rest = await told(events, 4)
            assert missed["event"] == "missed"
            assert [event["data"]["id"] for event in rest] == ["segment-6", "segment-7", "segment-8"]

    run(work)


def test_a_client_that_falls_behind_is_told_and_one_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "STALLED_S", 0.05)

    async def work(there: Place) -> None:
        there.source.say(0, "Begin.")
        viewer, _ = there.streams._watch(STREAM, "")
        for number in range(1, hub_module.QUEUE_UPDATES + 2):
            there.source.say(number, "More.")
        behind = [encoded async for encoded in collected(EventStream(live.told(viewer), AsyncExitStack()))]
        assert b"CLIENT_SLOW" in behind[-1]

        held = AsyncExitStack()
        viewer, _ = there.streams._watch(STREAM, "")
        held.callback(there.streams._leave, viewer)

        async def stuck(_: Any) -> None:
            await asyncio.Event().wait()

        async with asyncio.timeout(10):
            await EventStream(live.told(viewer), held)({}, asyncio.Event().wait, stuck)
        assert viewer not in there.streams._hub._streams[STREAM].viewers

    run(work)


@pytest.mark.parametrize(
    ("head", "answered"),
    [
        ("GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b""),
        (f"POST {EVENTS} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000\r\n\r\n", b"HTTP/1.1 401"),
    ],
    ids=["headers without end", "a body that is not wanted"],
)
def test_who_never_ends_a_request_is_hung_up_on_and_who_listens_is_not(monkeypatch: pytest.MonkeyPatch, head: str, answered: bytes) -> None:
    monkeypatch.setattr(punctual, "REQUEST_S", 0.3)

    async def work(there: Place) -> None:
        there.source.say(0, "Begin.")
        there.web.headers["Authorization"] = "Bearer secret"
        reader, writer = await asyncio.open_connection(*there.face.address.split(":"))

        async with there.listening() as events:
            writer.write(head.encode())
            if answered:
                assert (await reader.readuntil(b"}")).startswith(answered)
                writer.write(b"and so on")
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
            there.source.say(1, "Still here.")
            assert [event["data"]["text"] for event in await told(events, 2)] == ["Begin.", "Still here."]

    run(work, key="secret")


async def collected(response: EventStream) -> AsyncIterator[bytes]:
    parts: list[bytes] = []

    async def send(message: Any) -> None:
        if message.get("body"):
            parts.append(message["body"])

    await response({}, asyncio.Event().wait, send)
    for part in parts:
        yield part


@pytest.mark.parametrize(
    ("path", "last_id", "status", "reason"),
    [
        ("/v1/streams/nobody/events", "", 404, "STREAM_UNKNOWN"),
        (EVENTS, "yesterday", 400, "REQUEST_INVALID"),
        ("/v1/nothing", "", 404, "REQUEST_INVALID"),
        (f"/v1/streams/{STREAM}/recording", "", 404, "REQUEST_INVALID"),
        (f"/v1/streams/{STREAM}/keyframes/keyframe-9.jpg", "", 404, "REQUEST_INVALID"),
        (f"/v1/streams/{STREAM}/ask", "", 405, "REQUEST_INVALID"),
        ("/page/../../main.py", "", 404, "REQUEST_INVALID"),
        ("/page/..%2Fmain.py", "", 404, "REQUEST_INVALID"),
    ],
)
def test_what_is_not_there_is_told_as_json(path: str, last_id: str, status: int, reason: str) -> None:
    async def work(there: Place) -> None:
        there.source.say(1, "Hello.")
        refused = await there.web.get(path, headers={"Last-Event-ID": last_id} if last_id else {})
        assert (refused.status_code, refused.json()["reason"]) == (status, reason)

    run(work)


def test_too_many_viewers_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "VIEWERS", 1)

    async def work(there: Place) -> None:
        there.source.say(1, "Hello.")
        async with there.listening() as events:
            await told(events, 1)
            refused = await there.web.get(EVENTS)
            assert (refused.status_code, refused.json()["reason"]) == (429, "OVERLOADED")

    run(work)


def test_a_picture_is_given_while_it_is_kept_and_never_when_it_is_withheld() -> None:
    async def work(there: Place) -> None:
        where = f"/v1/streams/{STREAM}/keyframes/keyframe-1.jpg"
        there.source.show(1)
        there.source.show(2, b"")
        picture = await there.web.get(where)
        assert (picture.content, picture.headers["content-type"]) == (PICTURE, "image/jpeg")
        assert picture.headers["cache-control"] == "private, no-cache"
        assert (await there.web.get(where, headers={"If-None-Match": picture.headers["etag"]})).status_code == 304
        assert (await there.web.get(where.replace("-1.", "-2."))).status_code == 404
        there.source.withhold("keyframe-1", "keyframe")
        assert (await there.web.get(where, headers={"If-None-Match": picture.headers["etag"]})).status_code == 404
        async with there.listening() as events:
            assert [event["data"]["id"] for event in await told(events, 3)] == ["keyframe-2", "verdict-keyframe-2", "verdict-keyframe-1"]

    run(work)


def test_a_picture_stays_where_an_older_one_of_the_same_id_is_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HISTORY_UPDATES", 3)

    async def work(there: Place) -> None:
        for picture in (PICTURE, b"\xff\xd8 after the publisher began again"):
            there.source.show(1, picture)
        there.source.say(2, "One.")
        there.source.say(3, "Two.")
        answer = await there.web.get(f"/v1/streams/{STREAM}/keyframes/keyframe-1.jpg")
        assert (answer.status_code, answer.content) == (200, picture)

    run(work)


def test_a_recording_is_given_in_ranges_and_no_other_file_is(tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").write_bytes(bytes(range(100)))
    (tmp_path / "page.html").write_text("<script>alert(1)</script>")

    async def work(there: Place) -> None:
        where = f"/v1/streams/{STREAM}/recording"
        whole = await there.web.get(where)
        assert (len(whole.content), whole.headers["content-type"], whole.headers["accept-ranges"]) == (100, "video/mp4", "bytes")
        part = await there.web.get(where, headers={"Range": "bytes=10-19"})
        assert (part.status_code, part.content, part.headers["content-range"]) == (206, bytes(range(10, 20)), "bytes 10-19/100")
        assert (await there.web.get(where, headers={"Range": "bytes=200-"})).status_code == 416
        assert (await there.web.get(where, headers={"Range": "lines=1"})).status_code == 400
        assert (await there.web.head(where)).headers["content-length"] == "100"
        other = await there.web.get("/v1/streams/html/recording")
        assert (other.headers["content-type"], other.headers["x-content-type-options"]) == ("application/octet-stream", "nosniff")
        assert (await there.web.get("/v1/streams/..%2Fpage/recording")).status_code == 404
        (tmp_path / "talk.mp4").unlink()
        assert (await there.web.get(where)).status_code == 404

    run(work, recordings={STREAM: tmp_path / "talk.mp4", "html": tmp_path / "page.html"})


@asynccontextmanager
async def memory() -> AsyncIterator[Asking]:
    store, embedder = SqliteStore(), ScriptedEmbedder()
    for number, text in enumerate(("The harbour conference opens on Monday.", "It lasts for three days.")):
        moment = Moment(STREAM, f"segment-{number}", Kind.SPEECH, 0, text, MediaTime.of(5 * number), MediaTime.of(5 * number + 4), "m")
        await store.put(STREAM, moment.source_id, [moment], await embedder.embed([text]))
    yield Asking({"extractive": ExtractiveAnswerer(store, embedder)})
    await store.close()


def test_a_question_is_answered_with_evidence_words_claims_and_the_whole() -> None:
    async def work() -> None:
        async with memory() as asking, serving(asking.ask) as there:
            parts = await there.asked("When does the harbour conference open?")
            names = [part["event"] for part in parts]
            assert (names[0], names[-1], set(names[1:-1])) == ("evidence", "answer", {"words", "claim"})
            answer = parts[-1]["data"]
            assert "".join(part["data"]["text"] for part in parts if part["event"] == "words") == answer["text"]
            assert (answer["supported"], answer["evidence"][0]["id"], answer["evidence"][0]["media_start"]) == (True, "segment-0", 0.0)
            again = (await there.asked("And when?", conversation=answer["conversation"]))[-1]["data"]
            assert "Monday" in again["text"], "it goes on from the question before"

    asyncio.run(work())


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b'{"question": ""}', "application/json", "is empty"),
        (b'{"question": 3}', "application/json", "must be a text"),
        (b'{"question": "\\ud800"}', "application/json", "no text"),
        (b'{"qestion": "who?"}', "application/json", "'qestion' is not known"),
        (b'["who?"]', "application/json", "a JSON object"),
        (b"who?", "application/json", "no JSON"),
        (b"[" * 9_000, "application/json", "no JSON"),
        (b"x" * 20_000, "application/json", "16,384 bytes"),
        (b'{"question": "who?"}', "text/plain", "Content-Type"),
        (b'{"question": "who?", "answerer": "oracle"}', "application/json", "oracle"),
    ],
)
def test_what_cannot_be_asked_is_refused(body: bytes, kind: str, message: str) -> None:
    async def work() -> None:
        async with memory() as asking, serving(asking.ask) as there:
            refused = await there.web.post(f"/v1/streams/{STREAM}/ask", content=body, headers={"Content-Type": kind})
            assert (refused.status_code, refused.json()["reason"]) == (400, "REQUEST_INVALID")
            assert message in refused.json()["message"]

    asyncio.run(work())


def test_a_failure_is_a_status_at_once_and_an_event_later(monkeypatch: pytest.MonkeyPatch) -> None:
    async def late(request: AskRequest) -> AsyncGenerator[AskResponse, None]:
        yield AskResponse(text="It ")
        raise StoreUnavailable("the memory went away")

    async def work() -> None:
        async with serving(nobody) as there:
            refused = await there.web.post(f"/v1/streams/{STREAM}/ask", json={"question": "who?"})
            assert (refused.status_code, refused.json()["reason"]) == (503, "STORE_UNAVAILABLE")
        async with serving(late) as there:
            words, failure = await there.asked("who?")
            assert (words["data"], failure["event"], failure["data"]["reason"]) == ({"text": "It "}, "error", "STORE_UNAVAILABLE")

    asyncio.run(work())


def test_who_hangs_up_stops_the_answer_and_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "ASKED_AT_ONCE", 1)
    monkeypatch.setattr(questions, "REFUSED_S", 0.01)

    async def work() -> None:
        stopped = asyncio.Event()

        async def endless(request: AskRequest) -> AsyncGenerator[AskResponse, None]:
            try:
                await asyncio.Event().wait()
                yield AskResponse(text="never")
            finally:
                stopped.set()

        async with serving(endless) as there:
            where, body = f"/v1/streams/{STREAM}/ask", {"question": "who?"}
            async with there.web.stream("POST", where, json=body):
                refused = await there.web.post(where, json=body)
                assert (refused.status_code, refused.json()["reason"]) == (429, "OVERLOADED")
            await stopped.wait()
            status = 429
            while status == 429:
                async with there.web.stream("POST", where, json=body) as response:
                    status = response.status_code
            assert status == 200

    asyncio.run(work())


def test_with_a_key_nothing_is_told_without_it_but_the_page_which_asks_for_it() -> None:
    async def work(there: Place) -> None:
        there.source.show(1)
        for path in ("/v1/streams", EVENTS, f"/v1/streams/{STREAM}/keyframes/keyframe-1.jpg", "/%76%31/streams", "/v1/nothing", "/pages"):
            for shown in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "Authorization=Bearer secret"}):
                refused = await there.web.get(path, headers=shown)
                assert (refused.status_code, refused.json()["reason"]) == (401, "UNAUTHENTICATED")
        assert (await there.web.get("/v1/streams?key=secret")).status_code == 401
        assert (await there.web.get("/v1/streams", headers={"Authorization": "Bearer secret"})).status_code == 200
        page = await there.web.get("/")
        assert (page.status_code, "default-src 'none'" in page.headers["content-security-policy"]) == (200, True)

    run(work, key="secret")


def test_the_page_is_given_with_its_files_and_nothing_of_it_is_out_of_date() -> None:
    async def work(there: Place) -> None:
        kinds = {"/": "text/html", "/page/page.js": "text/javascript", "/page/page.css": "text/css", "/page/icon.svg": "image/svg+xml"}
        for path, kind in kinds.items():
            given = await there.web.get(path)
            assert given.headers["content-type"].startswith(kind)
            assert given.headers["cross-origin-resource-policy"] == "same-origin"
            assert (await there.web.get(path, headers={"If-None-Match": given.headers["etag"]})).status_code == 304
        assert (await there.web.get("/", headers={"Host": "evil.example"})).status_code == 400

    run(work)


def test_the_page_of_a_run_is_for_its_own_machine() -> None:
    with pytest.raises(SettingInvalid, match="for this machine alone"):
        RunPage("talk.mp4", STREAM, Settings(http="0.0.0.0:8080"))


def test_a_page_that_cannot_be_served_any_more_ends_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    async def breaks(_: Hub) -> None:
        raise StoreUnavailable("the bus is gone")

    async def serve() -> None:
        async with RunPage("talk.mp4", STREAM, Settings(http="127.0.0.1:0")).serving():
            await asyncio.Event().wait()

    monkeypatch.setattr(Hub, "run", breaks)
    with pytest.raises(StoreUnavailable, match="the bus is gone"):
        asyncio.run(asyncio.wait_for(serve(), 20))
