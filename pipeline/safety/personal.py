"""Personal data in text: e-mail addresses, phone numbers, payment cards, IBANs, IP addresses and states' numbers of people, each with
its exact stretch, in digits or said in words.

A number counts where its own check says that it is one: cards by their issuer's prefix, length and the Luhn check (ISO/IEC
7812-1), IBANs by their country's length and the remainder by 97 (ISO 13616), phone numbers by the numbering plans of libphonenumber
(package phonenumbers), IP addresses by the standard library, states' numbers by `pipeline.safety.identity`. Names and street
addresses are not found.
"""

import ipaddress
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

from pipeline.safety import identity, spoken
from pipeline.safety.normalise import Folded, fold
from pipeline.safety.words import Match

if TYPE_CHECKING:
    import phonenumbers

POLICY = "personal-data"
"""The name of these rules in verdicts and policies."""

PHONE_REGIONS = (
    *("US", "GB", "DE", "FR", "ES", "IN", "IT", "NL", "BE", "CH", "AT", "PL", "SE", "NO", "DK", "FI", "PT", "IE", "GR", "CZ", "HU"),
    *("RO", "UA", "RU", "TR", "IL", "SA", "AE", "EG", "ZA", "NG", "KE", "PK", "BD", "BR", "MX", "AR", "CL", "CO", "PE", "CN", "JP"),
    *("KR", "HK", "TW", "SG", "MY", "TH", "VN", "PH", "ID", "AU", "NZ"),
)
"""Where numbers without a country code are tried, in order."""
_BARE_LEAST = 9
"""Digits of a number that is taken for one to call by how it is grouped; shorter ones must be asked to be called."""
_PHONE_DIGITS_LEAST = 7
_RUN_MOST = 40
"""Characters of a row of digits and signs between them that are looked at as one number; longer rows are cut there."""

_LETTERS = "a-z_\u00df-\u024f\u0370-\u052f"
"""Letters of scripts that put spaces between words: beside them a number is part of a word."""
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_AT = r"(?:at|arobase|arroba|chiocciola|klammeraffe)"
_DOT = r"(?:dot|punkt|point|punto|ponto|punt)"
_BRACKETED_AT = r"(?:@|\(at\)|\[at\]|\{at\})"
_BRACKETED_DOT = r"(?:\.| \. | ?\(dot\) ?| ?\[dot\] ?| ?\{dot\} ?| dot )"
_TLD = (
    r"(?:com|org|net|edu|gov|info|biz|mil|int|io|ai|app|dev|co|me|tv|de|at|ch|fr|be|nl|uk|ie|it|es|pt|eu|pl|cz|sk|hu|ro|gr|se|no|dk|fi|is"
    r"|ru|ua|tr|il|in|pk|cn|jp|kr|tw|hk|sg|au|nz|za|br|mx|ar|cl|ca|us)"
)
_EMAIL_SAID = re.compile(
    rf"\b(?P<name>[\w+-]{{1,64}})(?: (?:{_DOT}|underscore|dash|hyphen|minus|plus|unterstrich|tiret|guion) [\w+-]{{1,64}}){{0,4}} {_AT} "
    rf"(?:[\w-]{{1,63}} {_DOT} ){{1,3}}{_TLD}\b"
    rf"|(?<![\w.])[\w.+-]{{1,64}} ?{_BRACKETED_AT} ?[\w-]{{1,63}}(?:{_BRACKETED_DOT}[\w-]{{1,63}}){{0,3}}{_BRACKETED_DOT}{_TLD}\b"
)
"""An address that is spelt out, or written so that machines miss it."""
_NO_NAME = frozenset(
    [
        *("are", "is", "was", "were", "be", "been", "am", "us", "me", "it", "him", "her", "them", "you", "we", "here", "there"),
        *("online", "website", "site", "page", "visit", "found", "find", "look", "available", "out", "live", "now", "more", "shop"),
        *("blog", "sold", "hosted", "book", "read", "join", "work", "works", "working", "worked", "and", "or", "that", "this"),
    ]
)
"""What is no one's name before "at example dot com"."""
_NUMBERED = re.compile(
    r"\b(?:sections?|chapters?|clauses?|versions?|releases?|paragraphs?|articles?|rules?|items?|figures?|tables?|v|ver)\.? $"
)
"""What stands before numbers with dots that are no addresses."""
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(
    r"(?<![\w:.])(?=[0-9a-f:]{2,39}(?![0-9a-f:]))[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?:(?<=[:\d])(?:\.\d{1,3}){3})?(?![\w:])"
)
_IBAN = re.compile(r"(?<!\w)[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){11,30}(?!\w)")
_NUMBER = re.compile(
    rf"(?<![{_LETTERS}\d.,:/$€£+-])[(+]?\d(?:(?:[ ()./\u2010-\u2015-]{{0,3}}|, )\d){{{_PHONE_DIGITS_LEAST - 1},{_RUN_MOST}}}"
    rf"(?![{_LETTERS}\d%€$£]|[:/]\d)"
)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d{2}[-/.]?[01]\d[-/.]?[0-3]\d(?!\d)")
_GROUPS = re.compile(r"\d+")
_REST = re.compile(r"[\s.,;:!?\u2026-]*")
_OPEN = re.compile(r"(?<![\w.,:/$€£+-])[(+]?\d(?:(?:[ ()./\u2010-\u2015-]{0,3}|, )\d){3,18}(?=[\s.,;:!?\u2026-]*$)")
"""A number at the end of a text."""
_OPEN_IBAN = re.compile(r"(?<!\w)[a-z]{2}\d{2}(?:[ -]?[a-z0-9]){2,28}(?=[\s.,;:!?\u2026-]*$)")
_CARD_CUE = re.compile(
    r"\b(?:card|visa|mastercard|amex|account|iban|karte|kreditkarte|konto\w*|carte|compte|tarjeta|cuenta|carta|conto|cartao|conta)\b"
)
_AT_SIGN = re.compile(rf"{_BRACKETED_AT}|\b{_AT}\b")
_CARD_LEAST, _CARD_MOST = 12, 19
_CUE = re.compile(
    r"\b(?:call|phone|tel|mobile|cell|cellphone|fax|whatsapp|text|dial|ring|reach|number|hotline|numero|telefon\w*|telefono|telephone"
    r"|nummer|anruf\w*|ruf|rufe|rufen|handy\w*|portable|movil|celular|telefone|cellulare|mobil\w*|nr|номер|телефон\w*|telefonszam|numer|cislo)\b|电话|手机|電話|携帯|전화"
)
_CUE_WITHIN = 60
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


