"""Numbers said in words: "four one five, double five", "null eins sieben", "zéro six douze trente-quatre", as digits with their place.

Only rows of number words are looked at, as people read out phone and card numbers: digit by digit, in pairs, or in tens. What a row
then is, a card's number or nobody's, is for others to say.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WORDS_LEAST = 4
"""Fewer number words in a row are no number that is read out."""
TOKENS_MOST = 40
"""A longer row is cut there: no number is that long."""

_UNITS = (
    "zero oh o nought null cero nul nulla zéro ноль нуль sıfır noll",
    "one eins ein un uno um een один jeden bir ett",
    "two zwei zwo deux dos due dois twee два dwa iki två",
    "three drei trois tres tre três три trzy üç",
    "four vier quatre cuatro quattro quatro четыре cztery dört fyra",
    "five fünf cinq cinco cinque vijf пять pięć beş fem",
    "six sechs seis sei zes шесть sześć altı meia",
    "seven sieben sept siete sette sete zeven семь siedem yedi sju",
    "eight acht huit ocho otto oito восемь osiem sekiz åtta",
    "nine neun neuf nueve nove negen девять dziewięć dokuz nio",
)
_TEENS = (
    "ten zehn dix diez dieci dez tien десять dziesięć on tio",
    "eleven elf onze once undici одиннадцать",
    "twelve zwölf douze doce dodici doze twaalf двенадцать",
    "thirteen dreizehn treize trece tredici treze dertien",
    "fourteen vierzehn quatorze catorce quattordici veertien",
    "fifteen fünfzehn quinze quince quindici vijftien",
    "sixteen sechzehn seize dieciséis sedici dezesseis zestien",
    "seventeen siebzehn diecisiete diciassette dezessete zeventien",
    "eighteen achtzehn dieciocho diciotto dezoito achttien",
    "nineteen neunzehn diecinueve diciannove dezenove negentien",
)
_TENS = (
    "twenty zwanzig vingt vingts veinte venti vinte twintig двадцать",
    "thirty dreißig trente treinta trenta trinta dertig тридцать",
    "forty vierzig quarante cuarenta quaranta quarenta veertig сорок",
    "fifty fünfzig cinquante cincuenta cinquanta cinquenta vijftig пятьдесят",
    "sixty sechzig soixante sesenta sessanta sessenta zestig шестьдесят",
    "seventy siebzig setenta settanta zeventig семьдесят septante",
    "eighty achtzig ochenta ottanta oitenta tachtig восемьдесят huitante",
    "ninety neunzig noventa novanta negentig девяносто nonante",
)
_TIMES = {"double": 2, "doppel": 2, "doppelt": 2, "dubbel": 2, "triple": 3, "treble": 3, "dreifach": 3}
_BETWEEN = frozenset(
    [
        *("and", "und", "et", "y", "e", "en", "then", "uh", "um", "er", "space"),
        *("dash", "hyphen", "minus", "tiret", "guion", "trattino", "bindestrich"),
    ]
)
"""Words between number words that say nothing."""
_PLUS = frozenset(["plus", "piu", "mas", "mais", "+"])
_GAP = re.compile(r"[\s,.\-\u2010-\u2015/()]{0,4}")
_LETTERS = re.compile(r"[^\W\d_]+")
_TOKEN = re.compile(r"[^\W\d_]+|\d+|\+")


@dataclass(frozen=True)
class Row:
    """Number words, and digits among them, one after another."""

    digits: str
    plus: bool
    """Whether a plus was said before it."""
    parts: Sequence[tuple[int, int, int]]
    """For each thing said: how many digits stand before it, and where it starts and ends in the text."""
    singly: bool
    """Whether it was said digit by digit."""

    def stretch(self, first: int, last: int) -> tuple[int, int]:
        """Where the parts from `first` to `last` stand in the text."""
        return self.parts[first][1], self.parts[last][2]


def _table() -> dict[str, int]:
    from pipeline.safety.normalise import fold

    values = {fold(word).text: number for number, words in enumerate(_UNITS) for word in words.split()}
    values |= {fold(word).text: 10 + number for number, words in enumerate(_TEENS) for word in words.split()}
    values |= {fold(word).text: 10 * (2 + number) for number, words in enumerate(_TENS) for word in words.split()}
    # German and Dutch say the unit first, in one word.
    for joint, language in (("und", 0), ("en", 1)):
        units = [("ein", "een"), ("zwei", "twee"), ("drei", "drie"), ("vier", "vier"), ("fünf", "vijf"), ("sechs", "zes")]
        units += [("sieben", "zeven"), ("acht", "acht"), ("neun", "negen")]
        tens = [("zwanzig", "twintig"), ("dreißig", "dertig"), ("vierzig", "veertig"), ("fünfzig", "vijftig"), ("sechzig", "zestig")]
        tens += [("siebzig", "zeventig"), ("achtzig", "tachtig"), ("neunzig", "negentig")]
        for unit, names in enumerate(units, 1):
            for ten, decades in enumerate(tens, 2):
                values[fold(names[language] + joint + decades[language]).text] = 10 * ten + unit
    values["drie"] = 3
    return values


_VALUES: dict[str, int] = _table()


def rows(text: str) -> Iterator[Row]:
    """Every row of at least `WORDS_LEAST` number words of a folded text."""
    if sum(map(_VALUES.__contains__, _LETTERS.findall(text))) < WORDS_LEAST:
        return
    said: list[tuple[int | str, int, int]] = []
    words = 0
    for found in _TOKEN.finditer(text):
        token = found.group()
        gap = not said or _GAP.fullmatch(text, said[-1][2], found.start()) is not None
        kind = _read(token)
        if kind is None or not gap or len(said) >= TOKENS_MOST:
            if words >= WORDS_LEAST:
                yield from _readings(said)
            said, words = [], 0
        # A row begins with a number; what only stands between numbers does not begin one.
        if kind is not None and (said or isinstance(kind, int) or token.isdigit() or token in _PLUS or token in _TIMES):
            said.append((kind, found.start(), found.end()))
            words += isinstance(kind, int) and not token.isdigit()
    if words >= WORDS_LEAST:
        yield from _readings(said)


def _readings(said: Sequence[tuple[int | str, int, int]]) -> Iterator[Row]:
    """What a row may stand for: "twenty seven" is 27, or, where a pair ends there, 20 and 7."""
    joined = _row(said, apart=False)
    if joined is not None:
        yield joined
        apart = _row(said, apart=True)
        if apart is not None and apart.digits != joined.digits:
            yield apart


def _read(token: str) -> int | str | None:
    """The value of a number word, digits or another word of a row as they are, `None` for what is none."""
    value = _VALUES.get(token)
    if value is not None:
        return value
    return token if token.isdigit() or token in _BETWEEN or token in _PLUS or token in _TIMES or token == "hundred" else None


def _row(said: Sequence[tuple[int | str, int, int]], *, apart: bool) -> Row | None:
    """The digits that some words stand for; unless they stand apart, tens take the unit that follows, as in "twenty three"."""
    parts: list[tuple[int, int, int]] = []
    digits, plus, singly, times, begun = "", False, True, 1, -1
    number = 0
    while number < len(said):
        kind, start, end = said[number]
        number += 1
        if isinstance(kind, str) and not kind.isdigit():
            if kind in _PLUS and not digits:
                plus, begun = True, start
            times = _TIMES.get(kind, times)
            if kind == "hundred" and digits:
                digits, (before, first, _) = digits + "00", parts[-1]
                parts[-1] = (before, first, end)
            continue
        if isinstance(kind, int):
            value, used = (kind, 1) if apart else _together([each for each, _, _ in said[number - 1 : number + 4]])
            end = said[number + used - 2][2]
            number += used - 1
            told = str(value)
            singly &= value < 10
        else:
            told = kind
            singly &= len(kind) == 1
        parts.append((len(digits), start if begun < 0 else begun, end))
        begun = -1
        digits += told * times
        times = 1
    return Row(digits, plus, tuple(parts), singly) if parts else None


def _together(kinds: list[int | str]) -> tuple[int, int]:
    """The number with which some words begin, and how many of them it takes."""
    value = kinds[0]
    assert isinstance(value, int)
    if value == 4 and kinds[1:2] == [20]:
        # French: quatre-vingts.
        further, used = _together([80, *kinds[2:]])
        return further, used + 1
    taken = 1
    rest = kinds[1:]
    if rest and rest[0] in ("et", "y", "e", "and") and value >= 20:
        rest, taken = rest[1:], taken + 1
    if value >= 20 and value % 10 == 0 and rest and isinstance(rest[0], int):
        if 1 <= rest[0] <= 9:
            return value + rest[0], taken + 1
        if value in (60, 80) and 10 <= rest[0] <= 19:
            after = rest[1] if len(rest) > 1 else None
            # French: soixante-dix-huit.
            if rest[0] == 10 and isinstance(after, int) and 7 <= after <= 9:
                return value + 10 + after, taken + 2
            return value + rest[0], taken + 1
    return value, 1
