"""Numbers with their nouns."""


def noun(number: int, one: str, many: str = "") -> str:
    """The noun as it stands after the number; `many` where it is not `one` with an s."""
    return one if number == 1 else many or f"{one}s"


def counted(number: int, one: str, many: str = "") -> str:
    """The number with its noun: "1 answer", "2,000 answers"."""
    return f"{number:,} {noun(number, one, many)}"