def find(text: str) -> list[Match]:
    """Every piece of personal data in a text, in order of start, none within another."""
    return find_folded(fold(text))


def find_folded(folded: Folded) -> list[Match]:
    """As `find`, for who has folded the text already."""
    text = folded.text
    spans: list[tuple[int, int]] = []
    if "@" in text:
        spans += (found.span() for found in _EMAIL.finditer(text))
    spans += _addresses_said(text)
    if any(map(str.isdigit, text)) or "::" in text:
        spans += _addresses(text)
        spans += _ibans(text)
        spans += _numbers(text)
        spans += identity.spans(text)
    spans += _numbers_said(text)
    matches: list[Match] = []
    last = -1
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if start >= last:
            matches.append(Match(POLICY, 1.0, *folded.span(start, end), whole=True))
            last = end
    return matches


def open_end(folded: Folded, *, surely: bool) -> Match | None:
    """A number at the end of a text that may go on in the next, and then be a card's, an IBAN or one to call.

    Its probability is 0.5: nobody knows yet. `surely` asks for more of it, for who cannot take back what was masked.
    """
    text = folded.text
    found = _OPEN_IBAN.search(text)
    if found is not None and found.group()[:2].upper() in IBAN_LENGTHS and (len(found.group()) >= 8 or not surely):
        return Match(POLICY, 0.5, *folded.span(*found.span()), whole=True)
    found = _OPEN.search(text)
    if found is not None:
        digits = "".join(filter(str.isdigit, found.group()))
        before = text[max(0, found.start() - _CUE_WITHIN) : found.start()]
        if _may_go_on(found.group(), digits, before, surely=surely):
            return Match(POLICY, 0.5, *folded.span(*found.span()), whole=True)
    for row in spoken.rows(text):
        start, end = row.stretch(0, len(row.parts) - 1)
        if _REST.fullmatch(text, end) and _may_go_on(
            "+" if row.plus else "", row.digits, text[max(0, start - _CUE_WITHIN) : start], surely=surely
        ):
            return Match(POLICY, 0.5, *folded.span(start, end), whole=True)
    return None


def _may_go_on(written: str, digits: str, before: str, *, surely: bool) -> bool:
    least = 6 if surely else 4
    if len(digits) < least or len(digits) >= _CARD_MOST or _DATE.search(written):
        return False
    if written.startswith("+") or _CUE.search(before) or _CARD_CUE.search(before):
        return True
    in_fours = {len(group) for group in _GROUPS.findall(written)[:-1]} <= {4} and len(digits) > 6
    issued = any(prefix.match(digits) for prefix, _ in _ISSUERS)
    return issued and (in_fours and len(digits) >= 8 if surely else len(digits) >= 6)


def is_card(digits: str) -> bool:
    """Whether these digits are a payment card's number: issuer, length and Luhn check."""
    if len(set(digits)) == 1 or not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS):
        return False
    return identity.luhn(digits)


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
            if _NUMBERED.search(text, max(0, found.start() - 16), found.start()):
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
        # A comma stands between the groups of one number, or between two numbers.
        for start, end in _whole_or_parts(text, *found.span()):
            digits = "".join(filter(str.isdigit, text[start:end]))
            if is_card(digits) or _is_phone(text[start:end], digits, text[max(0, start - _CUE_WITHIN) : start]):
                yield start, end


