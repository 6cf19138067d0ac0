"""The text policy "rules-v1": offensive words and phrases, found behind disguises and left alone inside ordinary words.

A word is compared whole, so "class" and "Scunthorpe" do not match. Before that it is folded (`pipeline.safety.normalise`), and
read in other ways too: digits and signs as letters ("sh1t", "$hit"); a star or another sign as any vowel ("f*ck", "f#ck"); sounds
spelt otherwise ("phuck", "fvck"); stretched letters ("fuuuck"); letters set apart ("f u c k", "f.u.c.k"); and a word broken in
two where one part is none by itself, having no vowel ("fu ck", but not "push it"). In scripts that write no spaces a rule's
`parts` are looked for anywhere.
"""

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from pipeline.safety.normalise import Folded, fold

MODEL = "rules-v1"
"""The name under which verdicts cite these rules."""

RULES = tuple(Path(__file__).with_name(name) for name in ("words.toml", "words_phrases.toml", "words_other.toml"))

_LEET = str.maketrans("@4310$57+!|€£(<869", "aaeiossttiielccbgg")
_LEET_OTHERWISE = str.maketrans("1!|6", "lllb")
"""The second reading of what has two."""
_SOUNDS = (("ph", "f"), ("v", "u"), ("vv", "w"))
"""Letters that stand for others in words spelt as they sound or look."""


def _marks() -> str:
    """Marks that are part of a word in scripts that write vowels with them, as a row for a regular expression's class."""
    places = [place for place in range(0x0900, 0x1D00) if unicodedata.category(chr(place)) in ("Mn", "Mc")]
    starts = [place for before, place in pairwise([-1, *places]) if place != before + 1]
    ends = [place for place, after in pairwise([*places, -1]) if after != place + 1]
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in zip(starts, ends, strict=True))


_LETTER = r"[^\W_]"
_PIECE = re.compile(rf"(?:{_LETTER}|[@$€£])(?:(?:{_LETTER}|[@$!|€£(<+'*#%&^~{_marks()}])*(?:{_LETTER}|[@$€£{_marks()}]))?")
_SIGNS = re.compile(r"[@*#%&^~]")
"""Signs that stand for a letter left out."""
_VOWELS = "aeiou"
_SPOKEN = re.compile(r"[aeiouy]|[^a-z]")
"""What makes a row of letters a word that can be said, in Latin letters; of others nothing is known."""
_BRACES = str.maketrans("", "", "{}")
_STARS_MOST = 2
"""Of a word with more stars nothing is left to go by."""
_PIECE_MOST = 64
"""No word is longer; what is, is a key, an address or noise."""
_CONTRACTION = re.compile("'(?:re|ll|ve|s|m|d|t)$")
_CLASS = re.compile(r"<([a-z_]+)>")
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
    written: Mapping[str, tuple[str, float]]
    """Words that another language has too but for an accent, in small letters as they are written."""
    ordinary: Mapping[str, frozenset[str]]
    """By language, folded words that are another language's offences and ordinary there."""


@dataclass(frozen=True)
class _Piece:
    """A word as written, folded, and where it stands in the text."""

    text: str
    start: int
    end: int


def policies() -> tuple[str, ...]:
    """The policies that these rules score, each for any text."""
    return _rules().policies


def find(text: str, *, language: str = "") -> list[Match]:
    """Every place in the text that breaks a rule, in order of start; `language` is its BCP 47 tag where that is known."""
    return find_folded(text, fold(text), language=language)


