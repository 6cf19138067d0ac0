"""Whisper through Hugging Face transformers, in PyTorch: for checkpoints that nobody has converted, and for GPUs."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.timeline import MediaTime
from pipeline.transcribe.audio import Samples, sample_at
from pipeline.transcribe.engines.whisper import CONTEXT, WINDOW, Vocabulary, aligned, token_limit, warped, written_in
from pipeline.transcribe.mel import HOP_LENGTH, LogMel
from pipeline.transcribe.model import LanguageGuess, Passage, Threaded
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import Hypothesis, Piece, join_pieces


class TransformersWhisper(Threaded):
    """`WhisperForConditionalGeneration` of a directory, over windows of 30 s; on the CPU with one thread.

    Word times come from the cross-attention over the heads that generation_config.json lists, and from those of the upper half
    of the layers where it lists none (`pipeline.transcribe.engines.whisper.warped`).
    """

    continues = True

    def __init__(self, directory: Path, *, name: str, device: str = "cpu", dtype: str = "float32") -> None:
        """Load the model of `directory`: config.json, model.safetensors (or its shards) and tokenizer.json; no network is asked.

        `device` is PyTorch's name of one, `dtype` "float32", "bfloat16" or "float16". Raises `ModelMissing` if a file or the
        package is not there, `ModelMismatch` if they are no Whisper model.
        """
        try:
            import torch
            from transformers import WhisperForConditionalGeneration
            from transformers.utils.logging import disable_progress_bar
        except ImportError as error:
            raise ModelMissing(f"loading {name}: it needs the package transformers; install the extra `models`") from error
        for needed in ("config.json", "tokenizer.json"):
            if not (directory / needed).is_file():
                raise ModelMissing(f"loading {name}: {directory} holds no {needed}; a Whisper model as transformers saves it does")
        if device == "cpu":
            torch.set_num_threads(1)
        try:
            disable_progress_bar()  # type: ignore[no-untyped-call]
            loaded: Any = WhisperForConditionalGeneration.from_pretrained(
                directory,
                output_loading_info=True,
                dtype=getattr(torch, dtype),
                local_files_only=True,
                use_safetensors=True,
                attn_implementation="eager",  # the only one that tells the attention
            )
            network, told = loaded
            if told["missing_keys"]:
                # The library would fill them with noise.
                raise ValueError(f"it lacks {len(told['missing_keys'])} tensors, such as {min(told['missing_keys'])}")
            multilingual = int(network.config.vocab_size) >= 51865
            self._vocabulary = Vocabulary(directory, multilingual=multilingual)
        except Exception as error:
            raise ModelMismatch(f"loading {name}: {directory} is not a Whisper model that transformers reads ({error})") from error
        super().__init__(name, self._vocabulary.languages)
        self._network = network.to(device).eval()
        self._spectrograms = LogMel(int(network.config.num_mel_bins))
        layers, heads = int(network.config.decoder_layers), int(network.config.decoder_attention_heads)
        listed = getattr(network.generation_config, "alignment_heads", None)
        self._heads = listed or [(layer, head) for layer in range(layers // 2, layers) for head in range(heads)]
        # What transformers would do by itself for Whisper, such as choosing a language, is in the tokens that it is given.
        self._begin_suppressed = list(network.generation_config.begin_suppress_tokens or [])
        self._suppressed = list(network.generation_config.suppress_tokens or [])

    def _transcribe(self, passage: Passage) -> Hypothesis:
        import torch

        tokens = self._vocabulary.tokens(passage)
        before, prefix = self._vocabulary.prompt(passage), [token for word in self._vocabulary.prefix(passage) for token in word]
        opening = [*tokens.sot_sequence, tokens.no_timestamps]
        limit = min(token_limit(passage), CONTEXT - len(before) - len(opening) - len(prefix) - 1)
        if limit <= 0:
            return Hypothesis(ran_on=True)
        with torch.inference_mode():
            encoded = self._encode(passage.samples, passage)
            start = [*before, *opening, *prefix]
            found = self._generate(encoded, start, limit, passage.beam, tokens.eot, fresh=not prefix)
            new = [token for token in found if token < tokens.eot][:limit]
            ended = len(found) > len(new)
            # One pass over the whole text tells all probabilities.
            text = [*start, *new]
            probabilities = self._forward(encoded, text).logits[0].float().log_softmax(-1).cpu().numpy()
            no_speech = float(np.exp(probabilities[len(before), tokens.no_speech]))
            following = [*new, *([tokens.eot] if ended else [])]
            chosen = [float(probabilities[len(start) - 1 + n, token]) for n, token in enumerate(following)]
            pieces = self._align(encoded, tokens, opening, prefix, new, passage)
        return Hypothesis(
            join_pieces(pieces, language=written_in(passage)), sum(chosen) / max(1, len(chosen)), no_speech, len(new) >= limit
        )

    def _identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        import torch

        passage = Passage(samples[: WINDOW - 2 * HOP_LENGTH], start=MediaTime(0))
        tokens = self._vocabulary.tokens(passage)
        with torch.inference_mode():
            logits = self._forward(self._encode(passage.samples, passage), [tokens.sot]).logits[0, -1].float()
            ids = {language: tokens.tokenizer.token_to_id(f"<|{language}|>") for language in self._languages}
            found = logits[list(ids.values())].softmax(-1).tolist()
        guesses = (LanguageGuess(language, float(p)) for language, p in zip(ids, found, strict=True))
        return tuple(sorted(guesses, key=lambda guess: -guess.probability))

    def _encode(self, samples: Samples, passage: Passage) -> Any:
        import torch

        heard = self._spectrograms.window(samples, WINDOW, stream=passage.stream or None, start=sample_at(passage.start))
        features = torch.from_numpy(heard[None]).to(self._network.device, self._network.dtype)
        return self._network.get_encoder()(features)

    def _generate(self, encoded: Any, start: list[int], limit: int, beam: int, end: int, *, fresh: bool) -> list[int]:
        """The new tokens, the end of text among them if it came; only a fresh text, without prefix, must not be empty."""
        import torch
        from transformers import GenerationConfig, GenerationMixin

        config = GenerationConfig(  # type: ignore[no-untyped-call]
            max_length=len(start) + limit,
            num_beams=beam,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=end,
            decoder_start_token_id=start[0],
            suppress_tokens=self._suppressed or None,
            begin_suppress_tokens=(self._begin_suppressed or None) if fresh else None,
        )
        # Not Whisper's own `generate`, which cuts audio and retries by itself.
        found = GenerationMixin.generate(
            self._network,
            encoder_outputs=encoded,
            decoder_input_ids=torch.tensor([start], device=self._network.device),
            generation_config=config,
        )
        return [int(token) for token in found[0, len(start) :]]

    def _forward(self, encoded: Any, text: list[int], *, attention: bool = False) -> Any:
        import torch

        return self._network(
            encoder_outputs=encoded,
            decoder_input_ids=torch.tensor([text], device=self._network.device),
            output_attentions=attention,
            use_cache=False,
        )

    def _align(self, encoded: Any, tokens: Any, opening: list[int], prefix: list[int], new: list[int], passage: Passage) -> list[Piece]:
        if not new:
            return []
        text = [*prefix, *new]
        found = self._forward(encoded, [*opening, *text, tokens.eot], attention=True)
        frames = max(1, len(passage.samples) * 50 // RATE)
        attention = np.stack([found.cross_attentions[layer][0, head].float().cpu().numpy() for layer, head in self._heads])
        # From the last token of the opening on: what it attends to is where the first token of the text is said.
        attention = attention[:, len(opening) - 1 : -1, :frames]
        attention /= attention.sum(axis=-1, keepdims=True)
        chances = found.logits[0, len(opening) - 1 : -1, : tokens.eot].float().softmax(-1).cpu().numpy()
        return aligned(
            warped(attention),
            zip(*tokens.split_to_word_tokens(new), strict=True),
            [float(chances[n, token]) for n, token in enumerate(text)],
            first=len(prefix),
            samples=len(passage.samples),
            start=passage.start,
        )