def _whole_or_parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    yield start, end
    parts = text[start:end].split(", ")
    if len(parts) > 1:
        for part in parts:
            yield start, start + len(part)
            start += len(part) + 2


def _addresses_said(text: str) -> Iterator[tuple[int, int]]:
    """E-mail addresses that are spelt out, or written so that machines miss them."""
    if not _AT_SIGN.search(text):
        return
    for found in _EMAIL_SAID.finditer(text):
        if found["name"] not in _NO_NAME:
            yield found.span()


def _numbers_said(text: str) -> Iterator[tuple[int, int]]:
    """Cards and phone numbers in words."""
    for row in spoken.rows(text):
        last = len(row.parts) - 1
        before = text[max(0, row.parts[0][1] - _CUE_WITHIN) : row.parts[0][1]]
        if len(row.digits) >= _PHONE_DIGITS_LEAST and _is_phone_said(row, bool(_CUE.search(before))):
            yield row.stretch(0, last)
            continue
        for first, end in _cards_within(row):
            yield row.stretch(first, end)
            break


def _cards_within(row: spoken.Row) -> Iterator[tuple[int, int]]:
    """Which parts of a row are a card's number, from the first to the last of them."""
    ends = [*(before for before, _, _ in row.parts[1:]), len(row.digits)]
    for first, (start, _, _) in enumerate(row.parts):
        for last in range(first, len(row.parts)):
            if ends[last] - start > _CARD_MOST:
                break
            if ends[last] - start >= _CARD_LEAST and is_card(row.digits[start : ends[last]]):
                yield first, last


def _is_phone_said(row: spoken.Row, called: bool) -> bool:
    if row.plus:
        return _parsed(f"+{row.digits}", None) is not None
    if called:
        return any(_parsed(row.digits, region) is not None for region in _regions(row.digits))
    # Counting up or down is no number of anybody.
    steps = [abs(int(one) - int(other)) for one, other in pairwise(row.digits)]
    counted = sum(step == 1 for step in steps) > len(steps) / 2
    return row.singly and not counted and len(row.digits) >= 10 and any(_parsed(row.digits, region) for region in _regions(row.digits))


def _is_phone(written: str, digits: str, before: str) -> bool:
    """Whether a number is one to call: valid in a plan, and with a plus, grouped as that plan does it, or asked to be called."""
    if len(digits) > 17 or _DATE.search(written):
        return False
    if written.startswith("+"):
        return _parsed(written, None) is not None
    for prefix in ("00", "011"):
        if digits.startswith(prefix) and len(digits) > 10 and _parsed(f"+{digits[len(prefix) :]}", None) is not None:
            return True
    if len(digits) > 15 or (len(digits) < _BARE_LEAST and not _CUE.search(before)):
        return False
    return _in_plan(written, digits, called=bool(_CUE.search(before)))


@lru_cache(maxsize=2048)
def _in_plan(written: str, digits: str, *, called: bool) -> bool:
    """Whether some country has such numbers, and groups them so where nobody is asked to call it."""
    import phonenumbers

    groups = _GROUPS.findall(written)
    if not called and _is_thousands(digits, groups):
        return False
    apart = 2 <= len(groups) <= 5 and min(map(len, groups)) >= 2
    for region in _regions(digits):
        number = _parsed(digits, region)
        if number is None:
            continue
        national = _GROUPS.findall(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))
        if called or (apart and digits.startswith("0") and len(digits) >= 10):
            return True
        if len(groups) > 1 and groups in (national, [national[0].removeprefix("0"), *national[1:]]):
            return True
    return False


def _is_thousands(digits: str, groups: list[str]) -> bool:
    """Whether a number is grouped as amounts are: by threes from behind."""
    return not digits.startswith("0") and len(groups) > 1 and len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])


@lru_cache(maxsize=1024)
def _regions(digits: str) -> tuple[str, ...]:
    """Where a number with so many digits, and this beginning, can be at home."""
    found = []
    for region, (lengths, trunk) in _plans().items():
        bare = digits[len(trunk) :] if trunk and digits.startswith(trunk) else digits
        if len(bare) in lengths or len(digits) in lengths:
            found.append(region)
    return tuple(found)


@cache
def _plans() -> dict[str, tuple[frozenset[int], str]]:
    """For each region how many digits its numbers have, and what stands before them within it."""
    from phonenumbers import PhoneMetadata

    plans = {}
    for region in PHONE_REGIONS:
        told = PhoneMetadata.metadata_for_region(region)
        assert told is not None
        assert told.general_desc is not None
        plans[region] = (frozenset(told.general_desc.possible_length), told.national_prefix or "")
    return plans


@lru_cache(maxsize=4096)
def _parsed(written: str, region: str | None) -> "phonenumbers.PhoneNumber | None":
    import phonenumbers

    try:
        number = phonenumbers.parse(written, region)
    except phonenumbers.NumberParseException:
        return None
    return number if phonenumbers.is_valid_number(number) else None
