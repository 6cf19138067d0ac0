"""Text as words alone, the way SQLite's `unicode61` takes it: small letters and digits without accents, a space between."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """The words of a text."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return " ".join(_WORD.findall(plain.lower()))
