"""The engines behind the port of speech models, on real weights and real speech where packages ship them."""

import asyncio
import email
import email.policy
import io
import json
import struct
import threading
import wave
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from faster_whisper import decode_audio
from numpy.typing import NDArray

from pipeline.errors import ModelMismatch, ModelMissing, ServiceUnavailable, SettingInvalid, WatchwordError
from pipeline.models import locate
from pipeline.timeline import MediaTime
from pipeline.transcribe.engines.ctranslate2 import FasterWhisper
from pipeline.transcribe.engines.endpoint import OpenAiEndpoint, hypothesis
from pipeline.transcribe.engines.openai_whisper import OpenAiWhisper
from pipeline.transcribe.engines.transformers import TransformersWhisper
from pipeline.transcribe.engines.whisper import PROMPT_TOKENS
from pipeline.transcribe.model import Passage, Task, Transcriber, load
from pipeline.transcribe.words import HeardWord, Hypothesis, written
from tests.fakes import spoken_words as words
from tools import ct2_to_openai

pytestmark = pytest.mark.unit

RATE = 16_000
DEMO = Path(__file__).parents[2] / "samples" / "demo.mp4"
MEDIA = Path(__file__).parents[3] / "shared" / "media"

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

    def test_many_known_words_are_taken_in_one_pass_and_change_no_word(self, engine: FasterWhisper, speech: Samples) -> None:
        assert engine._marked
        spans = [(2.5, 14), (8, 20), (20.5, 31)]
        fresh = [passage(speech, *span, stream=str(number)) for number, span in enumerate(spans)]
        known = [replace(one, prefix=hear(engine, one)[0].words[:-5]) for one in fresh]
        alone = [hear(engine, one)[0] for one in known]
        network = Counting(engine._marked[0])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_marked", (network, engine._marked[1]))
            assert hear(engine, *known) == alone
        assert sum(network.rows) == len(known)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_marked", None)
            forced = [hear(engine, one)[0] for one in known]
        assert [written(one.words) for one in alone] == [written(one.words) for one in forced]
        assert all(one.words for one in alone)
        for one, other in zip(alone, forced, strict=True):
            assert [word.start for word in one.words] == [word.start for word in other.words]

    def test_prompts_of_other_lengths_meet(self, engine: FasterWhisper, speech: Samples) -> None:
        said = "They met at the lake and went on to the mill where it was cold, had nothing to eat, and left again before it was dark"
        prompted = [passage(speech, 3.2, 8.5, prompt=" ".join(said.split()[start:]), stream=str(start)) for start in range(5)]
        named = replace(prompted[0], terms="Kowalczyk, mRoPE.", stream="named")
        network = Counting(engine._network)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "_network", network)
            hear(engine, *prompted, named)
        assert max(network.rows) >= 4
        openings = [engine._vocabulary.prompt(one) for one in (*prompted, named)]
        tokens = engine._vocabulary.tokens(named)
        assert len({len(opening) for opening in openings}) <= 2
        assert all(tokens.decode(opening[1:]).endswith("before it was dark") for opening in openings)
        assert tokens.decode(openings[-1][1:]).startswith(" Kowalczyk, mRoPE. ")

    def test_terms_are_not_cut_off_for_what_was_said(self, engine: FasterWhisper, speech: Samples) -> None:
        long = passage(speech, 3.2, 8.5, terms="Kowalczyk, mRoPE.", prompt="and then " * 200)
        opening = engine._vocabulary.prompt(long)
        assert len(opening) == 1 + PROMPT_TOKENS
        assert engine._vocabulary.tokens(long).decode(opening[1:]).startswith(" Kowalczyk, mRoPE. ")

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


