"""Whisper through CTranslate2: the default engine.

Passages of several streams go through the decoder together (`pipeline.batcher`), where they can without changing a
word: CTranslate2 4.8 gives the same tokens, scores and probabilities, to the last bit, to rows of a batch as to each alone if
their windows are equally long, their prompts have as many tokens before `<|startoftranscript|>`, and beam and limit are
equal; prefixes may differ in length. So windows, limits and prompts come in steps. The encoder is slower in batches, and alignment is
neither faster nor the same, so both are run for each passage alone.

On one core of an EPYC with tiny.en in int8: a window of 5 s takes 22 ms to encode, 8 s 39, 10 s 53, 15 s 95, 30 s 371, and eight of
15 s together 1193 against 760. To decode 25 tokens greedily takes 92 ms, for 2 passages together 122, 4 189, 8 319.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.batcher import Batcher
from pipeline.errors import ModelMismatch, ModelMissing
from pipeline.transcribe.audio import Samples, sample_at
from pipeline.transcribe.engines import one_pass
from pipeline.transcribe.engines.whisper import CONTEXT, WINDOW, Vocabulary, aligned, token_limit, written_in
from pipeline.transcribe.mel import HOP_LENGTH, LogMel
from pipeline.transcribe.model import LanguageGuess, Passage, check
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import UNSPACED, Hypothesis, Piece, common_start, compared, join_pieces

_WINDOWS = RATE * 5 // 2
"""Windows are multiples of this, so that passages meet."""
_LIMITS = (16, 32, 48, 64, 96, 128, 192, 256, 320, 384)
"""Where the decoder stops, prefix included: in steps, so that passages meet; what is above a passage's own limit is cut off."""
_LEAST_TO_IDENTIFY = RATE * 10
"""Samples of a window over which a language is told."""
_SILENCES = 64
"""Encodings of silence that are kept: of 1 MB each with a tiny model. There are some 20 levels, and few windows but the shortest."""
_AS_LIKELY = 0.05
"""By how much the mean log probability of a hypothesis, its prefix included, may be below that of the likeliest to be about as likely."""
_BATCH = 8
_PATIENCE = 0.0


@dataclass(frozen=True)
class _Together:
    """What passages must share to be decoded in one batch."""

    window: int
    """Samples that the decoder sees."""
    before: int
    """Tokens before `<|startoftranscript|>`, or that are taken in one pass."""
    limit: int
    """Tokens of text, prefix included."""
    beam: int
    continued: bool
    """Whether there is a prefix: only a text without one must not be empty."""
    marked: bool
    """Whether most of the prefix is taken in one pass (`engines.one_pass`)."""
    hypotheses: int
    """How many are asked for: several where some words are expected."""


@dataclass(frozen=True)
class _Job:
    """A passage in the decoder's terms."""

    passage: Passage
    together: _Together
    encoded: int
    """Samples that are encoded; the rest of the window is silence."""
    tokens: Any
    """The tokenizer of its language and task."""
    start: list[int]
    """Prompt, start sequence and prefix."""
    forced: int
    """Tokens of the prefix, its last ones, that come back with the answer."""
    known: list[int]
    """All tokens of the prefix."""
    limit: int
    """New tokens."""


@dataclass(frozen=True)
class _Unknown:
    """Samples whose language is asked for."""

    samples: Samples


_Work = _Job | _Unknown
_Answer = Hypothesis | tuple[LanguageGuess, ...]


