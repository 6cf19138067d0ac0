"""Looking again: pictures out of a recording at their true times, judged, and asked about with the shipped video model."""

import asyncio
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from watchword.v1.answer_pb2 import Answer, Retrieved

from pipeline.caption.model import Captioner, Description, SceneView, load
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Span
from pipeline.qa.answer import NOT_SHOWN
from pipeline.qa.recordings import Looking, Recordings, between
from pipeline.qa.seeing import SeeingAnswerer
from pipeline.timeline import ZERO, MediaTime
from tests.fakes import ScriptedEmbedder
from train.render import render
from train.scenes import Event, Motion, Scene, Thing

pytestmark = pytest.mark.connected

LARGER = 4
"""A clip's pixels, each so many wide and high: a camera's picture, not a model's."""
FPS = 10


def record(path: Path, scene: Scene) -> None:
    """The clip as a file that a camera would have left: each picture stays until the next."""
    frames = render(scene).repeat(LARGER, axis=1).repeat(LARGER, axis=2)
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = frames.shape[2], frames.shape[1], "yuv420p", Fraction(1, FPS)
        for tick in range(round(scene.times[-1] * FPS) + 1):
            shown = int(np.searchsorted(scene.times, tick / FPS, side="right")) - 1
            picture = av.VideoFrame.from_ndarray(frames[shown], format="rgb24")
            picture.pts = tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def moving(direction: str, speed: float) -> Scene:
    way = np.linspace(0.0, 30.0, 25)
    places = 17 + way if direction == "right" else 47 - way
    motion = Motion(direction, "slowly" if speed < 5 else "quickly")  # type: ignore[arg-type]
    centres = tuple((float(each), 30.0) for each in places)
    return Scene((Event(Thing("blue", "square"), motion, 0, centres, 7.5),), tuple((way / speed).tolist()), (30, 25, 40))


@pytest.fixture(scope="module")
def tiny() -> Captioner:
    return load("transformers", directory=Path("watchword-tiny"), max_new_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recordings")
    record(made / "right.mp4", moving("right", 3.0))
    record(made / "left.mp4", moving("left", 9.5))
    return made


async def passing(jpeg: bytes, stream_id: str) -> bytes:
    return jpeg


def ask(folder: Path, captioner: Captioner, stream_id: str, question: str, *, seconds: float = 10.0) -> tuple[Answer, Retrieved]:
    async def whole() -> tuple[Answer, Retrieved]:
        store = SqliteStore()
        await store.see(stream_id, MediaTime.of(seconds))
        answerer = SeeingAnswerer("vlm", store, ScriptedEmbedder(), captioner, Looking(store, Recordings(folder), passing))
        parts = [part async for part in answerer.ask(stream_id, question)]
        await store.close()
        assert isinstance(parts[0], Retrieved)
        assert isinstance(parts[-1], Answer)
        return parts[-1], parts[0]

    return asyncio.run(whole())


@pytest.mark.parametrize(
    ("stream_id", "question", "said"),
    [
        ("right", "Which way does the blue square move?", "It moves right."),
        ("left", "Which way does the blue square move?", "It moves left."),
        ("right", "How fast does the blue square move?", "It moves slowly."),
        ("left", "How fast does the blue square move?", "It moves quickly."),
    ],
)
def test_a_recording_is_looked_at_again_with_its_true_times(
    tiny: Captioner, folder: Path, stream_id: str, question: str, said: str
) -> None:
    """No keyframe is in the memory: all that is seen comes out of the file."""
    answer, retrieved = ask(folder, tiny, stream_id, question, seconds=moving(stream_id, 3.0 if stream_id == "right" else 9.5).times[-1])
    assert answer.supported
    assert answer.text.startswith(said)
    assert answer.claims[0].text == said
    times = [MediaTime.from_proto(each.media_start) for each in answer.evidence]
    assert times == sorted(times)
    assert list(retrieved.evidence) == list(answer.evidence)


class Guessing:
    """A model that says something else at every look."""

    name = "guessing"

    def __init__(self, *says: str) -> None:
        self.asked: list[SceneView] = []
        self._says = iter(says)

    async def describe(self, scene: SceneView) -> Description:
        self.asked.append(scene)
        return Description(next(self._says))


def test_two_looks_at_different_pictures_that_disagree_are_no_answer(folder: Path) -> None:
    guessing = Guessing("A red dog.", "Three cats.")
    answer, _ = ask(folder, guessing, "right", "Which animal is there?")
    assert not answer.supported
    assert answer.text == NOT_SHOWN
    one, other = ({shot.time for shot in scene.shots} for scene in guessing.asked)
    assert not one & other
    assert [scene.asked for scene in guessing.asked] == ["Which animal is there?"] * 2


def test_what_the_filter_does_not_pass_is_shown_to_no_model(folder: Path) -> None:
    shown = []

    async def none_of_it(jpeg: bytes, stream_id: str) -> bytes:
        shown.append(jpeg)
        return b""

    async def look() -> Sequence[object]:
        store = SqliteStore()
        await store.see("right", MediaTime.of(10))
        found = await Looking(store, Recordings(folder), none_of_it)("right", Span(), 4)
        await store.close()
        return found

    assert asyncio.run(look()) == []
    assert len(shown) == 4


@pytest.mark.parametrize("stream_id", ["../right", "..", "nested/right", "absent"])
def test_a_stream_leads_to_its_own_file_in_the_folder_or_to_none(folder: Path, stream_id: str) -> None:
    assert Recordings(folder / "..").path(stream_id) is None
    assert Recordings(folder).path(stream_id) is None
    assert Recordings(folder).path("right") == folder / "right.mp4"


def test_a_stream_without_a_recording_or_thumbnails_is_not_looked_at(folder: Path) -> None:
    answer, retrieved = ask(folder, Guessing(), "elsewhere", "What is shown?")
    assert (answer.supported, answer.text, list(retrieved.evidence)) == (False, NOT_SHOWN, [])


def test_a_file_that_is_no_video_gives_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert asyncio.run(Recordings(tmp_path).pictures("broken", [ZERO])) == []


def test_more_pictures_lie_in_the_middle_of_the_widest_gaps() -> None:
    def at(*seconds: float) -> list[MediaTime]:
        return [MediaTime.of(each) for each in seconds]

    span = Span(ZERO, MediaTime.of(16))
    assert between([], span, 4) == at(0, 8, 12, 16)
    assert between(at(8), span, 2) == at(4, 12)
    assert between([], Span(MediaTime.of(2), MediaTime.of(1)), 3) == []
