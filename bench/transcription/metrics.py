"""The measures of live captions, computed from what was on the screen and when; every system hands in the same `Display`s.

A system shows a *passage* of words several times. Its *promised* words are the leading ones that it says it will not take
back, the *tentative* ones may change, and a `final` display closes the passage. Passages come one after another in the order
in which they were first shown. A passage that is never closed is final as far as it was promised: so an append-only system
needs one passage and no final.

Two texts are judged. The *promised* text is what a reader has who takes each word as soon as it is promised and never looks
back; the *final* text is what remains in the end. Words are compared without case and punctuation, except for the word error
rate, which uses Whisper's English normalisation (Radford et al. 2022, appendix C) and jiwer's alignment, one a session.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jiwer
import numpy as np
from whisper.normalizers import EnglishTextNormalizer

LOOKAHEAD = 20
"""How many words a passage may have skipped, at most, when what is shown is compared with what it became."""
TIERS = ("first", "good", "promised", "final")


@dataclass(frozen=True)
class Word:
    """A word as written; `None` where a system tells no time. Seconds from the audio's start."""

    text: str
    start_s: float | None = None
    end_s: float | None = None


@dataclass(frozen=True)
class Display:
    """One passage as it is on the screen from `at_s` on, in seconds of the system's clock counted from the audio's start."""

    at_s: float
    promised: tuple[Word, ...] = ()
    tentative: tuple[Word, ...] = ()
    final: bool = False
    """Whether this closes the passage; `promised` is then all of it."""
    passage: str = ""

    @property
    def words(self) -> tuple[Word, ...]:
        """All that is shown of the passage; marks that stand alone are no words."""
        return tuple(word for word in self.promised + self.tentative if key(word))

    @property
    def kept(self) -> tuple[Word, ...]:
        """The promised words, without marks that stand alone."""
        return tuple(word for word in self.promised if key(word))

    def to_json(self) -> dict[str, Any]:
        """As a line of a recording."""
        return {
            "at_s": round(self.at_s, 4),
            "promised": [[word.text, word.start_s, word.end_s] for word in self.promised],
            "tentative": [[word.text, word.start_s, word.end_s] for word in self.tentative],
            "final": self.final,
            "passage": self.passage,
        }

    @classmethod
    def from_json(cls, line: dict[str, Any]) -> "Display":
        """The display that `to_json` wrote, or that a peer's runner printed."""
        promised, tentative = (tuple(Word(*word) for word in line.get(name, ())) for name in ("promised", "tentative"))
        return cls(line["at_s"], promised, tentative, line.get("final", False), line.get("passage", ""))


@dataclass(frozen=True)
class Run:
    """What one system did with one session."""

    displays: tuple[Display, ...]
    cpu_s: float
    """Processor seconds, without loading the model."""
    audio_s: float
    lost_s: float = 0.0
    """Seconds for which it wanted a processor and got none, and for which its clock stood still."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of what it runs on, where that is not installed here."""


@dataclass(frozen=True)
class Truth:
    """What was said; `words` is empty where no times are known. No transcript means that nothing was said."""

    transcript: str
    words: tuple[Word, ...] = ()


@dataclass
class Errors:
    """Substitutions, deletions and insertions against a reference of `words` words."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    words: int = 0

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.words + other.words,
        )

    @property
    def rate(self) -> float | None:
        """Errors a word; `None` where the reference is empty."""
        return (self.substitutions + self.deletions + self.insertions) / self.words if self.words else None


@dataclass
class Score:
    """The measures of one session, or of several added up."""

    promised: Errors = field(default_factory=Errors)
    final: Errors = field(default_factory=Errors)
    latencies: dict[str, list[float]] = field(default_factory=lambda: {tier: [] for tier in TIERS})
    """Seconds from a word's true end until it was first on the screen, there for good, promised, final; matched words only."""
    quarters: list[list[float]] = field(default_factory=lambda: [[], [], [], []])
    """The latencies of promised words by the quarter of the session in which they were said."""
    first_words: list[float] = field(default_factory=list)
    """Seconds from the end of a session's first true word until any word was on the screen."""
    end_errors: list[float] = field(default_factory=list)
    """Seconds by which the end that was told for a matched final word lies after the true one."""
    erased: int = 0
    """Words that an update took off the screen or moved, added up (Arivazhagan et al. 2020)."""
    shown_words: int = 0
    """Words on the screen in the end."""
    corrections: int = 0
    """Edits that led from promised words to final ones."""
    final_words: int = 0
    invented: int = 0
    """Final words of sessions in which nothing is said."""
    flashed: int = 0
    """Most words that were on the screen at once in sessions in which nothing is said."""
    cpu_s: float = 0.0
    audio_s: float = 0.0

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.promised + other.promised,
            self.final + other.final,
            {tier: self.latencies[tier] + other.latencies[tier] for tier in TIERS},
            [mine + theirs for mine, theirs in zip(self.quarters, other.quarters, strict=True)],
            self.first_words + other.first_words,
            self.end_errors + other.end_errors,
            self.erased + other.erased,
            self.shown_words + other.shown_words,
            self.corrections + other.corrections,
            self.final_words + other.final_words,
            self.invented + other.invented,
            self.flashed + other.flashed,
            self.cpu_s + other.cpu_s,
            self.audio_s + other.audio_s,
        )

    def figures(self) -> dict[str, float | None]:
        """Named figures; `None` for what could not be measured. Seconds, and shares of 1."""
        ends = np.array(self.end_errors)
        found: dict[str, float | None] = {"wer_promised": self.promised.rate, "wer_final": self.final.rate}
        for tier in TIERS:
            values = self.latencies[tier]
            found[f"{tier}_mean"] = float(np.mean(values)) if values else None
            found[f"{tier}_p95"] = float(np.percentile(values, 95)) if values else None
        found["erasure"] = self.erased / self.shown_words if self.shown_words else None
        found["corrected"] = self.corrections / self.final_words if self.final_words else None
        found["end_error_mean_abs"] = float(np.mean(np.abs(ends))) if len(ends) else None
        found["end_error_bias"] = float(np.mean(ends)) if len(ends) else None
        found["real_time_factor"] = self.cpu_s / self.audio_s if self.audio_s else None
        found["first_word"] = float(np.mean(self.first_words)) if self.first_words else None
        first, last = self.quarters[0], self.quarters[-1]
        found["lag_growth"] = float(np.mean(last) - np.mean(first)) if first and last else None
        return found


