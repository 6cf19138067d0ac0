"""How surely the pictures between two others are mixtures of them: what is measured, and what each measure weighs.

While one picture dissolves into another, each picture in between is a mixture of the two. Three things follow. It lies close to the
line between them in the space of pictures (the production model of A. Hampapur, R. Jain and T. Weymouth, "Digital video
segmentation", ACM Multimedia 1994, section 4). Its edges fade: where two unrelated pictures are mixed by a share s, the squares of
the slopes are s² of the one's and (1 - s)² of the other's, half of the usual in the middle, while a camera or a thing that moves takes
its edges with it, or blurs them along its way alone (after the dip in contrast of A. M. Alattar, "Detecting and compressing dissolve
regions in video sequences", ISCAS 1993). And the share rises evenly from zero to one. The first holds only where nothing moves, the
second wherever two shots are mixed. None decides alone: a logistic regression over all of them does, fitted by
`bench.sampling.fitting` to dissolves between shots that rest and that move, and to pans, zooms, motion, fades and flashes that are none.
"""

from typing import NamedTuple


class Signs(NamedTuple):
    """What is measured of a stretch of looks from A to B."""

    away: float
    """Mean distance of the mixed pictures from the line from A to B, as a share of its length."""
    kept: float
    """How much is missing of the loss of edges that a mixture has: 0 where it is there, 1 where no edge has faded."""
    blurred: float
    """How much more edges were lost than that, as in a fast pan."""
    one_way: float
    """The difference of the losses across and along, 0 in a mixture: what moves fast blurs edges across its way alone."""
    likeness: float
    """Correlation of the shapes of A and B, -1 to 1."""
    spread: float
    """How evenly the difference of A and B is spread over the picture, 0 to 1: what moves fast is a part of it."""
    steepest: float
    """The most that the share of B rose from one look to the next."""
    back: float
    """The least, below zero where it fell."""
    last: float
    """What it rose in the last look, as a share of what it usually rose while both were mixed."""
    before_last: float
    """The same of the look before."""
    lately: float
    """The share of B a moment before the last look."""
    filled: float
    """Part of the looks in which both were mixed."""
    seconds: float
    """How long the stretch is, about."""


WEIGHTS = Signs(
    away=-15.02,
    kept=-12.14,
    blurred=-7.38,
    one_way=-3.88,
    likeness=-2.77,
    spread=9.56,
    steepest=-11.75,
    back=111.09,
    last=3.23,
    before_last=2.55,
    lately=-2.12,
    filled=1.86,
    seconds=-3.42,
)
BIAS = 3.88


def evidence(signs: Signs) -> float:
    """Logarithm of the odds that a dissolve has just ended; what is above zero is told."""
    return BIAS + sum(weight * sign for weight, sign in zip(WEIGHTS, signs, strict=True))
