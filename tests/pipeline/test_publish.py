"""Sources onto the bus: chunks, order, pace, ends, gaps, and what goes wrong on the way."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av
import pytest
from structlog.typing import EventDict
from watchword.v1.media_pb2 import AudioParameters, Packet, VideoParameters

from pipeline.bus import Context, Origin, Position
from pipeline.bus.codec import END_POSITION
from pipeline.clock import SystemClock
from pipeline.errors import (
    BrokerUnavailable,
    MessageTooLarge,
    RequestInvalid,
    SourceTruncated,
    SourceUnavailable,
    WatchwordError,
    reason_name,
)
from pipeline.media.chunks import MAX_BYTES, media_end, media_start, validate
from pipeline.media.holes import Hole
from pipeline.media.publish import PublishReport, Retry, Started, publish
from pipeline.media.stamps import MAX_LEAP_S, MAX_SILENCE_S, MAX_SKIP_S, Demuxed, Shifts, Stamped, TrackStamps
from pipeline.media.tracks import Kind, Track
from pipeline.timeline import MediaTime
from tests import synthetic
from tests.clock import ManualClock
from tests.synthetic import Spec, Tape, chunks, clip, published

pytestmark = pytest.mark.unit

T = TypeVar("T")


def run(flow: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(30):
            return await flow

    return asyncio.run(bounded())


# What is sent


def test_a_clip_is_sent_as_valid_chunks_of_both_tracks_and_ended() -> None:
    tape, error = published(clip(Spec()))
    assert error is None
    for topic in ("audio", "video"):
        pieces = tape.chunks(topic)
        assert [piece.sequence for piece in pieces] == list(range(len(pieces)))
        assert {piece.epoch for piece in pieces} == {pieces[0].epoch}
        for piece in pieces:
            validate(piece, "s")
            assert (media_end(piece) - media_start(piece)).seconds < 0.5
            assert piece.HasField("sent_at")
    last = {record.topic: record for record in tape.sent[-2:]}
    assert {topic: record.value.end.media_end.seconds for topic, record in last.items()} == {"audio": 3, "video": 3}
    assert {record.value.end.cause for record in last.values()} == {""}
    assert {record.origin for record in last.values()} == {Origin("publish", END_POSITION)}


def test_packets_are_sent_byte_for_byte_as_the_container_holds_them() -> None:
    import av

    path = clip(Spec())
    with av.open(str(path)) as container:
        held = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    assert [packet.data for piece in chunks(path, "video") for packet in piece.packets] == held


def test_the_tracks_are_interleaved_by_time() -> None:
    tape, _ = published(clip(Spec()))
    reached = {"audio": 0.0, "video": 0.0}
    for record in tape.of("chunk"):
        reached[record.topic] = media_end(record.value.chunk).seconds
        assert abs(reached["audio"] - reached["video"]) < 0.6


@pytest.mark.parametrize(("spec", "missing"), [(Spec(audio=None), "audio"), (Spec(video=None), "video")], ids=["no audio", "no video"])
def test_the_topic_of_a_missing_track_is_ended_too(spec: Spec, missing: str) -> None:
    tape, error = published(clip(spec))
    assert error is None
    (only,) = [record for record in tape.sent if record.topic == missing]
    assert only.kind == "end"
    assert only.value.end.media_end.seconds == 0


def test_every_record_tells_when_the_stream_started() -> None:
    tape, clock, started = Tape(), ManualClock(now=1_763_000_000.0), list[Started]()
    report = run(publish(str(clip(Spec())), tape, stream_id="s", speed=None, clock=clock, on_started=started.append))  # type: ignore[arg-type]
    assert {record.context for record in tape.of("chunk")} == {Context(started_at=1_763_000_000.0, live=False, clock=0)}
    assert {record.context for record in tape.of("end")} == {Context(started_at=1_763_000_000.0, live=False)}
    assert [(one.started_at, one.live, sorted(one.tracks)) for one in started] == [(1_763_000_000.0, False, ["audio", "video"])]
    assert tape.chunks("audio")[0].epoch == 1_763_000_000_000
    assert (report.tracks, report.gaps, report.media_end.millis) == (("audio", "video"), 0, 3000)
    assert report.chunks == len(tape.of("chunk"))


@pytest.mark.parametrize("begins", [0, 8_100_000_000])
def test_the_clock_of_a_transport_stream_goes_with_its_packets(tmp_path: Path, begins: int) -> None:
    playlist = synthetic.playlist(clip(Spec()), tmp_path, begins=begins)
    with av.open(str(tmp_path / "0.ts")) as first:
        starts = min(packet.pts for packet in first.demux() if packet.pts is not None)
    tape, _ = synthetic.published(playlist)
    assert {record.context.clock for record in tape.of("chunk")} == {starts}


def test_a_recording_may_be_said_to_be_live() -> None:
    tape = Tape()
    run(publish(str(clip(Spec())), tape, stream_id="s", speed=None, live=True))  # type: ignore[arg-type]
    assert {record.context.live for record in tape.sent} == {True}


def test_the_run_in_of_the_encoder_lies_before_zero() -> None:
    first = chunks(clip(Spec()), "audio")[0]
    assert media_start(first).seconds == pytest.approx(-1024 / 48_000, abs=1e-9)
    assert media_start(chunks(clip(Spec()), "video")[0]).millis == 0


@pytest.mark.parametrize("container", ["mkv", "flv", "ts"])
def test_sound_of_containers_that_round_is_stamped_to_the_sample(container: str) -> None:
    pieces = chunks(clip(Spec(container=container, sample_rate=44_100)), "audio")
    packets = [packet for piece in pieces for packet in piece.packets]
    assert (pieces[0].time_base.numerator, pieces[0].time_base.denominator) == (1, 44_100)
    assert {later.pts - earlier.pts for earlier, later in itertools.pairwise(packets)} == {1024}


def test_a_packet_that_fits_in_no_chunk_ends_the_stream_with_the_cause() -> None:
    tape = Tape()
    source = Scripted([video(0), video(40, size=MAX_BYTES + 1)])
    with pytest.raises(MessageTooLarge, match=r"stream s: a single packet of 900,001 bytes"):
        run(publish("big", tape, stream_id="s", speed=None, opener=lambda _: source))  # type: ignore[arg-type]
    assert len(tape.chunks("video")) == 1
    assert ["900,001 bytes" in record.value.end.cause for record in tape.of("end")] == [True, True]


@pytest.mark.parametrize("stream_id", ["", "a b", "ä", "x" * 201])
def test_a_stream_id_must_be_one(stream_id: str) -> None:
    with pytest.raises(RequestInvalid, match="not a stream id"):
        run(publish(str(clip(Spec())), Tape(), stream_id=stream_id))  # type: ignore[arg-type]


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_must_be_possible(speed: float) -> None:
    with pytest.raises(RequestInvalid, match="stream s: a speed of"):
        run(publish(str(clip(Spec())), Tape(), stream_id="s", speed=speed))  # type: ignore[arg-type]


# Pace


class Timed(Tape):
    """Notes when each record came."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.times: list[float] = []

    async def publish(self, *args: Any, **kwargs: Any) -> None:
        await super().publish(*args, **kwargs)
        self.times.append(self.clock.monotonic())


