"""Fewer tokens for a scene whose pictures hardly change: what a picture shows as the one before did is not shown again.

Three ways, of which one is chosen, all by the cosine of the encoded tokens ("LongVU", Shen et al., 2024, sections 3.2 and 3.3, does the
first and the last): tokens like the last shown one at their place are left out; or only those of them that are plain, which is to say like
the commonest token of their picture, mostly background; or pictures that are as a whole like the one before are pooled, four tokens to one.

Every token keeps its own time and place, and each picture at least one token, so that its time is told. A token counts in attention for as
many as it stands for ("Token Merging", Bolya et al., 2022, section 3.2): without that, what stays weighs less than it did, and the model
counts wrongly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from pipeline.caption.vlm.families import Features

if TYPE_CHECKING:
    from torch import Tensor

Way = Literal["none", "plain", "unchanged", "pooled"]
FEWEST_ALIKE = 3
"""Tokens of a picture that must be like each other before they are background."""


@dataclass(frozen=True)
class Thinning:
    """What is not shown again."""

    way: Way = "none"
    alike: float = 0.99
    """Cosine from which tokens, or for pooling pictures in the mean over their tokens, are alike."""


OFF = Thinning()


def read_thinning(text: str) -> Thinning:
    """What a setting says, such as "plain:0.98", or "none"; raises `ValueError`."""
    way, _, alike = text.partition(":")
    try:
        cosine = float(alike or OFF.alike)
    except ValueError:
        cosine = 0.0
    if way not in get_args(Way) or not 0.5 <= cosine <= 1:
        raise ValueError(f"one of {', '.join(get_args(Way))} is needed, with a cosine from 0.5 to 1 as in plain:0.98")
    return Thinning(way, cosine)  # type: ignore[arg-type]


def thin(pictures: Sequence[Features], how: Thinning) -> list[Features]:
    """The pictures of a scene in order of time, with fewer tokens; the first, and one of another shape than the one before, stay whole."""
    if how.way == "none" or len(pictures) < 2:
        return list(pictures)
    shown: Tensor | None = None
    """At each place, the token that was shown last."""
    by: list[int] = []
    """At each place, the number of the picture that showed it."""
    stands: list[dict[int, int]] = []
    """Of each picture, for how many tokens the shown ones stand, by their places."""
    small: set[int] = set()
    for number, picture in enumerate(pictures):
        places = range(picture.count)
        if shown is None or _grid(pictures[number - 1]) != _grid(picture):
            shown, by, new = picture.tokens, [number for _ in places], list(places)
        else:
            new = _new(picture, shown, how)
            if not new:
                small.add(number)
                new = list(places)
            shown = shown.index_put((_indices(new, shown),), picture.tokens[new])
        stands.append(dict.fromkeys(new, 1))
        for place in places:
            if place in stands[number]:
                by[place] = number
            else:
                stands[by[place]][place] += 1
    return [pooled(each, stands[number]) if number in small else only(each, stands[number]) for number, each in enumerate(pictures)]


def only(picture: Features, stands: Mapping[int, int]) -> Features:
    """The picture with the tokens of these places alone, each of which stands for so many."""
    kept = list(stands)
    levels = tuple(level[kept] for level in picture.levels)
    return replace(picture, tokens=picture.tokens[kept], levels=levels, kept=tuple(kept), stands_for=tuple(stands.values()))


def pooled(picture: Features, stands: Mapping[int, int]) -> Features:
    """The picture with one token for two by two; at an edge that is left over, for fewer. A token's place is that of its first.

    `stands` tells for how many each of its own tokens stands.
    """
    rows, columns = -(-picture.rows // 2), -(-picture.columns // 2)
    tokens, *levels = (_pooled(each, picture.rows, picture.columns) for each in (picture.tokens, *picture.levels))
    kept = tuple(2 * row * picture.columns + 2 * column for row in range(rows) for column in range(columns))
    sizes = [0] * len(kept)
    for place, count in stands.items():
        sizes[place // picture.columns // 2 * columns + place % picture.columns // 2] += count
    return replace(picture, tokens=tokens, levels=tuple(levels), kept=kept, stands_for=tuple(sizes))


def _new(picture: Features, shown: "Tensor", how: Thinning) -> list[int]:
    """The places of a picture whose tokens are to be shown; none where it is to be pooled."""
    tokens = _directions(picture.tokens)
    likeness = (tokens * _directions(shown)).sum(-1)
    if how.way == "pooled":
        still = float(likeness.mean()) >= how.alike and min(_grid(picture)) > 1
        return [] if still else list(range(picture.count))
    same = likeness >= how.alike
    if how.way == "plain":
        same &= _plain(tokens, how.alike)
    same[likeness.argmin()] = False
    found: list[int] = (~same).nonzero()[:, 0].tolist()
    return found


def _plain(tokens: "Tensor", alike: float) -> "Tensor":
    """Which of a picture's tokens, of length 1, are like the one that most are like: [tokens]."""
    near = tokens @ tokens.T >= alike
    counts = near.sum(1)
    commonest: Tensor = near[counts.argmax()]
    return commonest if int(counts.max()) >= FEWEST_ALIKE else commonest & False


def _directions(tokens: "Tensor") -> "Tensor":
    from torch.nn import functional

    found: Tensor = functional.normalize(tokens.float(), dim=-1)
    return found


def _indices(places: Sequence[int], like: "Tensor") -> "Tensor":
    import torch

    return torch.tensor(places, dtype=torch.long, device=like.device)


def _pooled(tokens: "Tensor", rows: int, columns: int) -> "Tensor":
    from torch.nn import functional

    grid = tokens.view(rows, columns, -1).permute(2, 0, 1)[None]
    # With `ceil_mode` what is left over at an edge is averaged over what there is.
    small: Tensor = functional.avg_pool2d(grid, 2, ceil_mode=True, count_include_pad=False)
    return small[0].permute(1, 2, 0).flatten(0, 1)


def _grid(picture: Features) -> tuple[int, int]:
    return picture.rows, picture.columns
