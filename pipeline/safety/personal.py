"""Personal data in text: e-mail addresses, phone numbers, payment cards, IBANs and IP addresses, each with its exact stretch.

A number counts where its own check says that it is one: cards by their issuer's prefix, length and the Luhn check (ISO/IEC
7812-1), IBANs by their country's length and the remainder by 97 (ISO 13616), phone numbers by the numbering plans of libphonenumber
(package phonenumbers), IP addresses by the standard library. What is said in words ("four one two"), and names and street addresses, are
not found.
"""

import ipaddress
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipeline.safety.normalise import Folded, fold
from pipeline.safety.words import Match

if TYPE_CHECKING:
    import phonenumbers

POLICY = "personal-data"
"""The name of these rules in verdicts and policies."""

PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IN")
"""Where numbers without a country code are tried, in order."""
_PHONE_DIGITS_LEAST = 7
_RUN_MOST = 40
"""Characters of a row of digits and signs between them that are looked at as one number; longer rows are cut there."""

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-z]{2,24}(?![\w-])")
_EMAIL_SAID = re.compile(
    r"\b[\w+-]{1,64}(?: dot [\w+-]{1,64}){0,3} at (?:[\w-]{1,63} dot ){1,3}(?:com|org|net|edu|gov|co|io|de|fr|uk|eu)\b"
)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[0-9a-f:]{2,39}(?![0-9a-f:]))[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])")
_IBAN = re.compile(r"(?<!\w)[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}(?!\w)")
_NUMBER = re.compile(
    rf"(?<![\w.,:/$€£+-])[(+]?\d(?:[ ()./\u2010-\u2015-]{{0,3}}\d){{{_PHONE_DIGITS_LEAST - 1},{_RUN_MOST}}}(?![\w%€$£]|[:/]\d)"
)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d{2}[-/.]?[01]\d[-/.]?[0-3]\d(?!\d)")
_GROUPS = re.compile(r"\d+")
_CUE = re.compile(
    r"\b(?:call|phone|telephone|tel|mobile|cell|fax|whatsapp|text|dial|ring|reach|number|hotline|numero|telefon\w*|telefono|nummer|anruf\w*|rufen)\b"
)
_CUE_WITHIN = 40
"""Characters before a number in which a word that asks to call it counts."""
_ISSUERS = tuple(
    (re.compile(prefix), frozenset(lengths))
    for prefix, lengths in (
        ("4", (13, 16, 19)),
        ("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720", (16,)),
        ("3[47]", (15,)),
        ("30[0-5]|3[689]", (14,)),
        ("6011|64[4-9]|65|62", (16, 17, 18, 19)),
        ("35(?:2[89]|[3-8])", (16,)),
        ("50|5[678]|6", (16, 18, 19)),
    )
)
"""How many digits cards have by their beginnings: Visa, Mastercard, American Express, Diners, Discover and UnionPay, JCB, Maestro."""
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BR": 29, "BY": 28, "CH": 21, "CR": 22,
    "CY": 28, "CZ": 24, "DE": 22, "DK": 18, "DO": 28, "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22,
    "GI": 23, "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30,
    "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MR": 27,
    "MT": 31, "MU": 30, "NL": 18, "NO": 15, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "SA": 24, "SC": 31,
    "SE": 24, "SI": 19, "SK": 24, "SM": 27, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
}  # fmt: skip
"""Characters of an IBAN by country, from the registry of ISO 13616."""
SOURCES = [pattern.pattern for pattern in (_EMAIL, _EMAIL_SAID, _IPV4, _IPV6, _IBAN, _NUMBER, _DATE)]
"""What these rules consist of, for their hash."""


def find(text: str) -> list[Match]:
    """Every piece of personal data in a text, in order of start, none within another."""
    return find_folded(fold(text))


def find_folded(folded: Folded) -> list[Match]:
    """As `find`, for who has folded the text already."""
    text = folded.text
    spans: list[tuple[int, int]] = []
    if "@" in text:
        spans += (found.span() for found in _EMAIL.finditer(text))
    if " dot " in text:
        spans += (found.span() for found in _EMAIL_SAID.finditer(text))
    if any(map(str.isdigit, text)) or "::" in text:
        spans += _addresses(text)
        spans += _ibans(text)
        spans += _numbers(text)
    matches: list[Match] = []
    last = -1
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= last:
            matches.append(Match(POLICY, 1.0, *folded.span(start, end), whole=True))
            last = end
    return matches


def is_card(digits: str) -> bool:
    """Whether these digits are a payment card's number: issuer, length and Luhn check."""
    if len(set(digits)) == 1 or not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS):
        return False
    doubled = [int(digit) * (2 if number % 2 else 1) for number, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether this text, without spaces, is an IBAN: its country's length and a remainder of 1 by 97."""
    if IBAN_LENGTHS.get(text[:2].upper()) != len(text):
        return False
    turned = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            try:
                address = ipaddress.ip_address(found.group())
            except ValueError:
                continue
            # "1.2.3.4" is also how versions and sections are numbered; unspecified addresses say nothing of anyone.
            if not address.is_unspecified and found.group() not in ("1.2.3.4", "127.0.0.1", "::1"):
                yield found.span()


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    for found in _IBAN.finditer(text):
        letters = [(index, character) for index, character in enumerate(found.group()) if character.isalnum()]
        length = IBAN_LENGTHS.get(found.group()[:2].upper(), 0)
        if 0 < length <= len(letters) and is_iban("".join(character for _, character in letters[:length])):
            yield found.start(), found.start() + letters[length - 1][0] + 1


def _numbers(text: str) -> Iterator[tuple[int, int]]:
    for found in _NUMBER.finditer(text):
        digits = "".join(filter(str.isdigit, found.group()))
        if is_card(digits) or _is_phone(found.group(), digits, text[max(0, found.start() - _CUE_WITHIN) : found.start()]):
            yield found.span()


def _is_phone(written: str, digits: str, before: str) -> bool:
    """Whether a number is one to call: valid in a plan, and with a plus, grouped as that plan does it, or asked to be called."""
    import phonenumbers

    if len(digits) > 15 or _DATE.search(written):
        return False
    if written.startswith("+"):
        return _parsed(written, None) is not None
    called = bool(_CUE.search(before))
    for region in PHONE_REGIONS:
        number = _parsed(written, region)
        if number is not None:
            national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
            if called or (_GROUPS.findall(national) == _GROUPS.findall(written) and len(_GROUPS.findall(written)) > 1):
                return True
    return False


def _parsed(written: str, region: str | None) -> "phonenumbers.PhoneNumber | None":
    import phonenumbers

    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None
