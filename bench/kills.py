"""What is lost when processes are killed: each service in mid-stream, several at once, the broker, and all asked to stop.

    python -m bench.kills --out kills

Six services run on a broker in memory, with what their settings give them. The demo is published once undisturbed; then once for each case,
under a name of its own, with a viewer on gRPC and one on HTTP who come back as clients do. Once half a dozen sentences were told, the
case's processes are killed (SIGKILL) or stopped (SIGTERM) and started again. Compared with the undisturbed run are all that each viewer
was told, with its times, what the scene memory holds, and the answer to a question. The broker holds its records in memory, so when it is
killed the stream is published anew under another name. Logs of the processes are left in `--out`.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bus.broker import Broker
from pipeline.graph import SERVICES
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import EVIDENCE, MAX_LIMIT
from tests.processes import DEMO, ROOT, free_address

QUESTION = "How much does a ticket cost?"
SENTENCES = 6
"""How many a viewer has been told when the kill comes, of fifteen."""
PATIENCE_S = 300.0
NEVER_SAME = ("emitted", "stream", "conversation", "revision", "stable", "corrected")
"""Fields that two undisturbed runs do not share: what a sentence was taken for on the way to its final depends on when its sound came."""
SUSPECT = ("Traceback", "[error", "[critical", "Exception", "never awaited")

Facts = dict[str, list[str]]


@dataclass(frozen=True)
class Case:
    """Whom it happens to, and what."""

    name: str
    services: tuple[str, ...] = ()
    how: signal.Signals = signal.SIGKILL
    broker: bool = False
    """Whether it is the broker that is killed, and comes back empty, in the midst of another stream before this one."""


CASES = (
    Case("undisturbed"),
    *(Case(f"kill-{service}", (service,)) for service in SERVICES),
    Case("kill-safety-transcriber", ("safety", "transcriber")),
    Case("kill-memory-gateway", ("memory", "gateway")),
    Case("kill-all", SERVICES),
    Case("stop-all", SERVICES, signal.SIGTERM),
    Case("kill-broker", broker=True),
)


class Process:
    """A `watchword` process whose output goes to a file."""

    def __init__(self, log: Path, *arguments: str, env: Mapping[str, str] = {}) -> None:
        self.log = log
        with log.open("ab") as output:
            self._from = output.tell()
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "services.cli.main", *arguments],
                cwd=ROOT,
                env={**os.environ, **env},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for(self, text: str) -> None:
        """Until it has said `text`; raises `TimeoutError`, or `RuntimeError` where it has ended without."""
        deadline = time.monotonic() + PATIENCE_S
        while text not in self.said():
            if self.popen.poll() is not None and text not in self.said():
                raise RuntimeError(f"{self.log} ended with {self.popen.returncode} and did not say {text!r}: {self.said()[-500:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.log} did not say {text!r}: {self.said()[-500:]}")
            time.sleep(0.2)

    def said(self) -> str:
        """All that this process has said."""
        return self.log.read_bytes()[self._from :].decode(errors="replace")


class HttpViewer(threading.Thread):
    """Reads a stream's events as a browser does: it comes back with the id of the last one, until the end."""

    def __init__(self, address: str, stream: str) -> None:
        super().__init__(daemon=True)
        self._url = f"http://{address}/v1/streams/{stream}/events"
        self.events: list[Any] = []
        self.ended = False
        self.came_back = -1
        self._last = ""
        self.start()

    def run(self) -> None:
        """Until the stream has ended, or nothing more is waited for."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.ended and time.monotonic() < deadline:
            with contextlib.suppress(OSError, ValueError):
                request = urllib.request.Request(self._url, headers={"Last-Event-ID": self._last} if self._last else {})
                with urllib.request.urlopen(request, timeout=60) as lines:
                    self.came_back += 1
                    for block in blocks(lines):
                        self._take(block)
            time.sleep(0.5)

    def _take(self, block: dict[str, str]) -> None:
        self._last = block.get("id", self._last)
        name = block.get("event", "")
        if name == "end":
            self.ended = True
        elif name:
            self.events.append({"type": f"http-{name}", "text": block.get("data", "")})
        elif "data" in block:
            self.events.append(json.loads(block["data"]))


def blocks(lines: Any) -> Iterator[dict[str, str]]:
    """Server-sent events, each as its fields; one that breaks off is none."""
    block: dict[str, str] = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            block[name] = value
        elif block:
            yield block
            block = {}


def facts(events: list[Any]) -> Facts:
    """What was told, by kind and in order, without what differs from run to run; partials and measurements are left out.

    Answers have ids of their own in each run. What several steps say is in order for each.
    """
    told: Facts = {}
    for event in events:
        if event["type"] in ("partial", "statistics", "http-error"):  # the last: a gateway that stops says so
            continue
        answered = event["type"] == "answer" or event.get("kind") == "answer"
        fields = {name: value for name, value in event.items() if name not in NEVER_SAME and not (answered and name in ("id", "of"))}
        fields |= {"words": [{k: v for k, v in word.items() if k not in NEVER_SAME} for word in event["words"]]} if "words" in event else {}
        fields |= {"evidence": [{**each, "stream": ""} for each in event["evidence"]]} if "evidence" in event else {}
        fields |= {"claims": [each["text"] for each in event["claims"]]} if "claims" in event else {}
        kind = " ".join(filter(None, ("verdict on a" if event["type"] == "verdict" else "", event.get("kind", event["type"]))))
        told.setdefault(kind, []).append(json.dumps(fields, sort_keys=True))
    return told


async def remembered(path: str, stream: str) -> Facts:
    """All that the scene memory holds of a stream, once it has ended there."""
    store = SqliteStore(path)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (state := await store.stream(stream)) is None or not state.ended:  # noqa: ASYNC110 (another process writes it)
                await asyncio.sleep(0.5)
        told: Facts = {"state": [repr((state.moments, state.pictures, state.dropped, state.latest))]}
        for kind in sorted(EVIDENCE, key=lambda kind: kind.value):
            moments = await store.between(stream, kind, limit=MAX_LIMIT)
            told[f"{kind.value} in memory"] = [repr((each.id, each.text, each.start, each.end)) for each in moments]
        pictures = await store.pictures(stream, limit=MAX_LIMIT)
        told["pictures in memory"] = [repr((each.id, each.at, hashlib.sha256(each.jpeg).hexdigest())) for each in pictures]
        return told
    finally:
        await store.close()


class Trial:
    """The services on a broker, and one case after the other."""

    def __init__(self, out: Path, speed: str) -> None:
        self._out, self._speed = out, speed
        self._broker = Broker(port=0)
        self._broker.start()
        self._gateway, self._http, memory = free_address(), free_address(), free_address()
        self._store = str(out / "memory.db")
        self._env = {"WATCHWORD_KAFKA": self._broker.address, "WATCHWORD_MEMORY": memory, "WATCHWORD_STORE": self._store}
        self._listen = {"memory": memory, "gateway": self._gateway}
        self._services: dict[str, Process] = {}

    def start(self, *services: str) -> None:
        """Start services and wait until they serve."""
        for service in services:
            env = self._env | {"WATCHWORD_LISTEN": self._listen.get(service, "127.0.0.1:0")}
            env |= {"WATCHWORD_HTTP": self._http} if service == "gateway" else {}
            self._services[service] = Process(self._out / f"{service}.log", "serve", service, env=env)
        for service in services:
            self._services[service].wait_for("serving on")

    def end(self, services: tuple[str, ...], how: signal.Signals) -> dict[str, int]:
        """Kill or stop services; their exit statuses."""
        for service in services:
            self._services[service].popen.send_signal(how)
        return {service: self._services[service].popen.wait(60) for service in services}

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self._services.values():
            process.popen.kill()
            process.popen.wait()
        self._broker.kill()

    def run(self, case: Case) -> Facts:
        """One case; all that was told and is remembered of it."""
        name, events = case.name, self._events(case.name)
        if case.broker:
            self._lose_broker(name)
        http, viewer = HttpViewer(self._http, name), self._watch(name)
        publisher = self._publish(name)
        if case.services:
            self._until_told(name, viewer)
            began = time.monotonic()
            statuses = self.end(case.services, case.how)
            self.start(*case.services)
            print(f"{name}: {statuses}, serving again after {time.monotonic() - began:.1f} s", flush=True)
        statuses = {"publish": publisher.popen.wait(PATIENCE_S), "watch": viewer.popen.wait(PATIENCE_S)}
        http.join(PATIENCE_S)
        self._events(f"{name}-http").write_text("".join(json.dumps(each) + "\n" for each in http.events))
        print(f"{name}: the HTTP viewer came back {http.came_back} times", flush=True)
        told = {f"gRPC: {kind}": each for kind, each in facts(read(events)).items()}
        told |= {f"HTTP: {kind}": each for kind, each in facts(http.events).items()}
        told |= asyncio.run(remembered(self._store, name)) | self._asked(name)
        return told | {"exit": [str(statuses)], "HTTP ended": [str(http.ended)]}

    def _lose_broker(self, name: str) -> None:
        """Kill the broker in the midst of a stream and start it empty; whoever lives on is expected to."""
        lost = f"{name}-lost"
        viewer, publisher = self._watch(lost), self._publish(lost)
        self._until_told(lost, viewer)
        self._broker.kill()
        self._broker = Broker(port=self._broker.port)
        self._broker.start()
        began = time.monotonic()
        status = publisher.popen.wait(PATIENCE_S)
        print(f"{lost}: publish ended with {status} after {time.monotonic() - began:.1f} s: {publisher.said()[-300:].strip()}", flush=True)
        viewer.popen.kill()
        viewer.popen.wait()
        ended = {service: each.popen.poll() for service, each in self._services.items() if each.popen.poll() is not None}
        print(f"{lost}: services that ended: {ended or 'none'}", flush=True)

    def _events(self, name: str) -> Path:
        return self._out / f"{name}.jsonl"

    def _watch(self, name: str) -> Process:
        log = self._out / f"{name}-watch.log"
        viewer = Process(log, "watch", name, "--gateway", self._gateway, "--events", str(self._events(name)))
        viewer.wait_for("waiting for stream")
        return viewer

    def _publish(self, name: str) -> Process:
        arguments = ("--stream", name, "--speed", self._speed, "--kafka", self._env["WATCHWORD_KAFKA"])
        return Process(self._out / f"{name}-publish.log", "publish", str(DEMO), *arguments)

    def _until_told(self, name: str, viewer: Process) -> None:
        while self._events(name).read_text().count('"type":"final"') < SENTENCES:
            if viewer.popen.poll() is not None:
                raise RuntimeError(f"{viewer.log} ended before the kill")
            time.sleep(0.2)

    def _asked(self, name: str) -> Facts:
        events = self._events(f"{name}-asked")
        asked = Process(self._out / f"{name}-ask.log", "ask", name, QUESTION, "--gateway", self._gateway, "--events", str(events))
        status = asked.popen.wait(PATIENCE_S)
        return {f"asked: {kind}": each for kind, each in facts(read(events)).items()} | {"ask exit": [str(status)]}


def read(events: Path) -> list[Any]:
    """The events of a file."""
    return [json.loads(line) for line in events.read_text().splitlines()]


def differences(whole: Facts, now: Facts) -> Iterator[str]:
    """How one run differs from the undisturbed one, kind by kind."""
    for kind in sorted(whole.keys() | now.keys()):
        one, two = whole.get(kind, []), now.get(kind, [])
        if one != two:
            missing, more = [each for each in one if each not in two], [each for each in two if each not in one]
            doubled = len(two) - len(set(two)) - (len(one) - len(set(one)))
            yield f"{kind}: {len(two)} for {len(one)}, {doubled} said twice, missing {missing[:2]}, not there before {more[:2]}"


def suspect(out: Path) -> Iterator[str]:
    """Lines of the logs that no user should see."""
    for path in sorted(out.glob("*.log")):
        for line in path.read_text(errors="replace").splitlines():
            if any(each in line for each in SUSPECT):
                yield f"{path.name}: {line[:300]}"


def main() -> None:
    """Run the cases that are asked for, all of them where none is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=", ".join(case.name for case in CASES[1:]))
    parser.add_argument("--out", type=Path, required=True, help="a folder for logs and events that is not there yet")
    parser.add_argument("--speed", default="2", help="how many times its speed the demo is published at (default: 2)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    trial = Trial(arguments.out, arguments.speed)
    try:
        trial.start(*SERVICES)
        whole = trial.run(Case("whole"))
        print("whole:", {kind: len(each) for kind, each in whole.items()}, flush=True)
        for case in CASES:
            if not arguments.cases or case.name in arguments.cases:
                found = list(differences(whole, trial.run(case)))
                print(f"{case.name}: {'SAME' if not found else 'DIFFERENT'}", *found, sep="\n    ", flush=True)
        print("stopped:", trial.end(SERVICES, signal.SIGTERM), flush=True)
    finally:
        trial.close()
    print("suspect lines of the logs:", *(list(suspect(arguments.out)) or ["none"]), sep="\n    ")


if __name__ == "__main__":
    main()
