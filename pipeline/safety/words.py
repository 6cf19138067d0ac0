"""The text policy "rules-v1": offensive words and phrases, found behind disguises and left alone inside ordinary words.

A word is compared whole, so "class" and "Scunthorpe" do not match. Before that it is folded (`pipeline.safety.normalise`), and
read in other ways too: digits and signs as letters ("sh1t", "$hit"); a star as any vowel ("f*ck"); stretched letters
("fuuuck"); and letters set apart ("f u c k", "f.u.c.k"). Words broken in two ("fu ck") are not put together, because
ordinary neighbours ("push it") would be. In scripts that write no spaces a rule's `parts` are looked for anywhere.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

from pipeline.safety.normalise import Folded, fold

MODEL = "rules-v1"
"""The name under which verdicts cite these rules."""

RULES = (Path(__file__).with_name("words.toml"), Path(__file__).with_name("words_other.toml"))

_LEET = str.maketrans("@4310$57+!", "aaeiosstti")
_PIECE = re.compile(r"(?:[^\W_]|[@$])(?:(?:[^\W_]|[@$!+'*])*(?:[^\W_]|[@$]))?")
_VOWELS = "aeiou"
_STARS_MOST = 2
"""Of a word with more stars nothing is left to go by."""
_PIECE_MOST = 64
"""No word is longer; what is, is a key, an address or noise."""
_STRETCHED = re.compile(r"(.)\1{2,}")
_SENTENCE_END = re.compile(r"[.!?;:\n]")
_LETTERS_APART = 3
"""So many single letters in a row may be one word in disguise."""
_LETTERS_APART_MOST = 16
"""No rule's word is longer; it bounds the work on a long row."""


@dataclass(frozen=True)
class Match:
    """Where a rule was broken."""

    policy: str
    probability: float
    """0 to 1, as the rule says."""
    start: int
    """Index of the first character."""
    end: int
    """Index after the last character."""
    whole: bool = False
    """Whether nothing of it may stay when it is masked, the first character neither."""


@dataclass(frozen=True)
class _Rules:
    policies: tuple[str, ...]
    words: tuple[tuple[str, float, re.Pattern[str]], ...]
    phrases: tuple[tuple[str, float, re.Pattern[str]], ...]
    parts: tuple[tuple[str, float, re.Pattern[str]], ...]


@dataclass(frozen=True)
class _Piece:
    """A word as written, folded, and where it stands in the text."""

    text: str
    start: int
    end: int


def policies() -> tuple[str, ...]:
    """The policies that these rules score, each for any text."""
    return _rules().policies


def find(text: str) -> list[Match]:
    """Every place in the text that breaks a rule, in order of start."""
    return find_folded(text, fold(text))


def find_folded(text: str, folded: Folded) -> list[Match]:
    """As `find`, for who has folded the text already."""
    pieces = _pieces(folded)
    matches = [
        Match(policy, probability, piece.start, piece.end) for piece in pieces for policy, probability in _broken_by_word(piece.text)
    ]
    matches += _letters_apart(pieces)
    matches += _phrases(text, pieces)
    matches += _parts(folded)
    return sorted(matches, key=lambda match: (match.start, match.end, match.policy))


def score(matches: Iterable[Match]) -> dict[str, float]:
    """The probability of a violation for each policy that the rules cover; 0 where nothing was found."""
    scores = dict.fromkeys(policies(), 0.0)
    for match in matches:
        scores[match.policy] = max(scores[match.policy], match.probability)
    return scores


def mask(text: str, spans: Iterable[tuple[int, int]], *, whole: Iterable[tuple[int, int]] = ()) -> str:
    """The text with each span masked as broadcasters do ("f***"): its first character stays, spaces and hyphens too.

    Of the spans in `whole` no character stays, signs and spaces apart. Length and number of words stay the same.
    """
    characters = list(text)
    for start, end in [*((start + 1, end) for start, end in spans), *whole]:
        for index in range(start, end):
            if not characters[index].isspace() and characters[index] not in "-'’.,":
                characters[index] = "*"
    return "".join(characters)


