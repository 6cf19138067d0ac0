"""The engines behind the port of speech models, on real weights and real speech where packages ship them."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faster_whisper import decode_audio
from numpy.typing import NDArray

from pipeline.errors import ModelMismatch, ModelMissing, SettingInvalid
from pipeline.models import locate
from pipeline.timeline import MediaTime
from pipeline.transcribe.engines.ctranslate2 import FasterWhisper
from pipeline.transcribe.model import Passage, Task, Transcriber
from pipeline.transcribe.words import HeardWord, Hypothesis

pytestmark = pytest.mark.unit

RATE = 16_000
DEMO = Path(__file__).parents[2] / "samples" / "demo.mp4"

Samples = NDArray[np.float32]


@pytest.fixture(scope="module")
def speech() -> Samples:
    return np.asarray(decode_audio(str(DEMO), sampling_rate=RATE), np.float32)


def passage(speech: Samples, start: float, end: float, **known: Any) -> Passage:
    """The clip from second to second."""
    return Passage(speech[round(start * RATE) : round(end * RATE)], MediaTime.of(start), **known)


def hear(engine: Transcriber, *passages: Passage) -> list[Hypothesis]:
    """The answers to passages that are asked for at once."""

    async def together() -> list[Hypothesis]:
        return list(await asyncio.gather(*(engine.transcribe(one) for one in passages)))

    return asyncio.run(together())


class Counting:
    """A network that counts the rows of its batches."""

    def __init__(self, network: Any) -> None:
        self._network, self.rows = network, list[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def generate(self, encoded: Any, prompts: Sequence[Sequence[int]], **options: Any) -> Any:
        self.rows.append(len(prompts))
        return self._network.generate(encoded, prompts, **options)


@pytest.fixture(scope="module")
def engine() -> Iterator[FasterWhisper]:
    found = FasterWhisper(locate("whisper-tiny.en"), name="whisper-tiny.en", cores=1)
    yield found
    found.close()


class TestCTranslate2:
    @pytest.mark.parametrize("beam", [1, 5])
    def test_words_do_not_depend_on_the_company(self, beam: int, engine: FasterWhisper, speech: Samples) -> None:
        starts = [(2.5, 9), (8, 13), (13.5, 20), (20.5, 25), (25, 30.5)]
        fresh = [passage(speech, *span, beam=beam, least_window=RATE * 10, stream=str(n)) for n, span in enumerate(starts)]
        first = [hear(engine, one)[0] for one in fresh]
        prompted = [replace(one, prompt="So they said that it was there.") for one in fresh]
        going_on = [replace(one, prefix=heard.words[: 1 + n // 2]) for n, (one, heard) in enumerate(zip(fresh, first, strict=True))]
        passages = [*fresh, *prompted, *going_on]
        alone = [*first, *(hear(engine, one)[0] for one in passages[len(fresh) :])]
        network = Counting(engine._network)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_network", network)
            together = hear(engine, *passages)
        assert together == alone
        assert max(network.rows) >= 3
        assert sum(network.rows) == len(passages)

    def test_it_goes_on_after_what_is_known(self, engine: FasterWhisper, speech: Samples) -> None:
        (whole,) = hear(engine, passage(speech, 8, 14))
        (rest,) = hear(engine, passage(speech, 8, 14, prefix=whole.words[:4]))
        assert [word.text for word in rest.words] == [word.text for word in whole.words[4:]]
        assert [word.tokens for word in rest.words] == [word.tokens for word in whole.words[4:]]
        (nothing,) = hear(engine, passage(speech, 8, 14, prefix=whole.words))
        assert nothing.words == ()
        assert not nothing.ran_on

    def test_a_prefix_needs_no_tokens(self, engine: FasterWhisper, speech: Samples) -> None:
        (whole,) = hear(engine, passage(speech, 8, 14))
        untold = tuple(replace(word, tokens=()) for word in whole.words[:4])
        (rest,) = hear(engine, passage(speech, 8, 14, prefix=untold))
        assert [word.text for word in rest.words] == [word.text for word in whole.words[4:]]

    def test_a_decoder_that_does_not_stop_is_stopped_and_told(self, engine: FasterWhisper, speech: Samples) -> None:
        # As many words as the text has, over so little audio behind the prefix that they cannot have been said there.
        known = HeardWord("Well,", MediaTime.of(8), MediaTime.of(13.99), 1.0)
        (heard,) = hear(engine, passage(speech, 8, 14, prefix=(known,)))
        assert heard.ran_on
        assert 0 < sum(len(word.tokens) for word in heard.words) <= 8
        (whole,) = hear(engine, passage(speech, 8, 14))
        assert not whole.ran_on

    def test_a_prefix_that_fills_the_decoder_leaves_no_word(self, engine: FasterWhisper, speech: Samples) -> None:
        known = HeardWord("la", MediaTime.of(8), MediaTime.of(9), 1.0, tokens=(8591,) * 450)
        assert hear(engine, passage(speech, 8, 14, prefix=(known,))) == [Hypothesis(ran_on=True)]

    def test_a_window_that_grows_is_heard_as_a_whole_one(self, engine: FasterWhisper, speech: Samples) -> None:
        growing = [passage(speech, 8, end, stream="s") for end in (9, 10, 11.25, 14)]
        assert [hear(engine, one) for one in growing] == [hear(engine, replace(one, stream="")) for one in growing]

    @pytest.mark.parametrize("samples", [0, 1, 159, 400])
    def test_next_to_no_audio_has_no_end_after_its_end(self, samples: int, engine: FasterWhisper) -> None:
        (heard,) = hear(engine, Passage(np.zeros(samples, np.float32), MediaTime.of(3)))
        assert all(MediaTime.of(3) <= word.start <= word.end <= MediaTime.of(3.05) for word in heard.words)

    def test_english_only_is_english_only(self, engine: FasterWhisper, speech: Samples) -> None:
        assert engine.languages == {"en"}
        with pytest.raises(SettingInvalid, match=r"translation: whisper-tiny\.en knows only English"):
            hear(engine, passage(speech, 0, 1, task=Task.TRANSLATE))
        (guess,) = asyncio.run(engine.identify(speech[:RATE]))
        assert (guess.language, guess.probability) == ("en", 1.0)

    def test_what_is_missing_or_broken_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match=r"holds no model\.bin"):
            FasterWhisper(tmp_path, name="x")
        for name in ("model.bin", "config.json", "tokenizer.json"):
            (tmp_path / name).write_text("{}")
        with pytest.raises(ModelMismatch, match=r"loading x: .* holds no CTranslate2 Whisper model"):
            FasterWhisper(tmp_path, name="x")
        with pytest.raises(ModelMismatch, match="float16"):
            FasterWhisper(locate("whisper-tiny.en"), name="x", compute_type="int8_float16")
