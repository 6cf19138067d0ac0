"""Looking again into a recording at given times."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.errors import SourceInvalid, SourceUnavailable, TrackMissing
from pipeline.media.decoders.recording import Reader, by_decord, by_seeking, pictures_at
from pipeline.timeline import MediaTime
from tests.synthetic import Spec, clip, garbage, picture

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
        import av

        with av.open(self.path) as container:
            frames = list(container.decode(video=0))
        size = {} if self.width < 0 else {"width": self.width, "height": self.height}
        self._frames = [frame.to_ndarray(format="rgb24", **size) for frame in frames]
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
