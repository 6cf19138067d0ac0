"""Decoding no more than is needed: what is left out, what is found all the same, and that no picture is ever wrong."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.typing import EventDict
from watchword.v1.media_pb2 import MediaChunk

from pipeline.errors import TimeReversed
from pipeline.media.chunks import thin
from pipeline.media.decode import DecodedFrame, VideoDecoder
from pipeline.media.decoders import Small
from pipeline.media.decoders.cpu import open_cpu
from pipeline.sample.kept import MOST_KEPT_BYTES
from pipeline.sample.liveliness import State
from pipeline.sample.needs import Outcome
from pipeline.sample.pictures import Shrinker
from pipeline.sample.scout import Picture
from pipeline.sample.sparse import SparseDecoder
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, chunks, clip

pytestmark = pytest.mark.unit

STILL = Spec(seconds=21, frame_rate=10, audio=None, still=True)
GAP = MediaTime.of(5)


class Viewer:
    """Takes what a sparse decoder shows, and chooses by the gap alone."""

    def __init__(self, *, gap: MediaTime = GAP, opens: Iterable[float] = (), may_hide: Callable[[Small], bool] = lambda _: True) -> None:
        self.shown: list[DecodedFrame] = []
        self.held: list[DecodedFrame] = []
        """Those that were not decoded, but are the picture before them."""
        self.chosen: list[float] = []
        self._gap = gap
        self._opens = set(opens)
        self._shrinker = Shrinker()
        self.decoder = SparseDecoder(
            "s",
            open_cpu,
            longest_gap=gap,
            small=lambda frame: self._shrinker.small(frame.surface),
            show=self._show,
            may_hide=may_hide,
        )

    def _show(self, picture: Picture) -> Outcome:
        frame, due = picture.frame, picture.due
        (self.held if picture.held else self.shown).append(frame)
        time = frame.time.seconds
        opened = time in self._opens
        if not self.chosen or due or opened or time - self.chosen[-1] >= self._gap.seconds:
            self.chosen.append(time)
            return Outcome(frame.time, frame.time if opened else None)
        return Outcome()

    def see(self, pieces: Iterable[MediaChunk]) -> "Viewer":
        for piece in pieces:
            self.decoder.take(piece)
        self.decoder.finish()
        return self

    @property
    def times(self) -> list[float]:
        return sorted(frame.time.seconds for frame in self.shown + self.held)


def whole(pieces: Iterable[MediaChunk]) -> dict[MediaTime, NDArray[np.uint8]]:
    """All pictures that there are, by their times."""
    decoder = VideoDecoder("s")
    frames = [frame for piece in pieces for frame in decoder.decode(piece)] + decoder.flush()
    return {frame.time: frame.frame.to_ndarray() for frame in frames}


def are_right(shown: Iterable[DecodedFrame], source: Path | str) -> bool:
    """Whether each picture is to the bit what it is when everything is decoded."""
    truth = whole(chunks(source, "video"))
    return all(np.array_equal(frame.frame.to_ndarray(), truth[frame.time]) for frame in shown)


def are_near(held: Iterable[DecodedFrame], source: Path | str) -> bool:
    """Whether each picture is what it is when everything is decoded, but for what an encoder corrects after a keyframe."""
    truth = whole(chunks(source, "video"))
    return all(np.abs(frame.frame.to_ndarray() - truth[frame.time].astype(np.int16)).mean() < 1 for frame in held)


ENCODERS = [("libx264", "mp4"), ("libx265", "mp4"), ("libvpx-vp9", "webm"), ("libvpx", "webm"), ("libsvtav1", "mp4"), ("mpeg4", "mp4")]


@pytest.mark.parametrize(("encoder", "container"), ENCODERS, ids=[encoder for encoder, _ in ENCODERS])
def test_of_a_still_picture_little_is_decoded_and_every_codec_gives_right_pictures(encoder: str, container: str) -> None:
    source = clip(replace(STILL, video=encoder, container=container, gop=20))
    viewer = Viewer().see(chunks(source, "video"))
    # VP8 sends what it makes better now and then, which cannot be told from something that happens.
    assert viewer.decoder.counts.decoded < (120 if encoder == "libvpx" else 30)
    assert are_right(viewer.shown, source)


def test_what_only_repeats_a_picture_is_not_decoded_and_the_picture_is_shown_again() -> None:
    source = clip(replace(STILL, gop=100, b_frames=0, width=320, height=192))
    viewer = Viewer().see(chunks(source, "video"))
    assert viewer.decoder.counts.decoded < 60
    assert max(np.diff([*viewer.chosen, 21.0])) <= 5.1001
    assert are_right(viewer.shown, source)


def test_a_keyframe_packet_that_comes_again_is_not_decoded_again() -> None:
    """As of a slide that stays: an encoder numbers such pictures 0 and 1 by turns, else they are the same."""
    source = clip(replace(STILL, gop=10, b_frames=0, width=320, height=192))
    viewer = Viewer(gap=MediaTime.of(2)).see(chunks(source, "video"))
    assert len(viewer.chosen) >= 10
    assert viewer.decoder.counts.probes <= 4
    assert are_right(viewer.shown, source)


@pytest.mark.parametrize("cut", [220, 240, 260])
def test_of_what_is_found_out_late_only_that_is_decoded_in_which_it_happened(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut at a keyframe packet that nothing tells, up to ten seconds before the next picture is looked at."""
    for name in ("_ODD", "_LEAST_ODD"):
        monkeypatch.setattr(f"pipeline.sample.liveliness.{name}", 10.0)
    monkeypatch.setattr("pipeline.sample.sparse._WORTH_A_LOOK", 10)
    monkeypatch.setattr("pipeline.sample.sparse.PROBE_EVERY", MediaTime.of(10))
    source = clip(replace(STILL, seconds=41, cuts=(cut,), gop=20, b_frames=0))
    viewer = Viewer(gap=MediaTime.of(10)).see(chunks(source, "video"))
    assert {(cut - 1) / 10, cut / 10} <= set(viewer.times)
    assert viewer.decoder.counts.decoded < 65
    assert are_right(viewer.shown, source)
    assert are_near(viewer.held, source)


