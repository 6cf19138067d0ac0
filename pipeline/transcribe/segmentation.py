"""Where a segment of speech starts and ends, and when it is listened to again. No clock, no I/O: only audio counts.

Times are in samples at 16 kHz. Speech probabilities come in frames of 512 samples (32 ms); positions are relative to the
first frame. Thresholds of the detector follow its authors (Silero VAD, `get_speech_timestamps`: start at 0.5, end 0.15
below); what is derived from measurements says so.
"""

from collections.abc import Sequence
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
    pre_roll: int = RATE * 24 // 100
    """A segment starts this long before detected speech, for soft first sounds."""
    post_roll: int = RATE // 5
    """A segment ends at least this long after detected speech."""
    window: int = RATE * 6 // 5
    """In silence the detector hears this much of the latest audio from a fresh state, so that nothing older matters."""
    step: int = RATE
    """A segment is heard again when it is longer by this."""
    pause: int = RATE * 3 // 5
    """Silence that ends a segment."""
    long: int = RATE * 8
    """A segment of this length also ends at `short_pause` after a sentence."""
    very_long: int = RATE * 12
    """A segment of this length also ends at `short_pause` anywhere, or between two words."""
    short_pause: int = RATE * 3 // 10
    quiet: float = 0.05
    """It is taken to be between two words where the power is below this share of the mean (-13 dB)."""
    unheard: int = RATE
    """This much speech after the last word of a hypothesis means that the model stopped early, and the rest is heard again."""
    maximum: int = RATE * 18
    """A segment of this length ends wherever it is quietest since its last stable word."""


RULES = Rules()
"""What the stage goes by unless it is told otherwise."""


@dataclass(frozen=True)
class Stretch:
    """Speech from one sample up to, not including, another."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """In samples."""
        return self.end - self.start


def stretches(probabilities: Sequence[float], rules: Rules) -> list[Stretch]:
    """Where there is speech, with hysteresis: it starts at `onset` and lasts while the probability is not below `offset`."""
    found: list[Stretch] = []
    start: int | None = None
    for frame, probability in enumerate(probabilities):
        if start is None and probability >= rules.onset:
            start = frame * FRAME
        elif start is not None and probability < rules.offset:
            found.append(Stretch(start, frame * FRAME))
            start = None
    if start is not None:
        found.append(Stretch(start, len(probabilities) * FRAME))
    return found


def segment_start(speech: Sequence[Stretch], rules: Rules) -> int | None:
    """The sample at which a segment starts; `None` while there is no speech of the minimum length."""
    if not any(stretch.length >= rules.minimum_speech for stretch in speech):
        return None
    return max(0, speech[0].start - rules.pre_roll)


class Move(Enum):
    """What to do with an open segment now."""

    WAIT = "wait"
    STEP = "step"
    """Hear it again and say a partial."""
    PAUSE = "pause"
    """It ends in the silence after its last speech."""
    CUT = "cut"
    """It ends although speech goes on, if there is a place."""


def next_move(*, now: int, start: int, stepped: int, speech: Sequence[Stretch], sentence_ended: bool, rules: Rules) -> Move:
    """Decide at sample `now` about the segment that started at `start` and was last heard up to `stepped`.

    `stepped` is the start of its speech before the first time. `sentence_ended` tells whether the words so far end a sentence.
    """
    last = speech[-1].end if speech else start
    silence, length = now - last, now - start
    pause = rules.pause
    if length >= rules.very_long or (length >= rules.long and sentence_ended):
        pause = rules.short_pause
    if silence >= pause:
        return Move.PAUSE
    if now - stepped >= rules.step and last > stepped and length < rules.maximum:
        return Move.STEP
    return Move.CUT if length >= rules.very_long else Move.WAIT


def pause_border(borders: Sequence[int], speech_end: int, rules: Rules) -> int:
    """The first of the ascending `borders` that leaves the post-roll after speech, or the last of them."""
    return next((border for border in borders if border >= speech_end + rules.post_roll), borders[-1])


def cut_border(borders: Sequence[int], levels: Sequence[float], *, stable_end: int, longest: bool, rules: Rules) -> int | None:
    """Where to cut running speech: the quietest of `borders` after the last stable word, the later one of equals.

    `levels` holds the power around each border, relative to the mean. Unless the segment is at its `longest`, only a place
    between two words will do, and `None` says that there is none. If no border follows the stable words it is the last one.
    """
    allowed = [(level, -border) for border, level in zip(borders, levels, strict=True) if border >= stable_end]
    if longest:
        return -min(allowed)[1] if allowed else borders[-1]
    quiet = [entry for entry in allowed if entry[0] <= rules.quiet]
    return -min(quiet)[1] if quiet else None


def unheard_from(words_end: int, speech: Sequence[Stretch], rules: Rules) -> int | None:
    """Where to listen again when a hypothesis stops at `words_end` although speech goes on; `None` if it does not.

    A Whisper decoder sometimes ends its text at a pause within the audio: seen at a pause of 0.7 s after 5 of 13 s.
    """
    rest = [Stretch(max(stretch.start, words_end), stretch.end) for stretch in speech if stretch.end > words_end]
    if sum(stretch.length for stretch in rest) < rules.unheard:
        return None
    first = next(stretch for stretch in rest if stretch.length >= min(rules.minimum_speech, rules.unheard) or stretch is rest[-1])
    return max(words_end, first.start - rules.pre_roll)
