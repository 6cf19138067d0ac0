"""Where there is speech, and what to do next about it. No clock, no I/O: only audio counts.

Times are absolute sample numbers at 16 kHz. Speech probabilities come in frames of 512 samples (32 ms). Thresholds of the
detector follow its authors (Silero VAD, `get_speech_timestamps`: start at 0.5, end 0.15 below); what is derived from
measurements says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

RATE = 16_000
"""Samples per second."""
FRAME = 512
"""Samples of one frame of the speech detector."""


@dataclass(frozen=True)
class Rules:
    """Lengths in samples unless said otherwise."""

    onset: float = 0.5
    """Probability at which speech starts."""
    offset: float = 0.35
    """Probability below which it ends."""
    minimum_speech: int = RATE // 4
    """Shorter speech starts no segment: 130 ms of laughter at over 0.5 made a model invent words, 250 ms did not."""
    pre_roll: int = RATE * 3 // 10
    """A segment starts this long before detected speech, for soft first sounds: with 0.24 s one in two shifts of a clip made other
    words of its first phrase."""
    post_roll: int = RATE // 5
    """A segment ends at least this long after detected speech."""
    window: int = RATE * 6 // 5
    """While nothing is remembered the detector hears this much of the latest audio from a fresh state, so that nothing older matters."""
    step: int = RATE * 7 // 10
    """A segment is heard again when it is longer by this."""
    pause: int = RATE // 2
    """Silence that closes a segment."""
    close: int = RATE * 5 // 2
    """From this length on a segment of running speech is closed at the end of a sentence."""
    again: int = RATE * 7 // 5
    """How long after an attempt to close a segment the next one is made."""
    longest: int = RATE * 6
    """From this length on a segment is closed between any two words."""
    on_trial: bool = True
    """Whether a segment is heard quickly to see if it can be closed, before it is heard for its final."""
    known: tuple[int, int] = (RATE * 5, RATE * 8)
    """How much audio of known words is heard again, at least and at most (`pipeline.transcribe.context`). With a segment of `RULES` it
    fits into a window of 15 s: with more, streams share no batch, and eight fell behind."""
    hold: int = RATE * 3
    """Silence after which nothing earlier is remembered. Forgetting at every pause cost 3.7 points of word error rate."""
    remember: int = RATE * 45
    """How long what was said is remembered: at the first pause after that, everything is forgotten."""
    remember_at_most: int = RATE * 75
    """Where there is no pause, everything is forgotten here, where it is quietest."""
    quiet: float = 0.05
    """It is taken to be between two words where the power is below this share of the mean (-13 dB)."""
    bridged: int = RATE * 3 // 5
    """So much lost sound is taken for silence, a chunk of the longest and a little more; where more is lost everything is forgotten."""
    unheard: int = RATE
    """This much speech after the last word of a hypothesis means that the model stopped early, and the rest is heard again."""


RULES = Rules()
"""For captions that someone is waiting for."""
UNHURRIED = Rules(close=RATE * 10, again=RATE * 4, longest=RATE * 18, on_trial=False)
"""For finals alone: longer segments are heard fewer times, and are a little more often right."""


@dataclass(frozen=True)
class Stretch:
    """Speech from one sample up to, not including, another."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """In samples."""
        return self.end - self.start


class Speech:
    """Where there is speech, with hysteresis: it starts at `onset` and lasts while the probability is not below `offset`."""

    def __init__(self, start: int, rules: Rules) -> None:
        """`start` is the first sample of the first frame."""
        self.heard = start
        """The sample up to which the detector has listened."""
        self._rules = rules
        self._over: list[Stretch] = []
        self._since: int | None = None

    def hear(self, probabilities: Iterable[float]) -> int:
        """Take in the frames that follow; how many of their samples are speech."""
        voiced = 0
        for probability in probabilities:
            if self._since is None and probability >= self._rules.onset:
                self._since = self.heard
            elif self._since is not None and probability < self._rules.offset:
                self._over.append(Stretch(self._since, self.heard))
                self._since = None
            self.heard += FRAME
            voiced += FRAME * (self._since is not None)
        return voiced

    def after(self, sample: int) -> list[Stretch]:
        """The stretches that end behind a sample, in order; the last one may go on."""
        every = self._over if self._since is None else [*self._over, Stretch(self._since, self.heard)]
        return [stretch for stretch in every if stretch.end > sample]

    def forget(self, sample: int) -> None:
        """Drop what ended before a sample."""
        self._over = [stretch for stretch in self._over if stretch.end > sample]


def segment_start(speech: Sequence[Stretch], closed: int, rules: Rules) -> int | None:
    """The sample at which a segment starts, given the speech after `closed`; `None` while none of it has the minimum length.

    Shorter speech just before that is part of it. A segment never starts before `closed`, where what was said last ends.
    """
    fresh = [Stretch(max(stretch.start, closed), stretch.end) for stretch in speech]
    first = next((index for index, stretch in enumerate(fresh) if stretch.length >= rules.minimum_speech), None)
    if first is None:
        return None
    while first and fresh[first].start - fresh[first - 1].end < rules.pause:
        first -= 1
    return max(closed, fresh[first].start - rules.pre_roll)


class Move(Enum):
    """What to do with an open segment now."""

    WAIT = "wait"
    STEP = "step"
    """Hear it quickly and say a partial."""
    CLOSE = "close"
    """Hear it carefully, and close what of it ends a sentence, if something does."""
    PAUSE = "pause"
    """It ends in the silence after its last speech."""


def next_move(*, now: int, start: int, stepped: int, tried: int, speech_end: int, step: int | None, rules: Rules) -> Move:
    """Decide at sample `now` about the segment that started at `start`, and whose latest speech ended at `speech_end`
    (its start, where there was none).

    It was last heard up to `stepped`, and there was last an attempt to close it at `tried`; both are its start before the
    first time. A quick hearing is due after `step` samples, `None` is never; just before a careful one it is left out.
    """
    if now - speech_end >= rules.pause:
        return Move.PAUSE
    careful = max(start + rules.close, tried + rules.again)
    if tried < start + rules.longest:
        careful = min(careful, start + rules.longest)
    if now >= careful:
        return Move.CLOSE
    if step is not None and now - stepped >= step and speech_end > stepped and careful - now > rules.step // 2:
        return Move.STEP
    return Move.WAIT


def pause_border(borders: Sequence[int], speech_end: int, rules: Rules) -> int:
    """The first of the ascending `borders` that leaves the post-roll after speech, or the last of them."""
    return next((border for border in borders if border >= speech_end + rules.post_roll), borders[-1])


def quiet_border(borders: Sequence[int], levels: Sequence[float], *, stable_end: int) -> int:
    """Where to cut running speech: the quietest of `borders` after the last stable word, the later one of equals.

    `levels` holds the power around each border, relative to the mean. If no border follows the stable words it is the last one.
    """
    allowed = [(level, -border) for border, level in zip(borders, levels, strict=True) if border >= stable_end]
    return -min(allowed)[1] if allowed else borders[-1]


def unheard_from(words_end: int, speech: Sequence[Stretch], rules: Rules) -> int | None:
    """Where to listen again when a hypothesis stops at `words_end` although speech goes on; `None` if it does not.

    A Whisper decoder sometimes ends its text at a pause within the audio: seen at a pause of 0.7 s after 5 of 13 s.
    """
    rest = [Stretch(max(stretch.start, words_end), stretch.end) for stretch in speech if stretch.end > words_end]
    if sum(stretch.length for stretch in rest) < rules.unheard:
        return None
    first = next(stretch for stretch in rest if stretch.length >= min(rules.minimum_speech, rules.unheard) or stretch is rest[-1])
    return max(words_end, first.start - rules.pre_roll)
