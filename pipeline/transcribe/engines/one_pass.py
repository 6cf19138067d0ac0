"""Known words in one pass: CTranslate2 takes all that stands before two marks at once, and forces what follows token by token.

`Whisper.generate` hands the decoder whatever precedes `<|startoftranscript|>` and the task tokens in one pass, as a prompt, and
decodes from there on; tokens behind them are forced one after the other, which costs as much as finding them (3.6 to 4.7 ms
each with tiny.en). It knows those two marks by their names in the vocabulary alone. So a second copy of the network is
loaded in whose vocabulary two plain tokens, `"` and `,`, bear their names. Behind the known words these two are inserted, then
the last of the known words are forced, and the decoder goes on from there. The weights, and what each token means to them, are
as they were; a stray `",` a few words back costs nothing that could be measured, and saves a third of the time (docs/log.md,
2026-11-26).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

FORCED = 4
"""Tokens, at least, of the last known words that follow the marks: behind them the decoder is back in the sentence."""
_WORTH = 6
"""Known tokens before those from which the marks are worth their place."""
_GRID = 16
"""What stands before the marks comes in multiples of this, where the prompt is long enough to be cut so: only then do passages meet."""
_NAMES = ("<|startoftranscript|>", "<|notimestamps|>")
_LARGEST = 1 << 30
"""Bytes of weights up to which a second copy is worth the memory."""


@dataclass(frozen=True)
class Marks:
    """The two tokens, in this order; the first is taken out of everything else before them."""

    first: int
    second: int


def load(directory: Path, token_id: Any, **options: Any) -> tuple[Any, Marks] | None:
    """A network for prompts that `arranged` made, and its marks; `None` where the model is too large or its vocabulary another.

    `token_id` finds a token's id; `options` go to `ctranslate2.models.Whisper`.
    """
    import ctranslate2

    first, second = token_id('"'), token_id(",")
    path = next((path for name in ("vocabulary.json", "vocabulary.txt") if (path := directory / name).is_file()), None)
    weights = directory / "model.bin"
    if path is None or first is None or second is None or first >= second or weights.stat().st_size > _LARGEST:
        return None
    text = path.read_text(encoding="utf-8")
    names = json.loads(text) if path.suffix == ".json" else text.split("\n")
    for mark, name in zip((first, second), _NAMES, strict=True):
        if name not in names:
            return None
        bearer = names.index(name)
        names[mark], names[bearer] = name, names[mark]
    vocabulary = json.dumps(names) if path.suffix == ".json" else "\n".join(names)
    files = {
        path.name: BytesIO(vocabulary.encode()),
        **{name: BytesIO((directory / name).read_bytes()) for name in ("model.bin", "config.json")},
    }
    return ctranslate2.models.Whisper(str(directory), files=files, **options), Marks(first, second)


def arranged(
    marks: Marks, before: Sequence[int], opening: Sequence[int], words: Sequence[Sequence[int]]
) -> tuple[list[int], list[int]] | None:
    """What is taken in one pass, marks included, and what is forced behind it; `None` if that is not worth it.

    `before` are the tokens of the prompt, from `<|startofprev|>` on, `opening` the start sequence, and `words` the known ones.
    """
    at, forced = len(words), 0
    while at and forced < FORCED:
        at -= 1
        forced += len(words[at])
    older = [token for word in words[:at] for token in word if token != marks.first]
    if len(older) < _WORTH:
        return None
    # What was said first goes; `<|startofprev|>` stays.
    said = [token for token in before[1:] if token != marks.first]
    spare = (len(said) + 1 + len(opening) + len(older)) % _GRID
    said = said[spare:] if spare < len(said) else said
    led = [*before[:1], *said] if said else []
    return [*led, *opening, *older, marks.first, marks.second], [token for word in words[at:] for token in word]
