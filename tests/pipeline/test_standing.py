"""Standing queries: what is wanted, when it holds, and alerts that reach a real web server, signed and once."""

import asyncio
import hashlib
import hmac
import json
from dataclasses import dataclass

import pytest
from watchword.v1.events_pb2 import ClearedEvent
from watchword.v1.media_pb2 import StreamEnd
from watchword.v1.scene_pb2 import SceneCaption
from watchword.v1.transcript_pb2 import TranscriptSegment

from pipeline.bus import Assigned, Context, Origin, Position, Progress, Record
from pipeline.bus.memory import MemoryBus
from pipeline.errors import BrokerRenewed, Overloaded, RequestInvalid, SettingInvalid
from pipeline.graph import BRANCHES
from pipeline.memory.store import Kind, Moment
from pipeline.qa.standing import Alert, Scored, Watch, stand
from pipeline.qa.vectors import WordVectors
from pipeline.qa.watching import Watcher
from pipeline.timeline import MediaTime
from services.memory.standing import MOST_CALLERS, WAITING, Ended, StandingQueries, read_standing
from services.memory.webhook import ATTEMPTS, Target, Webhook
from tests.fakes import ScriptedEmbedder

pytestmark = pytest.mark.connected


def moment(text: str, start: float = 0.0, stream: str = "gate-1", kind: Kind = Kind.SPEECH) -> Moment:
    return Moment(stream, f"item-{start}", kind, 0, text, MediaTime.of(start), MediaTime.of(start + 2), "m")


def said(text: str, start: float = 0.0, stream: str = "gate-1") -> ClearedEvent:
    times = {"media_start": MediaTime.of(start).to_proto(), "media_end": MediaTime.of(start + 2).to_proto()}
    return ClearedEvent(segment=TranscriptSegment(stream_id=stream, id=f"segment-{start}", is_final=True, text=text, **times))


def shown(text: str, start: float = 0.0, stream: str = "gate-1") -> ClearedEvent:
    times = {"media_start": MediaTime.of(start).to_proto(), "media_end": MediaTime.of(start + 2).to_proto()}
    return ClearedEvent(caption=SceneCaption(stream_id=stream, id=f"scene-{start}", text=text, **times))


def alerts_of(query: str, *events: ClearedEvent, **how: object) -> list[Alert]:
    async def run() -> list[Alert]:
        watcher, told = Watcher(ScriptedEmbedder()), []
        watcher.add(Watch(stand(query, **how)), told.append)  # type: ignore[arg-type]
        for event in events:
            await watcher.take(event)
        return told

    return asyncio.run(run())


def test_a_phrase_holds_when_it_is_said_as_it_is():
    (alert,) = alerts_of("alert if someone says 'fire'", said("We hired him."), shown("A fire.", 3), said("Fire, get out!", 5))
    assert alert.hits[-1].moment.text == "Fire, get out!"
    assert alert.reason == "At 0:05 someone says “Fire, get out!” (score 1.00, threshold 0.70)"


def test_something_that_appears_is_looked_for_in_pictures():
    events = (said("A truck is late."), shown("A car park at night.", 2), shown("A white truck stands at the gate.", 8))
    assert [alert.hits[-1].moment.start.seconds for alert in alerts_of("tell me when a truck appears", *events)] == [8]


def test_quiet_for_a_while_and_each_event_once():
    events = [shown("A truck.", start) for start in (0, 10, 40)]
    assert [alert.hits[-1].moment.start.seconds for alert in alerts_of("tell me when a truck appears", *events, *events)] == [0, 40]


def test_so_many_of_the_latest():
    events = [shown(text, 10 * n) for n, text in enumerate(("A truck.", "A tree.", "A truck.", "A tree.", "A tree.", "A truck."))]
    (alert,) = alerts_of("tell me when a truck appears", *events, hits=2, of=3, cool_down=MediaTime(0))
    assert [hit.moment.start.seconds for hit in alert.hits] == [0, 20]
    assert "2 of the last 3 events" in alert.reason


