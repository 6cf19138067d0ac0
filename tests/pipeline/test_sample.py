"""The sampling stage on real encoded video: exact times, replays after a crash, gaps, overload, and its pictures."""

import asyncio
import io
import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message
from PIL import Image
from watchword.v1 import events_pb2, media_pb2, scene_pb2

from pipeline.errors import MediaUndecodable, MessageInvalid
from pipeline.media import chunks
from pipeline.media.shape import picture_size
from pipeline.sample.options import DEFAULTS, Options
from pipeline.sample.pictures import Shrinker
from pipeline.sample.stage import Sample
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, clip, picture

pytestmark = pytest.mark.unit

FIRST = scene_pb2.KEYFRAME_REASON_FIRST
CUT = scene_pb2.KEYFRAME_REASON_CUT
CHANGE = scene_pb2.KEYFRAME_REASON_CHANGE
INTERVAL = scene_pb2.KEYFRAME_REASON_INTERVAL
ROOT = Path(__file__).parents[2]
DEMO = ROOT / "samples" / "demo.mp4"
SHARED = ROOT.parent / "shared" / "media"
STREAM = "camera"


def video_events(path: Path, *, span: Fraction = chunks.MAX_SPAN, track: int = 0) -> list[events_pb2.VideoEvent]:
    """A file's video as a publisher sends it."""
    import av

    with av.open(str(path)) as container:
        if len(container.streams.video) <= track:
            return []
        stream = container.streams.video[track]
        unit, context = stream.time_base, stream.codec_context
        assert unit is not None
        packets = [
            media_pb2.Packet(pts=packet.pts, dts=packet.dts, duration=packet.duration or 0, keyframe=packet.is_keyframe, data=bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None
        ]
        parameters = media_pb2.VideoParameters(
            codec=context.codec.canonical_name, extradata=context.extradata or b"", width=context.width, height=context.height
        )
    return [
        events_pb2.VideoEvent(
            chunk=media_pb2.MediaChunk(
                stream_id=STREAM,
                epoch=1,
                sequence=number,
                video=parameters,
                time_base=media_pb2.Rational(numerator=unit.numerator, denominator=unit.denominator),
                packets=run,
            )
        )
        for number, run in enumerate(chunks.cut(packets, unit, stream_id=STREAM, span=span))
    ]


class Run:
    """A stage that is given items one by one; what it says is kept with the number of the item that led to it."""

    def __init__(self, options: Options = DEFAULTS) -> None:
        self.stage = Sample(STREAM, options=options)
        self.said: list[tuple[int, int, Message]] = []

    async def give(self, number: int, item: events_pb2.VideoEvent) -> None:
        index = 0
        async for event in self.stage.process(item):
            self.said.append((number, index, event))
            index += 1

    async def end(self, number: int) -> None:
        index = 0
        async for event in self.stage.flush():
            self.said.append((number, index, event))
            index += 1
        self.stage.close()


def sample(items: Sequence[events_pb2.VideoEvent], options: Options = DEFAULTS) -> list[events_pb2.KeyframeEvent]:
    """Everything that is said about the items."""

    async def go() -> list[events_pb2.KeyframeEvent]:
        run = Run(options)
        for number, item in enumerate(items):
            await run.give(number, item)
        await run.end(len(items))
        return [event for _, _, event in run.said if isinstance(event, events_pb2.KeyframeEvent)]

    return asyncio.run(go())


def keyframes(events: Iterable[events_pb2.KeyframeEvent], *reasons: int) -> list[scene_pb2.Keyframe]:
    return [
        event.keyframe for event in events if event.WhichOneof("event") == "keyframe" and (not reasons or event.keyframe.reason in reasons)
    ]


def times(found: Iterable[scene_pb2.Keyframe]) -> list[float]:
    return [round(MediaTime.from_proto(keyframe.media_time).seconds, 3) for keyframe in found]


def scenes(events: Iterable[events_pb2.KeyframeEvent]) -> list[tuple[float, float]]:
    return [
        (MediaTime.from_proto(event.scene.media_start).seconds, MediaTime.from_proto(event.scene.media_end).seconds)
        for event in events
        if event.WhichOneof("event") == "scene"
    ]


@pytest.mark.parametrize(
    "spec",
    [
        Spec(seconds=4, cuts=(33, 70), audio=None),
        Spec(seconds=4, cuts=(33, 70), audio=None, b_frames=0, gop=1000),
        Spec(seconds=4, cuts=(33, 70), audio=None, b_frames=4, gop=12, container="mkv"),
        Spec(seconds=4, cuts=(33, 70), audio=None, video="libvpx", container="webm"),
        Spec(seconds=4, cuts=(33, 70), audio=None, video="mjpeg", container="mkv"),
        Spec(cuts=(33, 70), audio=None, times=tuple(float(t) for t in np.cumsum(np.tile([0.02, 0.05, 0.033, 0.067], 24))), container="mkv"),
    ],
    ids=["b-frames", "one-gop", "many-b-frames", "vp8", "all-intra", "uneven"],
)
def test_cuts_are_told_at_the_exact_time_of_the_first_frame_of_the_new_shot(spec: Spec) -> None:
    shown = [round(float(time), 3) for time in spec.frame_times]
    events = sample(video_events(clip(spec)))
    assert times(keyframes(events, FIRST)) == shown[:1]
    assert times(keyframes(events, CUT)) == [shown[33], shown[70]]
    borders = [0.0 + shown[0], shown[33], shown[70]]
    assert [start for start, _ in scenes(events)] == pytest.approx(borders, abs=0.0006)
    assert [end for _, end in scenes(events)][:-1] == pytest.approx(borders[1:], abs=0.0006)
    assert shown[-1] < scenes(events)[-1][1] <= shown[-1] + 0.07


def test_a_scene_is_closed_after_its_last_and_before_the_next_keyframe() -> None:
    events = sample(video_events(clip(Spec(seconds=4, cuts=(33, 70), audio=None))))
    open_scene = None
    for event in events:
        if event.WhichOneof("event") == "scene":
            assert event.scene.scene_id == open_scene
            assert event.scene.scene_id == f"scene-{MediaTime.from_proto(event.scene.media_start).millis}"
            open_scene = None
        else:
            assert open_scene in (None, event.keyframe.scene_id)
            assert event.keyframe.id == f"keyframe-{MediaTime.from_proto(event.keyframe.media_time).millis}"
            open_scene = event.keyframe.scene_id
    assert open_scene is None
    assert all(each.stream_id == STREAM for event in events for each in (event.keyframe, event.scene) if each.ByteSize())


def test_keyframes_are_told_as_they_are_found_and_not_when_their_scene_closes() -> None:
    items = video_events(clip(Spec(seconds=3, audio=None, still=True)))

    async def go() -> list[int]:
        run = Run(Options(maximum_gap=MediaTime.of(1)))
        for number, item in enumerate(items):
            await run.give(number, item)
        run.stage.close()
        return [number for number, _, _ in run.said]

    assert asyncio.run(go()) == [0, 2, 4]


def test_a_dissolve_is_noticed_and_opens_a_scene() -> None:
    events = sample(video_events(clip(Spec(seconds=7, fades=((75, 100),), audio=None))))
    assert keyframes(events, CUT) == []
    assert not [time for time in times(keyframes(events)) if 3.0 <= time < 4.0], "no mixture of two pictures"
    assert [start for start, _ in scenes(events)][1] == pytest.approx(4.0, abs=0.3)
    assert times(keyframes(events, CHANGE))[0] == scenes(events)[1][0]


def test_a_still_picture_costs_a_keyframe_each_interval() -> None:
    found = keyframes(sample(video_events(clip(Spec(seconds=11, still=True, audio=None))), Options(maximum_gap=MediaTime.of(5))))
    assert [(each.reason, seconds) for each, seconds in zip(found, times(found), strict=True)] == [
        (FIRST, 0.0),
        (INTERVAL, 5.0),
        (INTERVAL, 10.0),
    ]
    assert all(each.score < 0.05 and each.motion < 0.01 for each in found[1:])


def test_most_of_a_still_picture_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    items = video_events(clip(Spec(seconds=11, still=True, audio=None)), span=Fraction(1, 4))
    threads, to_thread = [], asyncio.to_thread

    async def counted(*arguments: Any) -> Any:
        threads.append(arguments)
        return await to_thread(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", counted)
    assert len(keyframes(sample(items, Options(maximum_gap=MediaTime.of(5))))) == 3
    assert len(threads) < len(items) / 3


def test_a_stream_without_video_says_nothing() -> None:
    assert sample(video_events(clip(Spec(seconds=1, video=None)))) == []


def gap(start: float, end: float) -> events_pb2.VideoEvent:
    return events_pb2.VideoEvent(
        gap=media_pb2.Gap(stream_id=STREAM, id="gap-1", media_start=MediaTime.of(start).to_proto(), media_end=MediaTime.of(end).to_proto())
    )


def moved(items: Iterable[events_pb2.VideoEvent], seconds: float, epoch: int) -> list[events_pb2.VideoEvent]:
    """The items as sent by a later connection."""
    later = []
    for item in items:
        event = events_pb2.VideoEvent()
        event.CopyFrom(item)
        event.chunk.epoch = epoch
        event.chunk.media_offset.CopyFrom(MediaTime.of(seconds).to_proto())
        later.append(event)
    return later


def test_a_gap_closes_the_scene_and_the_next_frame_is_a_first() -> None:
    items = video_events(clip(Spec(seconds=2, audio=None)))
    events = sample([*items, gap(2, 5), *moved(items, 5, epoch=2)])
    assert times(keyframes(events, FIRST)) == [0.0, 5.0]
    assert scenes(events) == [(0.0, 2.0), (5.0, 7.0)]


@pytest.mark.parametrize("place", [0, 1, -1], ids=["first", "amid", "last"])
@pytest.mark.parametrize("wrong", ["stream", "time base"])
def test_a_refused_chunk_leaves_the_rest_of_the_stream_as_it_is(wrong: str, place: int) -> None:
    items = video_events(clip(Spec(seconds=4, cuts=(70,), audio=None)))
    foreign = events_pb2.VideoEvent()
    foreign.CopyFrom(items[place])
    if wrong == "stream":
        foreign.chunk.stream_id = "another"
    else:
        foreign.chunk.time_base.denominator = 0
    cut = len(items) if place == -1 else place

    async def go() -> Run:
        run = Run()
        for number, item in enumerate([*items[:cut], foreign, *items[cut:]]):
            if item is foreign:
                with pytest.raises(MessageInvalid, match="another" if wrong == "stream" else "time base"):
                    await run.give(number, item)
            else:
                await run.give(number, item)
        await run.end(len(items) + 1)
        return run

    run = asyncio.run(go())
    assert [event for _, _, event in run.said] == sample(items)
    assert run.stage.held == len(items)


def test_damaged_packets_are_refused_and_no_picture_that_leans_on_them_is_shown() -> None:
    spec = Spec(seconds=5, audio=None, still=True, gop=50, b_frames=0)
    items = video_events(clip(spec))
    for packet in items[1].chunk.packets:
        packet.data = b"\0\0\0\1garbage" * 20

    async def go() -> Run:
        run = Run(Options(maximum_gap=MediaTime.of(0.1)))
        for number, item in enumerate(items):
            if number == 1:
                with pytest.raises(MediaUndecodable, match=STREAM):
                    await run.give(number, item)
            else:
                await run.give(number, item)
        await run.end(len(items))
        return run

    seen = times(keyframes([event for _, _, event in asyncio.run(go()).said if isinstance(event, events_pb2.KeyframeEvent)]))
    lost_from, back_at = chunks.media_start(items[1].chunk).seconds, 2.0
    assert [time for time in seen if lost_from <= time < back_at] == []
    assert min(time for time in seen if time >= lost_from) == back_at


def test_pictures_that_are_seconds_apart_may_be_reordered() -> None:
    """One picture a second, sent as 0, 4, 2, 1, 3: none of them is late."""
    spec = Spec(seconds=16, frame_rate=1, audio=None, b_frames=3, still=True, gop=8)
    assert times(keyframes(sample(video_events(clip(spec)))))[0] == 0


def test_a_thinned_stream_goes_on_with_whole_pictures_only() -> None:
    spec = Spec(seconds=8, cuts=(75, 110), audio=None, gop=25)
    items = video_events(clip(spec))
    left: list[events_pb2.VideoEvent] = []
    for number, item in enumerate(items):
        if 3 <= number < 12:
            thinned = chunks.thin(item.chunk)
            left += [events_pb2.VideoEvent(chunk=thinned)] if thinned is not None else []
        else:
            left.append(item)
    assert len(left) < len(items)
    events = sample(left)
    assert times(keyframes(events, CUT)) == [3.0, 5.0], "the first whole pictures of the new shots that came"
    for keyframe in keyframes(sample(left, Options(maximum_gap=MediaTime.of(0.02)))):
        number = round(MediaTime.from_proto(keyframe.media_time).seconds * 25)
        decoded = np.asarray(Image.open(io.BytesIO(keyframe.jpeg)).convert("L"), dtype=float)
        truth = np.asarray(Image.fromarray(picture(spec, number)).convert("L"), dtype=float)
        assert np.abs(decoded - truth).mean() < 12, f"frame {number} is corrupted"


REPLAYED = {
    "cuts, a dissolve, and scenes of the longest length": (
        Spec(seconds=27, frame_rate=10, cuts=(25, 95, 101, 240), fades=((120, 132),), gop=20, audio=None),
        Options(longest_scene=MediaTime.of(4), maximum_gap=MediaTime.of(1.5)),
    ),
    "no keyframe packet for long": (
        Spec(seconds=33, frame_rate=10, cuts=(25, 285), gop=95, audio=None, still=True),
        Options(longest_scene=MediaTime.of(3), maximum_gap=MediaTime.of(2)),
    ),
    "a scene that a replay reaches with one keyframe more in the same chunk": (
        Spec(seconds=23, frame_rate=10, cuts=(189,), gop=10, b_frames=0, audio=None, still=True),
        Options(maximum_gap=MediaTime.of(2.7)),
    ),
    "still for long, and then not": (
        Spec(seconds=50, frame_rate=10, cuts=(207, 221), fades=((330, 342),), gop=20, audio=None, still=True),
        Options(longest_scene=MediaTime.of(12)),
    ),
    "still for long, with a keyframe each ten seconds": (
        Spec(seconds=75, frame_rate=10, cuts=(240, 253, 520), fades=((640, 652),), gop=20, b_frames=0, audio=None, still=True),
        Options(longest_scene=MediaTime.of(25), maximum_gap=MediaTime.of(10)),
    ),
    "still for long, with keyframes far apart": (
        Spec(seconds=60, frame_rate=10, cuts=(285, 450), gop=70, b_frames=3, audio=None, still=True),
        Options(longest_scene=MediaTime.of(12)),
    ),
    "slides that change with a keyframe packet": (
        Spec(seconds=44, frame_rate=10, cuts=(80, 200, 320), gop=20, audio=None, still=True, width=640, height=368),
        Options(longest_scene=MediaTime.of(25), maximum_gap=MediaTime.of(10)),
    ),
    "something moves in one shot of three": (
        Spec(seconds=60, frame_rate=10, cuts=(205, 290), gop=30, audio=None, moves=(1,)),
        Options(longest_scene=MediaTime.of(15)),
    ),
    "keyframe packets only": (
        Spec(seconds=14, frame_rate=10, cuts=(33, 101), video="mjpeg", container="mkv", audio=None),
        Options(longest_scene=MediaTime.of(3), maximum_gap=MediaTime.of(0.5)),
    ),
}


@pytest.mark.parametrize("name", REPLAYED)
def test_after_a_crash_at_any_chunk_the_same_is_said_and_nothing_else_gets_through(name: str) -> None:
    spec, options = REPLAYED[name]
    items = video_events(clip(spec))

    async def whole() -> tuple[Run, list[int]]:
        run, held = Run(options), []
        for number, item in enumerate(items):
            await run.give(number, item)
            held.append(run.stage.held)
        await run.end(len(items))
        return run, held

    async def resumed(after: int, held: int) -> Run:
        run = Run(options)
        for number in range(after + 1 - held, len(items)):
            await run.give(number, items[number])
        await run.end(len(items))
        return run

    straight, held = asyncio.run(whole())
    for after in [*range(0, len(items), 3), len(items) - 1]:
        again = asyncio.run(resumed(after, held[after])).said
        seen = max(((number, index) for number, index, _ in straight.said if number <= after), default=(-1, -1))
        assert [each for each in again if each[:2] > seen] == [each for each in straight.said if each[:2] > seen], f"crash after {after}"
    assert any(count <= number for number, count in enumerate(held)), "something must be let go"


def test_nothing_is_held_after_a_gap() -> None:
    items = video_events(clip(Spec(seconds=2, audio=None)))

    async def go() -> list[int]:
        run, held = Run(), []
        for number, item in enumerate([*items, gap(2, 5), *moved(items, 5, epoch=2)]):
            await run.give(number, item)
            held.append(run.stage.held)
        run.stage.close()
        return held

    count = len(items)
    assert asyncio.run(go()) == [*range(1, count + 1), 0, *range(1, count + 1)]


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((1920, 1080), Fraction(1), (448, 252)),
        ((1080, 1920), Fraction(1), (252, 448)),
        ((320, 180), Fraction(1), (320, 180)),
        ((321, 181), Fraction(1), (320, 180)),
        ((16, 16), Fraction(1), (16, 16)),
        ((720, 576), Fraction(16, 15), (448, 336)),
        ((240, 180), Fraction(4, 3), (240, 136)),
        ((480, 480), Fraction(1, 2), (224, 448)),
        ((4000, 10), Fraction(1), (448, 2)),
        ((640, 360), Fraction(0), (448, 252)),
    ],
)
def test_pictures_keep_their_shape_and_are_never_enlarged(size: tuple[int, int], aspect: Fraction, expected: tuple[int, int]) -> None:
    assert picture_size(*size, aspect, 448) == expected