class FasterWhisper:
    """Whisper in CTranslate2's format, as faster-whisper reads it; a monolingual English model or a multilingual one.

    Word times are those of CTranslate2's alignment (dynamic time warping over cross-attention heads), the ends corrected
    for its bias. The interpreter's lock is free while CTranslate2 computes.
    """

    continues = True

    def __init__(
        self,
        directory: Path,
        *,
        name: str,
        device: str = "cpu",
        compute_type: str = "int8",
        cores: int | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        """Load the model of `directory`, which holds model.bin, config.json, tokenizer.json and the vocabulary.

        `cores` is how many passages or batches are worked on at once, each by one thread; `None` for the cores this process may
        use. `patience` is how long, in seconds, a passage may wait for company on a free core while other streams are worked for.
        Raises `ModelMissing` if a file is not there, `ModelMismatch` if the model cannot be read or computed with here.
        """
        import ctranslate2

        for needed in ("model.bin", "config.json", "tokenizer.json"):
            if not (directory / needed).is_file():
                raise ModelMissing(
                    f"loading {name}: {directory} holds no {needed}; give the directory of a CTranslate2 Whisper model with its tokenizer"
                )
        cores = cores or usable_cores()
        try:
            self._network: Any = ctranslate2.models.Whisper(
                str(directory), device=device, compute_type=compute_type, inter_threads=cores, intra_threads=1
            )
            self._vocabulary = Vocabulary(directory, multilingual=bool(self._network.is_multilingual))
            self._marked = one_pass.load(
                directory, self._vocabulary.token_id, device=device, compute_type=compute_type, inter_threads=cores, intra_threads=1
            )
            mels = int(self._network.n_mels)
        except Exception as error:
            raise ModelMismatch(f"loading {name}: {directory} holds no CTranslate2 Whisper model that runs here ({error})") from error
        self.name = name
        self._on_cpu = self._network.device == "cpu"
        self._silence: dict[tuple[float, int], Any] = {}
        self.languages = self._vocabulary.languages
        self._spectrograms = LogMel(mels)
        self._batcher: Batcher[_Work, _Answer] = Batcher(self._run, name=name, workers=cores, most=_BATCH, patience=patience)

    async def transcribe(self, passage: Passage) -> Hypothesis:
        """As the port says."""
        check(passage, self.name, self.languages)
        job = self._job(passage)
        if job is None:
            return Hypothesis(ran_on=True)
        found = await self._batcher.submit(job, key=job.together, stream=passage.stream or None)
        assert isinstance(found, Hypothesis)
        return found

    async def identify(self, samples: Samples) -> tuple[LanguageGuess, ...]:
        """As the port says."""
        if len(self.languages) == 1:
            return (LanguageGuess(next(iter(self.languages)), 1.0),)
        found = await self._batcher.submit(_Unknown(samples[: RATE * 30]), key=_Unknown)
        assert isinstance(found, tuple)
        return found

    def close(self) -> None:
        """Let go of the threads that compute, without waiting for what they are at."""
        self._batcher.close()

    def _job(self, passage: Passage) -> _Job | None:
        """The passage in the decoder's terms; `None` if its prefix leaves the decoder no room."""
        tokens = self._vocabulary.tokens(passage)
        before = self._vocabulary.prompt(passage)
        opening = [*before, *tokens.sot_sequence, tokens.no_timestamps]
        words = self._vocabulary.prefix(passage)
        known = forced = [token for word in words for token in word]
        marked = one_pass.arranged(self._marked[1], before, opening[len(before) :], words) if self._marked else None
        if marked:
            opening, forced = marked
        new = token_limit(passage)
        limit = next((limit for limit in _LIMITS if limit >= len(forced) + new), _LIMITS[-1])
        # What CTranslate2 has room for, less the end of text.
        limit = min(limit, CONTEXT - len(opening) - 1)
        if limit <= len(forced):
            return None
        heard = -(-(len(passage.samples) + passage.silence) // (2 * HOP_LENGTH)) * 2 * HOP_LENGTH
        least = max(passage.least_window, len(passage.samples) + RATE)
        window = min(WINDOW, -(-least // _WINDOWS) * _WINDOWS)
        hypotheses = passage.beam if passage.expected else 1
        leading = len(opening) if marked else len(before)
        together = _Together(window, leading, limit, passage.beam, bool(forced), bool(marked), hypotheses)
        encoded = min(window, heard) if self._on_cpu else window
        return _Job(passage, together, encoded, tokens, [*opening, *forced], len(forced), known, min(new, limit - len(forced)))

    def _run(self, work: Sequence[_Work]) -> Sequence[_Answer]:
        """One batch, on a worker thread."""
        jobs = [job for job in work if isinstance(job, _Job)]
        return self._transcribe(jobs) if jobs else [self._identify(one) for one in work if isinstance(one, _Unknown)]

    def _identify(self, unknown: _Unknown) -> tuple[LanguageGuess, ...]:
        # 30 s, as it was trained on, cost 0.9 s instead of 0.17 with whisper-base, and told the same of 15 clips in 5 languages.
        samples = unknown.samples[: WINDOW - 2 * HOP_LENGTH]
        least = max(_LEAST_TO_IDENTIFY, len(samples) + RATE)
        heard = self._spectrograms.window(samples, min(WINDOW, -(-least // _WINDOWS) * _WINDOWS))
        guesses = self._network.detect_language(self._encode(heard))[0]
        return tuple(LanguageGuess(token.strip("<|>"), float(p)) for token, p in guesses)

    def _transcribe(self, jobs: Sequence[_Job]) -> list[Hypothesis]:
        encoded = [self._completed(job) for job in jobs]
        together = jobs[0].together
        # CTranslate2 stops at half of max_length, or at what the opening leaves of it (`WhisperReplica::generate`).
        opening = len(jobs[0].start) - jobs[0].forced
        network = self._marked[0] if self._marked and together.marked else self._network
        results = network.generate(
            encoded[0] if len(jobs) == 1 else _stacked(encoded),
            [job.start for job in jobs],
            beam_size=together.beam,
            num_hypotheses=together.hypotheses,
            max_length=max(2 * together.limit, together.limit + opening - 1),
            suppress_blank=not together.continued,
            return_scores=True,
            # What stands where the marks are says nothing about that.
            return_no_speech_prob=not together.marked,
        )
        return [self._hypothesis(*answer) for answer in zip(jobs, encoded, results, strict=True)]

    def _completed(self, job: _Job) -> Any:
        """The encoding of the window: that of the audio and the silence just behind it, completed by an encoding of silence alone.

        A decoder must see long silence, or it repeats itself rather than stop: on 100 LibriSpeech clips the word error rate was
        12.1 % with windows of 30 s, 12.2 % with max(15 s, audio + 1 s), at a fifth of the time, but 35 % with audio + 1 s alone.

        Far from the audio an encoding of silence depends little on what was said, and much on how loud silence is beside it,
        since a spectrogram reaches 8 powers of ten down from its loudest value. So it is taken from silence as loud. It costs
        39 ms instead of 95 for 6 s of audio; on 646 words of LibriSpeech 8.3 % were wrong, with silence that was encoded each
        time 7.8 %, and with windows of 8 s that end there 10.6 %.
        """
        passage, window = job.passage, job.together.window
        heard = self._spectrograms.window(passage.samples, job.encoded, stream=passage.stream or None, start=sample_at(passage.start))
        encoded = self._encode(heard)
        if job.encoded == window:
            return encoded
        import ctranslate2

        known = np.asarray(encoded)
        rest = self._silent(round(float(heard.min()), 1), window)[:, known.shape[1] :]
        return ctranslate2.StorageView.from_array(np.concatenate([known, rest], axis=1))

    def _silent(self, floor: float, window: int) -> Any:
        """The encoding of nothing but the spectrogram's value `floor`, shape (1, frames of 20 ms, width)."""
        known = self._silence.get((floor, window))
        if known is None:
            silent = np.full((self._network.n_mels, window // HOP_LENGTH), floor, np.float32)
            known = np.asarray(self._encode(silent)).copy()
            if len(self._silence) >= _SILENCES:
                # Other workers may be about to read; they hold what they found.
                self._silence.clear()
            self._silence[floor, window] = known
        return known

    def _encode(self, heard: Any) -> Any:
        import ctranslate2

        return self._network.encode(ctranslate2.StorageView.from_array(heard[None]))

    def _hypothesis(self, job: _Job, encoded: Any, result: Any) -> Hypothesis:
        choice = self._choice(job, result)
        sequence = result.sequences_ids[choice]
        new = [token for token in sequence[job.forced :] if token < job.tokens.eot]
        # The score is a mean over all tokens, of which the prefix costs nothing and the end of text, where it came, is not counted.
        ended = len(sequence) < job.together.limit
        total = float(result.scores[choice]) * len(sequence)
        pieces = self._align(job, encoded, new[: job.limit])
        return Hypothesis(
            join_pieces(pieces, language=written_in(job.passage)),
            total / max(1, len(sequence) - job.forced + ended),
            0.0 if job.together.marked else float(result.no_speech_prob),
            len(new) >= job.limit,
        )

    def _choice(self, job: _Job, result: Any) -> int:
        """Which hypothesis is the answer: of those that are about as likely as the likeliest, the one that keeps most expected words."""
        if not job.passage.expected:
            return 0
        apart = written_in(job.passage) in UNSPACED
        expected = compared("".join(word.spoken if apart else f" {word.text}" for word in job.passage.expected), apart=apart)
        kept = []
        for sequence, score in zip(result.sequences_ids, result.scores, strict=True):
            if score < result.scores[0] - _AS_LIKELY:
                break
            text = job.tokens.decode([token for token in sequence[job.forced :] if token < job.tokens.eot])
            kept.append(common_start(compared(text, apart=apart), expected))
        return kept.index(max(kept))

    def _align(self, job: _Job, encoded: Any, new: list[int]) -> list[Piece]:
        if not new:
            return []
        start, length = job.passage.start, len(job.passage.samples)
        (alignment,) = self._network.align(encoded, job.tokens.sot_sequence, [[*job.known, *new]], max(2, length // HOP_LENGTH))
        return aligned(
            alignment.alignments,
            zip(*job.tokens.split_to_word_tokens(new), strict=True),
            alignment.text_token_probs,
            first=len(job.known),
            samples=length,
            start=start,
        )


def _stacked(encoded: Sequence[Any]) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(np.concatenate([np.asarray(one.to_device(ctranslate2.Device.cpu)) for one in encoded]))


def usable_cores() -> int:
    """Cores that this process may use; on systems that do not say, all there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
