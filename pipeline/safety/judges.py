"""The names of everything that can judge, by which policies call it."""

from functools import cache

PICTURE_CLASSIFIERS = ("opennsfw",)
"""What judges pictures out of the box."""
MODELS = ("shieldgemma", "shieldgemma-2", "llama-guard")
"""Models that judge by a policy's own words, where they are configured."""


@cache
def rules() -> frozenset[str]:
    """What judges text out of the box. They take a quarter of a second to read, and whoever only reads settings does not need them."""
    from pipeline.safety import injection, linear, personal, words

    return frozenset([*words.policies(), personal.POLICY, injection.POLICY, linear.POLICY])


def known() -> frozenset[str]:
    """All of them."""
    return rules() | {*PICTURE_CLASSIFIERS, *MODELS}