@cache
def _rules() -> _Rules:
    names: dict[str, None] = {}
    words: list[tuple[str, float, re.Pattern[str]]] = []
    phrases: list[tuple[str, float, re.Pattern[str]]] = []
    parts: list[tuple[str, float, re.Pattern[str]]] = []
    for rule in (rule for path in RULES for rule in tomllib.loads(path.read_text("utf-8"))["rule"]):
        policy, probability = str(rule["policy"]), float(rule["probability"])
        names[policy] = None
        if rule.get("words"):
            words.append((policy, probability, re.compile("|".join(f"(?:{word})" for word in rule["words"]))))
        if rule.get("phrases"):
            phrase = "|".join(f"(?:{phrase})" for phrase in rule["phrases"])
            phrases.append((policy, probability, re.compile(rf"(?<!\S)(?:{phrase})(?!\S)", re.MULTILINE)))
        if rule.get("lines"):
            phrase = "|".join(re.escape(fold(line).text) for line in rule["lines"])
            phrases.append((policy, probability, re.compile(rf"(?<!\S)(?:{phrase})(?!\S)", re.MULTILINE)))
        if rule.get("plain"):
            plain = "|".join(re.escape(fold(word).text) for word in rule["plain"])
            words.append((policy, probability, re.compile(plain)))
        if rule.get("parts"):
            but = "|".join(re.escape(fold(part).text) for part in sorted(rule.get("but", []), key=len, reverse=True))
            part = "|".join(re.escape(fold(part).text) for part in sorted(rule["parts"], key=len, reverse=True))
            parts.append((policy, probability, re.compile(f"(?:{but})|(?P<part>{part})" if but else f"(?P<part>{part})")))
    return _Rules(tuple(names), tuple(words), tuple(phrases), tuple(parts))


def _pieces(folded: Folded) -> list[_Piece]:
    return [_Piece(found.group(), *folded.span(*found.span())) for found in _PIECE.finditer(folded.text)]


def _parts(folded: Folded) -> Iterator[Match]:
    if folded.text.isascii():
        return
    for policy, probability, pattern in _rules().parts:
        for found in pattern.finditer(folded.text):
            if found["part"]:
                yield Match(policy, probability, *folded.span(*found.span()))


@lru_cache(maxsize=8192)
def _forms(piece: str) -> tuple[str, ...]:
    """What a word may mean to say, the likeliest last: as written, then with signs read as letters and stretches cut."""
    bare = piece.replace("'", "")
    forms = {bare: None}
    if piece.endswith("'s"):
        forms[piece[:-2].replace("'", "")] = None
    for form in tuple(forms):
        if any(character.isalpha() for character in form):
            forms[form.translate(_LEET)] = None
    if 0 < bare.count("*") <= _STARS_MOST:
        filled = bare.replace("{", "").replace("}", "").replace("*", "{}")
        forms |= {filled.format(*vowels): None for vowels in product(_VOWELS, repeat=bare.count("*"))}
    for form in tuple(forms):
        forms[_STRETCHED.sub(r"\1", form)] = None
        forms[_STRETCHED.sub(r"\1\1", form)] = None
    return tuple(forms)


@lru_cache(maxsize=8192)
def _broken_by_word(piece: str) -> tuple[tuple[str, float], ...]:
    if len(piece) > _PIECE_MOST:
        piece = _STRETCHED.sub(r"\1\1", piece)
        if len(piece) > _PIECE_MOST:
            return ()
    return tuple(
        (policy, probability) for policy, probability, pattern in _rules().words if any(pattern.fullmatch(form) for form in _forms(piece))
    )


def _letters_apart(pieces: list[_Piece]) -> Iterator[Match]:
    for run in _runs_of_letters(pieces):
        whole = len(run)
        for first in range(whole):
            for last in range(first + _LETTERS_APART, min(first + _LETTERS_APART_MOST, whole) + 1):
                # Three letters within a longer row, as in a spelled name, are too little to go by.
                if last - first < 4 and last - first < whole:
                    continue
                word = "".join(piece.text for piece in run[first:last])
                for policy, probability in _broken_by_word(word):
                    yield Match(policy, probability, run[first].start, run[last - 1].end)


def _runs_of_letters(pieces: list[_Piece]) -> Iterator[list[_Piece]]:
    run: list[_Piece] = []
    for piece in pieces:
        if len(piece.text) == 1 and (not run or piece.start - run[-1].end <= 3):
            run.append(piece)
            continue
        if len(run) >= _LETTERS_APART:
            yield run
        run = [piece] if len(piece.text) == 1 else []
    if len(run) >= _LETTERS_APART:
        yield run


def _phrases(text: str, pieces: list[_Piece]) -> Iterator[Match]:
    if not pieces:
        return
    line: list[str] = []
    owner: list[int] = []
    for number, piece in enumerate(pieces):
        if number:
            # A phrase does not go on over the end of a sentence.
            line.append("\n" if _SENTENCE_END.search(text, pieces[number - 1].end, piece.start) else " ")
            owner.append(number)
        word = _likeliest(piece.text)
        line.append(word)
        owner.extend([number] * len(word))
    joined = "".join(line)
    for policy, probability, pattern in _rules().phrases:
        for found in pattern.finditer(joined):
            yield Match(policy, probability, pieces[owner[found.start()]].start, pieces[owner[found.end() - 1]].end)


def _likeliest(piece: str) -> str:
    bare = piece.replace("'", "")
    read = bare.translate(_LEET) if any(character.isalpha() for character in bare) else bare
    return _STRETCHED.sub(r"\1", read)
