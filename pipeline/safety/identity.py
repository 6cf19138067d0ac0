"""Numbers that states give to people, by the form and the check that each state's own rules have for them.

Sources: the Social Security Administration's rules (United States), HMRC's NIM39110 (National Insurance), DNI and NIE (Spain, real
decree 1553/2005), codice fiscale (Italy, decree 23 December 1976), NIR (France, decree 82-103), CPF (Brazil), personnummer
(Sweden, SKV 704), PESEL (Poland), hetu (Finland), GB 11643 (China), Aadhaar (India: D. Gumm's Verhoeff), AVS (Switzerland, GS1).
"""

import re
from collections.abc import Callable, Iterator

_DNI = "trwagmyfpdxbnjzsqvhlcke"
_ITALIAN_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
_FINNISH = "0123456789abcdefhjklmnprstuvwxy"
_CHINESE = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_VERHOEFF = (
    "0123456789",
    "1234067895",
    "2340178956",
    "3401289567",
    "4012395678",
    "5987604321",
    "6598710432",
    "7659821043",
    "8765932104",
    "9876543210",
)
_VERHOEFF_TURNS = ("0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258")


def is_date(digits: str) -> bool:
    """Whether six digits can be a date of birth, year first."""
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


def luhn(digits: str) -> bool:
    """The check of ISO/IEC 7812-1."""
    doubled = [int(digit) * (2 if number % 2 else 1) for number, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _social_security(bare: str) -> bool:
    return bare[:3] not in ("000", "666") and bare[0] != "9" and bare[3:5] != "00" and bare[5:] != "0000"


def _dni(bare: str) -> bool:
    return bare[-1] == _DNI[int(bare[:-1].translate(str.maketrans("xyz", "012"))) % 23]


def _codice_fiscale(bare: str) -> bool:
    # Digits count as the letters with their number; letters in odd places by a table.
    values = [int(character) if character.isdigit() else ord(character) - ord("a") for character in bare[:15]]
    odd = sum(_ITALIAN_ODD[value] for value in values[::2])
    return bare[15] == chr(ord("a") + (odd + sum(values[1::2])) % 26)


def _nir(bare: str) -> bool:
    return int(bare[:13]) % 97 == 97 - int(bare[13:])


def _cpf(bare: str) -> bool:
    def check(count: int) -> int:
        total = sum(int(digit) * weight for digit, weight in zip(bare[:count], range(count + 1, 1, -1), strict=True))
        return total * 10 % 11 % 10

    return len(set(bare)) > 1 and check(9) == int(bare[9]) and check(10) == int(bare[10])


def _pesel(bare: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(bare, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), strict=True))
    return total % 10 == 0 and 1 <= int(bare[2:4]) % 20 <= 12 and 1 <= int(bare[4:6]) <= 31


def _hetu(bare: str) -> bool:
    # The sign after the date, where it is a letter, is no part of the check.
    born, own = bare[:6], bare[-4:]
    return _FINNISH[int(born + own[:3]) % 31] == own[3] and 1 <= int(born[:2]) <= 31 and 1 <= int(born[2:4]) <= 12


def _chinese(bare: str) -> bool:
    total = sum(int(digit) * weight for digit, weight in zip(bare, _CHINESE, strict=False))
    return bare[17] == "10x98765432"[total % 11] and is_date(bare[8:14])


def _aadhaar(bare: str) -> bool:
    check = 0
    for number, digit in enumerate(reversed(bare)):
        check = int(_VERHOEFF[check][int(_VERHOEFF_TURNS[number % 8][int(digit)])])
    return check == 0 and len(set(bare)) > 2


def _avs(bare: str) -> bool:
    return sum(int(digit) * (3 if number % 2 else 1) for number, digit in enumerate(bare)) % 10 == 0


_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = tuple(
    (re.compile(rf"(?<![\w.,/+-])(?:{form})(?![\w]|[-/.,]\d)"), check)
    for form, check in (
        (r"\d{3}-\d{2}-\d{4}|\d{3} \d{2} \d{4}(?= (?:is|was) (?:my|her|his) (?:ssn|social))", _social_security),
        (r"(?!bg|gb|kn|nk|nt|tn|zz)[a-ceghj-prstw-z][a-ceghj-nprstw-z] ?\d{2} ?\d{2} ?\d{2} ?[a-d]", lambda bare: True),
        (r"[\dxyz]\d{7}[ -]?[a-z]", _dni),
        (r"[a-z]{6}\d{2}[abcdehlmprst]\d{2}[a-z]\d{3}[a-z]", _codice_fiscale),
        (r"[12] ?\d{2} ?(?:0[1-9]|1[0-2]|[2-9]\d) ?\d{2} ?\d{3} ?\d{3} ?\d{2}", _nir),
        (r"\d{3}\.\d{3}\.\d{3}-\d{2}", _cpf),
        (r"(?:19|20)?\d{6}[-+]\d{4}", lambda bare: luhn(bare[-10:]) and is_date(bare[-10:])),
        (r"\d{6}[-+a]\d{3}[\da-y]", _hetu),
        (r"\d{17}[\dx]", _chinese),
        (r"[2-9]\d{3} \d{4} \d{4}", _aadhaar),
        (r"756\.?\d{4}\.?\d{4}\.?\d{2}", _avs),
    )
)
_SEPARATORS = re.compile(r"[ .+-]")
_ASKED = re.compile(r"\b(pesel|ssn|social(?: security)?(?: number)?|aadhaar|cpf)\b[^\d\n]{0,16}((?:\d[ .-]?){8,11}\d)(?!\d)")
"""Numbers whose form is too plain to go by, after their name."""
_BY_NAME: dict[str, tuple[int, Callable[[str], bool]]] = {
    "pesel": (11, _pesel),
    "ssn": (9, _social_security),
    "social": (9, _social_security),
    "aadhaar": (12, _aadhaar),
    "cpf": (11, _cpf),
}


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where such numbers stand in a folded text."""
    for form, check in _FORMS:
        for found in form.finditer(text):
            if check(_SEPARATORS.sub("", found.group())):
                yield found.span()
    for found in _ASKED.finditer(text):
        length, check = _BY_NAME[found[1].split()[0]]
        digits = _SEPARATORS.sub("", found[2])
        if len(digits) == length and check(digits):
            yield found.span(2)
