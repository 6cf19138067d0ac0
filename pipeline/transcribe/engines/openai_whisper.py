"""The reference engine: openai-whisper, for checkpoints in OpenAI's own format. Slower than CTranslate2; for comparison."""

import warnings
from pathlib import Path
from typing import Any

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.model import LanguageGuess, Passage, Threaded
from pipeline.transcribe.words import Hypothesis, Piece, join_pieces


class OpenAiWhisper(Threaded):
    """Whisper in PyTorch on the CPU, one thread, without a prefix."""

    def __init__(self, checkpoint: Path, *, name: str) -> None:
        """Load a `.pt` file with the keys `dims` and `model_state_dict`; nothing in it is executed.

        Raises `ModelMissing` if the file or the `openai-whisper` package is not there, `ModelMismatch` if the file is
        something else.
        """
        try:
            import torch
            import whisper
        except ImportError as error:
            raise ModelMissing(
                f"loading {name}: the reference engine needs the package openai-whisper; install the extra `models`"
            ) from error
        if not checkpoint.is_file():
            raise ModelMissing(f"loading {name}: {checkpoint} is not there")
        torch.set_num_threads(1)
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
            network = whisper.model.Whisper(whisper.model.ModelDimensions(**content["dims"]))
            network.load_state_dict(content["model_state_dict"])
        except Exception as error:
            raise ModelMismatch(f"loading {name}: {checkpoint} is not a Whisper checkpoint in OpenAI's format ({error})") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves a file of its own open
            whisper.tokenizer.get_tokenizer(network.is_multilingual, num_languages=network.num_languages)
        super().__init__(name, frozenset(whisper.tokenizer.LANGUAGES) if network.is_multilingual else frozenset({"en"}))
        self._network: Any = network.float().eval()

    def _transcribe(self, passage: Passage) -> Hypothesis:
        found = self._network.transcribe(
            passage.samples,
            language=passage.language,
            task=passage.task.value,
            beam_size=passage.beam if passage.beam > 1 else None,
            initial_prompt=passage.prompt or None,
            temperature=0.0,
            word_timestamps=True,
            condition_on_previous_text=False,
            no_speech_threshold=None,
            fp16=False,
        )
        segments = found["segments"]
        pieces = [
            Piece(
                word["word"],
                passage.start + MediaTime.of(word["start"]),
                passage.start + MediaTime.of(word["end"]),
                float(word["probability"]),
            )
            for segment in segments
            for word in segment["words"]
        ]
        tokens = sum(len(segment["tokens"]) for segment in segments)
        return Hypothesis(
            join_pieces(pieces),
            sum(segment["avg_logprob"] * len(segment["tokens"]) for segment in segments) / tokens if tokens else 0.0,
            max((segment["no_speech_prob"] for segment in segments), default=0.0),
        )

    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        import whisper

        padded = whisper.pad_or_trim(samples)
        spectrogram = whisper.log_mel_spectrogram(padded, n_mels=self._network.dims.n_mels)
        _, found = self._network.detect_language(spectrogram)
        return tuple(LanguageGuess(language, float(p)) for language, p in sorted(found.items(), key=lambda item: -item[1]))
