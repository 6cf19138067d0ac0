"""The names of everything that can judge, by which policies call it."""

from pipeline.safety import injection, linear, personal, words

RULES = frozenset([*words.policies(), personal.POLICY, injection.POLICY, linear.POLICY])
"""What judges text out of the box."""
PICTURES = ("opennsfw",)
"""What judges pictures out of the box."""
MODELS = ("shieldgemma", "shieldgemma-2", "llama-guard")
"""Models that judge by a policy's own words, where they are configured."""


def known() -> frozenset[str]:
    """All of them."""
    return RULES | {*PICTURES, *MODELS}