def test_a_keyframe_carries_the_picture_as_it_was_filmed() -> None:
    spec = Spec(seconds=1, width=640, height=384, audio=None)
    (keyframe,) = keyframes(sample(video_events(clip(spec))))
    image = Image.open(io.BytesIO(keyframe.jpeg))
    assert image.format == "JPEG"
    assert image.size == (keyframe.width, keyframe.height) == (448, 268)
    truth = Image.fromarray(picture(spec, 0)).resize(image.size)
    assert np.abs(np.asarray(image, dtype=float) - np.asarray(truth, dtype=float)).mean() < 8


def test_luma_is_black_to_white_whatever_the_frame() -> None:
    import av

    shrinker = Shrinker()
    for width, height in ((640, 360), (16, 16), (101, 333)):
        for value, expected in ((0, 0), (255, 255)):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), value, np.uint8), "rgb24").reformat(format="yuv420p")
            luma = shrinker.luma(frame)
            assert luma.shape == (36, 64)
            assert luma.dtype == np.uint8
            assert np.abs(luma.astype(int) - expected).max() <= 2


@pytest.mark.skipif(not DEMO.exists(), reason="the sample clip has not been made")
def test_the_sample_clip() -> None:
    truth = json.loads(DEMO.with_suffix(".json").read_text())
    events = sample(video_events(DEMO))
    assert times(keyframes(events, CUT)) == truth["cuts"]
    for dissolve in truth["dissolves"]:
        assert not any(dissolve["start"] < time < dissolve["end"] for time in times(keyframes(events))), "no mixture of two pictures"
        assert any(abs(start - dissolve["end"]) <= 0.3 for start, _ in scenes(events))
    still = truth["still"]
    within = [time for time in times(keyframes(events)) if still["start"] < time < still["end"]]
    assert len(within) <= (still["end"] - still["start"]) / 5
    assert len(scenes(events)) == len(truth["scenes"])
    assert scenes(events)[-1][1] == truth["duration"]
    assert all(max(each.width, each.height) == 448 for each in keyframes(events))


def with_cuts() -> list[tuple[str, list[float]]]:
    if not (SHARED / "manifest.json").exists():
        return []
    entries = json.loads((SHARED / "manifest.json").read_text())["entries"]
    return [(entry["file"], entry["cuts"]) for entry in entries if entry.get("cuts") is not None]


NOT_HARD = {("video/nasa_13013.mp4", 5.28): "a dissolve"}


@pytest.mark.parametrize(("file", "cuts"), with_cuts() or [pytest.param("", [], marks=pytest.mark.skip(reason="no shared media here"))])
def test_real_clips(file: str, cuts: list[float]) -> None:
    events = sample(video_events(SHARED / file))
    wanted = [cut for cut in cuts if (file, cut) not in NOT_HARD]
    found = times(keyframes(events, CUT))
    assert len(found) == len(wanted), f"{found} for {wanted}"
    assert found == pytest.approx(wanted, abs=0.04)