def test_only_the_streams_that_are_meant_and_each_for_itself():
    watch = Watch(stand("'fire'", streams=["gate-*"], hits=2, of=2))
    assert watch.concerns(moment("x"))
    assert not watch.concerns(moment("x", stream="hall"))
    assert watch.take(Scored(moment("fire", 0, "gate-1"), 1.0, "")) is None
    assert watch.take(Scored(moment("fire", 1, "gate-2"), 1.0, "")) is None
    assert watch.take(Scored(moment("fire", 2, "gate-1"), 1.0, "")) is not None


def test_the_same_event_has_the_same_alert():
    first, again = (alerts_of("'fire'", said("Fire!", 5))[0] for _ in range(2))
    assert first.id == again.id
    assert first.id != alerts_of("'fire'", said("Fire!", 6))[0].id


@pytest.mark.parametrize(
    ("query", "how", "message"),
    [
        ("", {}, "1 to 500 characters"),
        ("x" * 501, {}, "1 to 500 characters"),
        ("tell me when it happens", {}, "names nothing"),
        ("a truck", {"threshold": 0.0}, "threshold"),
        ("a truck", {"hits": 3, "of": 2}, "3 of 2"),
        ("a truck", {"hits": 101}, "101 of 101"),
        ("a truck", {"cool_down": MediaTime(-1)}, "negative"),
    ],
)
def test_what_cannot_be_kept_is_refused(query, how, message):
    with pytest.raises(RequestInvalid, match=message):
        stand(query, **how)


def test_what_is_said_again_and_what_is_wanted_are_embedded_once():
    async def run() -> list[str]:
        embedder = ScriptedEmbedder()
        watcher = Watcher(embedder)
        for query in ("tell me when a truck appears", "tell me when a white truck appears"):
            watcher.add(Watch(stand(query)), lambda _: None)
        for start in (0, 5, 9):
            await watcher.take(shown("A white truck stands at the gate.", start))
        return embedder.seen

    seen = asyncio.run(run())
    # A word alone may be all that is wanted: then it is known as a word and as a whole.
    assert max(seen.count(text) for text in seen) <= 2
    assert seen.count("A white truck stands at the gate.") == 1


def test_only_the_latest_words_are_remembered():
    async def run() -> list[str]:
        embedder = ScriptedEmbedder()
        vectors = WordVectors(embedder, most=2)
        for words in (["cat"], ["dog"], ["cat"], ["cow", "cow"], ["cat", "dog"]):
            assert set(await vectors.of(words)) == set(words)
        return embedder.seen

    assert asyncio.run(run()) == ["cat", "dog", "cow", "dog"]


def test_a_remembered_word_does_not_keep_the_others_that_were_embedded_with_it():
    vectors = asyncio.run(WordVectors(ScriptedEmbedder()).of([f"word{number}" for number in range(50)]))
    assert all(vector.base is None for vector in vectors.values())


class Receiver:
    """A web server that answers with the statuses of its script, then with 200; `body` is what it sends from the headers on."""

    def __init__(self, *script: int, body: bytes = b"Content-Length: 0\r\n\r\n") -> None:
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.enough = asyncio.Event()
        self._script, self._body = list(script), body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.splitlines()[1:] if line)}
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status = self._script.pop(0) if self._script else 200
        writer.write(f"HTTP/1.1 {status} X\r\nConnection: close\r\n".encode() + self._body)
        await writer.drain()
        writer.close()
        if not self._script and status != 503:
            self.enough.set()


def deliver(*script: int, alerts: int = 1, **answer: bytes) -> list[tuple[dict[str, str], bytes]]:
    async def run() -> list[tuple[dict[str, str], bytes]]:
        receiver = Receiver(*script, **answer)
        async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            webhook = Webhook(
                Target(f"http://127.0.0.1:{port}/hook", b"0123456789abcdef"), clock=lambda: 1_700_000_000, first_pause_s=0.001
            )
            running = asyncio.create_task(webhook.run())
            for number in range(alerts):
                webhook.tell(
                    Alert(f"alert-{number}", stand("'fire'", name="fires"), (Scored(moment("Fire!", 5), 1.0, "someone says “Fire!”"),), 1)
                )
            async with asyncio.timeout(20):
                while len(receiver.got) < (len(script) or alerts):
                    receiver.enough.clear()
                    enough = asyncio.create_task(receiver.enough.wait())
                    await asyncio.wait([enough, running], return_when=asyncio.FIRST_COMPLETED)
                    assert not running.done(), running.exception()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return receiver.got

    return asyncio.run(run())


