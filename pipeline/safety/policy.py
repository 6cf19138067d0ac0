"""What is judged and what follows: policies as data, and scores to a verdict."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from watchword.v1 import safety_pb2
from watchword.v1.safety_pb2 import Action

from pipeline.errors import InternalError


class Kind(Enum):
    """What can be judged."""

    TEXT = "text"
    PICTURE = "picture"


class Subject(Enum):
    """What an item is to those who see it; a policy applies to some of them."""

    FRAME = "frame"
    SPEECH = "speech"
    DESCRIPTION = "description"
    """What is said of a scene, and the words read in its pictures."""
    QUESTION = "question"
    ANSWER = "answer"

    @property
    def kind(self) -> Kind:
        """What has to be judged of it."""
        return Kind.PICTURE if self is Subject.FRAME else Kind.TEXT


class FrameRedaction(Enum):
    """What becomes of a picture whose policy redacts; where in it the offence is, no classifier here tells."""

    PIXELATE = "pixelate"
    REPLACE = "replace"


STRICTNESS = {
    Action.ACTION_UNSPECIFIED: 0,
    Action.ACTION_ALLOW: 1,
    Action.ACTION_FLAG: 2,
    Action.ACTION_REDACT: 3,
    Action.ACTION_BLOCK: 4,
}
"""Which of two actions is taken: the stricter. The numbers on the wire are in order of their invention."""

ON_ERROR = {
    Subject.FRAME: Action.ACTION_BLOCK,
    Subject.SPEECH: Action.ACTION_FLAG,
    Subject.DESCRIPTION: Action.ACTION_FLAG,
    Subject.QUESTION: Action.ACTION_BLOCK,
    Subject.ANSWER: Action.ACTION_BLOCK,
}
"""What is done with what a failed or late classifier should have judged, where a policy of a file says nothing else."""


@dataclass(frozen=True)
class Policy:
    """One thing that must not pass, in words, and what is done about it."""

    name: str
    description: str
    """What violates it, as a sentence that people and language models can judge by."""
    thresholds: Mapping[Kind, float]
    """For each kind it applies to, the probability from which on it counts as violated."""
    action: Action
    """What is done where nothing else is said for a subject: `ACTION_ALLOW`, `_FLAG`, `_REDACT` or `_BLOCK`."""
    applies_to: frozenset[Subject] = frozenset(Subject)
    """Of those whose kind has a threshold."""
    wordings: Mapping[Subject, str] = field(default_factory=dict)
    """Descriptions for single subjects: safety models are trained on one wording a subject."""
    thresholds_for: Mapping[Subject, float] = field(default_factory=dict)
    """Thresholds for single subjects."""
    actions: Mapping[Subject, Action] = field(default_factory=dict)
    """Actions for single subjects."""
    on_error: Mapping[Subject, Action] = field(default_factory=dict)
    """What is done where a classifier fails or is late, `ACTION_FLAG` or `_BLOCK`; for a subject without one the failure is raised."""
    judged_by: tuple[str, ...] = ()
    """Names of rules and models that may judge it; none means those that know it by its own name."""
    frames: FrameRedaction | None = None
    """How a picture is redacted; `None` means that it is withheld instead."""
    keep_content: bool = False
    """Whether the audit keeps, encrypted, what was withheld under it."""

    def applies(self, subject: Subject) -> bool:
        """Whether items of this subject are judged by it."""
        return subject in self.applies_to and (subject in self.thresholds_for or subject.kind in self.thresholds)

    def threshold(self, subject: Subject) -> float:
        """The probability from which on it counts as violated, 0 to 1; `KeyError` where it does not apply."""
        own = self.thresholds_for.get(subject)
        return self.thresholds[subject.kind] if own is None else own

    def action_for(self, subject: Subject | None) -> Action:
        """What is done about a violation."""
        return self.action if subject is None else self.actions.get(subject, self.action)

    def wording(self, subject: Subject) -> str:
        """Its description for a model that judges this subject."""
        return self.wordings.get(subject, self.description)

    def judges(self) -> tuple[str, ...]:
        """The names of rules and models that may judge it."""
        return self.judged_by or (self.name,)


@dataclass(frozen=True)
class PolicySet:
    """The policies that hold for one stream, and their version."""

    policies: Mapping[str, Policy]
    version: str
    """Changes whenever anything about them does; every verdict carries it."""

    @classmethod
    def of(cls, policies: Mapping[str, Policy]) -> "PolicySet":
        """These policies, with the version that follows from what they say: 12 hexadecimal digits of a SHA-256."""
        said = [_said(policy) for _, policy in sorted(policies.items())]
        return cls(dict(policies), hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12])

    def applying(self, subject: Subject) -> dict[str, Policy]:
        """Those that apply to a subject."""
        return {name: policy for name, policy in self.policies.items() if policy.applies(subject)}


def _said(policy: Policy) -> dict[str, object]:
    """All of a policy as JSON can hold it, the same for the same policy."""
    return {
        "name": policy.name,
        "description": policy.description,
        "thresholds": {kind.value: number for kind, number in policy.thresholds.items()},
        "action": int(policy.action),
        "applies_to": sorted(subject.value for subject in policy.applies_to),
        "wordings": {subject.value: text for subject, text in policy.wordings.items()},
        "thresholds_for": {subject.value: number for subject, number in policy.thresholds_for.items()},
        "actions": {subject.value: int(action) for subject, action in policy.actions.items()},
        "on_error": {subject.value: int(action) for subject, action in policy.on_error.items()},
        "judged_by": policy.judged_by,
        "frames": policy.frames.value if policy.frames else None,
        "keep_content": policy.keep_content,
    }


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


def decide(
    kind: Kind, scores: Mapping[str, float], *, model: str, policies: Mapping[str, Policy] = POLICIES, subject: Subject | None = None
) -> safety_pb2.Verdict:
    """The verdict that follows from probabilities of violation by policy name, each 0 to 1.

    The strictest action of the violated policies is taken; with a `subject`, as they say for it. It lists what was scored
    and nothing else; where nothing was, the action is `ACTION_UNSPECIFIED`, which must not pass. Raises `InternalError`
    for a score that means nothing.
    """
    violated: list[tuple[Policy, float]] = []
    for name, probability in scores.items():
        policy = policies.get(name)
        if policy is None or (kind not in policy.thresholds if subject is None else not policy.applies(subject)):
            raise InternalError(f"{model} scored {name!r}, which is no policy for {(subject or kind).value}")
        if not 0 <= probability <= 1:
            raise InternalError(f"{model} scored {name} with {probability}, which is no probability")
        if probability >= (policy.thresholds[kind] if subject is None else policy.threshold(subject)):
            violated.append((policy, probability))
    unviolated = Action.ACTION_ALLOW if scores else Action.ACTION_UNSPECIFIED
    return safety_pb2.Verdict(
        action=strictest([unviolated, *(policy.action_for(subject) for policy, _ in violated)]),
        scores=[safety_pb2.PolicyScore(policy=name, probability=probability) for name, probability in sorted(scores.items())],
        cause="; ".join(f"{policy.name} ({probability:.2f})" for policy, probability in sorted(violated, key=lambda pair: -pair[1])),
        model=model,
    )


def strictest(actions: Iterable[Action]) -> Action:
    """The strictest of some actions; `ACTION_UNSPECIFIED` of none."""
    return max(actions, key=STRICTNESS.__getitem__, default=Action.ACTION_UNSPECIFIED)


def passes(verdict: safety_pb2.Verdict) -> bool:
    """Whether any of it may go on: only what was judged, and not blocked."""
    return verdict.action in (Action.ACTION_ALLOW, Action.ACTION_FLAG, Action.ACTION_REDACT)


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
