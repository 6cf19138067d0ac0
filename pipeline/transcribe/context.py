"""How much of what was said is heard again with what is new, and what leads the model besides.

A model that hears new audio alone, without the words before it, is at a loss: cutting at every pause cost 3.7 points of
word error rate. So 5 to 8 s of audio whose words are forced on it are heard again, and the text before that is a prompt: with 2 to 4 s
what was promised erred two points more; with 8 to 12 s about as much, for a sixth more (docs/log.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.timeline import MediaTime
from pipeline.transcribe.words import HeardWord, ends_sentence, written

PROMPT_WORDS = 40
"""Words of what was said before that are in the prompt: about 60 tokens, the length that was measured."""
GLOSSARY_WORDS = 60
"""Words of the glossary that are: more would take the decoder's room."""


@dataclass(frozen=True)
class Reach:
    """How much audio of known words is heard again."""

    least: MediaTime
    most: MediaTime


def beginning(words: Sequence[HeardWord], before: MediaTime | None, reach: Reach) -> MediaTime | None:
    """Where hearing begins: the start of one of the known `words`; `None` if there are none.

    It stays where it was `before`, for a window that moves changes hypotheses, until more than `most` lies behind it; then it
    leaps to a word from which `least` is left, to the start of a sentence if there is one, or else behind a comma or a gap.
    """
    if not words:
        return None
    end = words[-1].end
    if before is not None and end - before <= reach.most and any(word.start == before for word in words):
        return before
    near = [index for index, word in enumerate(words) if end - word.start <= reach.most] or [len(words) - 1]
    enough = [index for index in near if end - words[index].start >= reach.least] or near[:1]

    def fitness(index: int) -> tuple[float, int]:
        if not index:
            return 2.5, index
        last = words[index - 1]
        gap = min((words[index].start - last.end).seconds, 0.5)
        return (2.0 if ends_sentence([last]) else 1.0 if last.text.endswith((",", "、", "，")) else 0.0) + gap, index

    return words[max(enough, key=fitness)].start


def terms(glossary: Sequence[str]) -> str:
    """The first terms of the glossary, as many as there is room for, as a sentence."""
    taken, room = [], GLOSSARY_WORDS
    for term in glossary:
        room -= len(term.split())
        if room < 0:
            break
        taken.append(term)
    return f"{', '.join(taken)}." if taken else ""


def prompt(words: Sequence[HeardWord], begin: MediaTime | None) -> str:
    """The end of what of `words` was said before `begin`."""
    return written([word for word in words if begin is None or word.start < begin][-PROMPT_WORDS:])
