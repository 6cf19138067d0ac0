"""Speech to words: the port of speech models, and Whisper through CTranslate2."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np

from pipeline.errors import ModelMissing, SettingInvalid
from pipeline.models import locate
from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import Hypothesis, Piece, join_pieces

P = ParamSpec("P")
T = TypeVar("T")

LONGEST = RATE * 29
"""Samples that a Whisper model can be given at once: its 30 s less the silence that lets it stop."""
_HOP = 160
"""Samples between two columns of the spectrogram."""
_LEAST_WINDOW = RATE * 15
_SILENCE = RATE
"""A Whisper encoder accepts a shorter input than 30 s, as long as enough silence follows for the decoder to stop. On 100
LibriSpeech clips the word error rate was 12.1 % with 30 s and 12.2 % with max(15 s, audio + 1 s), at a fifth of the time, but
35 % with audio + 1 s alone. With audio + 8 s a short first phrase began to loop."""
_TOKENS_PER_SECOND = 7
_TOKENS_SPARE = 8
"""More tokens than this are not speech but a decoder that cannot stop."""
_FRAME_NANOS = NANOS // 50
"""The encoder's resolution, 20 ms."""
_END_BIAS = MediaTime(NANOS // 10)
"""Word ends from the alignment were 0.11 s late on average against a forced alignment of 96 LibriSpeech utterances."""


class Transcriber(Protocol):
    """Writes down one stretch of speech, from its audio alone."""

    @property
    def name(self) -> str:
        """Catalog name of the model."""
        ...

    @property
    def language(self) -> str:
        """BCP 47 language of the words."""
        ...

    async def transcribe(self, samples: Samples, start: MediaTime) -> Hypothesis:
        """The words of `samples`, float32 mono at 16 kHz, at most 29 s, the first of which is heard at `start`.

        The same samples give the same words. Raises `ValueError` for more than 29 s.
        """
        ...

    def close(self) -> None:
        """Let go of the thread that computes."""
        ...


async def in_thread(executor: ThreadPoolExecutor, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run blocking work on an adapter's own thread."""
    return await asyncio.get_running_loop().run_in_executor(executor, lambda: function(*args, **kwargs))


class Threaded(ABC):
    """A `Transcriber` that computes on a thread of its own."""

    def __init__(self, name: str, language: str) -> None:
        self._name, self._language = name, language
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    @property
    def name(self) -> str:
        """Catalog name of the model."""
        return self._name

    @property
    def language(self) -> str:
        """BCP 47 language of the words."""
        return self._language

    async def transcribe(self, samples: Samples, start: MediaTime) -> Hypothesis:
        """As the port says."""
        check_length(samples)
        return await in_thread(self._executor, self._transcribe, samples, start)

    def close(self) -> None:
        """Let go of the thread that computes."""
        self._executor.shutdown(wait=False)

    @abstractmethod
    def _transcribe(self, samples: Samples, start: MediaTime) -> Hypothesis:
        """The words of at most 29 s; blocks."""


class FasterWhisper(Threaded):
    """Whisper in CTranslate2's format, as faster-whisper reads it; a monolingual English model or a multilingual one.

    Decodes with beam 5 and no prompt, so the words depend on the audio alone; word times are those of CTranslate2's
    alignment (dynamic time warping over cross-attention heads), the ends corrected for its bias.
    """

    def __init__(self, directory: Path, *, name: str, language: str = "en", device: str = "cpu", compute_type: str = "int8") -> None:
        """Load the model of `directory`; raises `SettingInvalid` for a language it does not know, `ModelMissing` if it is not there."""
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer

        if not (directory / "model.bin").is_file():
            raise ModelMissing(f"loading {name}: {directory} holds no model.bin; give the directory of a CTranslate2 Whisper model")
        model = WhisperModel(str(directory), device=device, compute_type=compute_type, cpu_threads=1, num_workers=1, local_files_only=True)
        multilingual = bool(model.model.is_multilingual)
        check_language(name, language, multilingual=multilingual)
        super().__init__(name, language)
        self._network: Any = model.model
        self._features: Any = model.feature_extractor
        self._tokens: Any = Tokenizer(model.hf_tokenizer, multilingual, task="transcribe", language=language)

    def _transcribe(self, samples: Samples, start: MediaTime) -> Hypothesis:
        import ctranslate2

        length = max(_LEAST_WINDOW, len(samples) + _SILENCE) // (2 * _HOP) * 2 * _HOP
        padded = np.zeros(length, np.float32)
        padded[: len(samples)] = samples
        spectrogram = self._features(padded, padding=0)[None, :, : length // _HOP]
        encoded = self._network.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(spectrogram, np.float32)))
        limit = len(samples) * _TOKENS_PER_SECOND // RATE + _TOKENS_SPARE
        result = self._network.generate(
            encoded,
            [[*self._tokens.sot_sequence, self._tokens.no_timestamps]],
            beam_size=5,
            # CTranslate2 generates at most half of it (`WhisperReplica::generate`).
            max_length=min(448, 2 * limit),
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        tokens = [token for token in result.sequences_ids[0] if token < self._tokens.eot]
        count = len(result.sequences_ids[0])
        return Hypothesis(
            join_pieces(self._align(encoded, tokens, len(samples), start)),
            # The score is a mean over the tokens without the one that ends the text.
            float(result.scores[0]) * count / (count + 1),
            float(result.no_speech_prob),
        )

    def _align(self, encoded: Any, tokens: list[int], length: int, start: MediaTime) -> list[Piece]:
        if not tokens:
            return []
        alignment = self._network.align(encoded, self._tokens.sot_sequence, [tokens], length // _HOP)[0]
        # The path visits (token, frame) pairs in order; a token starts at the first frame it is visited with.
        first_frame: dict[int, int] = {}
        for token, frame in alignment.alignments:
            first_frame.setdefault(token, frame)
        end_frame = length * 50 // RATE
        texts, groups = self._tokens.split_to_word_tokens(tokens)
        pieces = []
        position = 0
        for text, group in zip(texts, groups, strict=True):
            following = position + len(group)
            begin = MediaTime(first_frame.get(position, end_frame) * _FRAME_NANOS)
            end = MediaTime(first_frame.get(following, end_frame) * _FRAME_NANOS)
            probabilities = alignment.text_token_probs[position:following]
            pieces.append(
                Piece(
                    text.replace("\ufffd", ""),
                    start + begin,
                    start + max(begin, end - _END_BIAS),
                    float(np.mean(probabilities)) if probabilities else 0.0,
                )
            )
            position = following
        return pieces


def check_length(samples: Samples) -> None:
    """Raise `ValueError` for more audio than a Whisper model takes at once."""
    if len(samples) > LONGEST:
        raise ValueError(f"{len(samples) / RATE:.1f} s of audio given at once; a Whisper model takes {LONGEST // RATE} s")


def check_language(name: str, language: str, *, multilingual: bool) -> None:
    """Raise `SettingInvalid` for a language other than English with a model that knows only English."""
    if language != "en" and not multilingual:
        raise SettingInvalid(f'language "{language}": {name} knows only English ("en"); set a multilingual Whisper model for others')


def load(name: str = "whisper-tiny.en", *, language: str = "en", directory: Path | None = None) -> Transcriber:
    """The catalog's model of this name, or one from `directory`.

    A directory with a `.pt` file is loaded by the reference engine, openai-whisper; anything else by CTranslate2. Raises
    `ModelMissing`, `ModelMismatch` and `SettingInvalid`.
    """
    if name.endswith(".en"):
        check_language(name, language, multilingual=False)
    directory = directory or locate(name)
    checkpoints = sorted(directory.glob("*.pt"))
    if checkpoints:
        from pipeline.transcribe.reference import OpenAiWhisper

        return OpenAiWhisper(checkpoints[0], name=name, language=language)
    return FasterWhisper(directory, name=name, language=language)


__all__ = ["LONGEST", "FasterWhisper", "Transcriber", "load"]