def find_folded(text: str, folded: Folded, *, language: str = "") -> list[Match]:
    """As `find`, for who has folded the text already."""
    pieces = _pieces(folded)
    ordinary = _rules().ordinary.get(language.partition("-")[0].lower(), frozenset())
    matches = [
        Match(policy, probability, piece.start, piece.end)
        for piece in pieces
        if piece.text not in ordinary
        for policy, probability in _broken_by_word(piece.text)
    ]
    matches += _letters_apart(pieces)
    matches += _broken_in_two(text, pieces)
    matches += _as_written(text, pieces)
    matches += _phrases(text, pieces)
    matches += _parts(folded)
    return sorted(matches, key=lambda match: (match.start, match.end, match.policy))


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
    read = [tomllib.loads(path.read_text("utf-8")) for path in RULES]
    classes = _classes(read)
    names: dict[str, None] = {}
    words: list[tuple[str, float, re.Pattern[str]]] = []
    phrases: list[tuple[str, float, re.Pattern[str]]] = []
    parts: list[tuple[str, float, re.Pattern[str]]] = []
    written: dict[str, tuple[str, float]] = {}
    for rule in (rule for each in read for rule in each["rule"]):
        policy, probability = str(rule["policy"]), float(rule["probability"])
        names[policy] = None
        whole = [*rule.get("words", ()), *(fold(stem).text for stem in rule.get("stems", ())), *_literally(rule.get("plain", ()))]
        if whole:
            words.append((policy, probability, re.compile("|".join(f"(?:{word})" for word in whole))))
        rows = [*(_with(classes, phrase) for phrase in rule.get("phrases", ())), *_literally(rule.get("lines", ()))]
        if rows:
            phrases.append((policy, probability, _rows(rows)))
        if rule.get("parts"):
            but, part = "|".join(_literally(rule.get("but", ()))), "|".join(_literally(rule["parts"]))
            parts.append((policy, probability, re.compile(f"(?:{but})|(?P<part>{part})" if but else f"(?P<part>{part})")))
        written |= dict.fromkeys((unicodedata.normalize("NFC", word).lower() for word in rule.get("written", ())), (policy, probability))
    ordinary = {code: frozenset(fold(word).text for word in said) for each in read for code, said in each.get("ordinary", {}).items()}
    return _Rules(tuple(names), tuple(words), tuple(phrases), tuple(parts), written, ordinary)


def _classes(read: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The named parts of phrases, each with those that it uses put in."""
    classes: dict[str, str] = {}
    for each in read:
        for name, expression in each.get("classes", {}).items():
            classes[name] = _with(classes, expression)
    return classes


def _with(classes: Mapping[str, str], expression: str) -> str:
    return _CLASS.sub(lambda found: classes[found[1]], expression).replace("(?:", "(").replace("(", "(?:").replace("(?:?", "(?")


def _literally(words: Iterable[str]) -> list[str]:
    """Words as written, as a regular expression over folded text; longer ones first, which are looked for before their beginnings."""
    return [re.escape(fold(word).text) for word in sorted(words, key=len, reverse=True)]


def _rows(phrases: Iterable[str]) -> re.Pattern[str]:
    """Any of some rows of whole words."""
    return re.compile(rf"(?<!\S)(?:{'|'.join(f'(?:{phrase})' for phrase in phrases)})(?!\S)", re.MULTILINE)


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
    """What a word may mean to say: as written, then with signs read as letters, sounds spelt plainly and stretches cut."""
    # What is drawn together is two words: "who're" is no "whore".
    bare = _CONTRACTION.sub("", piece).replace("'", "")
    forms = {bare: None}
    if not bare.isalpha() and any(character.isalpha() for character in bare):
        for form in tuple(forms):
            forms[form.translate(_LEET)] = None
            forms[form.translate(_LEET_OTHERWISE).translate(_LEET)] = None
        signs = len(_SIGNS.findall(bare))
        if 0 < signs <= _STARS_MOST:
            filled = _SIGNS.sub("{}", bare.translate(_BRACES))
            forms |= {filled.format(*vowels).translate(_LEET): None for vowels in product(_VOWELS, repeat=signs)}
    for spelt, meant in _SOUNDS:
        if spelt in bare:
            forms |= {form.replace(spelt, meant): None for form in tuple(forms)}
    for form in tuple(forms):
        if _STRETCHED.search(form):
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


@lru_cache(maxsize=8192)
def _is_no_word(piece: str) -> bool:
    """Whether a short row of letters cannot be said."""
    return 2 <= len(piece) <= 6 and piece.isalpha() and not _SPOKEN.search(piece)


def _broken_in_two(text: str, pieces: list[_Piece]) -> Iterator[Match]:
    """Neighbours that are one word of a rule, where one of the two is none by itself."""
    for one, other in pairwise(pieces):
        if other.start - one.end != 1 or text[one.end] not in " .-_\u00a0":
            continue
        if _is_no_word(one.text) or _is_no_word(other.text):
            for policy, probability in _broken_by_word(one.text + other.text):
                # A word of the list beside such a part ("fuck ng") is found as it is.
                if not _broken_by_word(one.text) and not _broken_by_word(other.text):
                    yield Match(policy, probability, one.start, other.end)


def _as_written(text: str, pieces: list[_Piece]) -> Iterator[Match]:
    if text.isascii():
        return
    for piece in pieces:
        found = _rules().written.get(unicodedata.normalize("NFC", text[piece.start : piece.end]).lower())
        if found is not None:
            yield Match(*found, piece.start, piece.end)


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


@lru_cache(maxsize=8192)
def _likeliest(piece: str) -> str:
    bare = piece.replace("'", "")
    read = bare.translate(_LEET) if any(character.isalpha() for character in bare) else bare
    return _STRETCHED.sub(r"\1", read)
