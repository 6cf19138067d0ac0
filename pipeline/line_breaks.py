"""Where subtitles are broken: words into cues, and a cue into lines, where a reader would pause.

Both are choices of least cost. A break costs nothing behind a sentence, little behind a clause or where the speaker rests, and
much behind a word that leans on the next one ("the", "of", "and"). A cue costs a little by itself, more where it leaves too
little time to read it. So a sentence that does not fit is parted in the middle rather than before its last word. What is
looked for follows the Netflix Timed Text Style Guide (English, "Line treatment") and the BBC Subtitle Guidelines ("Break at
natural points"); the weights were set by reading.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from unicodedata import east_asian_width

from pipeline.timeline import NANOS, MediaTime
from pipeline.transcribe.words import CLOSING, closes_sentence, written

LINE = 42
"""Characters in a line, at most, unless a single word is longer; a wide one, as of Chinese, counts twice."""
SHORTEST = MediaTime(NANOS * 5 // 6)
"""A cue stays this long at least."""
LONGEST = MediaTime(NANOS * 7)
"""And this long at most."""
READ_PER_S = 17
"""Characters that are read in a second: BBC asks for 160 to 180 words a minute, Netflix for at most 20 characters a second."""
PAUSE = MediaTime(NANOS)
"""A cue ends at a pause of this length between words."""

_CUE = 2.0
_UNFINISHED, _CLAUSE = 8.0, 3.0
"""What a break costs within a clause, and behind one."""
_RESTED, _REST_S = 4.0, 0.5
"""By how much less it costs where the speaker rests, and for how long he must to make it all of that."""
_LEANING = 6.0
_HURRY = 6.0
"""For each second that is missing to read a cue."""
_BRIEF, _BRIEF_S = 3.0, 1.0
"""For each second by which a cue is shorter than this."""
_TWO_SENTENCES, _LONG_SENTENCE_S = 4.0, 1.5
"""For two sentences in one cue, if both are this long and so could stand alone, or if the second goes on behind it."""
_UNEVEN = 1 / 8
"""For each character by which lines differ."""
_LINE = 0.6
"""What a break between lines costs, as a share of one between cues."""

_CLAUSES = (",", ";", ":", "–", "—", "、", "，", "；", "：")
_LEANS = frozenset(
    "a an the of to in on at by for from with into onto over under about as than and or but nor if that which who whose because "  # noqa: SIM905
    "my your his her its our their this these those no not very so is are was were be been am has have had do does did will would can "
    "could shall should may might must i he she we they you it there who's it's "
    "der die das den dem des ein eine einen einem einer und oder mit von zu im am auf für ist sind war nicht ich er sie wir "
    "le la les un une de du et ou à dans pour que qui ne je il elle nous vous est sont "
    "el los las y con por para en su sus es o os as um uma e com não do da dos das lo gli della di che и в на с не что".split()
)
"""Words that belong to the one after them, in the languages that are heard most."""


@dataclass(frozen=True)
class Timed:
    """A word with its time."""

    text: str
    start: MediaTime
    end: MediaTime
    glued: bool = False
    """Whether no space stands before it."""


def cues(words: Sequence[Timed]) -> list[Sequence[Timed]]:
    """The words of a track apart, in order of time: in each part those that stand on the screen together."""
    found: list[Sequence[Timed]] = []
    for run in _runs(words):
        found += _Run(run).cues()
    return found


def lines(words: Sequence[Timed]) -> tuple[str, ...]:
    """A cue's words in one line, or in two if they need it; a word that is longer than a line, and what fits nowhere, in one."""
    at = _Run(words).line_break(0, len(words))
    return (written(words[:at]), written(words[at:])) if at else (written(words),)


def width(text: str) -> int:
    """How many characters wide a text is."""
    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)


def _runs(words: Sequence[Timed]) -> Iterator[Sequence[Timed]]:
    """What is said without a pause."""
    begin = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or words[index].start - words[index - 1].end >= PAUSE:
            yield words[begin:index]
            begin = index


