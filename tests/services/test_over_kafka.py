"""The same clip as services over a real broker: the same finals, scenes, memory and answers, also when a process is killed."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from pipeline.graph import SERVICES
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import EVIDENCE, MAX_LIMIT, StreamState
from tests.processes import DEMO, QUESTIONS, Event, Process, free_address, of_type, read_events, running, watchword

pytestmark = [pytest.mark.connected, pytest.mark.timeout(400)]

QUESTION = QUESTIONS[0]


@dataclass
class Installation:
    """One process per service on one broker."""

    env: dict[str, str]
    gateway: str
    processes: dict[str, Process]
    stack: ExitStack

    def start(self, service: str) -> None:
        env = self.env | {"WATCHWORD_LISTEN": self.gateway if service == "gateway" else self._listen(service)}
        self.processes[service] = self.stack.enter_context(running("serve", service, env=env))

    def _listen(self, service: str) -> str:
        return self.env["WATCHWORD_MEMORY"] if service == "memory" else "127.0.0.1:0"


@pytest.fixture(scope="module")
def installation(broker_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    env = {
        "WATCHWORD_KAFKA": broker_address,
        "WATCHWORD_TOPIC_PREFIX": "over-kafka.",
        "WATCHWORD_MEMORY": free_address(),
        "WATCHWORD_HTTP": free_address(),
        "WATCHWORD_STORE": str(tmp_path_factory.mktemp("store") / "memory.db"),
    }
    with ExitStack() as stack:
        installation = Installation(env, free_address(), {}, stack)
        for service in SERVICES:
            installation.start(service)
        for service in SERVICES:
            installation.processes[service].wait_for("serving on")
        yield installation
        statuses = {service: process.stop() for service, process in installation.processes.items()}
        assert statuses == dict.fromkeys(SERVICES, 0), "a service asked to stop does so tidily"


def publishing(installation: Installation, stream_id: str, speed: str) -> list[str]:
    return ["publish", str(DEMO), "--stream", stream_id, "--kafka", installation.env["WATCHWORD_KAFKA"], "--speed", speed]


def publish(installation: Installation, stream_id: str) -> subprocess.CompletedProcess[str]:
    return watchword(*publishing(installation, stream_id, "max"), env=installation.env)


def words(event: Event) -> list[tuple[str, float, float]]:
    return [(word["w"], word["start"], word["end"]) for word in event["words"]]


def finals(events: list[Event]) -> list[tuple[str, str, list[tuple[str, float, float]]]]:
    return [(event["id"], event["text"], words(event)) for event in of_type(events, "final")]


def scenes(events: list[Event]) -> list[tuple[str, float, float, str, list[str]]]:
    told = of_type(events, "scene")
    return [(event["id"], event["media_start"], event["media_end"], event["text"], event["on_screen_text"]) for event in told]


def answers(events: list[Event]) -> list[tuple[str, bool, list[Event]]]:
    return [
        (event["text"], event["supported"], [{**each, "stream": each["stream"] == event["stream"]} for each in event["evidence"]])
        for event in of_type(events, "answer")
    ]


def ask(installation: Installation, stream_id: str, folder: Path) -> list[Event]:
    asked = folder / f"asked-{stream_id}.jsonl"
    done = watchword("ask", stream_id, QUESTION, "--gateway", installation.gateway, "--events", asked)
    assert done.returncode == 0, done.stderr
    return read_events(asked)


def subtitles(installation: Installation, stream_id: str) -> str:
    """What a player shows of a stream that has ended, cue by cue."""

    def given(name: str) -> str:
        with urlopen(f"http://{installation.env['WATCHWORD_HTTP']}/v1/streams/{stream_id}/hls/{name}") as answer:
            return str(answer.read().decode())

    listed = given("captions.m3u8").splitlines()
    assert listed[-1] == "#EXT-X-ENDLIST"
    segments = [given(name) for name in listed if not name.startswith("#")]
    cues = dict.fromkeys(cue for segment in segments for cue in segment.strip().split("\n\n")[1:])
    return " ".join(" ".join(cue.splitlines()[1:]) for cue in cues)


async def come_to(store: SqliteStore, stream_id: str, point: Callable[[StreamState], bool]) -> StreamState:
    """The stream's state in the memory once it has come to a point."""
    async with asyncio.timeout(60):
        while True:
            state = await store.stream(stream_id)
            if state is not None and point(state):
                return state