async def drive(clock: ManualClock, task: "asyncio.Task[T]") -> T:
    """Advance the clock to whatever is waited for, until the task is done."""
    while not task.done():
        moment = asyncio.ensure_future(clock.next_moment())
        await asyncio.wait({task, moment}, return_when=asyncio.FIRST_COMPLETED)
        if moment.done():
            await clock.advance(max(moment.result() - clock.monotonic(), 0))
        else:
            moment.cancel()
    return task.result()


@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_chunk_is_sent_when_its_media_has_happened(speed: float) -> None:
    clock = ManualClock()
    tape = Timed(clock)

    async def flow() -> None:
        task = asyncio.create_task(publish(str(clip(Spec())), tape, stream_id="s", speed=speed, clock=clock))  # type: ignore[arg-type]
        await drive(clock, task)

    run(flow())
    due = [media_end(record.value.chunk).seconds / speed for record in tape.of("chunk")]
    sent = tape.times[: len(due)]
    assert sent == sorted(sent)
    assert all(-1e-6 < at - when < 0.01 for at, when in zip(sent, due, strict=True))
    assert clock.monotonic() == pytest.approx(3.0 / speed, abs=0.05)


def test_at_full_speed_nothing_waits() -> None:
    clock = ManualClock()
    run(publish(str(clip(Spec())), Tape(), stream_id="s", speed=None, clock=clock))  # type: ignore[arg-type]
    assert clock.monotonic() == 0


