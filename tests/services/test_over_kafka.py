"""The same clip as services over a real broker: the same finals, scenes and answers, also when a process is killed."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.graph import SERVICES
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
    return [(event["text"], event["supported"], event["evidence"]) for event in of_type(events, "answer")]


def test_services_say_what_one_process_says(installation: Installation, embedded_events: list[Event], tmp_path: Path) -> None:
    done = publish(installation, "whole")
    assert done.returncode == 0, done.stderr
    watched, asked = tmp_path / "watched.jsonl", tmp_path / "asked.jsonl"
    done = watchword("watch", "whole", "--gateway", installation.gateway, "--events", watched)
    assert done.returncode == 0, done.stderr
    done = watchword("ask", "whole", QUESTION, "--gateway", installation.gateway, "--events", asked)
    assert done.returncode == 0, done.stderr
    events = read_events(watched)
    assert len(finals(events)) > 10
    assert finals(events) == finals(embedded_events)
    assert scenes(events) == scenes(embedded_events)
    expected = [event for event in of_type(embedded_events, "answer") if event["question"] == QUESTION]
    assert answers(read_events(asked)) == answers(expected)
    assert not of_type(events, "error")


def test_a_stream_id_that_was_used_is_refused(installation: Installation) -> None:
    done = publish(installation, "whole")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "watchword: stream whole has ended; all that comes after is refused: publish under another stream id [STREAM_ENDED]"
    ]


def test_killed_processes_lose_and_repeat_nothing(installation: Installation, embedded_events: list[Event], tmp_path: Path) -> None:
    killed = ("transcriber", "sampler", "captioner", "safety", "gateway")
    watched = tmp_path / "watched.jsonl"
    with running("watch", "killed", "--gateway", installation.gateway, "--events", str(watched), env={}) as viewer:
        viewer.wait_for("waiting for stream")
        with running(*publishing(installation, "killed", "4"), env=installation.env) as publisher:
            viewer.wait_for("Welcome to the")
            for service in killed:
                installation.processes[service].kill()
            seen = len(finals(read_events(watched)))
            assert 0 < seen < len(finals(embedded_events)), "the processes were killed in mid-stream"
            for service in killed:
                installation.start(service)
            assert publisher.popen.wait(150) == 0
        assert viewer.popen.wait(150) == 0
    events = read_events(watched)
    assert finals(events) == finals(embedded_events)
    assert scenes(events) == scenes(embedded_events)
    told = [event["id"] for event in of_type(events, "keyframe")]
    assert told == [event["id"] for event in of_type(embedded_events, "keyframe")]
    assert not of_type(events, "error")
    for service in killed:
        installation.processes[service].wait_for("serving on")
