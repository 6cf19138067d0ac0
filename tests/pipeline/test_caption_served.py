"""Describing scenes by a server with OpenAI's chat API: over real HTTP, with a server that is well, slow, down, or talks nonsense."""

import asyncio
import base64
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from pipeline.caption.model import Description, SceneView, load, telling
from pipeline.caption.reply import SCHEMA
from pipeline.caption.served import PATIENCE, ServedCaptioner
from pipeline.caption.style import Style
from pipeline.errors import ModelMismatch, Overloaded, ServiceUnavailable, SettingInvalid, WatchwordError
from pipeline.served import Breaker, Patience, Server, events
from pipeline.timeline import ZERO, MediaTime
from tests.servers import Reply, ScriptedServer, of_json, scripted_server, streamed
from tests.tiny_vlm import scene, shot

pytestmark = pytest.mark.unit

STRUCTURED = Style(structured=True)
JSON = json.dumps(
    {
        "sentence": "A ship leaves.",
        "detail": "",
        "objects": ["ship"],
        "actions": [],
        "text": [],
        "people": None,
        "camera": "still",
        "confidence": 0.9,
    }
)


@pytest.fixture(scope="module")
def running() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def server(running: ScriptedServer) -> ScriptedServer:
    running.asked.clear()
    running.keys.clear()
    running.most_at_once = 0
    return running


def captioner(server: ScriptedServer, patience: Patience = PATIENCE, **options: Any) -> ServedCaptioner:
    found = ServedCaptioner(server.url, model="eye", key="a key", patience=patience, **options)

    async def at_once(_: float) -> None:
        pauses.append(_)

    pauses: list[float] = []
    found._server._pause = at_once
    found._server.pauses = pauses  # type: ignore[attr-defined]
    return found


def describe(model: ServedCaptioner, view: SceneView | None = None) -> Description:
    async def closing() -> Description:
        try:
            return await model.describe(view or scene(1, 2))
        finally:
            await model.aclose()

    return asyncio.run(closing())


def test_pictures_go_with_their_times_and_the_key(server: ScriptedServer) -> None:
    server.script = [streamed("A ship ", "leaves.")]
    view = scene(10, 10.5, 14)
    described = describe(captioner(server), view)
    assert (described.text, described.revision, described.remark) == ("A ship leaves.", "fp_7", "")
    assert server.paths[-1] == "/v1/chat/completions"
    assert server.keys == ["Bearer a key"]
    (asked,) = server.asked
    assert (asked["model"], asked["temperature"], asked["stream"]) == ("eye", 0, True)
    assert "response_format" not in asked
    (message,) = asked["messages"]
    times = [part["text"] for part in message["content"] if part["type"] == "text"]
    assert times[:3] == ["Keyframe at 0.0 seconds:", "Keyframe at 0.5 seconds:", "Keyframe at 4.0 seconds:"]
    pictures = [part["image_url"]["url"] for part in message["content"] if part["type"] == "image_url"]
    assert [base64.b64decode(each.removeprefix("data:image/jpeg;base64,")) for each in pictures] == [each.jpeg for each in view.shots]


