"""Standing queries of the memory service: those of a file, which go to web addresses, and those of callers, as long as they listen."""

import asyncio
import re
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from watchword.v1.events_pb2 import ClearedEvent

from pipeline import telemetry
from pipeline.bus import Assigned, Bus, Origin, Position, Record
from pipeline.bus.anew import begin_anew
from pipeline.errors import Overloaded, RequestInvalid, SettingInvalid
from pipeline.graph import BRANCHES
from pipeline.qa.model import Embedder
from pipeline.qa.standing import COOL_DOWN, THRESHOLD, Alert, Standing, Watch, stand
from pipeline.qa.watching import Watcher
from pipeline.timeline import MediaTime
from services.memory.webhook import Target, Webhook

MOST_CALLERS = 64
"""How many standing queries callers may keep at a time."""
WAITING = 64
"""How many alerts wait for a caller; whoever takes none is let go."""
STREAMS_KEPT = 4_096
WILD = re.compile(r"[*?\[]")
"""What makes a stream's name a pattern."""


@dataclass(frozen=True)
class Kept:
    """A standing query of the file and where its alerts go."""

    standing: Standing
    target: Target


def read_standing(path: Path) -> tuple[Kept, ...]:
    """The `[[standing]]` tables of a TOML file; raises `SettingInvalid` with what is wrong in it.

    Each has `name`, `query`, `url` and `secret_file`, and may have `streams`, `threshold`, `hits`, `of` and `cool_down_s`.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("standing", [])
        return tuple(_kept(table, path.parent) for table in tables)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RequestInvalid) as error:
        raise SettingInvalid(f"the standing queries in {path} cannot be read: {error}") from error


def _kept(table: dict[str, object], folder: Path) -> Kept:
    secret = (folder / str(table["secret_file"])).read_bytes().strip()
    if len(secret) < 16:
        raise ValueError(f"the secret of {table['name']} is shorter than 16 bytes")
    standing = stand(
        str(table["query"]),
        name=str(table["name"]),
        streams=[str(pattern) for pattern in table.get("streams", ())],  # type: ignore[attr-defined]
        threshold=float(str(table.get("threshold", THRESHOLD))),
        hits=int(str(table.get("hits", 1))),
        of=int(str(table.get("of", 0))),
        cool_down=MediaTime.of(float(str(table.get("cool_down_s", COOL_DOWN.seconds)))),
    )
    return Kept(standing, Target(str(table["url"]), secret))


@dataclass(frozen=True)
class Ended:
    """Every stream that a query is about has ended: nothing will be told any more."""


@dataclass(eq=False)
class _Listener:
    """A caller whose query names its streams, and those that have not ended yet."""

    streams: set[str]
    tell: Callable[[Ended], None]


class StandingQueries:
    """Follows `cleared` from its oldest kept record and tells alerts; `run` must be running."""

    def __init__(
        self, bus: Bus, embedder: Embedder, kept: tuple[Kept, ...] = (), *, has_ended: Callable[[str], Awaitable[bool]] | None = None
    ) -> None:
        """`has_ended` knows of streams that ended before this was made."""
        self._bus = bus
        self._has_ended = has_ended
        self._ends: dict[str, set[str]] = {}
        """For each stream the branches that have ended, as long as one has not."""
        self._listeners: set[_Listener] = set()
        self._watcher = Watcher(embedder)
        self._webhooks = []
        self._callers = 0
        self._seen: dict[tuple[str, str], Position] = {}
        self._topic_id = ""
        """What the broker calls the topic that all this was heard of on."""
        for each in kept:
            webhook = Webhook(each.target)
            self._webhooks.append(webhook)
            self._watcher.add(Watch(each.standing), webhook.tell)

    async def run(self) -> None:
        """Follow the bus until cancelled; raises what the bus raises."""
        async with asyncio.TaskGroup() as group:
            for webhook in self._webhooks:
                group.create_task(webhook.run())
            group.create_task(begin_anew("standing queries", self._follow))

    @asynccontextmanager
    async def listening(self, standing: Standing) -> AsyncIterator["asyncio.Queue[Alert | Overloaded | Ended]"]:
        """A caller's query and the alerts that come for it; raises `Overloaded` where too many are kept.

        Where it names its streams, without "*", the last thing that comes is that all of them have ended.
        """
        if self._callers >= MOST_CALLERS:
            raise Overloaded(f"{MOST_CALLERS} standing queries are kept for callers already: put some into a file, or try again later")
        alerts: asyncio.Queue[Alert | Overloaded | Ended] = asyncio.Queue(WAITING + 2)

        def tell(alert: Alert) -> None:
            if alerts.qsize() < WAITING:
                alerts.put_nowait(alert)
                telemetry.ALERTS.labels("call", "delivered").inc()
            elif alerts.qsize() == WAITING:
                alerts.put_nowait(
                    Overloaded(f"the standing query {standing.query[:50]!r}: {WAITING} alerts wait to be taken; it is let go")
                )

        self._callers += 1
        stop = self._watcher.add(Watch(standing), tell)
        listener = _Listener(set(standing.streams), alerts.put_nowait)
        try:
            if not any(WILD.search(pattern) for pattern in standing.streams):
                self._listeners.add(listener)
                for stream_id in standing.streams:
                    if self._has_ended is not None and await self._has_ended(stream_id):
                        self._end(stream_id)
            yield alerts
        finally:
            stop()
            self._listeners.discard(listener)
            self._callers -= 1

    async def _follow(self) -> None:
        subscription = await self._bus.follow("cleared")
        try:
            while True:
                match await subscription.next():
                    case Assigned(topic_id=topic_id):
                        self._read_from(topic_id)
                    case Record(value=ClearedEvent() as event) as record if self._is_new(record.stream_id, record.origin):
                        await self._watcher.take(event)
                        if event.HasField("end"):
                            self._end_of_branch(record.stream_id, record.origin.step)
        finally:
            await subscription.close()

    def _read_from(self, topic_id: str) -> None:
        """Forget the streams of another topic: the same may be published again."""
        if topic_id and self._topic_id and topic_id != self._topic_id:
            self._seen.clear()
            self._ends.clear()
            self._watcher.forget()
        self._topic_id = topic_id or self._topic_id

    def _end_of_branch(self, stream_id: str, branch: str) -> None:
        ended = self._ends.setdefault(stream_id, set())
        ended.add(branch)
        if ended.issuperset(BRANCHES):
            del self._ends[stream_id]
            self._end(stream_id)
        elif len(self._ends) > STREAMS_KEPT:
            del self._ends[next(iter(self._ends))]

    def _end(self, stream_id: str) -> None:
        for listener in list(self._listeners):
            listener.streams.discard(stream_id)
            if not listener.streams:
                self._listeners.remove(listener)
                listener.tell(Ended())

    def _is_new(self, stream_id: str, origin: Origin) -> bool:
        """Whether it was not taken in before: a stage that starts again says some things twice."""
        seen = self._seen.pop((stream_id, origin.step), None)
        is_new = seen is None or origin.position > seen
        self._seen[stream_id, origin.step] = origin.position if is_new or seen is None else seen
        if len(self._seen) > STREAMS_KEPT:
            del self._seen[next(iter(self._seen))]
        return is_new
