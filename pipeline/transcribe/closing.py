"""Where a segment of running speech is closed: at the end of a sentence, or else where it hurts least."""

from collections.abc import Sequence

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.words import HeardWord, ends_sentence

FOLLOWED = MediaTime(NANOS * 6 // 10)
"""How much audio must follow the last word: what a model makes of a word changes with what comes after it."""
SHORTEST = MediaTime(NANOS * 2)
"""A sentence that ends this soon is left in one segment with the next."""


def place(words: Sequence[HeardWord], promised: int, *, start: MediaTime, now: MediaTime, must: bool) -> int | None:
    """How many of the segment's `words` its final has, or `None` if it is not closed yet.

    The first `promised` of them say what was promised, and a final has them all. The segment began at `start` and was heard up
    to `now`; a model ends whatever it hears with a full stop, so only a sentence that something follows counts. `must` tells
    that the segment is too long: it is then closed behind the widest gap, or a comma, where enough follows; or at least behind
    what was promised, or with all that was heard.
    """
    allowed = [count for count in range(max(promised, 1), len(words)) if now - words[count - 1].end >= FOLLOWED]
    ends = [count for count in allowed if words[count - 1].end - start >= SHORTEST and ends_sentence(words[:count])]
    if ends:
        return ends[-1]
    if not must:
        return None
    if not allowed:
        return (promised if 0 < promised <= len(words) else len(words)) or None

    def fitness(count: int) -> float:
        gap = min((words[count].start - words[count - 1].end).seconds, 0.5)
        return 4 * gap + (1.0 if words[count - 1].text.endswith((",", ";", ":", "、", "，", "；", "：")) else 0.0)

    return max(allowed, key=lambda count: (fitness(count), count))


def border(words: Sequence[HeardWord], count: int) -> MediaTime:
    """The middle between the last of the first `count` words and the next one."""
    end = words[count - 1].end
    return MediaTime((end.nanos + words[count].start.nanos) // 2) if count < len(words) else end