def test_the_pace_does_not_change_what_is_sent() -> None:
    clock = ManualClock()
    tape = Tape()

    async def flow() -> None:
        await drive(clock, asyncio.create_task(publish(str(clip(Spec())), tape, stream_id="s", clock=clock)))  # type: ignore[arg-type]

    run(flow())
    paced = [(record.topic, [packet.data for packet in record.value.chunk.packets]) for record in tape.of("chunk")]
    fast = [(record.topic, [packet.data for packet in record.value.chunk.packets]) for record in published(clip(Spec()))[0].of("chunk")]
    assert paced == fast


def test_the_system_clock_waits_until_a_moment_and_not_after_it() -> None:
    clock = SystemClock()

    async def flow() -> float:
        start = clock.monotonic()
        await clock.sleep_until(start - 100)
        await clock.sleep_until(start + 0.02)
        return clock.monotonic() - start

    assert 0.02 <= run(flow()) < 5
    assert clock.now() > 1_700_000_000


# Live sources


def video(millis: int, size: int = 10, duration: int = 40) -> tuple[Kind, Stamped]:
    return "video", Stamped(Packet(pts=millis, duration=duration, keyframe=True, data=bytes(size)), Fraction(0))


def audio(millis: int, duration: int = 20) -> tuple[Kind, Stamped]:
    return "audio", Stamped(Packet(pts=millis, duration=duration, keyframe=True, data=b"sound"), Fraction(0))


class Scripted:
    """A source that gives what its script says: packets, errors to raise, and things to do."""

    problem: WatchwordError | None = None

    def __init__(
        self, script: Sequence[tuple[Kind, Stamped] | Exception | Callable[[], object]], *, live: bool = False, zero: Fraction | None = None
    ) -> None:
        self.live = live
        self.zero = zero
        self.closed = threading.Event()
        self.holes: list[Hole] = []
        self._script = script
        self.tracks: Mapping[Kind, Track] = {
            "audio": Track("audio", AudioParameters(codec="aac", sample_rate=48_000, channels=1), Fraction(1, 1000)),
            "video": Track("video", VideoParameters(codec="h264"), Fraction(1, 1000)),
        }

    def missing(self) -> list[Hole]:
        """What the script's latest hole was, once."""
        holes, self.holes = self.holes, []
        return holes

    def packets(self) -> Iterator[tuple[Kind, Stamped]]:
        for step in self._script:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, tuple):
                yield step
            else:
                step()

    def close(self) -> None:
        self.closed.set()


def sources(*connections: "Scripted | Exception") -> Callable[[str], Scripted]:
    """Opens one after the other."""
    waiting = list(connections)

    def opener(_: str) -> Scripted:
        connection = waiting.pop(0)
        if isinstance(connection, Exception):
            raise connection
        return connection

    return opener


def follow(tape: Tape, clock: ManualClock, opener: Callable[[str], Scripted], **options: Any) -> PublishReport:
    async def flow() -> PublishReport:
        task = asyncio.create_task(publish("rtsp://camera/1", tape, stream_id="s", clock=clock, opener=opener, **options))  # type: ignore[arg-type]
        return await drive(clock, task)

    return run(flow())


LOST = SourceUnavailable("rtsp://camera/1 was lost: it stayed silent")


def test_a_lost_camera_is_found_again_and_media_time_goes_on_by_wall_clock(logs: list[EventDict]) -> None:
    clock, tape = ManualClock(), Tape()
    first = Scripted([audio(5000), video(5000), audio(5300), video(5300), LOST], live=True, zero=Fraction(5))
    second = Scripted([audio(77_000), video(77_000), audio(77_300), SourceTruncated("over")], live=True, zero=Fraction(77))
    with pytest.raises(SourceTruncated, match="stream s: over"):
        follow(tape, clock, sources(first, SourceUnavailable("refused"), second))
    assert first.closed.is_set()
    before, after = tape.chunks("audio")[:2], tape.chunks("audio")[2:]
    assert [media_start(piece).millis for piece in before] == [0, 300]
    assert after[0].epoch > before[0].epoch
    assert (after[0].sequence, before[1].sequence) == (0, 1)
    gaps = tape.of("gap")
    assert [record.topic for record in gaps] == ["audio", "video"]
    assert {record.value.gap.id for record in gaps} == {"gap-340"}
    assert {record.origin for record in gaps} == {Origin("publish", Position(after[0].epoch, -1))}
    gap = gaps[0].value.gap
    assert MediaTime.from_proto(gap.media_end) == media_start(after[0])
    assert media_start(after[0]).seconds == pytest.approx(clock.monotonic(), abs=0.1)
    assert {record.context.live for record in tape.sent} == {True}
    assert [entry["attempt"] for entry in logs if entry["event"] == "source_lost"] == [1, 2]