class TestOtherLanguages:
    """With whisper-base, where it was pulled."""

    @pytest.fixture
    def multilingual(self) -> Iterator[FasterWhisper]:
        try:
            directory = locate("whisper-base")
        except ModelMissing:
            pytest.skip("needs whisper-base: watchword models pull whisper-base")
        found = FasterWhisper(directory, name="whisper-base", cores=1)
        yield found
        found.close()

    def test_they_are_told_written_and_translated_side_by_side(self, multilingual: FasterWhisper) -> None:
        said: dict[str, Samples] = {}
        for language in ("fr", "pt"):
            path = MEDIA / "audio" / "other" / f"leopard_test_{language}.wav"
            if not path.is_file():
                pytest.skip(f"needs the shared test media ({path.name})")
            said[language] = np.asarray(decode_audio(str(path), sampling_rate=RATE), np.float32)
            likeliest = asyncio.run(multilingual.identify(said[language]))[0]
            assert likeliest.language == language
            assert likeliest.probability > 0.9
        passages = [Passage(samples, MediaTime(0), language=language) for language, samples in said.items()]
        passages.append(replace(passages[0], task=Task.TRANSLATE))
        together = hear(multilingual, *passages)
        assert together == [hear(multilingual, one)[0] for one in passages]
        french, portuguese, english = (written(heard.words) for heard in together)
        assert french == "Sous le consulat, il devient conservateur des eaux et forêts et conseiller général."
        assert portuguese == "Uma raposa velha não consegue aprender nenhum ofício."
        assert english.startswith("Under the")
        with pytest.raises(SettingInvalid, match=r'"xx": whisper-base does not know it; it knows af, .* en, '):
            hear(multilingual, replace(passages[0], language="xx"))


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged weights as a checkpoint in "openai", and as a directory "transformers"."""
    pytest.importorskip("torch")
    into = tmp_path_factory.mktemp("converted")
    source = str(locate("whisper-tiny.en"))
    assert ct2_to_openai.main([source, str(into / "openai" / "tiny.en.pt")]) == 0
    assert ct2_to_openai.main([source, str(into / "transformers"), "--format", "transformers"]) == 0
    return into


@pytest.fixture(scope="module")
def exact() -> Iterator[FasterWhisper]:
    """CTranslate2 without quantisation, which encodes whole windows as the others do."""
    found = FasterWhisper(locate("whisper-tiny.en"), name="whisper-tiny.en", compute_type="float32", cores=1)
    found._on_cpu = False
    yield found
    found.close()


@pytest.fixture(scope="module", params=[OpenAiWhisper, TransformersWhisper])
def other(request: pytest.FixtureRequest, converted: Path) -> Iterator[Transcriber]:
    """Another engine over the same weights."""
    folder = {OpenAiWhisper: "openai", TransformersWhisper: "transformers"}[request.param]
    found = load("tiny.en", directory=converted / folder)
    assert isinstance(found, request.param)
    yield found
    found.close()


class TestEnginesOverTheSameWeights:
    @pytest.mark.parametrize("known", [{"beam": 1}, {"beam": 3, "prompt": "They met at the lake."}], ids=["greedy", "beams-and-prompt"])
    def test_they_agree(self, known: dict[str, Any], exact: FasterWhisper, other: Transcriber, speech: Samples) -> None:
        whole = passage(speech, 3.2, 8.5, least_window=RATE * 30, **known)
        (expected,), (found,) = hear(exact, whole), hear(other, whole)
        assert written(found.words) == written(expected.words)
        assert [word.tokens for word in found.words] == [word.tokens for word in expected.words]
        assert found.average_log_probability == pytest.approx(expected.average_log_probability, abs=0.01)
        assert found.no_speech_probability == pytest.approx(expected.no_speech_probability, abs=1e-3)
        assert (found.ran_on, expected.ran_on) == (False, False)
        for mine, theirs in zip(found.words, expected.words, strict=True):
            assert mine.start.seconds == pytest.approx(theirs.start.seconds, abs=0.2)
            assert mine.end.seconds == pytest.approx(theirs.end.seconds, abs=0.4)
            assert mine.probability == pytest.approx(theirs.probability, abs=0.02)
        rest = replace(whole, prefix=expected.words[:4])
        assert [word.text for word in hear(other, rest)[0].words] == [word.text for word in expected.words[4:]]

    def test_a_decoder_that_does_not_stop_is_stopped(self, other: Transcriber, speech: Samples) -> None:
        known = HeardWord("Well,", MediaTime.of(8), MediaTime.of(13.99), 1.0)
        (heard,) = hear(other, passage(speech, 8, 14, prefix=(known,), beam=1))
        assert heard.ran_on
        full = HeardWord("la", MediaTime.of(8), MediaTime.of(9), 1.0, tokens=(8591,) * 450)
        assert hear(other, passage(speech, 8, 14, prefix=(full,))) == [Hypothesis(ran_on=True)]

    def test_half_precision_hears_the_same_words(self, converted: Path, speech: Samples) -> None:
        exact, half = (TransformersWhisper(converted / "transformers", name="x", dtype=dtype) for dtype in ("float32", "bfloat16"))
        (expected,), (found,) = (hear(engine, passage(speech, 3, 8, beam=1)) for engine in (exact, half))
        assert written(found.words) == written(expected.words)
        for engine in (exact, half):
            engine.close()


class TestChoosingAnEngine:
    def test_what_a_directory_holds_decides(self, tmp_path: Path) -> None:
        with pytest.raises(ModelMissing, match=r"no model\.bin"):
            load("x", directory=tmp_path)
        (tmp_path / "x.pt").write_bytes(b"no checkpoint")
        with pytest.raises(ModelMismatch, match=r"x\.pt is not a Whisper checkpoint"):
            load("x", directory=tmp_path)
        (tmp_path / "model.safetensors").write_bytes(b"no tensors")
        with pytest.raises(ModelMissing, match=r"config\.json"):
            load("x", directory=tmp_path)
        (tmp_path / "config.json").write_text("{}")
        (tmp_path / "tokenizer.json").write_text("{}")
        with pytest.raises(ModelMismatch, match="not a Whisper model that transformers reads"):
            load("x", directory=tmp_path)
        (tmp_path / "model.bin").write_bytes(b"no network")
        with pytest.raises(ModelMismatch, match="no CTranslate2 Whisper model"):
            load("x", directory=tmp_path)

    def test_a_url_goes_to_the_server(self) -> None:
        engine = load("whisper-1", url="http://localhost:1/v1", api_key="k")
        assert isinstance(engine, OpenAiEndpoint)
        assert engine.name == "whisper-1"
        engine.close()

    @pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http:///v1", "http://user:secret@host/v1", "http://host:port/v1"])
    def test_what_is_no_url_is_refused_and_no_secret_is_told(self, url: str) -> None:
        with pytest.raises(SettingInvalid, match="speech endpoint") as caught:
            load("x", url=url)
        assert "secret" not in str(caught.value)


def test_weights_that_are_not_ctranslate2s_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(content: bytes) -> str:
        (tmp_path / "model.bin").write_bytes(content)
        assert ct2_to_openai.main([str(tmp_path), str(tmp_path / "out.pt")]) == 1
        return capsys.readouterr().err

    assert ct2_to_openai.main([str(tmp_path / "nowhere"), "out.pt"]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert "damaged" in told(b"")
    assert "binary version 5" in told(struct.pack("<I", 5))
    assert "TransformerSpec" in told(struct.pack("<IH16s", 6, 16, b"TransformerSpec"))
    assert "no variable encoder/conv1/weight" in told(struct.pack("<IH12sIII", 6, 12, b"WhisperSpec", 3, 0, 0))


def test_quantised_weights_are_scaled_back() -> None:
    source = ct2_to_openai._Source(
        {"w": np.array([[127, -64], [50, 0]], np.int8), "w_scale": np.array([127, 100], np.float32), "b": np.ones(2, np.float16)}
    )
    np.testing.assert_allclose(source("w"), [[1, -64 / 127], [0.5, 0]])
    assert source("b").dtype == np.float32


class Server:
    """A speech server with a script: the status and the body of each answer, the last of them over and over."""

    def __init__(self) -> None:
        self.script: list[tuple[int, Any]] = []
        self.headers: dict[str, str] = {}
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked.append(self._parsed())
                status, body = outer.script.pop(0) if len(outer.script) > 1 else outer.script[0]
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def _parsed(self) -> dict[str, Any]:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
                found: dict[str, Any] = {"path": self.path, "key": self.headers["Authorization"]}
                for part in email.message_from_bytes(head + body, policy=email.policy.HTTP).iter_parts():
                    name, content = part.get_param("name", header="Content-Disposition"), part.get_payload(decode=True)
                    found.setdefault(name, []).append(content if part.get_filename() else content.decode())
                return found

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.fixture
def endpoint(server: Server) -> Iterator[OpenAiEndpoint]:
    found = OpenAiEndpoint(server.url, model="whisper-1", api_key="a key")
    pauses: list[float] = []
    found._pause = pauses.append
    yield found
    found.close()


HELLO: dict[str, Any] = {
    "task": "transcribe",
    "language": "english",
    "text": "Hello, “world”. It's me!",
    "words": [
        {"word": "Hello", "start": 0.5, "end": 0.9},
        {"word": "world", "start": 1.0, "end": 1.4, "probability": 0.25},
        {"word": " It's", "start": 2.0, "end": 2.2},
        {"word": "me!", "start": 2.2, "end": 9.0},
    ],
    "segments": [
        {"text": " Hello, “world”.", "start": 0.4, "end": 1.5, "avg_logprob": -0.5, "no_speech_prob": 0.1, "tokens": [1, 2, 3]},
        {"text": " It's me!", "start": 2.0, "end": 2.5, "avg_logprob": -1.5, "no_speech_prob": 0.3, "tokens": [1]},
    ],
}


class TestEndpoint:
    def test_it_sends_the_passage_and_reads_the_words(self, server: Server, endpoint: OpenAiEndpoint, speech: Samples) -> None:
        server.script = [(200, HELLO)]
        said = passage(speech, 8, 11, prompt=" Names: Ada. ", language="de")
        (heard,) = hear(endpoint, said)
        (asked,) = server.asked
        assert (asked["path"], asked["key"]) == ("/v1/audio/transcriptions", "Bearer a key")
        assert asked["model"] == ["whisper-1"]
        assert asked["response_format"] == ["verbose_json"]
        assert asked["timestamp_granularities[]"] == ["word", "segment"]
        assert (asked["language"], asked["prompt"]) == (["de"], ["Names: Ada."])
        with wave.open(io.BytesIO(asked["file"][0])) as sound:
            assert sound.getparams()[:4] == (1, 2, RATE, 3 * RATE)
            sent = np.frombuffer(sound.readframes(3 * RATE), "<i2") / 32767
        np.testing.assert_allclose(sent, said.samples, atol=1 / 32767)
        assert [word.text for word in heard.words] == ["Hello,", "“world”.", "It's", "me!"]
        assert [(word.start.seconds, word.end.seconds) for word in heard.words] == [(8.5, 8.9), (9.0, 9.4), (10.0, 10.2), (10.2, 11.0)]
        assert [word.probability for word in heard.words] == pytest.approx([np.exp(-0.5), 0.25, np.exp(-1.5), 1.0])
        assert heard.average_log_probability == pytest.approx(-0.75)
        assert heard.no_speech_probability == 0.3

    def test_where_no_spaces_are_written_words_stand_side_by_side(self, speech: Samples) -> None:
        told = [{"word": word, "start": n, "end": n + 1} for n, word in enumerate(["今天", "天气", "OK", "很好"])]
        heard = hypothesis({"text": "今天天气， OK很好。", "words": told}, passage(speech, 0, 5, language="zh"))
        assert [word.text for word in heard.words] == ["今天", "天气，", "OK", "很好。"]
        assert written(heard.words) == "今天天气， OK很好。"

    def test_a_translation_is_asked_for_at_its_own_address(self, server: Server, endpoint: OpenAiEndpoint, speech: Samples) -> None:
        server.script = [(200, {"text": ""})]
        assert hear(endpoint, passage(speech, 0, 1, language="fr", task=Task.TRANSLATE)) == [Hypothesis()]
        assert server.asked[0]["path"] == "/v1/audio/translations"
        assert "language" not in server.asked[0]

    @pytest.mark.parametrize(("told", "language"), [("german", "de"), ("pt", "pt"), ("Haitian Creole", "ht")])
    def test_a_language_is_told_by_name_or_code(
        self, told: str, language: str, server: Server, endpoint: OpenAiEndpoint, speech: Samples
    ) -> None:
        server.script = [(200, {"text": "", "language": told})]
        assert asyncio.run(endpoint.identify(speech[:RATE]))[0].language == language
        assert "language" not in server.asked[0]

    def test_what_may_help_is_tried_again(self, server: Server, endpoint: OpenAiEndpoint, speech: Samples) -> None:
        pauses: list[float] = []
        endpoint._pause = pauses.append
        server.script = [(503, b"starting"), (429, b"busy"), (200, {"text": "yes"})]
        assert [word.text for word in hear(endpoint, passage(speech, 0, 1))[0].words] == ["yes"]
        assert pauses == [0.5, 1.0]
        server.script, server.headers = [(429, b"busy")], {"Retry-After": "3600"}
        with pytest.raises(ServiceUnavailable, match="status 429, in attempt 3"):
            hear(endpoint, passage(speech, 0, 1))
        assert pauses[2:] == [8.0, 8.0]
        assert len(server.asked) == 6

    @pytest.mark.parametrize(
        ("status", "body", "error", "message"),
        [
            (401, b"no", SettingInvalid, "refuses the key"),
            (404, b"no such model", SettingInvalid, r"status 404.*no such model"),
            (400, b"x" * 5000, SettingInvalid, r"status 400.*x{200}'$"),
            (200, b"<html>", ModelMismatch, "answers no JSON"),
            (200, [], ModelMismatch, "answers no transcription"),
            (200, {"words": []}, ModelMismatch, "KeyError"),
            (200, {"text": "a", "words": [{"word": "a", "start": "soon"}]}, ModelMismatch, "ValueError"),
            (200, b" " * (5 * 2**20), ModelMismatch, "more than 4194304 bytes"),
        ],
    )
    def test_what_cannot_help_is_told_at_once(
        self, status: int, body: Any, error: type[WatchwordError], message: str, server: Server, endpoint: OpenAiEndpoint, speech: Samples
    ) -> None:
        server.script = [(status, body)]
        with pytest.raises(error, match=message) as caught:
            hear(endpoint, passage(speech, 0, 1))
        assert len(server.asked) == 1
        assert "a key" not in str(caught.value)

    def test_a_server_that_is_not_there_is_unavailable(self, speech: Samples) -> None:
        engine = OpenAiEndpoint("http://127.0.0.1:9/v1", model="m", attempts=2)
        engine._pause = lambda seconds: None
        with pytest.raises(ServiceUnavailable, match=r"no answer .*in attempt 2") as caught:
            hear(engine, passage(speech, 0, 1))
        assert caught.value.retryable
        engine.close()

    def test_a_server_that_says_nothing_is_given_up(self, speech: Samples) -> None:
        with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as silent:  # it accepts, and nobody serves
            engine = OpenAiEndpoint(f"http://127.0.0.1:{silent.server_port}/v1", model="m", attempts=1, timeout_s=0.05)
            with pytest.raises(ServiceUnavailable, match="ReadTimeout"):
                hear(engine, passage(speech, 0, 1))
            engine.close()

    def test_without_word_times_words_are_spread_over_their_segment(self, speech: Samples) -> None:
        answer = {"text": "ab abcd. x", "segments": [{"text": "ab abcd.", "start": 1, "end": 2.4}, {"text": " x", "start": 3, "end": 4}]}
        heard = hypothesis(answer, passage(speech, 10, 14))
        times = [(word.text, word.start.seconds, word.end.seconds) for word in heard.words]
        assert times == [("ab", 11.0, pytest.approx(11.4)), ("abcd.", pytest.approx(11.4), pytest.approx(12.4)), ("x", 13.0, 14.0)]
        bare = hypothesis({"text": "one four"}, passage(speech, 10, 14))
        assert [word.start.seconds for word in bare.words] == [10.0, pytest.approx(10 + 4 * 3 / 7)]


def test_of_hypotheses_that_are_as_likely_the_one_with_the_expected_words_is_the_answer(engine: FasterWhisper, speech: Samples) -> None:
    """Whatever is expected is found among the hypotheses, or changes nothing."""
    asked = passage(speech, 0, 5.3)
    (plain,) = hear(engine, asked)
    (same,) = hear(engine, replace(asked, expected=plain.words[:3]))
    (absurd,) = hear(engine, replace(asked, expected=tuple(replace(word, text="absurd") for word in plain.words[:3])))
    assert written(same.words) == written(plain.words) == written(absurd.words)
    assert same.average_log_probability == pytest.approx(plain.average_log_probability, abs=1e-5)


@pytest.mark.parametrize(
    ("expected", "chosen"),
    [
        ("", "and so my fellow"),
        ("and so am I", "and so am I"),
        ("And so, am eye", "and so am I"),
        ("and then", "and so my fellow"),
        ("but so am I", "and so my fellow"),
        ("and so am high and mighty", "and so am I"),
        ("ant so am I", "ant so am I"),
        ("unlikely words", "and so my fellow"),
    ],
)
def test_the_answer_keeps_most_of_what_is_expected(expected: str, chosen: str, engine: FasterWhisper, speech: Samples) -> None:
    job = engine._job(passage(speech, 0, 3, expected=words(expected, 0)))
    assert job is not None
    scored = [("and so my fellow", -0.2), ("and so am I", -0.22), ("ant so am I", -0.24), ("unlikely words", -0.9)]
    result = SimpleNamespace(sequences_ids=[job.tokens.encode(f" {text}") for text, _ in scored], scores=[score for _, score in scored])
    assert scored[engine._choice(job, result)][0] == chosen