def test_a_style_and_a_schema_are_asked_for(server: ScriptedServer) -> None:
    server.script = [streamed(JSON[:20], JSON[20:])]
    described = describe(captioner(server), scene(1, style=Style(structured=True, voice="calm", language="de")))
    assert (described.text, described.objects, described.camera, described.people, described.confidence) == (
        "A ship leaves.", ("ship",), "still", None, 0.9,
    )  # fmt: skip
    (asked,) = server.asked
    assert asked["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asked["messages"][0]["role"] == "system"
    assert "voice: calm" in asked["messages"][0]["content"]


def test_a_server_that_knows_no_schema_is_asked_without(server: ScriptedServer) -> None:
    server.script = [of_json({"error": {"message": "unknown field"}}, 400), streamed(JSON)]
    model = captioner(server)
    assert describe(model, scene(1, style=STRUCTURED)).text == "A ship leaves."
    assert describe(model, scene(2, style=STRUCTURED)).text == "A ship leaves."
    assert ["response_format" in asked for asked in server.asked] == [True, False, False]


def test_broken_json_is_asked_for_again_as_a_sentence(server: ScriptedServer) -> None:
    server.script = [streamed("I am sorry"), streamed("A ship leaves.")]
    described = describe(captioner(server), scene(1, style=STRUCTURED))
    assert described.text == "A ship leaves."
    assert "could not be used" in described.remark
    assert len(server.asked) == 2


def test_an_answer_that_was_cut_off_says_so(server: ScriptedServer) -> None:
    server.script = [streamed("A ship that", finish="length")]
    assert describe(captioner(server)).text == "A ship that …"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_events_may_be_cut_anywhere(server: ScriptedServer, size: int) -> None:
    server.script = [streamed("Ein Schiff fährt ", "hinaus – weit.", size=size)]
    assert describe(captioner(server)).text == "Ein Schiff fährt hinaus – weit."


def test_a_sentence_is_told_while_it_is_written(server: ScriptedServer) -> None:
    hold = threading.Event()
    server.script = [streamed("A ship", " leaves", ".", hold=hold)]

    async def told() -> list[str | Description]:
        found: list[str | Description] = []
        model = captioner(server)
        async for part in telling(model, scene(1)):
            found.append(part)
            hold.set()
        await model.aclose()
        return found

    *parts, last = asyncio.run(told())
    assert parts[0] in ("A ship", "A ship leaves", "A ship leaves.")
    assert isinstance(last, Description)
    assert last.text == "A ship leaves."


def test_a_description_names_the_version_that_wrote_it(server: ScriptedServer) -> None:
    hold = threading.Event()
    server.script = [streamed("A ship.", hold=hold, revision="old"), streamed("A whale.", revision="new")]

    async def at_once() -> list[Description]:
        model = captioner(server)
        first = model.tell(scene(1))
        assert await anext(first) == "A ship."
        hold.set()
        others = [await model.describe(scene(at)) for at in (2, 3)]
        *_, last = [part async for part in first]
        await model.aclose()
        assert isinstance(last, Description)
        return [last, *others]

    assert [(each.text, each.revision) for each in asyncio.run(at_once())] == [("A ship.", "old"), ("A whale.", "new"), ("A whale.", "new")]


def test_many_keyframes_are_chosen_from(server: ScriptedServer) -> None:
    server.script = [streamed("A ship.")]
    shots = tuple(shot(at / 4, score=at / 200) for at in range(200))
    described = describe(captioner(server, max_shots=5), SceneView(ZERO, MediaTime.of(60), shots))
    assert described.used == (0, 196, 197, 198, 199)
    assert "195 of 200" in described.remark


# A server that is not well.


@pytest.mark.parametrize("status", [429, 500, 503])
def test_what_may_pass_is_tried_again(server: ScriptedServer, status: int) -> None:
    server.script = [Reply(status, headers={"Retry-After": "3"}), Reply(status), streamed("A ship.")]
    model = captioner(server)
    assert describe(model).text == "A ship."
    first, second = model._server.pauses  # type: ignore[attr-defined]
    assert first == 3
    assert 0 < second <= 8


@pytest.mark.parametrize(
    "reply",
    [streamed("A ship", done=False), streamed("A ship", cut=True, done=False), Reply(parts=[b'data: {"error": {"message": "CUDA"}}\n\n'])],
    ids=["ends", "breaks", "error"],
)
def test_an_answer_that_stops_in_the_middle_is_asked_for_anew(server: ScriptedServer, reply: Reply) -> None:
    server.script = [reply, streamed("A whale.")]
    assert describe(captioner(server)).text == "A whale."


@pytest.mark.parametrize(
    ("reply", "error", "match"),
    [
        (Reply(503), ServiceUnavailable, "status 503, in attempt 3"),
        (Reply(401), SettingInvalid, "refuses the key"),
        (Reply(404), SettingInvalid, "status 404"),
        (Reply(parts=[b"data: <html>\n\n"]), ModelMismatch, "no JSON"),
        (Reply(parts=[b"data: [1]\n\n"]), ModelMismatch, "no JSON object"),
        (Reply(parts=[b'data: {"choices": [{"text": "x"}]}\n\n']), ModelMismatch, "no chat completion"),
        (Reply(parts=[b"<html>It works!</html>"]), ServiceUnavailable, "ended in the middle"),
        (Reply(parts=[b"data: " + b"x" * 1_000_000] * 6), ModelMismatch, "more than 5,000,000 bytes"),
    ],
)
def test_what_cannot_be_used_is_said(server: ScriptedServer, reply: Reply, error: type[WatchwordError], match: str) -> None:
    server.script = [reply]
    with pytest.raises(error, match=match):
        describe(captioner(server))


def test_a_server_that_is_down_is_named() -> None:
    model = ServedCaptioner("http://127.0.0.1:1/v1", model="eye", patience=Patience(attempts=1))
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:1/v1: no answer"):
        describe(model)


@pytest.mark.parametrize("patience", [Patience(timeout_s=0.05, attempts=1), Patience(whole_s=0.05, attempts=1)])
def test_a_slow_server_is_not_waited_for(server: ScriptedServer, patience: Patience) -> None:
    hold = threading.Event()
    server.script = [streamed("A ship.", hold=hold)]
    try:
        with pytest.raises(ServiceUnavailable, match=r"no (whole )?answer"):
            describe(captioner(server, patience))
    finally:
        hold.set()


def test_a_server_that_fails_again_and_again_is_left_alone(server: ScriptedServer) -> None:
    server.script = [Reply(500)]
    model = captioner(server, replace(PATIENCE, attempts=1), breaker=Breaker(failures=2, rest_s=60))
    now = 0.0
    model._server._clock = lambda: now
    for match in ("status 500", "status 500", "left alone", "left alone"):
        with pytest.raises(ServiceUnavailable, match=match):
            describe(model)
    assert len(server.asked) == 2
    server.script = [streamed("A ship.")]
    now = 61
    assert describe(model).text == "A ship."
    assert describe(model).text == "A ship."


def test_retries_are_a_share_of_all_calls(server: ScriptedServer) -> None:
    server.script = [Reply(500)]
    model = captioner(server, breaker=Breaker(failures=1_000))
    for _ in range(30):
        with pytest.raises(ServiceUnavailable):
            describe(model)
    assert len(server.asked) <= 30 + 10 + 0.2 * 30


def test_only_so_many_requests_are_under_way(server: ScriptedServer) -> None:
    server.script = [streamed("A ship.")]

    async def many() -> None:
        model = captioner(server, replace(PATIENCE, together=2))
        await asyncio.gather(*(model.describe(scene(at)) for at in range(8)))
        await model.aclose()

    asyncio.run(many())
    assert len(server.asked) == 8
    assert server.most_at_once <= 2


@pytest.mark.parametrize("how", ["post", "words"])
def test_waiting_for_a_place_is_not_the_servers_failure(server: ScriptedServer, how: str) -> None:
    hold = threading.Event()
    server.script = [streamed("A ship.", hold=hold)]

    async def crowded() -> str:
        asked = Server(server.url, what="model", patience=Patience(whole_s=0.5, together=1), breaker=Breaker(failures=1, rest_s=600))
        words = asked.words({})
        told = await anext(words)
        # The only place is taken. Were it noted as a failure, the second would hear that the server is left alone.
        for _ in range(2):
            with pytest.raises(Overloaded, match=r"no place .* within 0\.5 s"):
                await (asked.post("x", {}) if how == "post" else anext(asked.words({})))
        hold.set()
        await words.aclose()
        await asked.aclose()
        return told

    try:
        assert asyncio.run(crowded()) == "A ship."
    finally:
        hold.set()
    assert len(server.asked) == 1


def test_cancelling_ends_the_request(server: ScriptedServer) -> None:
    hold = threading.Event()
    server.script = [streamed("A ship.", hold=hold)]

    async def cancelled() -> None:
        model = captioner(server, replace(PATIENCE, together=1))
        told = model.tell(scene(1))
        assert await anext(told) == "A ship."
        await told.aclose()
        hold.set()
        assert (await model.describe(scene(2))).text == "A ship."
        await model.aclose()

    asyncio.run(cancelled())


def test_the_breaker_lets_one_try() -> None:
    breaker = Breaker(failures=2, rest_s=10)
    for now in (0, 1):
        assert breaker.allows(now)
        breaker.note(answered=False, now=now)
    assert not breaker.allows(10.9)
    assert breaker.allows(11)
    assert not breaker.allows(12), "one is trying"
    breaker.note(answered=True, now=13)
    assert breaker.allows(13)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("data: a\n\ndata: b\n\n", ["a", "b"]),
        ("data: a\r\n\r\ndata:b\r\rdata: c", ["a", "b", "c"]),
        (": hello\n\nevent: x\ndata: a\ndata: b\nid: 3\n\n\n", ["a\nb"]),
        ("", []),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_server_sent_events(text: str, found: list[str], size: int) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(text), size):
            yield text[start : start + size].encode()

    async def read() -> list[str]:
        return [event async for event in events(parts())]

    assert asyncio.run(read()) == found


@pytest.mark.parametrize("url", ["no url", "ftp://host/v1", "http://", "http://user:secret@host/v1"])
def test_what_is_no_address_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingInvalid) as refused:
        Server(url, what="captioner")
    assert "secret" not in str(refused.value)


def test_a_served_captioner_needs_an_address() -> None:
    assert load("served", url="http://127.0.0.1:1/v1", model="eye").name == "eye"
    with pytest.raises(SettingInvalid, match="URL#NAME"):
        load("served")