def test_of_a_new_slide_nothing_is_decoded_but_its_keyframe_and_it_begins_where_it_does() -> None:
    source = clip(replace(STILL, seconds=16, cuts=(80,), gop=20, width=960, height=544))
    viewer = Viewer(gap=MediaTime.of(10)).see(chunks(source, "video"))
    assert {7.9, 8.0, 8.1, 8.2} <= set(viewer.times)
    assert {7.9, 8.1, 8.2} <= {frame.time.seconds for frame in viewer.held}
    assert viewer.decoder.counts.decoded < 20
    assert viewer.decoder.counts.probes <= 4
    assert are_right(viewer.shown, source)
    assert are_near(viewer.held, source)


@pytest.mark.parametrize("stays", [1, 3, 5])
def test_what_moves_soon_after_a_new_picture_is_seen(stays: int) -> None:
    """A new picture comes with a keyframe packet, and does not stay."""
    source = clip(replace(STILL, cuts=(100, 100 + stays), gop=20, b_frames=0))
    viewer = Viewer(gap=MediaTime.of(10)).see(chunks(source, "video"))
    assert {9.9, 10.0, (100 + stays - 1) / 10, (100 + stays) / 10} <= set(viewer.times)
    assert are_right(viewer.shown, source)
    assert are_near(viewer.held, source)


def test_pictures_between_two_that_are_alike_are_decoded_and_not_looked_at() -> None:
    source = clip(Spec(seconds=3, audio=None, b_frames=0))
    all_of_them, some = Viewer().see(chunks(source, "video")), Viewer(may_hide=lambda _: False).see(chunks(source, "video"))
    assert some.decoder.counts.decoded == all_of_them.decoder.counts.decoded == 75
    assert some.times == [time for time in all_of_them.times if time in some.times]
    assert {int(10 * time + 1e-6) for time in some.times} == set(range(30)), "one in each tenth of a second"
    assert 30 <= len(some.times) <= 32


