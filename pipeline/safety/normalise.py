"""Text as it is meant: disguises of Unicode undone, with the way back to the text as it was written.

Folded are case, compatibility forms (full width, mathematical, circled, ligatures: Unicode's NFKD, UAX #15), accents of the
scripts that write words without them too, characters nobody sees (zero width, direction marks, variation selectors, fillers),
letters that look like Latin ones (Unicode's confusables, UTS #39 table, from the package confusable-homoglyphs, and Latin ones
with a stroke or a hook) and digits of other scripts. What of this is a disguise and what a language is left to who compares:
lists are folded in the same way.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

MOST_FOR_ONE = 18
"""No character folds to more: the longest of Unicode's compatibility decompositions."""

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1b\x7f]")
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\u180e")
"""Characters without a shape that are letters, marks or signs by category."""
_OWN_LOOKALIKES = dict(
    zip(
        # Cyrillic and Greek small letters whose capitals look Latin, and Latin small capitals; the table of UTS #39 compares shapes
        # exactly and leaves them out, people do not.
        "кмтнвпғκτηωμ" + "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ" + "’‘ʼ＇",
        "kmthbnfktnwm" + "abcdefghijklmnoprstuvwyz" + "''''",
        strict=True,
    )
)
_DRESSED = re.compile(
    r"LATIN (?:SMALL|CAPITAL) LETTER (?:SMALL CAPITAL |TURNED |REVERSED |DOTLESS |OPEN |SCRIPT |BARRED |SIDEWAYS )*([A-Z])(?: WITH .*)?"
)
"""Unicode's names of Latin letters with a stroke, a hook or a bend: which letter they are is in the name."""
_NAMED_LATIN = {"ALPHA": "a", "UPSILON": "u", "IOTA": "i", "ESH": "s", "ENG": "n", "GAMMA": "y"}
"""Latin letters with the names of others that they were bent from."""
_LETTERED_SCRIPTS = frozenset(
    ["LATIN", "CYRILLIC", "GREEK", "COPTIC", "ARMENIAN", "CHEROKEE", "LISU", "DESERET", "TIFINAGH", "OSAGE", "ROMAN", "OLD", "CANADIAN"]
)
"""Scripts whose look-alikes are used for Latin words. Others (Thai, Arabic, Hebrew, ...) have letters that resemble some too, and
are written by people who mean them."""
_SQUARED = [(0x1F130, 26), (0x1F150, 26), (0x1F170, 26), (0x1F1E6, 26)]
"""First code point and number of letters: squared, negative circled, negative squared, flags (regional indicators)."""


@dataclass(frozen=True)
class Folded:
    """A text folded, each character of which knows the one that it comes from."""

    text: str
    origins: Sequence[int]
    """For each character of `text` the index of the one in the original; never falls."""

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original's stretch, as start and end, of a stretch of `text` that is not empty; whole characters of it."""
        return self.origins[start], self.origins[end - 1] + 1


def fold(text: str) -> Folded:
    """Fold a text, in time linear to its length."""
    if text.isascii() and not _CONTROLS.search(text):
        return Folded(text.lower(), range(len(text)))
    parts: list[str] = []
    origins: list[int] = []
    for index, character in enumerate(text):
        folded = _fold_one(character)
        parts.append(folded)
        if len(folded) == 1:
            origins.append(index)
        else:
            origins.extend([index] * len(folded))
    return Folded("".join(parts), origins)


@lru_cache(maxsize=65_536)
def _fold_one(character: str) -> str:
    lookalike = _lookalikes().get(character)
    if lookalike is not None:
        return lookalike
    return "".join(_fold_part(part) for part in unicodedata.normalize("NFKD", character).casefold())


def _undressed(part: str) -> str:
    """The plain letter of a Latin one with a stroke, a hook or a bend; any other as it is."""
    name = unicodedata.name(part, "")
    if not name.startswith("LATIN "):
        return part
    # "jøder" and "føder" are Danish, and would be other words of other languages without the stroke.
    found = _DRESSED.fullmatch(name) if part != "ø" else None
    return found[1].lower() if found else _NAMED_LATIN.get(name.rpartition(" ")[2], part)


def _fold_part(part: str) -> str:
    category = unicodedata.category(part)
    # Accents of Latin, Greek and Cyrillic are dropped; the marks of Thai, Hindi, Japanese and others are letters.
    if category in ("Cf", "Co", "Cn") or part in _UNSEEN or "\u0300" <= part <= "\u036f" or "\ufe00" <= part <= "\ufe0f":
        return ""
    if category == "Cc" and not part.isspace():
        return ""
    # Vowel points of Arabic and Hebrew, and the stroke that stretches an Arabic word, are left out as often as written.
    if part == "\u0640" or (category == "Mn" and ("\u0591" <= part <= "\u05c7" or "\u0610" <= part <= "\u065f")):
        return ""
    if category == "Mn" and ("\u1ab0" <= part <= "\u1aff" or "\u1dc0" <= part <= "\u1dff" or "\u20d0" <= part <= "\u20ff"):
        return ""
    if category == "Nd":
        return str(unicodedata.digit(part))
    return _lookalikes().get(part) or (part if part.isascii() else _undressed(part))


@cache
def _lookalikes() -> dict[str, str]:
    """Characters that look like a Latin letter or an apostrophe, and which."""
    from confusable_homoglyphs.confusables import confusables_data

    found = {}
    for character, alike in confusables_data.items():
        if len(character) == 1 and not character.isascii() and _script(character) in _LETTERED_SCRIPTS:
            letters = [other["c"] for other in alike if len(other["c"]) == 1 and other["c"].isascii() and other["c"].isalpha()]
            if letters:
                found[character] = letters[0].lower()
    for first, count in _SQUARED:
        found |= {chr(first + number): chr(ord("a") + number) for number in range(count)}
    return found | _OWN_LOOKALIKES


def _script(character: str) -> str:
    return unicodedata.name(character, "").partition(" ")[0]
