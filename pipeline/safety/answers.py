"""Answers judged while they are told: the last words are held back until what follows them has been judged too."""

import re
from dataclasses import dataclass

from watchword.v1.safety_pb2 import Verdict

from pipeline.safety.judge import Judge
from pipeline.safety.policy import Subject, passes

WINDOW_WORDS = 20
"""Words that are held back: no rule's phrase, nor a word spelt letter by letter, has more."""
WINDOW_CHARACTERS = 40
"""The least that is held back, for scripts without spaces."""
BEHIND_WORDS = 40
"""Told words that are judged once more with what follows, so that what began among them is found whole."""

_WORD = re.compile(r"\S+")
_SENTENCE_END = re.compile(r"[.!?…。！？]+[\"')\]”’»]*(?=\s|$)|[。！？]")


@dataclass(frozen=True)
class Ending:
    """What is left to tell when an answer is over."""

    rest: str
    """What may still be told, after all that was; empty where the answer is withheld."""
    verdict: Verdict
    """Of the whole answer."""


class HeldBack:
    """One answer on its way out.

    By rules alone a part is let go once `WINDOW_WORDS` follow it. Where models judge answers too, a sentence is let go once
    they have judged all up to its end, so the first words wait for the first sentence and its judgement.
    """

    def __init__(self, judge: Judge, stream_id: str, *, question: str = "") -> None:
        self._judge = judge
        self._question = question
        self._stream_id = stream_id
        self._by_sentence = judge.hears(Subject.ANSWER, stream_id=stream_id)
        self._text = ""
        self._told = 0
        self._withheld: Verdict | None = None

    @property
    def withheld(self) -> Verdict | None:
        """The verdict for which nothing more is told; `None` as long as there is none."""
        return self._withheld

    async def add(self, part: str) -> str:
        """Take the next part in; what may now be told, which may be nothing."""
        self._text += part
        if self._withheld is not None:
            return ""
        return await self._sentences() if self._by_sentence else self._words()

    async def end(self) -> Ending:
        """The answer is over."""
        judged = await self._judge.whole_text(self._text, stream_id=self._stream_id, subject=Subject.ANSWER, question=self._question)
        verdict = self._withheld or judged.verdict
        if not passes(verdict):
            self._withheld = verdict
            return Ending("", verdict)
        # What was told was masked by the same rules: they look back further than any of their phrases reaches.
        return Ending(judged.text[self._told :], verdict)

    def _words(self) -> str:
        words = [found.start() for found in _WORD.finditer(self._text, self._told)]
        if len(words) <= WINDOW_WORDS:
            return ""
        return self._let_go(min(words[-WINDOW_WORDS], len(self._text) - WINDOW_CHARACTERS))

    async def _sentences(self) -> str:
        ends = [found.end() for found in _SENTENCE_END.finditer(self._text, self._told)]
        # A sign at the very end may go on, as in "3.5".
        ends = [end for end in ends if end < len(self._text)]
        if not ends:
            return ""
        judged = await self._judge.whole_text(
            self._text[: ends[-1]], stream_id=self._stream_id, subject=Subject.ANSWER, question=self._question
        )
        if not passes(judged.verdict):
            self._withheld = judged.verdict
            return ""
        told, self._told = judged.text[self._told :], ends[-1]
        return told

    def _let_go(self, until: int) -> str:
        behind = [found.start() for found in _WORD.finditer(self._text, 0, self._told)][-BEHIND_WORDS:]
        start = behind[0] if behind else 0
        judged = self._judge.text(self._text[start:], stream_id=self._stream_id, subject=Subject.ANSWER)
        if not passes(judged.verdict):
            self._withheld = judged.verdict
            return ""
        for redaction in judged.verdict.redactions:
            if start + redaction.start < until < start + redaction.end:
                until = start + redaction.start
        if until <= self._told:
            return ""
        told = judged.text[self._told - start : until - start]
        self._told = until
        return told