@dataclass(frozen=True)
class Told:
    """A word of one of the two texts, and when it came to be there."""

    word: Word
    at_s: float
    first_s: float | None = None
    good_s: float | None = None


def score(run: Run, truth: Truth) -> Score:
    """The measures of one session."""
    passages: dict[str, list[Display]] = {}
    for display in run.displays:
        passages.setdefault(display.passage, []).append(display)
    result = Score(cpu_s=run.cpu_s, audio_s=run.audio_s)
    promised: list[Told] = []
    final: list[Told] = []
    for displays in passages.values():
        early, late, corrections = texts(displays)
        promised += early
        final += late
        result.corrections += corrections
    result.final_words = len(final)
    result.erased, result.shown_words, most = erasure(run.displays)
    if not truth.transcript.strip():
        result.invented, result.flashed = len(final), most
        return result
    result.promised = errors(truth.transcript, promised)
    result.final = errors(truth.transcript, final)
    for told, true in matched(promised, truth.words):
        if true.end_s is not None:
            result.latencies["promised"].append(told.at_s - true.end_s)
            result.quarters[min(int(4 * true.end_s / run.audio_s), 3)].append(told.at_s - true.end_s)
    for told, true in matched(final, truth.words):
        if true.end_s is None:
            continue
        for tier, at_s in (("first", told.first_s), ("good", told.good_s), ("final", told.at_s)):
            assert at_s is not None
            result.latencies[tier].append(at_s - true.end_s)
        if told.word.end_s is not None:
            result.end_errors.append(told.word.end_s - true.end_s)
    shown = next((display.at_s for display in run.displays if display.words), None)
    if shown is not None and truth.words and truth.words[0].end_s is not None:
        result.first_words.append(shown - truth.words[0].end_s)
    return result


def texts(displays: Sequence[Display]) -> tuple[list[Told], list[Told], int]:
    """A passage's promised text, its final text, and how many edits lead from what partials promised to the final."""
    closed = displays[-1].final
    final = displays[-1].kept
    keys = [key(word) for word in final]
    first_s, good_s = appearances([(display.at_s, [key(word) for word in display.words]) for display in displays], keys)
    _, kept_s = appearances([(display.at_s, [key(word) for word in display.kept]) for display in displays], keys)
    late = [
        Told(word, displays[-1].at_s if closed else kept, first, good)
        for word, kept, first, good in zip(final, kept_s, first_s, good_s, strict=True)
    ]
    early: list[Told] = []
    for display in displays[:-1] if closed else displays:
        early += [Told(word, display.at_s) for word in display.kept[len(early) :]]
    edits, _, taken = align_start([key(told.word) for told in early], keys)
    # What was never promised before the final is promised by it.
    return early + late[taken:], late, edits


def appearances(views: Sequence[tuple[float, Sequence[str]]], target: Sequence[str]) -> tuple[list[float], list[float]]:
    """For each word of `target`, when it first was in view at its place, and since when it always was; the last view has all."""
    first: list[float | None] = [None] * len(target)
    good: list[float | None] = [None] * len(target)
    for at_s, shown in views:
        _, pairs, _ = align_start(shown, target)
        there = {place for _, place in pairs}
        for place in range(len(target)):
            if place not in there:
                good[place] = None
                continue
            first[place] = at_s if first[place] is None else first[place]
            good[place] = at_s if good[place] is None else good[place]
    last_s = views[-1][0]
    return [last_s if at_s is None else at_s for at_s in first], [last_s if at_s is None else at_s for at_s in good]


