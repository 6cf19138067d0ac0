"""What is judged and what follows: policies as data, and scores to a verdict."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from watchword.v1 import safety_pb2
from watchword.v1.safety_pb2 import Action

from pipeline.errors import InternalError


class Kind(Enum):
    """What can be judged."""

    TEXT = "text"
    PICTURE = "picture"


@dataclass(frozen=True)
class Policy:
    """One thing that must not pass, in words, and what is done about it."""

    name: str
    description: str
    """What violates it, as a sentence that people and language models can judge by."""
    thresholds: Mapping[Kind, float]
    """For each kind it applies to, the probability from which on it counts as violated."""
    action: Action
    """`ACTION_REDACT` or `ACTION_BLOCK`."""


POLICIES = {
    policy.name: policy
    for policy in (
        Policy(
            "profanity",
            "The text contains swear words or vulgar insults.",
            {Kind.TEXT: 0.5},
            Action.ACTION_REDACT,
        ),
        Policy(
            "slur",
            "The text contains a slur against people for their origin, religion, sex, orientation or disability.",
            {Kind.TEXT: 0.5},
            Action.ACTION_REDACT,
        ),
        Policy(
            "self-harm",
            "The text states the intent to harm oneself, urges someone to, or tells how.",
            {Kind.TEXT: 0.5},
            Action.ACTION_BLOCK,
        ),
        Policy(
            "violent-threat",
            "The text threatens to kill or injure people.",
            {Kind.TEXT: 0.5},
            Action.ACTION_BLOCK,
        ),
        # 0.8 on pictures is what the authors of open_nsfw call certain.
        Policy(
            "sexually-explicit",
            "The content depicts or describes explicit sexual acts, or nudity meant to arouse.",
            {Kind.TEXT: 0.5, Kind.PICTURE: 0.8},
            Action.ACTION_BLOCK,
        ),
        Policy(
            "dangerous-content",
            "The picture promotes or explains how to do serious harm, such as building weapons or drug making.",
            {Kind.PICTURE: 0.5},
            Action.ACTION_BLOCK,
        ),
        Policy(
            "violence-gore",
            "The picture shows shocking, gratuitous violence, gore, or cruelty.",
            {Kind.PICTURE: 0.5},
            Action.ACTION_BLOCK,
        ),
    )
}
"""The policies that apply by default. A model scores those it covers; what none covers stays unscored, which is not "safe"."""


def decide(kind: Kind, scores: Mapping[str, float], *, model: str, policies: Mapping[str, Policy] = POLICIES) -> safety_pb2.Verdict:
    """The verdict that follows from probabilities of violation by policy name, each 0 to 1.

    The strictest action of the violated policies is taken. It lists what was scored and nothing else; where nothing was,
    the action is `ACTION_UNSPECIFIED`, which must not pass. Raises `InternalError` for a score that means nothing.
    """
    violated: list[tuple[Policy, float]] = []
    for name, probability in scores.items():
        policy = policies.get(name)
        if policy is None or kind not in policy.thresholds:
            raise InternalError(f"{model} scored {name!r}, which is no policy for {kind.value}")
        if not 0 <= probability <= 1:
            raise InternalError(f"{model} scored {name} with {probability}, which is no probability")
        if probability >= policy.thresholds[kind]:
            violated.append((policy, probability))
    unviolated = Action.ACTION_ALLOW if scores else Action.ACTION_UNSPECIFIED
    action = max((policy.action for policy, _ in violated), default=unviolated)
    return safety_pb2.Verdict(
        action=action,
        scores=[safety_pb2.PolicyScore(policy=name, probability=probability) for name, probability in sorted(scores.items())],
        cause="; ".join(f"{policy.name} ({probability:.2f})" for policy, probability in sorted(violated, key=lambda pair: -pair[1])),
        model=model,
    )


def passes(verdict: safety_pb2.Verdict) -> bool:
    """Whether any of it may go on: only what was judged, and not blocked."""
    return verdict.action in (Action.ACTION_ALLOW, Action.ACTION_REDACT)


def highest(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The highest score of each policy over the parts of one item."""
    scores: dict[str, float] = {}
    for part in parts:
        for name, probability in part.items():
            scores[name] = max(probability, scores.get(name, 0.0))
    return scores


def unscored(kind: Kind, covered: Collection[str], policies: Mapping[str, Policy] = POLICIES) -> tuple[str, ...]:
    """The policies for `kind` about which nothing can be said, because no model covers them."""
    return tuple(name for name, policy in policies.items() if kind in policy.thresholds and name not in covered)
