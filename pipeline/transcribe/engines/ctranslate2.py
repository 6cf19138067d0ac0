"""Whisper through CTranslate2, as faster-whisper reads it: the default engine."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelMissing
from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.model import LanguageGuess, Passage, Threaded
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import Hypothesis, Piece, join_pieces

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
_PROMPT_TOKENS = 60
_CONTEXT = 448
_FRAME_NANOS = NANOS // 50
"""The encoder's resolution, 20 ms."""
_END_BIAS = MediaTime(NANOS // 10)
"""Word ends from the alignment were 0.11 s late on average against a forced alignment of 96 LibriSpeech utterances."""


class FasterWhisper(Threaded):
    """Whisper in CTranslate2's format; a monolingual English model or a multilingual one.

    Word times are those of CTranslate2's alignment (dynamic time warping over cross-attention heads), the ends corrected
    for its bias.
    """

    continues = True

    def __init__(self, directory: Path, *, name: str, device: str = "cpu", compute_type: str = "int8") -> None:
        """Load the model of `directory`; raises `ModelMissing` if it is not there."""
        from faster_whisper import WhisperModel
        from faster_whisper.tokenizer import Tokenizer

        if not (directory / "model.bin").is_file():
            raise ModelMissing(f"loading {name}: {directory} holds no model.bin; give the directory of a CTranslate2 Whisper model")
        model = WhisperModel(str(directory), device=device, compute_type=compute_type, cpu_threads=1, num_workers=1, local_files_only=True)
        super().__init__(name, frozenset(model.supported_languages))
        self._network: Any = model.model
        self._features: Any = model.feature_extractor
        self._tokenizers: dict[tuple[str, str], Any] = {}
        self._make_tokenizer: Any = lambda language, task: Tokenizer(
            model.hf_tokenizer, bool(model.model.is_multilingual), task=task, language=language
        )

    def _transcribe(self, passage: Passage) -> Hypothesis:
        import ctranslate2

        tokens = self._tokens(passage)
        length = max(_LEAST_WINDOW, len(passage.samples) + _SILENCE) // (2 * _HOP) * 2 * _HOP
        encoded = self._network.encode(ctranslate2.StorageView.from_array(self._spectrogram(passage.samples, length)))
        prompt = tokens.encode(" " + passage.prompt.strip())[-_PROMPT_TOKENS:] if passage.prompt else []
        prefix = [token for word in passage.prefix for token in word.tokens or tokens.encode(" " + word.text)]
        start = [*([tokens.sot_prev, *prompt] if prompt else []), *tokens.sot_sequence, tokens.no_timestamps, *prefix]
        limit = len(passage.samples) * _TOKENS_PER_SECOND // RATE + _TOKENS_SPARE
        result = self._network.generate(
            encoded,
            [start],
            beam_size=passage.beam,
            # CTranslate2 generates at most half of it, or what the prompt leaves (`WhisperReplica::generate`).
            max_length=min(_CONTEXT, max(2 * limit, limit + len(start))),
            suppress_blank=not prefix,
            return_scores=True,
            return_no_speech_prob=True,
        )[0]
        generated = [token for token in result.sequences_ids[0] if token < tokens.eot]
        count = len(result.sequences_ids[0])
        pieces = self._align(tokens, encoded, generated, len(passage.samples), passage.start)
        return Hypothesis(
            join_pieces(_after(pieces, len(prefix))),
            # The score is a mean over the tokens without the one that ends the text.
            float(result.scores[0]) * count / (count + 1),
            float(result.no_speech_prob),
        )

    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        import ctranslate2

        encoded = self._network.encode(ctranslate2.StorageView.from_array(self._spectrogram(samples, RATE * 30)))
        return tuple(LanguageGuess(token.strip("<|>"), float(p)) for token, p in self._network.detect_language(encoded)[0])

    def _tokens(self, passage: Passage) -> Any:
        key = (passage.language, passage.task.value)
        if key not in self._tokenizers:
            self._tokenizers[key] = self._make_tokenizer(*key)
        return self._tokenizers[key]

    def _spectrogram(self, samples: Samples, length: int) -> Any:
        padded = np.zeros(length, np.float32)
        padded[: len(samples)] = samples
        found = self._features(padded, padding=0)[None, :, : length // _HOP]
        return np.ascontiguousarray(found, np.float32)

    def _align(self, tokens: Any, encoded: Any, text: list[int], length: int, start: MediaTime) -> list[Piece]:
        if not text:
            return []
        alignment = self._network.align(encoded, tokens.sot_sequence, [text], length // _HOP)[0]
        # The path visits (token, frame) pairs in order; a token starts at the first frame it is visited with.
        first_frame: dict[int, int] = {}
        for token, frame in alignment.alignments:
            first_frame.setdefault(token, frame)
        end_frame = length * 50 // RATE
        texts, groups = tokens.split_to_word_tokens(text)
        pieces = []
        position = 0
        for written, group in zip(texts, groups, strict=True):
            following = position + len(group)
            begin = MediaTime(first_frame.get(position, end_frame) * _FRAME_NANOS)
            end = MediaTime(first_frame.get(following, end_frame) * _FRAME_NANOS)
            probabilities = alignment.text_token_probs[position:following]
            pieces.append(
                Piece(
                    written.replace("\ufffd", ""),
                    start + begin,
                    start + max(begin, end - _END_BIAS),
                    float(np.mean(probabilities)) if probabilities else 0.0,
                    tuple(group),
                )
            )
            position = following
        return pieces


def _after(pieces: list[Piece], prefix: int) -> list[Piece]:
    """The pieces behind the first `prefix` tokens."""
    passed = 0
    for index, piece in enumerate(pieces):
        if passed >= prefix:
            return pieces[index:]
        passed += len(piece.tokens)
    return []