def begun(installation: Installation, stream_id: str) -> StreamState:
    """The stream's state in the memory's file as soon as something of it is there."""

    async def look() -> StreamState:
        store = SqliteStore(installation.env["WATCHWORD_STORE"])
        state = await come_to(store, stream_id, lambda state: state.moments > 0)
        await store.close()
        return state

    return asyncio.run(look())


def remembered(installation: Installation, stream_id: str) -> list[object]:
    """All that the memory's file holds of a stream, once the stream has ended there; what is made of it later is not looked at."""

    async def look() -> list[object]:
        store = SqliteStore(installation.env["WATCHWORD_STORE"])
        state = await come_to(store, stream_id, lambda state: state.ended)
        told: list[object] = [(state.moments, state.pictures, state.dropped, state.latest)]
        for kind in sorted(EVIDENCE, key=lambda kind: kind.value):
            moments = await store.between(stream_id, kind, limit=MAX_LIMIT)
            told += [
                [(each.id, each.text, each.start, each.end) for each in moments],
                await store.words(stream_id, [m.id for m in moments]),
            ]
        told += [(each.id, each.at, each.jpeg) for each in await store.pictures(stream_id, limit=MAX_LIMIT)]
        told += [(each.item_id, each.start, each.verdict.action) for each in await store.judgements(stream_id, limit=MAX_LIMIT)]
        await store.close()
        return told

    return asyncio.run(look())


@pytest.fixture(scope="module")
def whole(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """What is seen of the clip where nothing goes wrong."""
    done = publish(installation, "whole")
    assert done.returncode == 0, done.stderr
    watched = tmp_path_factory.mktemp("whole") / "watched.jsonl"
    done = watchword("watch", "whole", "--gateway", installation.gateway, "--events", watched)
    assert done.returncode == 0, done.stderr
    return read_events(watched)


def test_services_say_what_one_process_says(
    installation: Installation, whole: list[Event], embedded_events: list[Event], tmp_path: Path
) -> None:
    assert len(finals(whole)) > 10
    assert finals(whole) == finals(embedded_events)
    assert scenes(whole) == scenes(embedded_events)
    expected = [event for event in of_type(embedded_events, "answer") if event["question"] == QUESTION]
    assert answers(ask(installation, "whole", tmp_path)) == answers(expected)
    assert not of_type(whole, "error")
    assert subtitles(installation, "whole") == " ".join(text for _, text, _ in finals(whole))


@pytest.mark.usefixtures("whole")
def test_a_stream_id_that_was_used_is_refused(installation: Installation) -> None:
    done = publish(installation, "whole")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "watchword: stream whole has ended; all that comes after is refused: publish under another stream id [STREAM_ENDED]"
    ]


@pytest.mark.usefixtures("whole")
def test_killed_processes_lose_and_repeat_nothing(installation: Installation, embedded_events: list[Event], tmp_path: Path) -> None:
    watched = tmp_path / "watched.jsonl"
    with running("watch", "killed", "--gateway", installation.gateway, "--events", str(watched), env={}) as viewer:
        viewer.wait_for("waiting for stream")
        with running(*publishing(installation, "killed", "4"), env=installation.env) as publisher:
            viewer.wait_for("Welcome to the")
            assert not begun(installation, "killed").ended
            for service in SERVICES:
                installation.processes[service].kill()
            seen = len(finals(read_events(watched)))
            assert 0 < seen < len(finals(embedded_events)), "the processes were killed in mid-stream"
            for service in SERVICES:
                installation.start(service)
            assert publisher.popen.wait(150) == 0
        assert viewer.popen.wait(150) == 0
    events = read_events(watched)
    assert finals(events) == finals(embedded_events)
    assert scenes(events) == scenes(embedded_events)
    told = [event["id"] for event in of_type(events, "keyframe")]
    assert told == [event["id"] for event in of_type(embedded_events, "keyframe")]
    assert not of_type(events, "error")
    for service in SERVICES:
        installation.processes[service].wait_for("serving on")
    assert subtitles(installation, "killed") == subtitles(installation, "whole")
    assert remembered(installation, "killed") == remembered(installation, "whole")
    assert [each[0] for each in answers(ask(installation, "killed", tmp_path))] == [
        event["text"] for event in of_type(embedded_events, "answer") if event["question"] == QUESTION
    ]
