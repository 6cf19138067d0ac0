"""Looking again into a recording at given times."""

import io
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipeline.errors import SourceInvalid, SourceUnavailable, TrackMissing
from pipeline.media.decode import VideoDecoder
from pipeline.media.decoders.recording import Reader, by_decord, by_seeking, pictures_at
from pipeline.sample.pictures import Shrinker
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, chunks, clip, garbage, picture

pytestmark = pytest.mark.unit

SPEC = Spec(seconds=6, audio=None, cuts=(40, 90), gop=30)


@dataclass
class FakeReader:
    """decord's reader as far as it is used, over all the frames of a file."""

    path: str
    ctx: Any = None
    num_threads: int = 0
    width: int = -1
    height: int = -1

    def __post_init__(self) -> None:
        with av.open(self.path) as container:
            frames = list(container.decode(video=0))
        # decord2 3.4 turns a picture before it scales it, and knows nothing of pixels that are not square.
        upright = [np.rot90(frame.to_ndarray(format="rgb24"), frame.rotation // 90 % 4) for frame in frames]
        size = upright[0].shape[1::-1] if self.width < 0 else (self.width, self.height)
        self._frames = [np.asarray(Image.fromarray(each).resize(size)) for each in upright]
        self._times = [(frame.time, frame.time + 0.04) for frame in frames]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self._frames[index]

    def get_frame_timestamp(self, indices: Any) -> NDArray[np.float64]:
        return np.array([self._times[index] for index in indices])

    def get_batch(self, indices: list[int]) -> NDArray[np.uint8]:
        return np.stack([self._frames[index] for index in indices])


@pytest.fixture(params=["seeking", "decord"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Reader:
    if request.param == "seeking":
        return by_seeking
    module = ModuleType("decord")
    module.VideoReader = FakeReader  # type: ignore[attr-defined]
    module.DECORDError = type("DECORDError", (Exception,), {})  # type: ignore[attr-defined]
    module.cpu = lambda index: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "decord", module)
    return by_decord


def number(time: MediaTime) -> int:
    return round(time.seconds * 25)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_each_time_gives_what_is_on_the_screen_then(container: str, reader: Reader) -> None:
    spec = Spec(seconds=6, audio=None, cuts=(40, 90), gop=30, container=container)
    times = [MediaTime.of(seconds) for seconds in (3.61, 0.0, 1.59, 1.61, 5.96, 3.62)]
    found = pictures_at(clip(spec), times, reader=reader)
    assert [number(each.time) for each in found] == [90, 0, 39, 40, 149, 90]
    for each in found:
        assert np.abs(each.rgb.astype(int) - picture(spec, number(each.time)).astype(int)).mean() < 14


def test_before_the_start_it_is_the_first_and_after_the_end_the_last(reader: Reader) -> None:
    found = pictures_at(clip(SPEC), [MediaTime.of(-1), MediaTime.of(100)], reader=reader)
    assert [number(each.time) for each in found] == [0, 149]


def test_pictures_are_no_larger_than_asked_for(reader: Reader) -> None:
    (found,) = pictures_at(clip(SPEC), [MediaTime.of(1)], longest_side=80, reader=reader)
    assert found.rgb.shape == (48, 80, 3)


@pytest.mark.parametrize(
    ("rotation", "aspect", "shape"),
    [(90, Fraction(1), (120, 80)), (180, Fraction(1), (80, 120)), (-90, Fraction(1), (120, 80)), (0, Fraction(4, 3), (60, 120)),
     (0, Fraction(3, 4), (80, 90)), (90, Fraction(4, 3), (120, 60))],
    ids=["left", "upside down", "right", "wide pixels", "narrow pixels", "turned, wide pixels"],
)  # fmt: skip
def test_pictures_are_upright_and_have_square_pixels(
    rotation: int, aspect: Fraction, shape: tuple[int, int], reader: Reader, tmp_path: Path
) -> None:
    coded = np.zeros((80, 120, 3), np.uint8)
    coded[:40, :60] = (250, 20, 20)
    path = tmp_path / "turned.mp4"
    write(path, coded, rotation, aspect)
    (found,) = pictures_at(path, [MediaTime.of(0)], reader=reader)
    assert found.rgb.shape == (*shape, 3)
    expected = np.asarray(Image.fromarray(np.rot90(coded, rotation // 90 % 4)).resize(shape[::-1]))
    assert np.abs(found.rgb.astype(int) - expected.astype(int)).mean() < 10


def test_a_recording_shows_what_its_keyframes_show(reader: Reader, tmp_path: Path) -> None:
    """A question that looks again sees the picture that was described: turned the same way, of the same size."""
    path = tmp_path / "turned.mp4"
    write(path, picture(SPEC, 0), -90, Fraction(4, 3))
    (found,) = pictures_at(path, [MediaTime.of(0)], longest_side=64, reader=reader)
    (chunk,) = chunks(path, "video")
    decoder = VideoDecoder("s")
    first = (decoder.decode(chunk) + decoder.flush())[0]
    keyframe = Shrinker(longest_side=64).picture(first.surface, first.pixel_aspect, first.rotation)
    assert keyframe.height > keyframe.width, "what a phone held upright records"
    shown = np.asarray(Image.open(io.BytesIO(keyframe.jpeg)))
    assert found.rgb.shape == shown.shape == (keyframe.height, keyframe.width, 3)
    assert np.abs(found.rgb.astype(int) - shown.astype(int)).mean() < 12


def write(path: Path, coded: NDArray[np.uint8], rotation: int, aspect: Fraction) -> None:
    """A short recording of one picture that says how it is to be turned and how wide its pixels are."""
    with av.open(str(path), "w") as container:
        track: Any = container.add_stream("libx264", rate=25)
        track.height, track.width = coded.shape[:2]
        track.pix_fmt, track.codec_context.sample_aspect_ratio = "yuv420p", aspect
        track.set_display_rotation(rotation)
        for _ in range(3):
            container.mux(track.encode(av.VideoFrame.from_ndarray(coded, format="rgb24")))
        container.mux(track.encode(None))


def test_without_decord_pyav_seeks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    (found,) = pictures_at(clip(SPEC), [MediaTime.of(2)])
    assert number(found.time) == 50
    assert pictures_at(clip(SPEC), []) == []


def test_what_cannot_be_read_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "decord", None)
    with pytest.raises(SourceUnavailable, match="does not exist"):
        pictures_at(tmp_path / "none.mp4", [MediaTime.of(1)])
    with pytest.raises(SourceInvalid):
        pictures_at(garbage(), [MediaTime.of(1)])
    with pytest.raises(TrackMissing):
        pictures_at(clip(Spec(video=None)), [MediaTime.of(1)])