def test_an_alert_is_signed_and_tells_everything():
    ((headers, body),) = deliver()
    expected = hmac.new(b"0123456789abcdef", b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["watchword-signature"] == f"t=1700000000,v1={expected}"
    assert headers["idempotency-key"] == "alert-0"
    told = json.loads(body)
    assert (told["standing"], told["stream"], told["score"], told["threshold"], told["hits"], told["of"]) == (
        "fires",
        "gate-1",
        1.0,
        0.7,
        1,
        1,
    )
    assert told["evidence"] == [{"kind": "speech", "source": "item-5", "text": "Fire!", "media_start": 5.0, "media_end": 7.0, "score": 1.0}]


def test_a_busy_server_is_tried_again_under_the_same_key():
    got = deliver(503, 503, 200)
    assert [headers["idempotency-key"] for headers, _ in got] == ["alert-0"] * 3
    assert len({body for _, body in got}) == 1


def test_a_server_that_refuses_is_not_asked_again_and_one_that_stays_away_not_for_ever():
    got = deliver(400, 200, alerts=2)
    assert [headers["idempotency-key"] for headers, _ in got] == ["alert-0", "alert-1"]
    got = deliver(*[503] * ATTEMPTS, 200, alerts=2)
    assert [headers["idempotency-key"] for headers, _ in got] == ["alert-0"] * ATTEMPTS + ["alert-1"]


@pytest.mark.parametrize(
    "body",
    [b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nno gzip..", b"Content-Length: 99999999999\r\n\r\nmore than comes"],
    ids=["broken", "cut"],
)
def test_of_what_a_server_answers_only_the_status_counts(body):
    got = deliver(200, 200, alerts=2, body=body)
    assert [headers["idempotency-key"] for headers, _ in got] == ["alert-0", "alert-1"]


def test_queries_of_a_file_and_of_callers_hear_the_bus(tmp_path):
    (tmp_path / "secret").write_bytes(b"0123456789abcdef\n")
    file = tmp_path / "standing.toml"
    file.write_text(
        '[[standing]]\nname = "f"\nquery = "say if someone says \'fire\'"\nurl = "http://127.0.0.1:1/"\nsecret_file = "secret"\nhits = 1\n'
    )
    (kept,) = read_standing(file)
    assert kept.standing.phrases == ("fire",)
    assert kept.target.secret == b"0123456789abcdef"

    async def run() -> None:
        bus = MemoryBus()
        queries = StandingQueries(bus, ScriptedEmbedder())
        running = asyncio.create_task(queries.run())
        async with queries.listening(stand("'fire'")) as alerts:
            await asyncio.sleep(0)
            for position in (0, 1, 1):
                event = said("Fire!", 100.0 * position)
                await bus.publish("cleared", "gate-1", event, origin=Origin("screen-transcripts", Position(position, 0)))
            got = [await asyncio.wait_for(alerts.get(), 10) for _ in range(2)]
            await bus.caught_up("cleared")
            assert alerts.empty(), "what a stage says twice is an event once"
        assert [alert.hits[-1].moment.start.seconds for alert in got if isinstance(alert, Alert)] == [0, 100]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


@dataclass
class Life:
    """A subscription to a topic in one of its lives, which says one thing and ends as it is told to."""

    topic_id: str
    heard: asyncio.Event
    ends: asyncio.Event
    said: int = 0

    async def next(self) -> Assigned | Record:
        self.said += 1
        if self.said == 1:
            return Assigned(0, Progress(0), self.topic_id)
        if self.said == 2:
            return Record("cleared", 0, 0, "gate-1", said("Fire!", 100.0), Origin("screen-transcripts", Position(7, 0)), Context())
        self.heard.set()
        await self.ends.wait()
        raise BrokerRenewed("the broker is not what it was")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(("ids", "alerts"), [(("a", "b"), 2), (("a", "a"), 1)])
def test_a_stream_published_again_to_a_topic_made_anew_is_told_again(monkeypatch: pytest.MonkeyPatch, ids, alerts) -> None:
    """And once where it is the same topic that is read again: though it says the same at the same media time."""
    monkeypatch.setattr("pipeline.bus.anew.PAUSE_S", 0.0)

    async def run() -> None:
        lives = [Life(topic_id, asyncio.Event(), asyncio.Event()) for topic_id in ids]
        waiting = list(lives)

        class Bus(MemoryBus):
            async def follow(self, topic: str) -> Life:  # type: ignore[override]
                return waiting.pop(0)

        queries = StandingQueries(Bus(), ScriptedEmbedder())
        async with queries.listening(stand("'fire'")) as told:
            running = asyncio.create_task(queries.run())
            await asyncio.wait_for(lives[0].heard.wait(), 10)
            assert told.qsize() == 1
            lives[0].ends.set()
            await asyncio.wait_for(lives[1].heard.wait(), 10)
            assert told.qsize() == alerts
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_a_caller_who_names_streams_is_told_when_all_have_ended() -> None:
    async def run() -> None:
        bus = MemoryBus()

        async def over_before(stream_id: str) -> bool:
            return stream_id == "past"

        queries = StandingQueries(bus, ScriptedEmbedder(), has_ended=over_before)
        running = asyncio.create_task(queries.run())
        async with (
            queries.listening(stand("'fire'", streams=["gate-1", "past"])) as named,
            queries.listening(stand("'fire'", streams=["gate-*"])) as pattern,
            queries.listening(stand("'fire'", streams=["past"])) as over,
        ):
            assert isinstance(await asyncio.wait_for(over.get(), 10), Ended)
            await bus.publish("cleared", "gate-1", said("Fire!", 5), origin=Origin("screen-transcripts", Position(0, 0)))
            for branch in BRANCHES:
                assert named.qsize() <= 1
                await bus.publish(
                    "cleared", "gate-1", ClearedEvent(end=StreamEnd(stream_id="gate-1")), origin=Origin(branch, Position(1, 0))
                )
            assert [type(await asyncio.wait_for(named.get(), 10)) for _ in range(2)] == [Alert, Ended]
            assert isinstance(await asyncio.wait_for(pattern.get(), 10), Alert)
            assert pattern.empty()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_callers_are_bounded_and_whoever_takes_nothing_is_let_go():
    async def run() -> None:
        queries = StandingQueries(MemoryBus(), ScriptedEmbedder())
        async with queries.listening(stand("'fire'", cool_down=MediaTime(0))) as alerts:
            for number in range(WAITING + 5):
                await queries._watcher.take(said("Fire!", number * 10.0))
            got = [alerts.get_nowait() for _ in range(alerts.qsize())]
            assert isinstance(got[-1], Overloaded)
            assert len(got) == WAITING + 1
        held = [queries.listening(stand("'fire'")) for _ in range(MOST_CALLERS)]
        for each in held:
            await each.__aenter__()
        with pytest.raises(Overloaded, match="kept for callers"):
            await queries.listening(stand("'fire'")).__aenter__()
        for each in held:
            await each.__aexit__(None, None, None)

    asyncio.run(run())


@pytest.mark.parametrize(
    "text", ["[[standing]]\nname = 'x'", "no toml", "[[standing]]\nname='x'\nquery=''\nurl='http://x'\nsecret_file='secret'"]
)
def test_a_file_that_is_wrong_is_refused_with_its_name(tmp_path, text):
    (tmp_path / "secret").write_bytes(b"0123456789abcdef")
    file = tmp_path / "standing.toml"
    file.write_text(text)
    with pytest.raises(SettingInvalid, match=r"standing\.toml"):
        read_standing(file)
