"""What viewers are shown, record by record, without a bus."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from watchword.v1 import errors_pb2, events_pb2, media_pb2, transcript_pb2

from pipeline.bus import Assigned, Context, Origin, Position, Progress, Record
from pipeline.bus.codec import NO_STREAM
from pipeline.bus.memory import MemoryBus
from pipeline.errors import BrokerRenewed, RequestInvalid, StreamUnknown
from pipeline.graph import BRANCHES
from pipeline.timeline import MediaTime
from services.gateway import hub as hub_module
from services.gateway.hub import Hub, Viewer

pytestmark = pytest.mark.unit


def final(offset: int, *, stream_id: str = "s") -> Record:
    segment = transcript_pb2.TranscriptSegment(stream_id=stream_id, id=f"segment-{offset}", text=str(offset), is_final=True)
    origin = Origin("screen-transcripts", Position(offset, 0))
    return Record("cleared", 0, offset, stream_id, events_pb2.ClearedEvent(segment=segment), origin, Context())


def error(offset: int, *, major: int, name: str = "", stream_id: str = "s") -> Record:
    event = errors_pb2.ErrorEvent(stream_id=stream_id, id=name or f"error-{major}", message="something")
    return Record("errors", 0, offset, stream_id, event, Origin("transcribe", Position(major, 0)), Context())


def ends(first: int, *, stream_id: str = "s") -> list[Record]:
    event = events_pb2.ClearedEvent(end=media_pb2.StreamEnd(stream_id=stream_id))
    return [
        Record("cleared", 0, first + n, stream_id, event, Origin(step, Position(first + n, 0)), Context())
        for n, step in enumerate(BRANCHES)
    ]


def hub_of(records: Iterable[Record]) -> Hub:
    hub = Hub(MemoryBus())
    for record in records:
        hub.take(record)
    return hub


def told(viewer: Viewer) -> list[tuple[str, str]]:
    """Everything up to the end, with its token."""

    async def read() -> list[tuple[str, str]]:
        async with asyncio.timeout(10):
            return [(update.event.segment.id or update.error.id or "end", update.resume_token) async for update in viewer.updates()]

    return asyncio.run(read())


def ids(viewer: Viewer) -> list[str]:
    return [name for name, _ in told(viewer)]


def test_a_late_viewer_of_a_long_stream_is_served_whatever_happens_meanwhile() -> None:
    count = hub_module.QUEUE_UPDATES * 3
    hub = hub_of(final(n) for n in range(count))
    viewer = hub.watch("s", "")
    for record in [final(count), *ends(count + 1)]:
        hub.take(record)
    assert ids(viewer) == [*(f"segment-{n}" for n in range(count + 1)), "end"]


def test_errors_are_told_once_each_in_whatever_order_steps_report_them() -> None:
    hub = hub_of([error(0, major=100), error(1, major=80), error(2, major=100), *ends(0)])
    assert ids(hub.watch("s", "")) == ["error-100", "error-80", "end"]


def test_statistics_are_shown_and_count_as_heard() -> None:
    stats = transcript_pb2.TranscriptStatistics(stream_id="s", id="statistics-10000", media_end=MediaTime.of(10).to_proto(), words=7)
    origin = Origin("screen-transcripts", Position(1, 0))
    hub = hub_of([final(0), Record("cleared", 0, 1, "s", events_pb2.ClearedEvent(stats=stats), origin, Context()), *ends(2)])
    viewer = hub.watch("s", "")

    async def read() -> list[events_pb2.ClearedEvent]:
        return [update.event async for update in viewer.updates() if update.HasField("event")]

    _, told = asyncio.run(read())
    assert told.stats == stats
    assert MediaTime.from_proto(hub.streams()[0].media_end) == MediaTime.of(10)


def test_an_error_of_no_stream_makes_no_stream() -> None:
    hub = hub_of([error(0, major=1, stream_id=NO_STREAM), final(0)])
    assert [info.stream_id for info in hub.streams()] == ["s"]


def test_a_token_holds_after_a_restart_that_reads_the_topics_in_another_order() -> None:
    finals, errors = [final(n) for n in range(5)], [error(n, major=n) for n in range(2)]
    before = told(hub_of([*finals, *errors, *ends(5)]).watch("s", ""))
    for seen, (_, token) in enumerate(before[:-1], start=1):
        again = ids(hub_of([*errors, *finals, *ends(5)]).watch("s", token))
        assert sorted(again) == sorted(name for name, _ in before[seen:]), token


def test_a_token_from_before_what_is_kept_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HISTORY_UPDATES", 10)
    hub = hub_of(final(n) for n in range(30))
    with pytest.raises(RequestInvalid, match="not kept any more"):
        hub.watch("s", "5.0")
    hub.watch("s", "20.0")
    for record in ends(30):
        hub.take(record)
    assert ids(hub.watch("s", ""))[-1] == "end"


def reading(hub: Hub, **topic_ids: str) -> Hub:
    """The hub, as when the broker has told what it calls the topics."""
    hub._topic_ids.update(topic_ids)
    return hub


def test_a_token_counts_in_the_topics_it_was_made_in_alone() -> None:
    """An error of a topic that was made anew, or of which nothing is known yet, is not taken for one that was seen."""
    records = [final(0), final(1), error(0, major=1), *ends(2)]
    for topic_ids in ({"cleared": "aa", "errors": "cc"}, {"cleared": "aa"}):
        assert ids(reading(hub_of(records), **topic_ids).watch("s", "1.7.aa.bb")) == ["segment-1", "error-1", "end"]
    assert ids(reading(hub_of(records), cleared="aa", errors="bb").watch("s", "1.1.aa.bb")) == ["segment-1", "end"]


@dataclass
class Life:
    """A subscription to a topic in one of its lives, which ends as it is told to."""

    topic_id: str
    records: list[Record]
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False

    async def next(self) -> Assigned | Record:
        if not self.begun:
            self.begun = True
            return Assigned(0, Progress(0), self.topic_id)
        if self.records:
            return self.records.pop(0)
        self.heard.set()
        await self.over.wait()
        raise BrokerRenewed("the topic was made anew")

    async def close(self) -> None:
        pass


def test_errors_made_anew_cut_no_viewer_and_hide_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.bus.anew.PAUSE_S", 0.0)

    async def run() -> None:
        cleared, errors = Life("aa", [final(0)]), Life("bb", [error(n, major=n) for n in range(2)])
        lives = {"cleared": [cleared], "errors": [errors, Life("cc", [error(0, major=7)])]}

        class Bus(MemoryBus):
            async def follow(self, topic: str) -> Life:  # type: ignore[override]
                return lives[topic].pop(0)

        hub = Hub(Bus())
        running = asyncio.ensure_future(hub.run())
        async with asyncio.timeout(10):
            await asyncio.gather(cleared.heard.wait(), errors.heard.wait())
            updates = hub.watch("s", "1.1.aa.bb").updates()
            assert (await anext(updates)).error.id == "error-1"
            errors.over.set()
            told = await anext(updates)
            assert (told.error.id, told.resume_token) == ("error-7", "1.1.aa.cc")
            again = [await anext(each) for each in [hub.watch("s", "0.2.aa.bb").updates()] for _ in range(2)]
            assert [update.event.segment.id or update.error.id for update in again] == ["segment-0", "error-7"]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(run())


def test_what_is_not_kept_is_told_of_each_topic_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HISTORY_UPDATES", 10)
    hub = reading(hub_of(final(n) for n in range(30)), cleared="aa", errors="cc")
    with pytest.raises(RequestInvalid, match="not kept any more"):
        hub.watch("s", "5.7.aa.bb")
    hub.watch("s", "25.7.aa.bb")
    hub.watch("s", "5.7.dd.bb")


def test_all_streams_together_are_bounded_and_the_latest_of_each_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "HISTORY_BYTES_IN_ALL", 2_000)
    names = ("long", "short", "new")
    hub = hub_of(final(n, stream_id=name) for name, many in zip(names, (60, 3, 60), strict=True) for n in range(many))
    for name in names:
        for record in ends(60, stream_id=name):
            hub.take(record)
    kept = {name: ids(hub.watch(name, "")) for name in names}
    assert kept["short"] == ["segment-0", "segment-1", "segment-2", "end"], "what has little gives nothing"
    for name in ("long", "new"):
        assert kept[name][-2:] == ["segment-59", "end"]
        assert 10 < len(kept[name]) < 40, "they share what there is"
    assert sum(stream.bytes for stream in hub._streams.values()) <= 2_000


def test_of_too_many_streams_the_ended_and_unwatched_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "STREAMS_KEPT", 3)
    hub = hub_of([final(0, stream_id="watched"), final(0, stream_id="quiet"), *ends(0, stream_id="over")])
    viewer = hub.watch("watched", "")
    hub.take(final(0, stream_id="new-1"))
    assert [info.stream_id for info in hub.streams()] == ["new-1", "quiet", "watched"]
    hub.take(final(0, stream_id="new-2"))
    assert [info.stream_id for info in hub.streams()] == ["new-1", "new-2", "watched"]
    hub.watch("new-1", "")
    hub.watch("new-2", "")
    hub.take(final(0, stream_id="new-3"))
    with pytest.raises(StreamUnknown, match="not kept here any more"):
        told(viewer)