def test_a_camera_that_stays_away_is_given_up_after_bounded_waits(logs: list[EventDict]) -> None:
    clock, tape = ManualClock(), Tape()
    opener = sources(Scripted([audio(0), audio(300), LOST], live=True), *[SourceUnavailable("refused")] * 4)
    with pytest.raises(SourceUnavailable, match="stream s: refused; given up after 4 attempts"):
        follow(tape, clock, opener, retry=Retry(attempts=4, first_wait_s=1, longest_wait_s=3))
    waits = [entry["wait_s"] for entry in logs if entry["event"] == "source_lost"]
    assert len(waits) == 4
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(waits, (1, 2, 3, 3), strict=True))
    assert ["given up" in record.value.end.cause for record in tape.of("end")] == [True, True]
    assert tape.of("gap") == []


def test_connections_that_give_nothing_count_as_failures() -> None:
    clock, tape = ManualClock(), Tape()
    opener = sources(Scripted([audio(0), LOST], live=True), *[Scripted([LOST], live=True) for _ in range(3)])
    with pytest.raises(SourceUnavailable, match="given up after 3 attempts"):
        follow(tape, clock, opener, retry=Retry(attempts=3))
    assert len(tape.of("end")) == 2


def test_a_camera_that_never_answers_leaves_the_stream_id_free() -> None:
    clock, tape = ManualClock(), Tape()
    with pytest.raises(SourceUnavailable, match="stream s: refused"):
        follow(tape, clock, sources(SourceUnavailable("refused")))
    assert tape.sent == []


def test_a_live_source_sets_its_own_pace() -> None:
    clock, tape = ManualClock(), Tape()
    opener = sources(Scripted([audio(n * 20) for n in range(100)] + [SourceTruncated("over")], live=True))
    with pytest.raises(SourceTruncated):
        follow(tape, clock, opener)
    assert clock.monotonic() == 0
    assert len(tape.chunks("audio")) > 5


def test_a_recording_that_breaks_off_is_sent_as_far_as_it_goes() -> None:
    tape = Tape()
    source = Scripted([audio(0), video(0), audio(20), SourceTruncated("clip.mp4 stops after 0.0 s")])
    with pytest.raises(SourceTruncated, match=r"stream s: clip\.mp4 stops"):
        run(publish("clip.mp4", tape, stream_id="s", speed=None, opener=lambda _: source))  # type: ignore[arg-type]
    assert [len(piece.packets) for piece in tape.chunks("audio")] == [2]
    assert [record.value.end.cause for record in tape.of("end")] == ["clip.mp4 stops after 0.0 s"] * 2


def test_a_stopped_publisher_says_the_last_word_and_lets_go_of_the_source() -> None:
    clock, tape = ManualClock(), Tape()
    source = Scripted([audio(n * 20) for n in range(100)])

    async def flow() -> None:
        task = asyncio.create_task(publish("clip", tape, stream_id="s", clock=clock, opener=lambda _: source))  # type: ignore[arg-type]
        await clock.next_moment()
        await clock.advance(0.5)
        await clock.next_moment()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(flow())
    assert [record.value.end.cause for record in tape.of("end")] == ["publishing was stopped"] * 2
    assert source.closed.wait(20)


