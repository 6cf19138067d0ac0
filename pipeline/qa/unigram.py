"""Words to tokens by the likeliest pieces (Kudo 2018): what XLM-RoBERTa's vocabulary of 250,000 pieces wants.

`tokenizers` does the same in 260 MB; a dictionary takes 50, and sentences are short.
"""

from collections.abc import Mapping, Sequence

SPACE = "\u2581"
"""What stands for a space in pieces."""
UNLIKELY = 10.0
"""How much less likely than the least likely piece a character is that no piece has."""


class Unigram:
    """Cuts texts into pieces."""

    def __init__(self, pieces: Sequence[tuple[str, float]], *, unknown: int, normalised: Mapping[int, str] | None = None) -> None:
        """`pieces` with their log likelihoods, a token each by place; `normalised` says what characters are written as first."""
        # A piece without a likelihood is a mark such as "<s>", which no text contains.
        self._tokens = {piece: token for token, (piece, likely) in enumerate(pieces) if likely < 0}
        self._likely = [likely for _, likely in pieces]
        self._longest = max(map(len, self._tokens), default=1)
        self._missing = min(self._likely, default=0.0) - UNLIKELY
        self._unknown, self._normalised = unknown, dict(normalised or {})

    def tokens(self, text: str) -> list[int]:
        """The tokens of the likeliest pieces that make up a text."""
        plain = SPACE + SPACE.join(text.translate(self._normalised).split())
        best = [0.0, *[float("-inf")] * len(plain)]
        came: list[tuple[int, int]] = [(0, self._unknown)] * (len(plain) + 1)
        for start in range(len(plain)):
            for end in range(start + 1, min(start + self._longest, len(plain)) + 1):
                token = self._tokens.get(plain[start:end])
                if token is None and end > start + 1:
                    continue
                likely = best[start] + (self._missing if token is None else self._likely[token])
                if likely > best[end]:
                    best[end], came[end] = likely, (start, self._unknown if token is None else token)
        found: list[int] = []
        end = len(plain)
        while end:
            end, token = came[end]
            found.append(token)
        return found[::-1]
