"""The packaged speech detector: what it answers, from which state, for how many streams at a time."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ModelMissing
from pipeline.models import locate
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import FRAME, RATE
from pipeline.transcribe.vad import SileroVad, load_detector
from tests import sounds, synthetic
from tests.pipeline.test_decode import heard

pytestmark = pytest.mark.unit

DEMO = Path(__file__).parents[2] / "samples" / "demo.mp4"


@pytest.fixture(scope="module")
def vad() -> Iterator[SileroVad]:
    detector = SileroVad(locate("silero-vad"))
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def talk() -> Samples:
    """Eight seconds of people who talk, in whole frames."""
    return heard(synthetic.chunks(DEMO, "audio")[:40])[0].samples[: 8 * RATE // FRAME * FRAME]


def one_by_one(samples: Samples) -> list[float]:
    """What the authors' network for single frames answers: the reference."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session: Any = onnxruntime.InferenceSession(str(locate("silero-vad") / "silero_vad.onnx"), options, providers=["CPUExecutionProvider"])
    memory, context, found = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for start in range(0, len(samples), FRAME):
        frame = samples[start : start + FRAME]
        output, memory = session.run(None, {"input": np.concatenate((context, frame))[None, :], "state": memory, "sr": np.array(RATE)})
        found.append(float(output[0, 0]))
        context = frame[-64:]
    return found


def test_many_frames_at_once_are_judged_as_one_by_one(vad: SileroVad, talk: Samples) -> None:
    found, _ = asyncio.run(vad.probabilities(talk, None))
    assert len(found) == len(talk) // FRAME
    assert np.abs(np.array(found) - one_by_one(talk)).max() < 1e-5
    assert max(found) > 0.9 > 0.1 > min(found)


@pytest.mark.parametrize("frames", [1, 3, 8, 40, 100])
def test_the_result_does_not_depend_on_how_frames_are_cut(vad: SileroVad, talk: Samples, frames: int) -> None:
    async def parts() -> list[float]:
        found: list[float] = []
        state = None
        for start in range(0, len(talk), frames * FRAME):
            more, state = await vad.probabilities(talk[start : start + frames * FRAME], state)
            found += more
        return found

    assert asyncio.run(parts()) == asyncio.run(vad.probabilities(talk, None))[0]


def test_more_than_is_given_to_the_network_at_once(vad: SileroVad, talk: Samples) -> None:
    long = np.tile(talk, 3)
    found, _ = asyncio.run(vad.probabilities(long, None))
    assert len(found) == len(long) // FRAME > 512
    assert found[: len(talk) // FRAME] == asyncio.run(vad.probabilities(talk, None))[0]


def test_a_state_is_not_changed_by_going_on_from_it(vad: SileroVad, talk: Samples) -> None:
    _, state = asyncio.run(vad.probabilities(talk[: 40 * FRAME], None))
    first, _ = asyncio.run(vad.probabilities(talk[40 * FRAME :], state))
    again, _ = asyncio.run(vad.probabilities(talk[40 * FRAME :], state))
    assert first == again


def test_no_frames_are_no_work(vad: SileroVad, talk: Samples) -> None:
    found, state = asyncio.run(vad.probabilities(talk[:0], None))
    assert found == []
    assert asyncio.run(vad.probabilities(talk, state))[0] == asyncio.run(vad.probabilities(talk, None))[0]
    assert asyncio.run(vad.probabilities(talk[:0], state))[1] is state


def test_a_part_of_a_frame_is_refused(vad: SileroVad, talk: Samples) -> None:
    with pytest.raises(ValueError, match="100 samples are not whole frames of 512"):
        asyncio.run(vad.probabilities(talk[:100], None))


def test_streams_do_not_disturb_each_other(vad: SileroVad, talk: Samples) -> None:
    streams = [np.roll(talk, n * 7000) for n in range(8)]

    async def together() -> list[list[float]]:
        return [found for found, _ in await asyncio.gather(*(vad.probabilities(stream, None) for stream in streams))]

    alone = [asyncio.run(vad.probabilities(stream, None))[0] for stream in streams]
    assert asyncio.run(together()) == alone


def test_streams_are_heard_side_by_side(talk: Samples) -> None:
    detector = SileroVad(locate("silero-vad"), workers=2)
    both, session = threading.Barrier(2, timeout=10), detector._session

    class Meeting:
        """Goes on when two calls are in it at the same time."""

        def run(self, *args: Any) -> Any:
            both.wait()
            return session.run(*args)

    detector._session = Meeting()

    async def together() -> None:
        await asyncio.gather(*(detector.probabilities(talk, None) for _ in range(2)))

    asyncio.run(together())
    detector.close()


@pytest.mark.parametrize("name", sorted(set(sounds.NONSPEECH) - sounds.VOICE_LIKE))
def test_no_speech_is_found_where_nobody_speaks(vad: SileroVad, name: str) -> None:
    samples = sounds.NONSPEECH[name]()
    found, _ = asyncio.run(vad.probabilities(samples[: len(samples) // FRAME * FRAME], None))
    assert sum(probability >= 0.5 for probability in found) * FRAME < RATE // 8


def test_the_packaged_detector_is_found_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    load_detector().close()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ModelMissing, match="silero-vad"):
        load_detector()