@pytest.mark.parametrize("gap", [0.3, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("gop", [1, 10, 20, 30, 45, 70, 100, 1000])
def test_the_longest_gap_holds_however_far_apart_keyframe_packets_are(gop: int, gap: float) -> None:
    source = clip(replace(STILL, gop=gop))
    viewer = Viewer(gap=MediaTime.of(gap)).see(chunks(source, "video"))
    assert max(np.diff([*viewer.chosen, 21.0])) <= gap + 0.1001
    assert are_right(viewer.shown, source)


@pytest.mark.parametrize("b_frames", [0, 3])
@pytest.mark.parametrize("gop", [15, 40, 100, 1000])
@pytest.mark.parametrize("cut", [107, 120, 133, 151])
def test_a_cut_in_a_still_picture_is_seen_with_its_first_frame(cut: int, gop: int, b_frames: int) -> None:
    source = clip(replace(STILL, cuts=(cut,), gop=gop, b_frames=b_frames))
    viewer = Viewer().see(chunks(source, "video"))
    assert {cut / 10, (cut - 1) / 10} <= set(viewer.times)
    assert are_right(viewer.shown, source)


@pytest.mark.parametrize("gop", [20, 25, 50])
def test_a_picture_that_is_shown_for_two_seconds_is_seen(gop: int) -> None:
    """Also where it begins with a keyframe packet, and the keyframe that is looked at next shows the old picture again."""
    source = clip(replace(STILL, cuts=(105, 125), gop=gop, b_frames=0))
    viewer = Viewer().see(chunks(source, "video"))
    assert {10.5, 12.5} <= set(viewer.times)
    assert are_right(viewer.shown, source)


@pytest.mark.parametrize(("cut", "gop"), [(105, 20), (105, 50), (100, 20), (100, 50)])
def test_a_picture_that_comes_just_before_the_end_is_seen(cut: int, gop: int) -> None:
    source = clip(replace(STILL, seconds=cut / 10 + 1.5, cuts=(cut,), gop=gop, b_frames=0))
    viewer = Viewer().see(chunks(source, "video"))
    assert cut / 10 in viewer.times
    assert are_right(viewer.shown, source)


def test_a_packet_that_stands_out_is_seen_with_the_chunk_that_brings_it() -> None:
    pieces = chunks(clip(replace(STILL, cuts=(133,), gop=1000, b_frames=0)), "video")
    viewer = Viewer()
    for piece in pieces:
        viewer.decoder.take(piece)
        if any(packet.pts * piece.time_base.numerator / piece.time_base.denominator >= 13.3 for packet in piece.packets):
            break
    assert viewer.times[-1] >= 13.3


def test_when_something_begins_to_move_every_frame_is_seen() -> None:
    source = clip(replace(STILL, cuts=(100,), moves=(1,), still=False, gop=30))
    viewer = Viewer().see(chunks(source, "video"))
    assert [time for time in viewer.times if 10 <= time < 12] == [n / 10 for n in range(100, 120)]
    assert are_right(viewer.shown, source)


def test_a_change_that_no_packet_tells_is_found_with_the_next_picture_and_nothing_of_it_is_missed() -> None:
    """A cut at a keyframe packet, between pictures that cost the same."""
    source = clip(replace(STILL, cuts=(120,), gop=20))
    viewer = Viewer().see(chunks(source, "video"))
    assert {11.9, 12.0, 12.1} <= set(viewer.times)
    assert viewer.decoder.counts.wakes >= 1


@pytest.mark.parametrize("b_pyramid", [True, False], ids=["one picture is left out", "three in a row are"])
def test_of_what_moves_not_every_picture_is_decoded_but_those_on_either_side_of_a_cut_are(b_pyramid: bool) -> None:
    cuts = range(30, 200, 40)
    source = clip(Spec(seconds=8, audio=None, cuts=tuple(cuts), b_frames=3, b_pyramid=b_pyramid))
    viewer = Viewer().see(chunks(source, "video"))
    assert {n / 25 for cut in cuts for n in (cut - 1, cut)} <= set(viewer.times)
    assert len(viewer.times) < 190
    assert are_right(viewer.shown, source)


def test_a_scene_is_looked_at_for_half_a_second() -> None:
    viewer = Viewer(opens=(10.0,)).see(chunks(clip(replace(STILL, gop=50)), "video"))
    assert {n / 10 for n in range(100, 106)} <= set(viewer.times)
    assert viewer.decoder.state is State.STILL


def room(folder: Path, *, seconds: float, gop: int, other: range = range(0)) -> Path:
    """A still picture full of detail at 25 a second, and another one at the frames of these numbers."""
    rng = np.random.default_rng(3)
    pictures = [np.kron(rng.integers(40, 200, (48, 80, 3)), np.ones((4, 4, 1))).astype(np.uint8) for _ in range(2)]
    path = folder / "room.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "sc_threshold": "0"})
        track.width, track.height, track.pix_fmt, track.gop_size = 320, 192, "yuv420p", gop
        for number in range(round(25 * seconds)):
            container.mux(track.encode(av.VideoFrame.from_ndarray(pictures[number in other])))
        container.mux(track.encode(None))
    return path


def test_of_a_scene_that_begins_still_hardly_more_than_two_keyframes_is_decoded(tmp_path: Path) -> None:
    source = room(tmp_path, seconds=8, gop=50)
    viewer = Viewer(gap=MediaTime.of(20), opens=(0.0,)).see(chunks(source, "video"))
    assert viewer.decoder.state is State.STILL
    assert viewer.decoder.counts.decoded + viewer.decoder.counts.probes <= 6
    assert 2.0 in viewer.times
    assert are_right(viewer.shown, source)


def test_where_no_keyframe_packet_comes_a_scene_that_begins_still_is_looked_at_for_less(tmp_path: Path) -> None:
    source = room(tmp_path, seconds=4, gop=1000)
    viewer = Viewer(opens=(0.0,)).see(chunks(source, "video"))
    assert viewer.decoder.state is State.STILL
    assert max(viewer.times) < 0.5
    assert are_right(viewer.shown, source)


@pytest.mark.parametrize("gop", [50, 1000])
def test_a_picture_that_comes_and_goes_at_a_scenes_start_is_seen(gop: int, tmp_path: Path) -> None:
    """Also where the next keyframe packet shows the old picture again."""
    source = room(tmp_path, seconds=5, gop=gop, other=range(20, 30))
    viewer = Viewer(opens=(0.0,)).see(chunks(source, "video"))
    assert {0.76, 0.8, 1.16, 1.2} <= set(viewer.times)
    assert are_right(viewer.shown, source)


def test_of_a_scene_that_has_just_begun_when_the_stream_ends_the_pictures_are_seen(tmp_path: Path) -> None:
    source = room(tmp_path, seconds=1.5, gop=1000)
    viewer = Viewer(opens=(0.0,)).see(chunks(source, "video"))
    assert {0.0, 0.2} <= set(viewer.times)
    assert are_right(viewer.shown, source)


def test_what_is_kept_undecoded_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sample.kept.MOST_KEPT_BYTES", 1000)
    viewer = Viewer()
    for piece in chunks(clip(replace(STILL, gop=1000)), "video"):
        viewer.decoder.take(piece)
        assert sum(len(packet.data) for packet in viewer.decoder._kept.packets) <= 1000
    assert MOST_KEPT_BYTES <= 8_000_000


def test_after_a_lost_chunk_a_still_stream_shows_right_pictures_only() -> None:
    source = clip(replace(STILL, cuts=(133,), gop=30))
    for lost in range(2, len(chunks(source, "video")), 7):
        pieces = chunks(source, "video")
        del pieces[lost]
        viewer = Viewer().see(pieces)
        assert are_right(viewer.shown, source)
        assert viewer.times == sorted(set(viewer.times))


def test_a_damaged_packet_in_a_still_stream_is_never_shown() -> None:
    source = clip(replace(STILL, cuts=(133,), gop=1000, b_frames=0))
    pieces = chunks(source, "video")
    pieces[16].packets[1].data = b"\x00\x00\x00\x04" + bytes(range(4))
    viewer = Viewer()
    for piece in pieces:
        viewer.decoder.take(piece)
    viewer.decoder.finish()
    assert viewer.decoder.video.damaged == 1
    assert are_right(viewer.shown, source)


def test_lag_leaves_keyframes_only_and_says_so(logs: list[EventDict]) -> None:
    pieces = chunks(clip(Spec(seconds=8, audio=None, gop=10)), "video")
    for index in range(5, 20):
        thinned = thin(pieces[index])
        pieces[index] = thinned if thinned is not None else pieces[index]
        pieces[index].thinned = True
    pieces[5:20] = [piece for piece in pieces[5:20] if all(packet.keyframe for packet in piece.packets)]
    Viewer().see(pieces)
    said = [entry["event"] for entry in logs if "too slow" in entry["event"] or "in time" in entry["event"]]
    assert said == ["too slow for the source: keyframes only", "in time again"]


def test_pictures_of_a_second_ago_are_refused_also_where_they_were_not_decoded() -> None:
    pieces = chunks(clip(replace(STILL, gop=1000)), "video")
    viewer = Viewer()
    for piece in pieces[:40]:
        viewer.decoder.take(piece)
    assert viewer.decoder.state is State.STILL
    with pytest.raises(TimeReversed, match="stream s"):
        viewer.decoder.take(pieces[30])
