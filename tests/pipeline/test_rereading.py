"""What the screen read at a point in time, read out of the recording with the real reader, where no keyframe showed it."""

import asyncio
from fractions import Fraction
from pathlib import Path

import av
import pytest
from PIL import Image, ImageDraw, ImageFont
from watchword.v1.answer_pb2 import Answer

from pipeline.caption.tags import Reader
from pipeline.memory.sqlite import SqliteStore
from pipeline.memory.store import Kind, Moment, Span
from pipeline.models import locate
from pipeline.qa.extractive import ExtractiveAnswerer
from pipeline.qa.question import read
from pipeline.qa.recordings import Judge, Recordings
from pipeline.qa.rereading import Rereading, asks_for_writing
from pipeline.timeline import MediaTime
from tests.fakes import ScriptedEmbedder
from tests.pipeline.store_suite import put, spoken

pytestmark = pytest.mark.connected

SECONDS = 12


@pytest.fixture(scope="module")
def laps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A race whose small counter goes on by one each second; its folder."""
    folder = tmp_path_factory.mktemp("recordings")
    font = ImageFont.load_default(28)
    with av.open(folder / "race.mp4", "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 640, 360, "yuv420p", Fraction(1, 2)
        for tick in range(2 * SECONDS):
            picture = Image.new("RGB", (640, 360), (40, 90, 60))
            ImageDraw.Draw(picture).text((24, 20), f"LAP {40 + tick // 2} OF 90", font=font, fill="white")
            frame = av.VideoFrame.from_image(picture)
            frame.pts = tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "broken.mp4").write_bytes(b"no film at all")
    return folder


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(locate("ppocr-v6"))


async def passed(jpeg: bytes, stream_id: str) -> bytes:
    return jpeg


async def withheld(jpeg: bytes, stream_id: str) -> bytes:
    return b""


def asked(
    folder: Path | None,
    reader: Reader,
    question: str,
    *,
    stream: str = "race",
    judge: Judge = passed,
    forgotten: Span | None = None,
    span: Span | None = None,
) -> Answer:
    """The answer about a stream of which one keyframe was read, at its start, and a sentence was heard."""

    async def within() -> Answer:
        store = SqliteStore()
        at = MediaTime.of(0)
        first = Moment(stream, "scene-0", Kind.ON_SCREEN_TEXT, 0, "LAP 40 OF 90", at, MediaTime.of(SECONDS), "m")
        await put(store, first, spoken("The leader is far ahead.", 7.0, stream=stream))
        if forgotten is not None:
            await store.forget(stream, forgotten)
        rereading = Rereading(store, Recordings(folder), judge, lambda: reader)
        try:
            answerer = ExtractiveAnswerer(store, ScriptedEmbedder(), reread=rereading)
            parts = [part async for part in answerer.ask(stream, question, span)]
        finally:
            await rereading.close()
            await store.close()
        assert isinstance(parts[-1], Answer)
        return parts[-1]

    return asyncio.run(within())


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What number does the lap counter show at 7 s?", "At 0:07 the screen reads “LAP 47 OF 90”."),
        ("What is written on the screen at 0:03?", "At 0:03 the screen reads “LAP 43 OF 90”."),
        ("Which lap does the scoreboard show 11 seconds in?", "At 0:11 the screen reads “LAP 51 OF 90”."),
    ],
)
def test_a_small_counter_is_read_at_the_time_that_is_asked_for(laps: Path, reader: Reader, question: str, text: str) -> None:
    answer = asked(laps, reader, question)
    assert answer.text == text
    assert answer.supported
    cited = answer.claims[0].citations[0]
    assert cited.media_start.seconds == cited.media_end.seconds == int(text[5:7])


def test_only_what_is_written_is_read_and_only_what_can_answer(laps: Path, reader: Reader) -> None:
    assert "far ahead" in asked(laps, reader, "What is said at 7 s?").text
    assert "LAP 47" not in asked(laps, reader, "What colour does the caption have at 7 s?").text


@pytest.mark.parametrize("stream", ["broken", "unknown"])
def test_without_a_recording_that_can_be_read_keyframes_say_what_was_seen(laps: Path, reader: Reader, stream: str) -> None:
    assert "LAP 40" in asked(laps, reader, "What is written on the screen at 0:03?", stream=stream).text
    assert "LAP 40" in asked(None, reader, "What is written on the screen at 0:03?", stream=stream).text


def test_what_was_deleted_or_does_not_pass_is_not_read_again(laps: Path, reader: Reader) -> None:
    question = "What number does the lap counter show at 7 s?"
    assert "LAP 47" in asked(laps, reader, question).text
    assert "LAP 47" not in asked(laps, reader, question, judge=withheld).text
    assert "LAP 47" not in asked(laps, reader, question, forgotten=Span(MediaTime.of(6), MediaTime.of(8))).text
    assert "LAP 47" in asked(laps, reader, question, forgotten=Span(MediaTime.of(8), MediaTime.of(9))).text


def test_the_point_is_the_one_that_is_named_however_the_range_is_cut(laps: Path, reader: Reader) -> None:
    question = "What number does the lap counter show at 7 s?"
    assert "LAP 47" in asked(laps, reader, question, span=Span(MediaTime.of(6), MediaTime.of(12))).text
    assert "LAP" not in asked(laps, reader, question, span=Span(MediaTime.of(8), MediaTime.of(12))).text


@pytest.mark.parametrize(
    ("question", "written"),
    [
        ("What does the counter show?", True),
        ("What number does the frame counter read?", True),
        ("What is the score?", True),
        ("What is written on the scoreboard?", True),
        ("What does the sign say?", True),
        ("What is lying on the counter?", False),
        ("How many people are at the counter?", False),
        ("Is there a cup on the counter?", False),
        ("Who stands behind the monitor?", False),
    ],
)
def test_what_lies_on_a_counter_is_not_written_there(question: str, written: bool) -> None:
    assert asks_for_writing(read(question)) is written
