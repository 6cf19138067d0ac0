"""Policies as data, and how scores become a verdict."""

import hashlib
import json
from collections.abc import Iterable, Mapping
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


WIRE_ERROR = 1e-6
"""A probability on the wire is a float of 32 bits, and may lie this much under the threshold that it reached."""


@dataclass(frozen=True)
class Policy:
    """One thing that must not pass, in words, and what is done about it."""

    name: str
    description: str
    """What violates it, as a sentence that people and language models can judge by."""
    applies_to: frozenset[Subject]
    """What is judged by it."""
    threshold: float
    """The probability, 0 to 1, from which on it counts as violated, where nothing else is said for a subject."""
    action: Action
    """What is done where nothing else is said for a subject: `ACTION_ALLOW`, `_FLAG`, `_REDACT` or `_BLOCK`."""
    wordings: Mapping[Subject, str] = field(default_factory=dict)
    """Descriptions for single subjects: safety models are trained on one wording a subject."""
    thresholds: Mapping[Subject, float] = field(default_factory=dict)
    """Thresholds for single subjects."""
    actions: Mapping[Subject, Action] = field(default_factory=dict)
    """Actions for single subjects."""
    on_error: Mapping[Subject, Action] = field(default_factory=lambda: ON_ERROR)
    """What is done where a classifier fails or is late, `ACTION_FLAG` or `_BLOCK`, for every subject."""
    judged_by: tuple[str, ...] = ()
    """Names of rules and models that may judge it; none means those that know it by its own name."""
    frames: FrameRedaction = FrameRedaction.PIXELATE
    """How a picture is redacted."""
    keep_content: bool = False
    """Whether the audit keeps, encrypted, what was withheld under it."""

    def applies(self, subject: Subject) -> bool:
        """Whether items of this subject are judged by it."""
        return subject in self.applies_to

    def threshold_for(self, subject: Subject) -> float:
        """The probability from which on it counts as violated, 0 to 1."""
        return self.thresholds.get(subject, self.threshold)

    def violated_by(self, probability: float, subject: Subject) -> bool:
        """Whether this probability is a violation; one that came over the wire may have lost some of its digits on the way."""
        return probability >= self.threshold_for(subject) - WIRE_ERROR

    def action_for(self, subject: Subject) -> Action:
        """What is done about a violation."""
        return self.actions.get(subject, self.action)

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
        "threshold": policy.threshold,
        "action": int(policy.action),
        "applies_to": sorted(subject.value for subject in policy.applies_to),
        "wordings": {subject.value: text for subject, text in policy.wordings.items()},
        "thresholds": {subject.value: number for subject, number in policy.thresholds.items()},
        "actions": {subject.value: int(action) for subject, action in policy.actions.items()},
        "on_error": {subject.value: int(action) for subject, action in policy.on_error.items()},
        "judged_by": policy.judged_by,
        "frames": policy.frames.value,
        "keep_content": policy.keep_content,
    }


def decide(subject: Subject, scores: Mapping[str, float], *, policies: Mapping[str, Policy], model: str) -> safety_pb2.Verdict:
    """The verdict that follows from probabilities of violation by policy name, each 0 to 1.

    The strictest action of the violated policies is taken. It lists what was scored and nothing else; where nothing was, the
    action is `ACTION_UNSPECIFIED`, which must not pass. Raises `InternalError` for a score that means nothing.
    """
    violated: list[tuple[Policy, float]] = []
    for name, probability in scores.items():
        policy = policies.get(name)
        if policy is None or not policy.applies(subject):
            raise InternalError(f"{model} scored {name!r}, which is no policy for {subject.value}")
        if not 0 <= probability <= 1:
            raise InternalError(f"{model} scored {name} with {probability}, which is no probability")
        if policy.violated_by(probability, subject):
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
