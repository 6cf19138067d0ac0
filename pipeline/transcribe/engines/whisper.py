"""What the engines that run a Whisper network themselves have in common."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.audio import sample_at
from pipeline.transcribe.model import Passage, Task
from pipeline.transcribe.segmentation import RATE
from pipeline.transcribe.words import Piece

WINDOW = RATE * 30
"""Samples that a Whisper encoder was trained on."""
CONTEXT = 448
"""Positions of its decoder."""
PROMPT_TOKENS = 160
"""How much of a prompt is given, its end: it shares the decoder's 448 positions with what is to be written."""
_TERM_TOKENS = 96
"""How many of them the terms may take, the first ones."""
_PROMPTS = (8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, PROMPT_TOKENS)
"""How long prompts are, in tokens: in steps, so that passages meet in the decoder; what was said first is cut off."""
FRAME_NANOS = NANOS // 50
"""The encoder's resolution, 20 ms."""
END_BIAS = MediaTime(NANOS // 10)
"""Word ends from the alignment were 0.11 s late on average against a forced alignment of 96 LibriSpeech utterances."""

_TOKENS_PER_SECOND = 7
_TOKENS_PER_SECOND_OF_SMALL_TOKENS = 20
_TOKENS_SPARE = 8
_SMALL_TOKENS = frozenset(
    "am ar as bn bo el fa gu he hi hy ka km kn lo ml mr my ne pa ps sa sd si ta te th ur yi".split()  # noqa: SIM905
)
"""Languages of whose script the tokenizer writes a letter or less with one token: Hindi comes to some 16 tokens a second."""


def token_limit(passage: Passage) -> int:
    """How many new tokens may follow the prefix; more are not speech but a decoder that cannot stop.

    Of 67 English clips the densest has 6.5 tokens a second, prompts and prefixes aside.
    """
    known = sample_at(passage.prefix[-1].end - passage.start) if passage.prefix else 0
    rate = _TOKENS_PER_SECOND_OF_SMALL_TOKENS if passage.language in _SMALL_TOKENS else _TOKENS_PER_SECOND
    return max(0, len(passage.samples) - max(0, known)) * rate // RATE + _TOKENS_SPARE


def written_in(passage: Passage) -> str:
    """The language of the answer."""
    return "en" if passage.task is Task.TRANSLATE else passage.language


class Vocabulary:
    """The tokens of a Whisper model, of the tokenizer.json that its directory holds."""

    def __init__(self, directory: Path, *, multilingual: bool) -> None:
        """Read tokenizer.json; raises what the `tokenizers` package raises if it is none."""
        import tokenizers
        from faster_whisper.tokenizer import Tokenizer

        tokenizer = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
        first, last = (tokenizer.token_to_id(mark) for mark in ("<|startoftranscript|>", "<|translate|>"))
        if first is None or last is None:
            raise ValueError("tokenizer.json knows no <|startoftranscript|> or <|translate|>")
        known = [str(tokenizer.id_to_token(token)).strip("<|>") for token in range(first + 1, last)]
        self.languages = frozenset(known if multilingual else ["en"])
        """BCP 47 languages that the model can be told."""
        self.token_id: Any = tokenizer.token_to_id
        """The id of a token, or `None`."""
        self._make: Any = lambda language, task: Tokenizer(tokenizer, multilingual, task=task, language=language)
        self._made: dict[tuple[str, str], Any] = {}

    def tokens(self, passage: Passage) -> Any:
        """faster-whisper's `Tokenizer` for the passage's language and task."""
        key = (passage.language, passage.task.value)
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def prompt(self, passage: Passage) -> list[int]:
        """What stands before `<|startoftranscript|>`: nothing, or `<|startofprev|>`, the terms, and the end of the passage's prompt."""
        tokens = self.tokens(passage)
        terms, said = (tokens.encode(f" {text.strip()}") if text.strip() else [] for text in (passage.terms, passage.prompt))
        terms = terms[:_TERM_TOKENS]
        whole = len(terms) + len(said)
        length = max((length for length in _PROMPTS if length <= whole), default=whole)
        kept = [*terms, *said[max(0, whole - length) :]]
        return [tokens.sot_prev, *kept] if kept else []

    def prefix(self, passage: Passage) -> list[list[int]]:
        """The tokens of each of the words that are known."""
        tokens = self.tokens(passage)
        return [list(word.tokens or tokens.encode(" " + word.text)) for word in passage.prefix]


def warped(attention: NDArray[np.float32]) -> list[tuple[int, int]]:
    """The path through cross-attention of shape (heads, tokens, frames) along which tokens are said: (token, frame) in order.

    Attention, softmax over frames, is normalised over the tokens, smoothed with a median of 7 frames, averaged over heads, and
    warped dynamically, as in openai-whisper (`whisper/timing.py`, `find_alignment`).
    """
    deviation = attention.std(axis=-2, keepdims=True)
    smooth = (attention - attention.mean(axis=-2, keepdims=True)) / np.where(deviation > 0, deviation, 1)
    if smooth.shape[-1] > 3:
        padded = np.pad(smooth, ((0, 0), (0, 0), (3, 3)), mode="reflect")
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=-1), axis=-1)
    gain = smooth.mean(axis=0, dtype=np.float64).tolist()
    tokens, frames = len(gain), len(gain[0])
    above = [0.0] + [math.inf] * frames
    steps = [bytearray(frames + 1)]
    for row in gain:
        cost, taken = [math.inf] * (frames + 1), bytearray(frames + 1)
        for frame, value in enumerate(row, start=1):
            both, token_only, frame_only = above[frame - 1], above[frame], cost[frame - 1]
            step = 0 if both < token_only and both < frame_only else 1 if token_only < frame_only else 2
            taken[frame] = step
            cost[frame] = (both, token_only, frame_only)[step] - value
        above = cost
        steps.append(taken)
    path, token, frame = [], tokens, frames
    while token > 0 and frame > 0:
        path.append((token - 1, frame - 1))
        step = steps[token][frame]
        token, frame = token - (step != 2), frame - (step != 1)
    return path[::-1]


def aligned(
    path: Iterable[tuple[int, int]],
    groups: Iterable[tuple[str, Sequence[int]]],
    probabilities: Sequence[float],
    *,
    first: int,
    samples: int,
    start: MediaTime,
) -> list[Piece]:
    """Pieces of text with their times.

    `path` is the alignment, (token, frame of 20 ms) in order; `groups` are the pieces, each written and in tokens, the first of
    which is number `first` of the path and of `probabilities`; `samples` is how much audio was heard, from `start` on. A token
    starts at the first frame that it is aligned with; the ends are corrected for their bias.
    """
    end_frame = samples * 50 // RATE
    first_frame: dict[int, int] = {}
    for token, frame in path:
        first_frame.setdefault(token, max(0, min(frame, end_frame)))
    pieces = []
    position = first
    for written, group in groups:
        following = position + len(group)
        begin = MediaTime(first_frame.get(position, end_frame) * FRAME_NANOS)
        end = MediaTime(first_frame.get(following, end_frame) * FRAME_NANOS)
        certain = probabilities[position:following]
        pieces.append(
            Piece(
                written.replace("\ufffd", ""),
                start + begin,
                start + max(begin, end - END_BIAS),
                sum(certain) / len(certain) if certain else 0.0,
                tuple(group),
            )
        )
        position = following
    return pieces