def erasure(displays: Iterable[Display]) -> tuple[int, int, int]:
    """Words erased over all updates of the whole screen, words on it in the end, and most words at once.

    An update of n words that leaves the first k of the m before as they were erases m - k. What is shown at one and the same
    time is one update.
    """
    screen: dict[str, list[str]] = {}
    before: list[str] = []
    erased = most = 0
    listed = list(displays)
    for number, display in enumerate(listed):
        screen[display.passage] = [key(word) for word in display.words]
        if number + 1 < len(listed) and listed[number + 1].at_s == display.at_s:
            continue
        now = [word for passage in screen.values() for word in passage]
        erased += len(before) - common_start(before, now)
        before, most = now, max(most, len(now))
    return erased, len(before), most


def errors(reference: str, told: Sequence[Told]) -> Errors:
    """Word errors after Whisper's English normalisation of both sides."""
    normalise = _normaliser()
    wanted, given = normalise(reference), normalise(" ".join(entry.word.text for entry in told))
    if not given:
        return Errors(deletions=len(wanted.split()), words=len(wanted.split()))
    result = jiwer.process_words(wanted, given)
    return Errors(result.substitutions, result.deletions, result.insertions, len(wanted.split()))


def matched(told: Sequence[Told], truth: Sequence[Word]) -> list[tuple[Told, Word]]:
    """The words that are equal in the alignment of what was told with what was said."""
    given = [(token, Told(part, entry.at_s, entry.first_s, entry.good_s)) for entry in told for token, part in tokens(entry.word)]
    wanted = [(token, part) for word in truth for token, part in tokens(word)]
    if not given or not wanted:
        return []
    alignment = jiwer.process_words(" ".join(token for token, _ in wanted), " ".join(token for token, _ in given)).alignments[0]
    return [
        (given[part.hyp_start_idx + offset][1], wanted[part.ref_start_idx + offset][1])
        for part in alignment
        if part.type == "equal"
        for offset in range(part.ref_end_idx - part.ref_start_idx)
    ]


def align_start(shown: Sequence[str], target: Sequence[str]) -> tuple[int, list[tuple[int, int]], int]:
    """Aligns all of `shown` with whatever beginning of `target` it fits best.

    Returns the edits, the places that are equal, and how many words of `target` are covered. Of equally few edits those with
    most equal words win, then the beginning as long as `shown` is.
    """
    start = common_start(shown, target)
    left, right = shown[start:], target[start : start + len(shown) - start + LOOKAHEAD]
    pairs = [(place, place) for place in range(start)]
    if not left:
        return 0, pairs, start
    # Costs are (edits, -equal words), compared in this order.
    rows = [[(column, 0) for column in range(len(right) + 1)]]
    for word in left:
        above = rows[-1]
        row = [(above[0][0] + 1, above[0][1])]
        for column, other in enumerate(right, 1):
            edits, equal = above[column - 1]
            same = (edits, equal - 1) if word == other else (edits + 1, equal)
            row.append(min(same, _more(above[column]), _more(row[-1])))
        rows.append(row)
    end = min(range(len(right) + 1), key=lambda column: (rows[-1][column], abs(column - len(left))))
    found = []
    place, column = len(left), end
    while place and column:
        edits, equal = rows[place - 1][column - 1]
        alike = left[place - 1] == right[column - 1]
        if rows[place][column] == ((edits, equal - 1) if alike else (edits + 1, equal)):
            place, column = place - 1, column - 1
            if alike:
                found.append((start + place, start + column))
        elif rows[place][column] == _more(rows[place - 1][column]):
            place -= 1
        else:
            column -= 1
    return rows[-1][end][0], pairs + found[::-1], start + end


def _more(cost: tuple[int, int]) -> tuple[int, int]:
    return cost[0] + 1, cost[1]


def common_start(left: Sequence[str], right: Sequence[str]) -> int:
    """How many leading words are the same."""
    count = 0
    for mine, theirs in zip(left, right, strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def key(word: Word) -> str:
    """What of a word is compared: its letters and digits in lower case; empty for a mark that stands alone."""
    return "".join(letter for letter in word.text.lower() if letter.isalnum())


def tokens(word: Word) -> list[tuple[str, Word]]:
    """The parts of a word that are words of their own, as in "twenty-five", each with its share of the time."""
    parts = [(match.start(), match.end(), match.group()) for match in re.finditer(r"[^\W_]+(?:['’][^\W_]+)*", word.text)]
    if len(parts) == 1 or word.start_s is None or word.end_s is None:
        return [(_letters(part), word) for _, _, part in parts]
    each_s = (word.end_s - word.start_s) / max(len(word.text), 1)
    return [(_letters(part), Word(part, word.start_s + each_s * start, word.start_s + each_s * end)) for start, end, part in parts]


def _letters(part: str) -> str:
    return "".join(letter for letter in part.lower() if letter.isalnum())


@cache
def _normaliser() -> EnglishTextNormalizer:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # It leaves a file to the garbage collector.
        return EnglishTextNormalizer()