def cancelled_while_the_source_blocks(bus: Tape) -> None:
    """Publish to the bus from a camera that blocks, and cancel that: it ends as cancelled."""
    blocked, release = threading.Event(), threading.Event()
    source = Scripted([audio(0), audio(300), blocked.set, lambda: release.wait(20)], live=True)

    async def flow() -> None:
        task = asyncio.create_task(publish("rtsp://camera/1", bus, stream_id="s", opener=lambda _: source))  # type: ignore[arg-type]
        await asyncio.to_thread(blocked.wait, 20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    try:
        run(flow())
    finally:
        release.set()


def test_a_source_that_blocks_does_not_block_a_cancel() -> None:
    tape = Tape()
    cancelled_while_the_source_blocks(tape)
    assert len(tape.of("end")) == 2


@pytest.mark.parametrize("hangs", [False, True])
def test_a_cancel_stays_one_where_the_broker_does_not_take_the_end(hangs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.media.publish._LAST_WORD_TIMEOUT_S", 0.01)

    class Dying(Tape):
        async def publish(self, topic: str, stream_id: str, value: Any, **kwargs: Any) -> None:
            if value.WhichOneof("event") != "end":
                await super().publish(topic, stream_id, value, **kwargs)
            elif hangs:
                await asyncio.Event().wait()
            else:
                raise BrokerUnavailable("no broker answers at localhost:9092")

    cancelled_while_the_source_blocks(Dying())


def test_a_dead_broker_is_told_as_it_is() -> None:
    class Dead(Tape):
        async def publish(self, *args: Any, **kwargs: Any) -> None:
            raise BrokerUnavailable("no broker answers at localhost:9092")

    with pytest.raises(BrokerUnavailable, match="localhost:9092"):
        run(publish(str(clip(Spec())), Dead(), stream_id="s", speed=None))  # type: ignore[arg-type]


def test_what_a_source_does_not_hold_is_told_where_it_is_missing() -> None:
    source = Scripted([], zero=Fraction(10))
    lose = partial(source.holes.append, Hole(Fraction(12), Fraction(14)))
    source._script = [audio(10_000), audio(11_980), lose, audio(14_000), audio(14_020)]
    tape = Tape()
    report = run(publish("x", tape, stream_id="s", speed=None, opener=sources(source)))  # type: ignore[arg-type]
    (error,) = [record.value for record in tape.of("error")]
    assert (error.step, error.stream_id, reason_name(error.reason)) == ("publish", "s", "MEDIA_MISSING")
    assert MediaTime.from_proto(error.media_time) == MediaTime.of(2)
    assert "nothing from 0:02 to 0:04 (2.0 s)" in error.message
    assert [str(missing) for missing in report.missing] == [error.message]


def test_a_segment_that_a_playlist_names_and_nobody_has_is_missing(tmp_path: Path) -> None:
    playlist = synthetic.playlist(clip(Spec(seconds=6, gop=50)), tmp_path)
    assert published(playlist)[0].of("error") == []
    (tmp_path / "1.ts").unlink()
    (error,) = [record.value for record in published(playlist, "torn")[0].of("error")]
    assert "list.m3u8 holds nothing from 0:01 to 0:03 (2.0 s)" in error.message


def test_where_a_playlist_leaves_out_long_segments_the_rest_keeps_its_time() -> None:
    stamps = TrackStamps(Fraction(1), Shifts(MAX_SKIP_S))
    assert [stamps.stamp(Demuxed(b"x", True, second, second, 1)).shift for second in (0, 1, 42)] == [0, 0, 0]
    assert stamps.stamp(Demuxed(b"x", True, 5000, 5000, 1)).shift == 43 - 5000, "another clock"


# Stamps


def test_clocks_that_jump_are_joined_and_the_tracks_stay_in_step() -> None:
    shifts = Shifts(MAX_LEAP_S)
    sound, pictures = (TrackStamps(Fraction(1, 1000), shifts) for _ in range(2))

    def at(stamps: TrackStamps, millis: int) -> int:
        stamped = stamps.stamp(Demuxed(b"x", True, millis, millis, 40))
        return round((stamped.packet.pts * stamps.unit + stamped.shift) * 1000)

    assert [at(sound, 0), at(pictures, 10), at(sound, 40), at(pictures, 50)] == [0, 10, 40, 50]
    assert [at(pictures, 5_000_000), at(sound, 4_999_990), at(pictures, 5_000_040)] == [90, 80, 130]
    assert [at(sound, 20), at(pictures, 60), at(sound, 60)] == [170, 210, 210]


def test_a_pause_of_a_container_with_one_clock_is_a_pause() -> None:
    stamps = TrackStamps(Fraction(1, 1000), Shifts(MAX_SILENCE_S))
    assert [stamps.stamp(Demuxed(b"x", True, millis, None, 40)).shift for millis in (0, 40, 3_600_000)] == [0, 0, 0]


def test_missing_stamps_are_counted() -> None:
    stamps = TrackStamps(Fraction(1, 1000), Shifts(MAX_SILENCE_S), frame_seconds=Fraction(1, 25))
    assert [stamps.stamp(Demuxed(b"x", True, None, None, 0)).packet.pts for _ in range(3)] == [0, 40, 80]
    assert stamps.stamp(Demuxed(b"x", True, None, 500, 0)).packet.pts == 500


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    retry = Retry(first_wait_s=0.5, longest_wait_s=30)
    assert [retry.wait_s(attempt, 0) for attempt in (1, 2, 3, 10)] == [0.5, 1, 2, 30]
    assert retry.wait_s(1, 1) == 0.25
