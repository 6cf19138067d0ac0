"""The reference engine: openai-whisper, for checkpoints in OpenAI's own format. Slower than CTranslate2; for comparison."""

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples
from pipeline.transcribe.engines.whisper import CONTEXT, END_BIAS, PROMPT_TOKENS, token_limit, written_in
from pipeline.transcribe.mel import HOP_LENGTH
from pipeline.transcribe.model import LanguageGuess, Passage, Threaded
from pipeline.transcribe.words import Hypothesis, Piece, join_pieces


class OpenAiWhisper(Threaded):
    """Whisper in PyTorch on the CPU, one thread, always over windows of 30 s.

    Words are aligned as openai-whisper does it (`whisper/timing.py`), over the heads that the checkpoint's `alignment_heads`
    lists as pairs of layer and head, or over those of the upper half of the layers.
    """

    continues = True

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
            heads = content.get("alignment_heads")
            if heads is not None:
                mask = torch.zeros(network.dims.n_text_layer, network.dims.n_text_head, dtype=torch.bool)
                mask[tuple(zip(*heads, strict=True))] = True
                network.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)
        except Exception as error:
            raise ModelMismatch(f"loading {name}: {checkpoint} is not a Whisper checkpoint in OpenAI's format ({error})") from error
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves a file of its own open
            whisper.tokenizer.get_tokenizer(network.is_multilingual, num_languages=network.num_languages)
        super().__init__(name, frozenset(whisper.tokenizer.LANGUAGES) if network.is_multilingual else frozenset({"en"}))
        self._network: Any = network.float().eval()

    def _transcribe(self, passage: Passage) -> Hypothesis:
        import whisper
        from whisper.decoding import DecodingTask

        network = self._network
        tokenizer = whisper.tokenizer.get_tokenizer(
            network.is_multilingual, num_languages=network.num_languages, language=passage.language, task=passage.task.value
        )
        prefix = [token for word in passage.prefix for token in word.tokens or tokenizer.encode(" " + word.text)]
        # It keeps half of the context for the text, and cuts a prefix that leaves no room.
        limit = min(token_limit(passage), CONTEXT // 2 - len(prefix))
        if limit <= 0:
            return Hypothesis(ran_on=True)
        task = DecodingTask(
            network,
            whisper.DecodingOptions(
                task=passage.task.value,
                language=passage.language,
                sample_len=limit,
                beam_size=passage.beam if passage.beam > 1 else None,
                prompt=tokenizer.encode(" " + passage.leading)[-PROMPT_TOKENS:] if passage.leading else None,
                prefix=prefix or None,
                suppress_blank=not prefix,
                without_timestamps=True,
                fp16=False,
            ),
        )
        finalize = task.decoder.finalize
        if passage.beam > 1:
            # It sorts a tensor with numpy, which numpy 2 warns of; an array it takes as well.
            task.decoder.finalize = lambda tokens, sums: finalize(tokens, SimpleNamespace(cpu=sums.cpu().numpy))
        spectrogram = whisper.log_mel_spectrogram(whisper.pad_or_trim(passage.samples), n_mels=network.dims.n_mels)
        (found,) = task.run(spectrogram[None])
        new = [token for token in found.tokens if token < tokenizer.eot]
        pieces = self._align(tokenizer, spectrogram, prefix, new, passage)
        return Hypothesis(
            join_pieces(pieces, language=written_in(passage)), float(found.avg_logprob), float(found.no_speech_prob), len(new) >= limit
        )

    def _align(self, tokenizer: Any, spectrogram: Any, prefix: list[int], new: list[int], passage: Passage) -> list[Piece]:
        from whisper.timing import find_alignment

        found = find_alignment(self._network, tokenizer, [*prefix, *new], spectrogram, max(2, len(passage.samples) // HOP_LENGTH))
        pieces, position = [], 0
        for word in found:
            group = word.tokens[max(0, len(prefix) - position) :]
            position += len(word.tokens)
            if group:
                begin, end = MediaTime.of(max(0.0, float(word.start))), MediaTime.of(float(word.end))
                pieces.append(
                    Piece(
                        tokenizer.decode(group).replace("\ufffd", ""),
                        passage.start + begin,
                        passage.start + max(begin, end - END_BIAS),
                        float(word.probability),
                        tuple(group),
                    )
                )
        return pieces

    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        import whisper

        padded = whisper.pad_or_trim(samples)
        spectrogram = whisper.log_mel_spectrogram(padded, n_mels=self._network.dims.n_mels)
        _, found = self._network.detect_language(spectrogram)
        return tuple(LanguageGuess(language, float(p)) for language, p in sorted(found.items(), key=lambda item: -item[1]))
