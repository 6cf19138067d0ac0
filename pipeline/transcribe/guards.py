"""Rules against invented text: what a speech model writes where nobody speaks, or when it cannot stop.

The limits are those of docs and measurements of Whisper: the no-speech rule is OpenAI's (`whisper/transcribe.py`,
`no_speech_threshold` and `logprob_threshold`); the lengths of loops were found on LibriSpeech, where a model repeated up to
32 tokens and two hypotheses in a row agreed on it, so agreement alone is no guard.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.words import HeardWord, Hypothesis, written

SILENCE = 0.8
"""A hypothesis with a no-speech probability above this is refused. Of noisy speech the highest was 0.43, of 30 sounds that are no
speech two thirds were above it."""
NO_SPEECH = 0.6
"""A hypothesis whose no-speech probability is above this and whose log probability is below `POOR` is refused."""
POOR = -1.0
"""Mean log probability of a token below which a hypothesis is poor."""
FASTEST = 6.0
"""Words in a second of speech; nobody speaks faster for long."""
SLOWEST = 0.8
"""Words in a second of speech, pauses left out; where a model writes fewer it has missed some."""
MARGIN = MediaTime(NANOS * 3 // 10)
"""How far from detected speech a word may lie: alignment is off by up to this."""
LEAD = MediaTime(NANOS // 5)
"""How long before detected speech a word may start."""
DOUBTFUL_SPEECH, DOUBTFUL_WORDS = 0.3, -0.5
"""No-speech probability above which, and log probability below which, stock phrases are refused: said aloud, they are clear."""
STOCK = frozenset(
    [
        "you",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks for watching",
        "thank you for watching",
        "thank you so much for watching",
        "please subscribe",
        "subscribe to my channel",
        "ill see you in the next video",
        "ill see you in the next one",
        "see you next time",
        "bye",
        "bye bye",
        "oh",
        "okay",
        "mm",
        "hmm",
        "ah",
        "vielen dank",
        "vielen dank fürs zuschauen",
        "untertitel der amaraorg community",
        "untertitelung des zdf",
        "sous titres réalisés par la communauté damaraorg",
        "merci davoir regardé cette vidéo",
        "gracias por ver el video",
        "subtítulos realizados por la comunidad de amaraorg",
        "obrigado por assistir",
        "legendas pela comunidade amaraorg",
        "sottotitoli creati dalla comunità amaraorg",
        "продолжение следует",
        "спасибо за просмотр",
        "субтитры сделал dimatorzok",
        "ご視聴ありがとうございました",
        "チャンネル登録お願いします",
        "字幕由amaraorg社区提供",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
    ]
)
"""What Whisper models write over music, applause and silence: ends of the subtitles that they were trained on, and sighs."""
CRY = 2
"""Where no more words are left of a loop, and it is not clear that anyone speaks, it was laughter or the like, and none is left."""
LONGEST_LOOP = 24
"""Words in the longest repeated phrase that is looked for."""


@dataclass(frozen=True)
class Span:
    """A stretch of media time."""

    start: MediaTime
    end: MediaTime


@dataclass(frozen=True)
class Admitted:
    """The words that passed, and how many did not, by reason."""

    words: tuple[HeardWord, ...] = ()
    refused: dict[str, int] = field(default_factory=dict)


def admit(hypothesis: Hypothesis, heard: Span, speech: Sequence[Span]) -> Admitted:
    """Leave out what cannot have been said in the audio `heard`, in which the detector found `speech`.

    Reasons: `no_speech` (the model itself doubts that anyone speaks), `stock` (nothing but what it writes over music, and not
    clear), `too_fast`, `outside` (beyond the audio or far from speech), `loop` (a phrase again and again, or a syllable within a
    word). Words that stay keep their order; times are cut to the audio and never run backwards.
    """
    words = hypothesis.words
    if not words:
        return Admitted()
    silence, likelihood = hypothesis.no_speech_probability, hypothesis.average_log_probability
    if silence > SILENCE or (silence > NO_SPEECH and likelihood < POOR):
        return Admitted(refused={"no_speech": len(words)})
    if (silence > DOUBTFUL_SPEECH or likelihood < DOUBTFUL_WORDS) and is_stock(words):
        return Admitted(refused={"stock": len(words)})
    refused = {}
    near = tuple(word for word in words if _is_near(word, heard, speech))
    if len(near) < len(words):
        refused["outside"] = len(words) - len(near)
    stutter = next((index for index, word in enumerate(near) if is_stutter(word)), len(near))
    kept = near[: min(stutter, loop_start([word.spoken for word in near], ran_on=hypothesis.ran_on, short=_are_short(near)))]
    if len(kept) < len(near):
        if len(kept) <= CRY and silence > DOUBTFUL_SPEECH:
            kept = ()
        refused["loop"] = len(near) - len(kept)
    spoken_s = sum((span.end - span.start).seconds for span in speech)
    if amount(kept) > max(3.0, FASTEST * (spoken_s + 0.5)):
        refused["too_fast"] = len(kept)
        kept = ()
    return Admitted(_in_order(kept, heard, speech), refused)


def is_stock(words: Sequence[HeardWord]) -> bool:
    """Whether the words are nothing but stock phrases, one after another."""
    spoken = re.sub(r"[^\w\s-]", "", written(words).lower()).replace("-", " ").split()
    covered = [True] + [False] * len(spoken)
    for end in range(1, len(spoken) + 1):
        covered[end] = any(covered[start] and " ".join(spoken[start:end]) in STOCK for start in range(max(0, end - 8), end))
    return covered[-1]


def is_stutter(word: HeardWord) -> bool:
    """Whether the word is one to three letters four times or more, such as a model makes of laughter: "T-T-T-T"."""
    return re.fullmatch(r"([^\W\d]{1,3})\1{3,}\w{0,2}", word.spoken) is not None


def is_looping(hypothesis: Hypothesis) -> bool:
    """Whether the model says the same again and again, or could not stop."""
    spoken = [word.spoken for word in hypothesis.words]
    loops = loop_start(spoken, short=_are_short(hypothesis.words)) < len(spoken)
    return hypothesis.ran_on or loops or any(map(is_stutter, hypothesis.words))


def amount(words: Sequence[HeardWord]) -> float:
    """How many words they come to: where no spaces are written, a character or two are half a word."""
    return sum(0.5 if word.glued else 1.0 for word in words)


def loop_start(words: Sequence[str], *, ran_on: bool = False, short: bool = False) -> int:
    """Index at which a phrase starts to be said again and again up to the end; the number of words if none is.

    A phrase of five words or more loops at its second time, one of two to four at its third, a single word at its fourth. In a
    hypothesis that `ran_on` a phrase of any length loops at its second time, a single word at its third, and need not reach the end.
    Words that are `short`, a character or two, loop at twice these lengths and one time later.
    """
    for length in range(1, min(LONGEST_LOOP, len(words) // 2) + 1):
        times = 4 if length <= 1 + short else 3 if length < 5 * (1 + short) else 2
        times += short
        times -= ran_on and times > 2
        for first in range(len(words) - length * times + 1):
            end = first + length
            while end < len(words) and words[end] == words[end - length]:
                end += 1
            if end - first >= length * times and (ran_on or end == len(words)):
                return first + length
    return len(words)


def _are_short(words: Sequence[HeardWord]) -> bool:
    return sum(word.glued for word in words) > len(words) / 2


def _is_near(word: HeardWord, heard: Span, speech: Sequence[Span]) -> bool:
    if word.start >= heard.end or word.end <= heard.start:
        return False
    return any(word.start < span.end + MARGIN and word.end > span.start - MARGIN for span in speech)


def _in_order(words: Sequence[HeardWord], heard: Span, speech: Sequence[Span]) -> tuple[HeardWord, ...]:
    ordered = []
    earliest = heard.start
    for word in words:
        start = min(max(_onset(word, speech), earliest), heard.end)
        end = min(max(word.end, start), heard.end)
        ordered.append(replace(word, start=start, end=end))
        earliest = end
    return tuple(ordered)


def _onset(word: HeardWord, speech: Sequence[Span]) -> MediaTime:
    """The word's start, but not in the silence before it: alignment gives silence to the word that follows."""
    first = next((span for span in speech if span.end > word.start + LEAD), None)
    if first is not None and word.start < first.start - LEAD < word.end:
        return first.start - LEAD
    return word.start