class _Run:
    """Words in a row, and what it costs to break them; positions are numbers of words."""

    def __init__(self, words: Sequence[Timed]) -> None:
        self._words = words
        spaces = [0 if word.glued else 1 for word in words]
        self._spaces = spaces
        self._edges = [0, *accumulate(space + width(word.text) for space, word in zip(spaces, words, strict=True))]
        self._costs = [0.0, *(_break_cost(last, following) for last, following in pairwise(words))]
        """What a break before each word costs."""
        self._sentences = {index for index in range(1, len(words)) if closes_sentence(words[index - 1].text, words[index].text)}

    def cues(self) -> list[Sequence[Timed]]:
        """The run apart, at the least cost (dynamic programming over where the last cue begins)."""
        count = len(self._words)
        best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * count
        for begin in range(count):
            for end in range(begin + 1, count + 1):
                if end > begin + 1 and not self._has_room(begin, end):
                    break
                cost = best[begin][0] + self._cost(begin, end)
                if cost <= best[end][0]:
                    best[end] = cost, begin
        found = []
        end = count
        while end:
            begin = best[end][1]
            found.append(self._words[begin:end])
            end = begin
        return found[::-1]

    def line_break(self, begin: int, end: int) -> int | None:
        """Before which of the words from `begin` up to `end` a new line begins; `None` if they fit in one, or in no two."""
        if self._width(begin, end) <= LINE:
            return None
        return min(
            (at for at in range(begin + 1, end) if max(self._width(begin, at), self._width(at, end)) <= LINE),
            key=lambda at: self._line_cost(begin, at, end),
            default=None,
        )

    def _has_room(self, begin: int, end: int) -> bool:
        """Whether the words may stand together, or might with others left away behind them."""
        return self._words[end - 1].end - self._words[begin].start <= LONGEST and self._width(begin, end) <= 2 * LINE + 1

    def _width(self, begin: int, end: int) -> int:
        return self._edges[end] - self._edges[begin] - self._spaces[begin]

    def _cost(self, begin: int, end: int) -> float:
        """What it costs to show these words together; infinite if they fit in no two lines."""
        words, last = self._words, end == len(self._words)
        wide = self._width(begin, end)
        cost = _CUE + (0.0 if last else self._costs[end])
        if wide > LINE and end > begin + 1:
            at = self.line_break(begin, end)
            if at is None:
                return float("inf")
            cost += self._line_cost(begin, at, end)
        start, over = words[begin].start, words[end - 1].end
        shown_s = ((over + PAUSE if last else words[end].start) - start).seconds
        cost += _HURRY * max(0.0, max(SHORTEST.seconds, wide / READ_PER_S) - shown_s)
        cost += _BRIEF * max(0.0, _BRIEF_S - (over - start).seconds)
        whole = last or end in self._sentences
        for at in range(begin + 1, end):
            if at in self._sentences:
                shorter_s = min((words[at - 1].end - start).seconds, (over - words[at].start).seconds)
                cost += _TWO_SENTENCES if shorter_s >= _LONG_SENTENCE_S or not whole else 0.0
        return cost

    def _line_cost(self, begin: int, at: int, end: int) -> float:
        """Of two equals the one with the longer lower line, as a pyramid is read more easily."""
        upper, lower = self._width(begin, at), self._width(at, end)
        return _UNEVEN * abs(upper - lower) + _LINE * self._costs[at] + 0.001 * (upper > lower)


def _break_cost(last: Timed, following: Timed) -> float:
    """What it costs to break between two words."""
    if closes_sentence(last.text, following.text):
        return 0.0
    bare = last.text.rstrip(CLOSING)
    clause = bare.endswith(_CLAUSES)
    cost = _CLAUSE if clause else _UNFINISHED
    rest_s = min(max((following.start - last.end).seconds, 0.0), _REST_S)
    leaning = _LEANING if not clause and bare.lower() in _LEANS else 0.0
    return max(0.0, cost - _RESTED * rest_s / _REST_S) + leaning
